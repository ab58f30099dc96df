"""The corners of the softmax family, in both dtypes; see also tests/test_edge_cases.py."""

import numpy as np
import pytest

import fastnn
from fastnn import reference
from fastnn.kernels.cross_entropy import softmax_cross_entropy, softmax_cross_entropy_short
from fastnn.kernels.elementary import math as kernel_math
from fastnn.kernels.softmax import log_softmax, softmax, softmax_backward


def run(z):
    out = np.empty_like(z)
    softmax(z, out)
    return out


def test_rows_that_have_no_softmax_are_nan_and_alone(dtype):
    z = np.zeros((6, 4), dtype)
    z[1, 2], z[2, 0], z[3, :], z[4, 1] = np.nan, np.inf, -np.inf, -np.inf
    out = run(z)
    assert np.isnan(out[[1, 2, 3]]).all()
    assert out[4].tolist() == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3])
    assert out[4, 1] == 0
    assert (out[[0, 5]] == 0.25).all()


@pytest.mark.parametrize("k", [1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 1000])
def test_rows_of_any_length(k, dtype, rng):
    z = rng.normal(scale=3, size=(9, k)).astype(dtype)
    dy = rng.normal(size=(9, k)).astype(dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(run(z), reference.SoftMax().forward(z), rtol=tolerance)
    out = np.empty_like(z)
    softmax_backward(z, dy, out)
    np.testing.assert_allclose(out, reference.SoftMax().backward(z, dy), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("k", [10, 100])
@pytest.mark.parametrize("offset", [-3000, -90, -40, -7, 7, 40, 90, 3000])
def test_an_offset_that_adds_exactly_changes_nothing(k, offset, dtype, rng):
    z = (rng.integers(-(2**14), 2**14, (6, k)) / 2**11).astype(dtype)
    shifted, eps = z + dtype.type(offset), float(np.finfo(dtype).eps)
    out, expected = np.empty((2, *z.shape), dtype)
    for kernel in (softmax, log_softmax):
        kernel(z, expected)
        kernel(shifted, out)
        np.testing.assert_allclose(out, expected, rtol=8 * eps)
    loss = softmax_cross_entropy(z, expected, 1, out)
    assert softmax_cross_entropy(shifted, expected, 1, out) == pytest.approx(loss, rel=8 * eps)


def test_extreme_logits_give_exact_limits(dtype):
    big = dtype.type(1e4 if dtype == np.float32 else 1e300)
    z = np.array([[big, -big, 0]], dtype)
    assert run(z).tolist() == [[1, 0, 0]]
    out = np.empty_like(z)
    wrong = np.array([[0, 1, 0]], dtype)
    assert softmax_cross_entropy(z, wrong, 1, out) == 2 * float(big)
    assert out.tolist() == [[1, -1, 0]]


def test_a_class_without_weight_may_be_impossible(dtype):
    z = np.array([[0, -np.inf]], dtype)
    out = np.empty_like(z)
    assert softmax_cross_entropy(z, np.array([[1, 0]], dtype), 1, out) == 0
    assert out.tolist() == [[0, 0]]
    assert softmax_cross_entropy(z, np.array([[0, 1]], dtype), 1, out) == np.inf


@pytest.mark.parametrize(("name", "exact"), [("tanh", np.tanh), ("exp", np.exp)])
def test_elementary_functions_are_accurate_to_two_ulp(name, exact, dtype):
    limit = 80 if dtype == np.float32 else 700
    x = np.concatenate([np.linspace(-limit, limit, 2001), np.geomspace(1e-30, 1, 500)])
    x = x.astype(dtype)
    if np.finfo(np.longdouble).eps == np.finfo(dtype).eps:
        pytest.skip("no wider floats here to compare with; tests/accuracy has its own")
    got = np.array([getattr(kernel_math, name)(v) for v in x], np.longdouble)
    want = exact(x.astype(np.longdouble))
    ulp = np.spacing(np.abs(want.astype(dtype)))
    assert np.max(np.abs(got - want) / ulp) <= 2.5


def test_softmax_over_the_last_axis_of_any_rank(rng):
    z = rng.normal(size=(2, 3, 4))
    out = fastnn.SoftMax()(z)
    np.testing.assert_allclose(out.sum(axis=-1), 1)
    np.testing.assert_allclose(out[1, 2], fastnn.SoftMax()(z[1, 2]))


def test_rows_that_are_no_lanes_are_left_alone(dtype, rng):
    z, y = rng.normal(size=(2, 200, 1000)).astype(dtype)
    out = np.ones_like(z)
    assert np.isnan(softmax_cross_entropy_short(z, y, 200, out))
    assert (out == 1).all()
