import numpy as np
import pytest

import fastnn
from fastnn import reference
from fastnn.weights import Constant

ACTIVATIONS = tuple(fastnn.activations.ACTIVATIONS)


def made(n_in=3, n_out=4, activation="tanh", dtype=np.float64):
    """Return a layer that has its parameters, with a bias that is not zero."""
    layer = fastnn.FullyConnected(n_out, activation)
    layer.init_weights.rng = np.random.default_rng(1)
    layer.forward(np.zeros((1, n_in), dtype))
    layer.parameters["b"] = np.linspace(-1, 1, n_out)
    return layer


def twins(activation, n_in, n_out, dtype=np.float64):
    fast = made(n_in, n_out, activation, dtype)
    plain = reference.FullyConnected(n_out, activation)
    plain._init_parameters((1, n_in))
    for name, param in fast.parameters.items():
        plain.parameters[name] = param.astype(np.float64)
    return fast, plain


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 4), (70, 17, 33)])
def test_equals_the_reference(activation, shape, dtype, rng):
    n, n_in, n_out = shape
    fast, plain = twins(activation, n_in, n_out, dtype)
    X = rng.normal(size=(n, n_in)).astype(dtype)
    dY = rng.normal(size=(n, n_out)).astype(dtype)
    results = [(fast.forward(X), plain.forward(X.astype(float)))]
    results += [(fast.backward(dY), plain.backward(dY.astype(float)))]
    results += [(fast.gradients[p], plain.gradients[p]) for p in "Wb"]
    results += [(fast.cache[c], plain.cache[c]) for c in "ZX"]
    tolerance = 2e-4 if dtype == np.float32 else 1e-11
    for got, want in results:
        assert got.dtype == dtype
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["W", "b"])
def test_parameter_gradients_are_those_of_finite_differences(activation, name, rng):
    layer = made(activation=activation)
    X, dY = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
    layer.forward(X)
    layer.backward(dY)
    gradient, value = layer.gradients[name], layer.parameters[name].copy()
    function = layer.forward_with_param(name, X)
    assert fastnn.check_gradients(function, gradient, value, dY) < 1e-7


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_input_gradient_is_that_of_finite_differences(activation, rng):
    layer = made(activation=activation)
    X, dY = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
    layer.forward(X)
    assert fastnn.check_gradients(layer.forward, layer.backward(dY), X, dY) < 1e-7


def test_attributes_before_and_after_the_first_forward():
    layer = fastnn.FullyConnected(4, "relu")
    assert (layer.n_in, layer.n_out) == (None, 4)
    assert type(layer.activation) is fastnn.ReLU
    assert not layer.parameters
    layer.forward(np.zeros((2, 3)))
    assert (layer.n_in, layer.n_out) == (3, 4)
    assert list(layer.parameters) == list(layer.gradients) == ["W", "b"]
    assert list(layer.cache) == ["Z", "X"]
    assert layer.parameters["W"].shape == (3, 4)
    assert layer.parameters["b"].tolist() == [[0, 0, 0, 0]]
    assert all(not g.any() for g in layer.gradients.values())
    for got, kept in (
        (layer._get_parameters(), layer.parameters),
        (layer._get_cache(), layer.cache),
        (layer._get_gradients(), layer.gradients),
    ):
        assert type(got) is list
        assert all(a is b for a, b in zip(got, kept.values(), strict=True))


def test_parameters_can_be_made_by_hand():
    layer = fastnn.FullyConnected(4, "relu", weight_init="ones")
    layer._init_parameters((10, 3))
    assert layer.n_in == 3
    assert layer.parameters["W"].tolist() == np.ones((3, 4)).tolist()
    assert layer.cache == {"Z": [], "X": []}


def test_weights_are_drawn_once_and_as_in_the_reference():
    X = np.zeros((2, 3))
    layer, plain = fastnn.FullyConnected(4, "relu"), reference.FullyConnected(4, "relu")
    np.random.seed(3)
    plain.forward(X)
    np.random.seed(3)
    layer.forward(X)
    np.testing.assert_array_equal(layer.parameters["W"], plain.parameters["W"])
    state = np.random.get_state()[1].copy()
    layer.forward(X)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_objects_in_place_of_names():
    activation = fastnn.Sigmoid()
    layer = fastnn.FullyConnected(2, activation, weight_init=Constant(0.25))
    layer.forward([[1.0]])
    assert layer.activation is activation
    assert layer.parameters["W"].tolist() == [[0.25, 0.25]]


@pytest.mark.parametrize(
    ("first", "dtype"),
    [("float32", "float32"), ("float64", "float64"), ("float16", "float32"), ("int8", "float64")],
)
def test_parameters_take_the_dtype_of_the_first_input(first, dtype):
    layer = fastnn.FullyConnected(4, "relu")
    layer.forward(np.ones((2, 3), first))
    assert {p.dtype for p in layer.parameters.values()} == {np.dtype(dtype)}
    assert {g.dtype for g in layer.gradients.values()} == {np.dtype(dtype)}


@pytest.mark.parametrize("later", ["float32", "float64", "uint8", "bool"])
def test_later_inputs_are_computed_in_that_dtype(later, dtype):
    layer = made(dtype=dtype)
    X = np.array([[0, 1, 1]], later)
    out = layer.forward(X)
    assert out.dtype == layer.cache["X"].dtype == layer.backward(np.ones((1, 4))).dtype == dtype
    np.testing.assert_array_equal(out, layer.forward(X.astype(dtype)))


def test_float16_in_float16_out():
    layer = made(dtype=np.float32)
    X, dY = np.ones((2, 3), np.float16), np.ones((2, 4), np.float16)
    assert layer.forward(X).dtype == np.float16
    assert layer.backward(dY).dtype == np.float16
    assert layer.gradients["W"].dtype == np.float32


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: a.astype(">f8"),
        lambda a: a.tolist(),
    ],
    ids=["fortran", "strided", "reversed", "big-endian", "list"],
)
def test_layouts_give_the_bits_of_the_contiguous_copy(change, rng):
    layer = made()
    X, dY = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
    want = [layer.forward(X), layer.backward(dY), layer.gradients["W"], layer.gradients["b"]]
    odd_X, odd_dY = change(X), change(dY)
    got = [layer.forward(odd_X), layer.backward(odd_dY)]
    got += [layer.gradients["W"], layer.gradients["b"]]
    assert [g.tobytes() for g in got] == [w.tobytes() for w in want]
    np.testing.assert_array_equal(odd_X, X)
    np.testing.assert_array_equal(odd_dY, dY)


# Assignment into layer.parameters.


def test_an_assigned_array_is_used(rng):
    layer = made(activation="linear")
    X, W = rng.normal(size=(5, 3)), rng.normal(size=(3, 4))
    layer.parameters["W"] = W
    layer.parameters["b"] = np.zeros(4)
    np.testing.assert_allclose(layer.forward(X), X @ W, rtol=1e-12)
    dY = rng.normal(size=(5, 4))
    np.testing.assert_allclose(layer.backward(dY), dY @ W.T, rtol=1e-12)


@pytest.mark.parametrize("view", [lambda a: a, lambda a: a[:, :]], ids=["array", "view"])
def test_an_assigned_array_is_copied(view):
    layer = made()
    W = np.ones((3, 4))
    layer.parameters["W"] = view(W)
    layer.parameters["W"] -= 1
    assert (W == 1).all()
    W[:] = 7
    assert (layer.parameters["W"] == 0).all()


def test_changing_parameters_in_place_is_honoured():
    layer = made(activation="linear")
    layer.parameters["W"][:] = 0
    layer.parameters["b"] += 2 - layer.parameters["b"]
    assert layer.forward(np.ones((1, 3))).tolist() == [[2, 2, 2, 2]]


def test_an_assigned_array_takes_the_dtype_there(dtype):
    layer = made(dtype=dtype)
    layer.parameters["W"] = np.ones((3, 4), np.int32)
    layer.parameters["b"] = [1, 2, 3, 4]
    assert layer.parameters["W"].dtype == layer.parameters["b"].dtype == dtype
    assert layer.parameters["b"].tolist() == [[1, 2, 3, 4]]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("W", np.zeros((4, 3)), ValueError),
        ("W", np.zeros(4), ValueError),
        ("W", 0.0, ValueError),
        ("b", np.zeros((4, 1)), ValueError),
        ("b", np.zeros(3), ValueError),
        ("W", [[1, 2], [3]], ValueError),
        ("W", np.zeros((3, 4), complex), TypeError),
        ("b", ["a"] * 4, TypeError),
    ],
    ids=["transposed", "flat", "number", "column", "short", "ragged", "complex", "str"],
)
def test_a_wrong_assignment_changes_nothing(name, value, error):
    layer = made()
    before = layer.parameters[name].copy()
    with pytest.raises(error, match=rf"parameters\['{name}'\]"):
        layer.parameters[name] = value
    np.testing.assert_array_equal(layer.parameters[name], before)


def test_update_by_mapping_is_checked_like_assignment():
    layer = made()
    with pytest.raises(ValueError, match=r"parameters\['W'\]"):
        layer.parameters.update(W=np.zeros((4, 3)))


def test_forward_with_param_leaves_the_parameter(rng):
    layer = made()
    W = layer.parameters["W"]
    before = W.copy()
    X = rng.normal(size=(2, 3))
    moved = layer.forward_with_param("W", X)(W + 1)
    assert layer.parameters["W"] is W
    np.testing.assert_array_equal(W, before)
    assert np.abs(moved - layer.forward(X)).max() > 0.01


# What the caller was handed stays as it is.


def test_arrays_handed_out_outlive_later_calls(rng):
    layer = made(activation="sigmoid")
    handed = []
    for _ in range(2):
        X, dY = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
        arrays = [X, dY, layer.forward(X), layer.backward(dY)]
        arrays += [*layer.cache.values(), *layer.gradients.values()]
        handed.append((arrays, [a.copy() for a in arrays]))
    layer.clear_gradients()
    layer.parameters["W"] = np.zeros((3, 4))
    for arrays, copies in handed:
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


def test_a_linear_layers_output_may_be_written(rng):
    layer = made(activation="linear")
    X, dY = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
    before = X.copy()
    out = layer.forward(X)
    out[:] = 0
    dX = layer.backward(dY)
    dX[:] = 0
    np.testing.assert_allclose(layer.gradients["W"], before.T @ dY, rtol=1e-12)
    np.testing.assert_array_equal(X, before)


def test_clear_gradients(rng):
    layer = made()
    layer.forward(rng.normal(size=(5, 3)))
    layer.backward(rng.normal(size=(5, 4)))
    old = layer.gradients["W"]
    layer.clear_gradients()
    assert layer.cache == {"Z": [], "X": []}
    assert list(layer.gradients) == ["W", "b"]
    assert not layer.gradients["W"].any()
    assert layer.gradients["b"].shape == (1, 4)
    assert old.any()


def test_an_empty_batch_has_zero_gradients(dtype):
    layer = made(dtype=dtype)
    assert layer.forward(np.empty((0, 3), dtype)).shape == (0, 4)
    assert layer.backward(np.empty((0, 4), dtype)).shape == (0, 3)
    assert layer.gradients["W"].tolist() == np.zeros((3, 4)).tolist()
    assert layer.gradients["b"].tolist() == np.zeros((1, 4)).tolist()


# Errors.


def test_backward_needs_a_forward():
    with pytest.raises(RuntimeError, match="forward"):
        fastnn.FullyConnected(4, "relu").backward(np.zeros((1, 4)))
    layer = made()
    layer.clear_gradients()
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(np.zeros((1, 4)))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.zeros((2, 5)), ValueError, "5 features.*needs 3"),
        (np.zeros(3), ValueError, r"\(batch, features\).*\(3,\)"),
        (np.zeros((1, 2, 3)), ValueError, r"\(1, 2, 3\)"),
        (1.0, ValueError, r"\bX\b"),
        (np.zeros((2, 0)), ValueError, r"X .*feature"),
        ([[1, 2], [3]], ValueError, r"\bX\b"),
        ([["a", "b", "c"]], TypeError, r"\bX\b"),
        ([[1j, 0, 0]], TypeError, r"\bX\b"),
        ([[None, 0, 0]], TypeError, r"\bX\b"),
    ],
    ids=["width", "1-d", "3-d", "number", "empty", "ragged", "str", "complex", "object"],
)
def test_bad_input_leaves_the_layer_as_it_was(X, error, message):
    layer = made()
    layer.forward(np.ones((2, 3)))
    cache = dict(layer.cache)
    with pytest.raises(error, match=message):
        layer.forward(X)
    assert all(layer.cache[name] is cache[name] for name in cache)
    if message != "5 features.*needs 3":
        new = fastnn.FullyConnected(4, "relu")
        with pytest.raises(error, match=message):
            new.forward(X)
        assert new.n_in is None
        assert not new.parameters


@pytest.mark.parametrize(
    ("dY", "error"),
    [
        (np.zeros((2, 3)), ValueError),
        (np.zeros((1, 4)), ValueError),
        (np.zeros(4), ValueError),
        ([[1], [2, 3]], ValueError),
        ([["a"] * 4] * 2, TypeError),
    ],
    ids=["width", "rows", "1-d", "ragged", "str"],
)
def test_bad_output_gradient_leaves_the_gradients(dY, error):
    layer = made()
    layer.forward(np.ones((2, 3)))
    with pytest.raises(error, match="dLdY"):
        layer.backward(dY)
    assert not layer.gradients["W"].any()


@pytest.mark.parametrize(
    ("n_out", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), ("3", TypeError)]
)
def test_bad_width(n_out, error):
    with pytest.raises(error, match="n_out"):
        fastnn.FullyConnected(n_out, "relu")


def test_a_layer_without_width_says_so():
    with pytest.raises(ValueError, match="n_out is None"):
        fastnn.FullyConnected(None, "relu").forward(np.zeros((2, 3)))


def test_preset_weights_of_the_wrong_shape():
    layer = fastnn.FullyConnected(4, "relu", weight_init=fastnn.Preset(np.zeros((2, 4))))
    with pytest.raises(ValueError, match=r"\(2, 4\).*\(3, 4\)"):
        layer.forward(np.zeros((1, 3)))
    assert layer.n_in is None
    assert layer.forward(np.zeros((1, 2))).shape == (1, 4)


@pytest.mark.parametrize("kind", ["activation", "weight_init"])
def test_unknown_names(kind):
    arguments = {"n_out": 2, "activation": "relu", kind: "nope"}
    with pytest.raises(NotImplementedError, match=r"'nope'; known: "):
        fastnn.FullyConnected(**arguments)


def test_layers_by_name():
    layer = fastnn.initialize_layer("fully_connected", "relu", "zeros", 3, (2, 2), 1, "same")
    assert isinstance(layer, fastnn.FullyConnected)
    assert layer.n_out == 3
    assert not layer.forward(np.ones((1, 2))).any()
    with pytest.raises(NotImplementedError, match="'fully_connected'"):
        fastnn.initialize_layer("dense", "relu")
