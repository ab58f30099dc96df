"""Every tile remainder against exact integer arithmetic; nothing written outside C."""

import functools
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from fastnn.kernels.compiling import jit, target
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.emitted import gemm as microkernel
from fastnn.kernels.emitted import rules, transposition
from fastnn.kernels.emitted.tile import DESCENT, PLAIN, RELU, RELU_GRADIENT, RULE, SGD

pytestmark = pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
SHAPES = (
    *itertools.product(range(1, 18), range(1, 66), (1, 2, 37)),
    *itertools.product((1, 2), (112, 113, 127, 128, 129, 250), (1, 37)),  # one row has wider tiles
)
LARGEST = {4: 2**23, 8: 2**28}  # integers whose sums of 37 products int64 holds, and no float does
FORMS = ("x w", "x^T dz", "dz w^T")


def elements(rng, shape, dtype):
    """Return integers as numbers of a dtype, in rows that lie apart."""
    largest = LARGEST[dtype.itemsize]
    rows, columns = shape
    whole = rng.integers(-largest, largest, (rows, columns + 3), endpoint=True)
    return whole.astype(dtype)[:, :columns]


@jit.exact
def product(*arguments):
    microkernel.gemm(*arguments)


@jit.exact
def transpose(*arguments):
    transposition.transpose(*arguments)


def operands(form, m, n, k, dtype, rng):
    """Return A and B of a form as the engine would give them, the last form's B transposed."""
    A = elements(rng, (k, m), dtype).T if form == "x^T dz" else elements(rng, (m, k), dtype)
    if form != "dz w^T":
        return A, elements(rng, (k, n), dtype)
    w, B = elements(rng, (n, k), dtype), np.empty((k, n), dtype)
    transpose(
        w.ctypes.data, w.strides[0] // w.itemsize, B.ctypes.data, n, n, k, w.itemsize, dtype.type(0)
    )
    return A, B


def gemm(A, B, C, start=None, mode=PLAIN, lr=0.0, mu=0.0):
    size = C.itemsize
    begin = (0, 0) if start is None else (start.ctypes.data, start.strides[0] // size)
    product(
        A.ctypes.data, *(stride // size for stride in A.strides),
        B.ctypes.data, B.strides[0] // size, C.ctypes.data, C.strides[0] // size,
        *C.shape, len(B), *begin, mode, size, (C.dtype.type(lr), C.dtype.type(mu)),
    )  # fmt: skip


def exact(*arrays):
    return [array.astype(np.int64) for array in arrays]


def error_bound(A, B, start, dtype):
    """Return what k rounded steps may lose: each half a unit of at most the sum of magnitudes.

    Without fused multiply-adds there are twice as many.
    """
    a, b = np.abs(A.astype(np.float64)), np.abs(B.astype(np.float64))
    steps = len(B) * (1 if target.FUSED else 2)
    return steps * np.finfo(dtype).eps / 2 * 1.001 * (a @ b + np.abs(start))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("start", ["nothing", "a bias", "C itself"])
def test_every_remainder(form, start, dtype, rng):
    for m, n, k in SHAPES:
        A, B = operands(form, m, n, k, dtype, rng)
        whole = np.full((m + 1, n + 5), 7, dtype)
        C = whole[:m, :n]
        bias = np.broadcast_to(elements(rng, (1, n), dtype), (m, n))
        begin = {"nothing": None, "a bias": bias, "C itself": C}[start]
        a, b, s = exact(A, B, 0 * C if begin is None else begin)
        gemm(A, B, C, begin)
        assert (np.abs(C.astype(np.int64) - (a @ b + s)) <= error_bound(A, B, s, dtype)).all(), (
            m,
            n,
            k,
        )
        assert (whole[m:] == 7).all()
        assert (whole[:, n:] == 7).all()


@pytest.mark.parametrize("form", FORMS)
def test_every_remainder_of_what_is_done_on_the_tile(form, dtype, rng):
    for m, n, k in SHAPES:
        A, B = operands(form, m, n, k, dtype, rng)
        whole = np.full((5, m + 1, n + 5), 7, dtype)
        plain, y, dz, w, v = whole[:, :m, :n]
        gemm(A, B, plain)
        gemm(A, B, y, mode=RELU)
        np.testing.assert_array_equal(y, np.maximum(plain, 0))
        np.testing.assert_array_equal(np.signbit(y), plain < 0)
        gate = np.copysign(elements(rng, (m, n), dtype), rng.normal(size=(m, n))).astype(dtype)
        gemm(A, B, dz, gate, RELU_GRADIENT)
        np.testing.assert_array_equal(dz, plain * ~np.signbit(gate))
        w[:], v[:] = old_w, old_v = elements(rng, (m, n), dtype), elements(rng, (m, n), dtype)
        gemm(A, B, w, v, SGD, 0.25, 0.5)  # both a power of two: only the sum is rounded
        np.testing.assert_array_equal(v, old_v / 2 + plain / 4)
        np.testing.assert_array_equal(w, old_w - v)
        w[:] = old_w
        gemm(A, B, w, v, DESCENT, 0.25)
        np.testing.assert_array_equal(w, old_w - plain / 4)
        assert (whole[:, m:] == 7).all()
        assert (whole[:, :, n:] == 7).all()


@functools.cache
def product_by(rule):
    """Return a product that updates by a rule; its last arguments are a number and the rule's."""

    @jit.exact
    def product(a, a_row, a_col, b, b_row, c, c_row, m, n, k, size, like, distances, numbers):
        more = like, like, distances, numbers, rule
        microkernel.gemm(a, a_row, a_col, b, b_row, c, c_row, m, n, k, 0, 0, RULE, size, more)

    return product


def update(A, B, w, states, rule, penalty, given):
    numbers, size = np.array([1.0, penalty, *given], w.dtype), w.itemsize
    distances = np.array([state.ctypes.data - w.ctypes.data for state in states])
    product_by(rule)(
        A.ctypes.data, *(stride // size for stride in A.strides), B.ctypes.data, B.strides[0] // size,
        w.ctypes.data, w.strides[0] // size, *w.shape, len(B), size, w.dtype.type(0),
        distances.ctypes.data, numbers.ctypes.data,
    )  # fmt: skip


def updated(rule, g, w, m, v, given):
    """Return new weights and arrays of an optimiser, by its formula."""
    if rule is rules.adam:
        step_size, beta_1, beta_2, eps, *_ = given
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g * g
        return w - step_size * m / (np.sqrt(v) + eps), m, v
    lr, momentum, _ = given
    m = momentum * m + lr * g
    return w - (momentum * m + lr * g if rule is rules.nesterov else m), m, v


@pytest.mark.parametrize("penalty", [0.0, 0.5])
@pytest.mark.parametrize(
    "rule", [rules.sgd, rules.nesterov, rules.adam], ids=lambda r: r.name.split("_")[0]
)
def test_every_remainder_of_a_rule_on_the_tile(rule, penalty, dtype, rng):
    given = (0.01, 0.9, 0.99, 1e-3, 1 - 0.9, 1 - 0.99) if rule is rules.adam else (0.01, 0.9, 0.0)
    count = 2 if rule is rules.adam else 1
    for m, n, k in itertools.product((1, 2, 7, 8, 17), (1, 15, 16, 33, 65), (1, 37)):
        A, B = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
        whole = np.full((3, m + 1, n + 5), 7, dtype)
        w, first, second = whole[:, :m, :n]
        whole[:, :m, :n] = rng.uniform(0.5, 1, size=(3, m, n))
        old = [array.astype(np.float64) for array in (w, first, second)]
        update(A, B, w, (first, second)[:count], rule, penalty, given)
        gradient = A.astype(np.float64) @ B + penalty * old[0]
        for found, expected in zip(
            (w, first, second), updated(rule, gradient, *old, given), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=200 * np.finfo(dtype).eps, atol=1e-6)
        assert (whole[:, m:] == 7).all()
        assert (whole[:, :, n:] == 7).all()


def test_an_element_is_the_same_whatever_tile_it_falls_in(dtype, rng):
    m, n, k = 17, 65, 37
    A, B = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    C, alone = np.empty((2, m, n), dtype)
    gemm(A, B, C)
    for i, j in np.ndindex(m, n):
        gemm(A[i : i + 1], B[:, j : j + 1], alone[i : i + 1, j : j + 1])
    np.testing.assert_array_equal(C, alone)


def test_panels_that_are_copied_give_the_same_bits(dtype, rng):
    """Many rows of C, and rows of B that lie far apart; against columns of B that lie together."""
    m, n, k = 520, 1030, 37
    A, B = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    C, near = np.empty((2, m, n), dtype)
    gemm(A, B, C)
    for j in range(0, n, 40):
        gemm(A, B[:, j : j + 40].copy(), near[:, j : j + 40])
    np.testing.assert_array_equal(C, near)


def test_what_lies_beside_the_columns_does_not_matter(dtype, rng):
    """NaN beyond each row's end, which whole vectors of B may reach."""
    for n in range(1, 66):
        whole = np.full((37, n + 3), np.nan, dtype)
        A, whole[:, :n] = rng.normal(size=(7, 37)), rng.normal(size=(37, n))
        C, alone = np.empty((2, 7, n), dtype)
        gemm(A.astype(dtype), whole[:, :n], C)
        gemm(A.astype(dtype), whole[:, :n].copy(), alone)
        np.testing.assert_array_equal(C, alone)


def test_relu_and_its_gradient_at_zero_and_nan(dtype, rng):
    m, n, k = 17, 33, 5
    A, B = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    A[-1], B[:, -1] = 0, -0.0  # the last product is a zero, where the gradient is 1
    y, dz = np.full((2, m, n), 7, dtype)
    gemm(A, B, y, mode=RELU)
    assert not np.signbit(y[-1]).any()
    assert not np.signbit(y[:, -1]).any()
    A[0] = np.nan
    gemm(A, B, y, mode=RELU)
    gemm(A, B, dz, y, RELU_GRADIENT)
    assert np.isnan(y[0]).all()
    assert np.isnan(dz[0]).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (8, 8), (17, 33), (64, 10)], ids=str)
def test_transposition(shape, dtype, rng):
    m, n = shape
    A, C = rng.normal(size=(m, n + 2)).astype(dtype), np.full((n + 1, m + 3), 7, dtype)
    transpose(A.ctypes.data, n + 2, C.ctypes.data, m + 3, m, n, dtype.itemsize, dtype.type(0))
    np.testing.assert_array_equal(C[:n, :m], A[:, :n].T)
    assert (C[n:] == 7).all()
    assert (C[:, m:] == 7).all()


_THIS_FILE = """
import sys
from fastnn.kernels.compiling import jit
assert jit.VECTOR_BYTES == int(sys.argv[1])
import pytest
sys.exit(pytest.main([sys.argv[2], "-q", "-p", "no:cacheprovider", "-n0"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [16, 32])
def test_narrower_vectors(width, tmp_path):
    if width >= microkernel.VECTOR_BYTES:
        pytest.skip("the vectors here are no wider")
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment |= {"NUMBA_CPU_NAME": "generic" if width == 16 else "haswell", "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-c", _THIS_FILE, str(width), __file__]
    run = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
