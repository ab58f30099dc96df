"""The numerical contract's edge cases on functions of rows: log-softmax, cross-entropy from logits.

Those of softmax, layers and networks are in test_edge_cases.py and test_input_forms.py.
"""

import math
from importlib import import_module

import numpy as np
import pytest

import fastnn

WIDTHS = [2, 5, 40, 200]
NO_SOFTMAX = [math.nan, math.inf, -math.inf, (math.inf, -math.inf)]


@pytest.fixture
def log_softmax():
    return fastnn.LogSoftMax()


@pytest.fixture
def cross_entropy():
    return import_module("fastnn.functional").softmax_cross_entropy


def spoil(Z, row, bad):
    """Return a copy in which a row begins with what leaves it without softmax, or is all -inf."""
    odd = Z.copy()
    odd[row, : np.size(bad) if bad != -math.inf else Z.shape[1]] = bad
    return odd


def assert_nan_in_one_row(got, clean, row):
    assert np.isnan(got[row]).all()
    assert np.delete(got, row, 0).tobytes() == np.delete(clean, row, 0).tobytes()


def targets(kind, n, k, dtype):
    labels = np.arange(n) % k
    if kind == "labels":
        return labels
    rows = np.eye(k, dtype=dtype)[labels]
    return rows if kind == "one-hot" else rows * dtype.type(0.75) + dtype.type(0.25 / k)


@pytest.fixture(params=["labels", "one-hot", "soft"])
def kind(request):
    return request.param


# A row with NaN, of nothing but -inf, with +inf.


@pytest.mark.parametrize("k", WIDTHS)
@pytest.mark.parametrize("bad", NO_SOFTMAX, ids=repr)
@pytest.mark.parametrize("row", [0, 3, 6])
def test_log_softmax_of_a_row_that_has_none_is_nan_and_alone(bad, k, row, log_softmax, dtype, rng):
    Z, dY = rng.normal(size=(2, 7, k)).astype(dtype)
    odd = spoil(Z, row, bad)
    assert_nan_in_one_row(log_softmax(odd), log_softmax(Z), row)
    assert_nan_in_one_row(log_softmax.backward(odd, dY), log_softmax.backward(Z, dY), row)


@pytest.mark.parametrize("k", WIDTHS)
@pytest.mark.parametrize("bad", NO_SOFTMAX, ids=repr)
def test_the_loss_of_such_a_row_is_nan_and_its_gradient_alone(bad, k, kind, cross_entropy, dtype, rng):
    Z, Y = rng.normal(size=(7, k)).astype(dtype), targets(kind, 7, k, dtype)
    for row in (0, 3, 6):
        loss, gradient = cross_entropy(spoil(Z, row, bad), Y)
        assert math.isnan(loss)
        assert_nan_in_one_row(gradient, cross_entropy(Z, Y)[1], row)


# Some -inf in a row.


@pytest.mark.parametrize("k", [3, 40, 200])
def test_log_softmax_with_some_minus_infinity_is_that_of_the_rest(k, log_softmax, dtype, rng):
    Z, dY = rng.normal(size=(2, 6, k)).astype(dtype)
    gone = np.arange(k) % 3 == 1
    Z[:, gone], dY[:, gone] = -np.inf, 0
    rest, rest_dY = Z[:, ~gone], dY[:, ~gone]
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    out, gradient = log_softmax(Z), log_softmax.backward(Z, dY)
    assert (out[:, gone] == -np.inf).all()
    assert (gradient[:, gone] == 0).all()
    for got, wanted in ((out, log_softmax(rest)), (gradient, log_softmax.backward(rest, rest_dY))):
        np.testing.assert_allclose(got[:, ~gone], wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("k", [3, 40, 200])
def test_an_impossible_class_costs_nothing_unless_it_is_the_target(k, cross_entropy, dtype, rng):
    Z, labels = rng.normal(size=(6, k)).astype(dtype), np.zeros(6, int)
    Z[:, 1] = -np.inf
    loss, gradient = cross_entropy(Z, labels)
    wanted, _ = cross_entropy(np.delete(Z, 1, 1), labels)
    assert loss == pytest.approx(wanted, rel=1e-6)
    assert not gradient[:, 1].any()
    loss, gradient = cross_entropy(Z, labels + 1)
    assert loss == math.inf
    np.testing.assert_allclose(gradient[:, 1], -1 / 6, rtol=1e-6)


# Huge logits.


def test_log_softmax_of_huge_logits_is_exact(log_softmax, dtype):
    big = 1e4 if dtype == np.float32 else 1e300
    Z = np.array([[big, -big, 0]] * 5, dtype)
    assert log_softmax(Z).tolist() == [[0, -2 * big, -big]] * 5
    assert log_softmax.backward(Z, np.ones_like(Z)).tolist() == [[-2, 1, 1]] * 5


def test_log_softmax_keeps_the_digits_of_a_probability_near_one(log_softmax, dtype):
    gap = 80 if dtype == np.float32 else 700
    out = log_softmax(np.array([[gap, 0.0]], dtype))
    assert float(out[0, 0]) == pytest.approx(-math.exp(-gap), rel=1e-6)


def test_the_loss_of_huge_logits_is_exact(kind, cross_entropy, dtype):
    big = 1e4 if dtype == np.float32 else 1e300
    Z, Y = np.array([[-big, big, 0]] * 3, dtype), targets(kind, 3, 3, dtype)
    loss, gradient = cross_entropy(Z, Y)
    rows = np.eye(3)[Y] if kind == "labels" else Y.astype(float)
    assert loss == pytest.approx(np.sum(rows * [2 * big, 0, big]) / 3, rel=1e-6)
    np.testing.assert_allclose(gradient, ([0, 1, 0] * rows.sum(1, keepdims=True) - rows) / 3, rtol=1e-6)


# No rows, no classes, no numbers.


def test_a_loss_over_no_rows_is_nan_and_its_gradient_empty(kind, cross_entropy, dtype):
    loss, gradient = cross_entropy(np.empty((0, 3), dtype), targets(kind, 0, 3, dtype))
    assert math.isnan(loss)
    assert gradient.shape == (0, 3)
    assert gradient.dtype == dtype


def test_no_classes(log_softmax, cross_entropy):
    with pytest.raises(ValueError, match=r"\bZ\b"):
        log_softmax(np.empty((3, 0)))
    with pytest.raises(ValueError, match=r"\bZ\b"):
        cross_entropy(np.empty((3, 0)), np.empty((3, 0)))


@pytest.mark.parametrize("label", [-1, 3, 2**40])
def test_a_class_out_of_range(label, cross_entropy):
    with pytest.raises(IndexError, match=str(label)):
        cross_entropy(np.zeros((2, 3)), [0, label])


@pytest.mark.parametrize(
    ("Z", "Y", "error"),
    [
        ([["a", "b"]], [0], TypeError),
        ([[1j, 2]], [0], TypeError),
        ([[1.0, 2], [3]], [0, 0], ValueError),
        ([[1.0, 2]], np.array([None]), TypeError),
        ([[1.0, 2]], [0, 1], ValueError),
        ([[1.0, 2]], [[0, 1, 0]], ValueError),
        ([1.0, 2], [0, 1], ValueError),
        (np.broadcast_to(np.float32(0), (1, 2**31)), [0], ValueError),
    ],
    ids=["str", "complex", "ragged", "object", "rows", "width", "rank", "beyond 32 bits"],
)
def test_what_is_no_batch_of_logits_and_targets(Z, Y, error, cross_entropy):
    with pytest.raises(error, match=r"\b[ZY]\b"):
        cross_entropy(Z, Y)


# Any dtype and layout.


@pytest.mark.parametrize("name", ["int8", "uint8", "int64", "bool"])
def test_integer_logits_are_converted_before_any_arithmetic(name, kind, cross_entropy):
    Z = np.random.default_rng(1).integers(0, 256, (6, 3)).astype(name)
    Y = targets(kind, 6, 3, np.dtype(float))
    loss, gradient = cross_entropy(Z, Y)
    wanted, wanted_gradient = cross_entropy(Z.astype(float), Y)
    assert loss == wanted
    assert gradient.tobytes() == wanted_gradient.tobytes()


def test_float16_logits_are_computed_in_float32(cross_entropy, rng):
    Z, labels = rng.normal(size=(6, 3)).astype(np.float16), targets("labels", 6, 3, None)
    loss, gradient = cross_entropy(Z, labels)
    wanted, wanted_gradient = cross_entropy(Z.astype(np.float32), labels)
    assert loss == wanted
    assert gradient.tobytes() == wanted_gradient.astype(np.float16).tobytes()


def unusual(a):
    """Yield the same numbers big-endian, in Fortran order, strided, misaligned and read-only."""
    yield a.astype(a.dtype.newbyteorder(">"))
    yield np.asfortranarray(a)
    yield np.repeat(a, 3, axis=0)[::3]
    shifted = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    shifted[...] = a
    yield shifted
    fixed = a.copy()
    fixed.flags.writeable = False
    yield fixed


def test_any_layout_gives_the_same_loss_and_gradient(kind, cross_entropy, dtype, rng):
    Z, Y = rng.normal(size=(6, 3)).astype(dtype), targets(kind, 6, 3, dtype)
    loss, gradient = cross_entropy(Z, Y)
    for odd_Z, odd_Y in zip(unusual(Z), unusual(Y), strict=True):
        got, got_gradient = cross_entropy(odd_Z, odd_Y)
        assert got == loss
        assert got_gradient.tobytes() == gradient.tobytes()
        np.testing.assert_array_equal(odd_Z, Z)
        np.testing.assert_array_equal(odd_Y, Y)


@pytest.mark.parametrize("k", [3, 300], ids=["short", "long"])
def test_a_class_of_weight_0_adds_nothing_at_minus_inf(k, cross_entropy, dtype):
    Z = np.zeros((2, k), dtype)
    Z[:, 1] = -np.inf
    weights = np.ones(k)
    weights[1] = 0
    loss, dZ = cross_entropy(Z, np.array([0, 2]), class_weight=weights, label_smoothing=0.1)
    np.testing.assert_allclose(loss, np.log(k - 1) * (0.9 + 0.1 * (k - 1) / k), rtol=1e-6)
    assert np.all(dZ[:, 1] == 0)
