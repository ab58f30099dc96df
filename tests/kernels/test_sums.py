"""Sums: their order, which is one on every processor, and how far they are from exact ones."""

import math

import numpy as np
import pytest

from fastnn.kernels import cross_entropy, losses, optimizers, rows
from fastnn.kernels.compiling.jit import COMPILED, exact
from fastnn.kernels.emitted import sums

EPS = np.finfo(np.float64).eps


@exact
def sum_of(p):
    return sums.sum_of(p)


@exact
def halves(p, cut):
    return sums.sum_of_halves(p, cut)


@exact
def apart(p, value):
    return sums.sums_apart(p, value)


@exact
def products(p, q):
    return sums.sum_of_products(p, q)


@exact
def squares(p, q):
    return sums.sum_of_squares(p, q)


@exact
def gaps(p, weights, top, cut):
    return sums.sums_of_gaps(p, weights, top, cut)


@exact
def deviations(p, center):
    return sums.sums_of_deviations(p, center)


@exact
def three(p, q, r, center):
    return sums.sums_of_products(p, q, r, center)


@exact
def sum_row(p):
    return rows.sum_row(p)


@exact
def dot_row(p, q):
    return rows.dot_row(p, q)


def in_halves(partial):
    while len(partial) > 1:
        half = len(partial) // 2
        partial = partial[:half] + partial[half:]
    return partial[0]


def in_order(p):
    """Return the sum in the order that the module's docstring tells."""
    p = np.float64(p)
    sixteens, fours = len(p) // 16 * 16, len(p) // 4 * 4
    many, few, single = np.zeros(16), np.zeros(4), 0.0
    for i in range(0, sixteens, 16):
        many += p[i : i + 16]
    for i in range(sixteens, fours, 4):
        few += p[i : i + 4]
    for term in p[fours:]:
        single += term
    return in_halves(many) + in_halves(few) + single


@pytest.mark.skipif(not COMPILED, reason="NumPy's order, where nothing is compiled")
@pytest.mark.parametrize("size", [*range(40), 100, 1023, 1024])
def test_the_order_is_one_on_every_processor(size, dtype, rng):
    p = rng.normal(size=size).astype(dtype)
    assert sum_of(p) == in_order(p)
    high = (np.float64(p) + 1.5 * 2**30) - 1.5 * 2**30
    assert halves(p, 1.5 * 2**30) == (in_order(high), in_order(p - high))
    assert deviations(p, 0.25)[0] == in_order(np.float64(p) - 0.25)
    assert three(p, p, p, 0.25)[0] == in_order(np.float64(p) * np.float64(p))


@pytest.mark.parametrize("size", [0, 1, 5, 100, 1024])
def test_every_sum_is_the_exact_one_but_for_rounding(size, dtype, rng):
    p, q = rng.uniform(size=(2, size)).astype(dtype)
    a, b = np.float64(p), np.float64(q)
    close = {"rel": 20 * EPS, "abs": 0}
    assert sum_of(p) == pytest.approx(math.fsum(a), **close)
    assert products(p, q) == pytest.approx(math.fsum(a * b), **close)
    gap, square = deviations(p, -0.25)
    assert gap == pytest.approx(math.fsum(a + 0.25), **close)
    assert square == pytest.approx(math.fsum((a + 0.25) ** 2), **close)
    product, triple = three(p, q, p, -0.25)
    assert product == pytest.approx(math.fsum(a * b), **close)
    assert triple == pytest.approx(math.fsum(a * b * (a + 0.25)), **close)
    assert squares(p, q) == pytest.approx(math.fsum((a - b) ** 2), **close)
    assert sum(halves(p, 1.5 * 2**26)) == pytest.approx(math.fsum(a), **close)
    high, low, below = gaps(p, q, 2.0, 1.5 * 2**26)
    assert high + low == pytest.approx(math.fsum(b), **close)
    assert below == pytest.approx(math.fsum(b * (2 - a)), **close)
    p[::3] = 0.5
    equal, others = apart(p, dtype.type(0.5))
    assert equal == 0.5 * np.sum(p == 0.5)
    assert others == pytest.approx(math.fsum(np.float64(p[p != 0.5])), **close)


def test_a_term_of_weight_0_adds_nothing(dtype):
    p, weights = np.full(50, -np.inf, dtype), np.zeros(50, dtype)
    p[17], weights[17] = 1, 0.5
    assert gaps(p, weights, 3.0, 1.5 * 2**26) == (0.5, 0, 1)


SIZES = [1000, 1_000_000]
CLOSE = {"rel": 4 * EPS, "abs": 0}


@pytest.mark.parametrize("size", SIZES)
def test_long_sums_are_accurate(size, dtype, rng):
    p, q = rng.uniform(size=(2, size)).astype(dtype)
    a, b = np.float64(p), np.float64(q)
    assert sum_row(p) == pytest.approx(math.fsum(a), **CLOSE)
    assert dot_row(p, q) == pytest.approx(math.fsum(a * b), **CLOSE)
    assert losses.l2(p, q) == pytest.approx(math.fsum((a - b) ** 2), **CLOSE)
    assert optimizers.norm(p) == pytest.approx(math.sqrt(math.fsum(a * a)), **CLOSE)


@pytest.mark.parametrize("size", SIZES)
def test_losses_of_many_elements_are_accurate(size, dtype, rng):
    y, p = rng.uniform(size=(2, size)).astype(dtype)
    a, b = np.float64(y), np.float64(p)
    exact_loss = -math.fsum(a * np.log(b + EPS))
    assert losses.cross_entropy(y, p) == pytest.approx(exact_loss, **CLOSE)
    one = dtype.type(1)
    others = np.float64(one - y) * np.log(np.float64(one - p) + EPS)
    exact_loss = -math.fsum(a * np.log(b + EPS) + others)
    assert losses.yes_no_cross_entropy(y, p) == pytest.approx(exact_loss, **CLOSE)


@pytest.mark.parametrize("size", SIZES)
def test_binary_cross_entropy_of_many_elements_is_the_sum_of_its_terms(size, dtype, rng):
    z, y = rng.normal(size=size).astype(dtype), rng.uniform(size=size).astype(dtype)
    some = np.arange(size) % 1000  # the same thousand terms, over and over
    z, y, out = z[some], y[some], np.empty(size, dtype)
    terms = [losses.binary_cross_entropy(z[i : i + 1], y[i : i + 1], 1, out[:1]) for i in range(1000)]
    wanted = math.fsum(terms) * (size // 1000)
    assert losses.binary_cross_entropy(z, y, 1, out) == pytest.approx(wanted, **CLOSE)


def test_targets_of_many_classes_are_weighed_accurately(dtype, rng):
    z, y = rng.normal(size=(2, 3, 32_000)).astype(dtype)
    y = abs(y)
    out = np.empty_like(z)
    total = cross_entropy.softmax_cross_entropy(z, y, 3, out)
    wide, w = np.float64(z), np.float64(y)
    top = wide.max(axis=1, keepdims=True)
    logs = [math.log(math.fsum(row)) for row in np.exp(wide - top)]
    parts = [math.fsum(row) for row in w * (top - wide)]
    exact_loss = math.fsum(
        math.fsum(row) * log + part for row, log, part in zip(w, logs, parts, strict=True)
    )
    assert total == pytest.approx(exact_loss, rel=4 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize(
    ("entries", "wanted"),
    [
        ([3e200, 4e200], 5e200), ([3e-200, 4e-200], 5e-200), ([0.0, 0.0], 0.0), ([5e-324], 5e-324),
        ([np.inf, 1.0], np.inf), ([np.nan, np.inf], np.nan), ([1e308, 1e-308], 1e308), ([], 0.0),
    ],
)  # fmt: skip
def test_norms_of_all_sizes(entries, wanted):
    assert optimizers.norm(np.array(entries)) == pytest.approx(wanted, rel=4 * EPS, nan_ok=True)
