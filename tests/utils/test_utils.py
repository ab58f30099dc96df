"""Helpers: attribute dictionaries, one-hot rows, preprocessing, gradient checks."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

import fastnn
from fastnn.utils.data_processing import center, normalize, standardize
from fastnn.utils.data_structures import AttrDict, integers_to_one_hot
from fastnn.utils.grad_check import check_gradients

few = settings(deadline=None, max_examples=40)


def test_an_attrdict_is_one_thing_under_two_spellings():
    args = AttrDict({"lr": 0.1}, name="SGD")
    assert (args.lr, args["name"]) == (0.1, "SGD")
    args.lr = 0.2
    args["momentum"] = 0.9
    assert args == {"lr": 0.2, "name": "SGD", "momentum": 0.9}
    assert args.momentum == 0.9
    del args.name
    assert "name" not in args
    with pytest.raises(AttributeError):
        _ = args.name
    assert dict(**args) == {"lr": 0.2, "momentum": 0.9}


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda args: pickle.loads(pickle.dumps(args))]
)
def test_a_copy_of_an_attrdict_is_an_attrdict(duplicate):
    original = AttrDict(lr=0.1)
    args = duplicate(original)
    assert args == {"lr": 0.1}
    assert args.lr == 0.1
    args["momentum"] = 0.9
    assert args.momentum == 0.9
    args.lr = 0.3
    assert args["lr"] == 0.3
    assert original == {"lr": 0.1}


@given(v=st.lists(st.integers(0, 30), min_size=1, max_size=20), extra=st.integers(0, 4))
@few
def test_one_hot_rows(v, extra):
    for given_v in (v, np.array(v, np.uint8), np.array(v, float), np.array(v)[:, None]):
        rows = integers_to_one_hot(given_v)
        assert rows.dtype == np.float64
        np.testing.assert_array_equal(rows, np.eye(max(v) + 1)[v])
        np.testing.assert_array_equal(
            integers_to_one_hot(given_v, max(v) + extra), np.eye(max(v) + extra + 1)[v]
        )


def test_one_hot_rows_of_nothing_and_of_one_number():
    assert integers_to_one_hot([], 2).shape == (0, 3)
    np.testing.assert_array_equal(integers_to_one_hot(2), [[0, 0, 1]])
    np.testing.assert_array_equal(integers_to_one_hot([[2]]), [[0, 0, 1]])


@pytest.mark.parametrize(
    ("v", "max_val", "error", "message"),
    [
        ([0, 3], 2, IndexError, "class 3; there are 3: 0 to 2"),
        ([0, -1], None, IndexError, "class -1"),
        ([0, -1], 5, IndexError, "class -1"),
        ([0.5, 1.0], None, TypeError, "v must hold integers"),
        ([0.0, np.nan], None, TypeError, "v must hold integers"),
        ([0.0, np.inf], None, (TypeError, ValueError, IndexError), r"\bv\b"),
        (["a"], None, TypeError, "v must hold integers"),
        ([[0, 1], [1, 0]], None, ValueError, "v must have one axis"),
        ([], None, ValueError, "v is empty: give max_val"),
    ],
)
def test_what_has_no_one_hot_rows(v, max_val, error, message):
    with pytest.raises(error, match=message):
        integers_to_one_hot(v, max_val)


matrices = st_np.arrays(
    np.float64,
    st_np.array_shapes(min_dims=2, max_dims=3, max_side=6),
    elements=st.floats(-100, 100, width=32),
)


@given(X=matrices, axis=st.sampled_from([0, 1, -1]))
@few
def test_preprocessing_along_an_axis(X, axis):
    before = X.copy()
    X.flags.writeable = False
    n = X.shape[axis]
    mean = np.expand_dims(X.sum(axis=axis) / n, axis)
    std = np.sqrt(np.expand_dims(((X - mean) ** 2).sum(axis=axis) / n, axis))
    low, high = (np.expand_dims(f.reduce(X, axis=axis), axis) for f in (np.minimum, np.maximum))
    spread = np.where(high > low, high - low, 1)
    np.testing.assert_allclose(center(X, axis), X - mean, atol=1e-12)
    np.testing.assert_allclose(standardize(X, axis) * (std + 1e-10), X - mean, atol=1e-9)
    np.testing.assert_allclose(normalize(X, axis), (X - low) / spread, atol=1e-12)
    np.testing.assert_allclose(normalize(X, axis, max_val=255), (X - low) / 255, atol=1e-12)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("function", [center, normalize, standardize])
@pytest.mark.parametrize(
    ("given", "result"), [("uint8", "float64"), ("bool", "float64"), ("float32", "float32")]
)
def test_preprocessing_of_other_dtypes(function, given, result):
    X = np.array([[0, 1], [1, 1], [0, 1]]).astype(given)
    got = function(X)
    assert got.dtype == result
    np.testing.assert_allclose(got, function(X.astype(np.float64)), atol=1e-6)
    np.testing.assert_allclose(got[:, 1], 0, atol=1e-6)
    assert got[1, 0] > got[0, 0]


@pytest.mark.parametrize("function", [center, normalize, standardize])
def test_preprocessing_of_what_are_no_numbers(function):
    with pytest.raises(TypeError, match="X must hold real numbers"):
        function([["a"]])
    with pytest.raises(ValueError, match="X is not a rectangular array"):
        function([[1.0], [1.0, 2.0]])


@given(
    x=st_np.arrays(np.float64, st_np.array_shapes(max_dims=3, max_side=4), elements=st.floats(0.5, 2))
)
@few
def test_a_right_gradient_passes_and_a_wrong_one_is_caught(x):
    before = x.copy()
    dLdf = np.cos(np.arange(x.size)).reshape(x.shape) + 2
    gradient = 3 * x**2 * dLdf
    assert check_gradients(lambda x: x**3, gradient, x, dLdf) < 1e-8
    for wrong in (2 * x**2 * dLdf, 3 * x**2, -gradient, np.zeros_like(x), gradient + 0.01):
        assert check_gradients(lambda x: x**3, wrong, x, dLdf) > 1e-4
    np.testing.assert_array_equal(x, before)


def test_the_relative_difference_is_the_documented_one(rng):
    A, x, dLdf = rng.normal(size=(3, 4)), rng.normal(size=4), rng.normal(size=3)
    gradient = dLdf @ A
    wrong = gradient + rng.normal(size=4)
    expected = np.linalg.norm(gradient - wrong) / np.linalg.norm(gradient + wrong)
    assert np.isclose(check_gradients(lambda x: A @ x, wrong, x, dLdf), expected, rtol=1e-6)


def test_one_wrong_entry_in_a_layers_gradient_is_caught(rng):
    layer = fastnn.FullyConnected(3, "tanh")
    X, dY = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
    layer.forward(X)
    layer.backward(dY)
    for name, gradient in layer.gradients.items():
        fn, param = layer.forward_with_param(name, X), layer.parameters[name]
        right = np.array(gradient)
        assert check_gradients(fn, right, param, dY) < 1e-7
        right[0, -1] *= 1.01
        assert check_gradients(fn, right, param, dY) > 1e-5


def test_a_function_that_returns_its_own_argument():
    x = np.array([1.0, 2.0])
    assert check_gradients(lambda x: x, np.ones(2), x, np.ones(2)) < 1e-9


def test_both_gradients_zero():
    assert check_gradients(lambda x: 0 * x, np.zeros(2), np.ones(2), np.ones(2)) == 0


def test_the_opposite_of_a_small_gradient_is_caught():
    slope, h = 2.0**-40, 2.0**-20  # powers of two: the difference quotient is exact
    relative = check_gradients(lambda x: slope * x, np.array([-slope]), np.zeros(1), np.ones(1), h=h)
    assert relative > 1


def test_a_gradient_of_nan_does_not_pass():
    relative = check_gradients(lambda x: x, np.array([np.nan]), np.ones(1), np.ones(1))
    assert not relative < 1


def test_integers_cannot_be_moved_by_a_small_step():
    with pytest.raises(TypeError, match=r"\bx\b"):
        check_gradients(lambda x: 2.0 * x, np.full(3, 2.0), np.arange(3), np.ones(3))


def test_x_is_put_back_when_the_function_fails():
    x = np.array([1.0, 2.0])

    def fail(x):
        raise RuntimeError("no value")

    with pytest.raises(RuntimeError, match="no value"):
        check_gradients(fail, np.ones(2), x, np.ones(2))
    assert x.tolist() == [1.0, 2.0]
