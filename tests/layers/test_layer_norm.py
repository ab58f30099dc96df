"""Layer normalisation: formulas, gradients, accuracy far from zero, and what the layer checks."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import reference
from fastnn.kernels.compiling import target
from fastnn.kernels.layers import layer_norm as kernels

TOLERANCES = {"float32": 1e-6, "float64": 1e-12}
SHAPES = [(1, 1), (1, 7), (5, 1), (7, 2), (64, 10), (65, 17), (200, 64), (130, 100), (3, 2500)]


def close(got, expected, dtype):
    """Assert that arrays agree, relative to the largest value."""
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max(initial=0) <= TOLERANCES[dtype.name] * scale


def made(d, rng, dtype="float64", eps=1e-5):
    """Return a layer whose parameters are not those it starts with, and its twin in longdouble."""
    layer, plain = fastnn.LayerNorm(eps), reference.LayerNorm(eps)
    layer.forward(np.zeros((1, d), dtype))
    plain.forward(np.zeros((1, d), np.longdouble))
    for name in ("gain", "shift"):
        layer.parameters[name] = rng.normal(size=(1, d))
        plain.parameters[name] = layer.parameters[name].astype(np.longdouble)
    return layer, plain


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_layer_is_the_formula(shape, dtype, rng):
    layer, plain = made(shape[-1], rng, dtype)
    X, dY = rng.normal(size=(2, *shape)).astype(dtype)
    wide = X.astype(np.longdouble)
    Y, expected = layer.forward(X), plain.forward(wide)
    assert Y.dtype == dtype
    close(Y, expected, dtype)
    dX, expected = layer.backward(dY), plain.backward(dY.astype(np.longdouble))
    assert dX.dtype == dtype
    if shape[-1] > 2:  # with one or two features dX is next to 0, a difference of equal terms
        close(dX, expected, dtype)
    for name in ("gain", "shift"):
        assert layer.gradients[name].dtype == dtype
        close(layer.gradients[name], plain.gradients[name], dtype)


def test_more_than_two_axes(dtype, rng):
    layer, plain = made(6, rng, dtype)
    X, dY = rng.normal(size=(2, 4, 5, 6)).astype(dtype)
    close(layer.forward(X), plain.forward(X.astype(np.longdouble)), dtype)
    close(layer.backward(dY), plain.backward(dY.astype(np.longdouble)), dtype)
    flat = copy.deepcopy(layer)
    flat.forward(X.reshape(-1, 6))
    flat.backward(dY.reshape(-1, 6))
    for name in ("gain", "shift"):
        np.testing.assert_array_equal(layer.gradients[name], flat.gradients[name])


@pytest.mark.parametrize("d", [3, 64, 1000, 3000])
def test_rows_far_from_zero_lose_no_digits(d, dtype, rng):
    layer, plain = made(d, rng, dtype)
    X = (1e4 + rng.normal(size=(20, d))).astype(dtype)
    dY = rng.normal(size=(20, d)).astype(dtype)
    close(layer.forward(X), plain.forward(X.astype(np.longdouble)), dtype)
    close(layer.backward(dY), plain.backward(dY.astype(np.longdouble)), dtype)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4, -3e7])
@pytest.mark.parametrize("d", [1, 2, 30, 100])
def test_constant_rows_give_the_shift(d, value, dtype, rng):
    layer, _ = made(d, rng, dtype)
    Y = layer.forward(np.full((3, d), value, dtype))
    np.testing.assert_array_equal(Y, np.repeat(layer.parameters["shift"], 3, axis=0))
    assert np.isfinite(layer.backward(np.ones((3, d), dtype))).all()
    assert not layer.gradients["gain"].any()


def test_no_rows(dtype):
    layer = fastnn.LayerNorm()
    assert layer.forward(np.zeros((0, 3), dtype)).shape == (0, 3)
    assert layer.backward(np.zeros((0, 3), dtype)).shape == (0, 3)
    assert not layer.gradients["gain"].any()
    assert not layer.gradients["shift"].any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_nan_and_no_other_is(value, dtype, rng):
    X = rng.normal(size=(9, 20)).astype(dtype)
    clean = fastnn.LayerNorm().forward(X)
    X[4, 7] = value
    layer = fastnn.LayerNorm()
    with np.errstate(invalid="ignore"):  # of NumPy, where nothing is compiled
        Y, dX = layer.forward(X), layer.backward(np.ones((9, 20), dtype))
    for got in (Y, dX):
        assert np.isnan(got).all(axis=1).tolist() == [i == 4 for i in range(9)]
        assert not np.isnan(np.delete(got, 4, axis=0)).any()
    np.testing.assert_array_equal(np.delete(Y, 4, axis=0), np.delete(clean, 4, axis=0))


def test_eps_0_is_taken_as_it_is():
    with np.errstate(all="ignore"):
        Y = fastnn.LayerNorm(0.0).forward([[1.0, 3.0], [2.0, 2.0]])
    np.testing.assert_allclose(Y[0], [-1, 1], rtol=1e-15)
    assert np.isnan(Y[1]).all()


@pytest.mark.parametrize("shape", [(5, 4), (3, 1), (2, 3, 4)], ids=str)
def test_gradients_are_those_of_finite_differences(shape, rng):
    layer, _ = made(shape[-1], rng, eps=0.1)
    X, dY = rng.normal(size=(2, *shape))
    layer.forward(X)
    dX = layer.backward(dY)
    assert fastnn.check_gradients(layer.forward, dX, X, dY) < 1e-7
    for name in ("gain", "shift"):
        gradient, value = layer.gradients[name].copy(), layer.parameters[name].copy()
        function = layer.forward_with_param(name, X)
        assert fastnn.check_gradients(function, gradient, value, dY) < 1e-7


def test_the_layer_is_pytorchs(dtype, rng):
    torch = pytest.importorskip("torch")
    X, dY = (3 + rng.normal(size=(2, 70, 50))).astype(dtype)
    layer, _ = made(50, rng, dtype)
    theirs = torch.nn.LayerNorm(50, dtype=getattr(torch, dtype.name))
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(layer.parameters["gain"][0].copy()))
        theirs.bias.copy_(torch.from_numpy(layer.parameters["shift"][0].copy()))
    x = torch.from_numpy(X).requires_grad_()
    y = theirs(x)
    y.backward(torch.from_numpy(dY))
    close(layer.forward(X), y.detach().numpy(), dtype)
    close(layer.backward(dY), x.grad.numpy(), dtype)
    close(layer.gradients["gain"][0], theirs.weight.grad.numpy(), dtype)
    close(layer.gradients["shift"][0], theirs.bias.grad.numpy(), dtype)


# The kernels, which the compiled step calls on blocks of rows.


def statistics(x):
    gain = np.ones((1, x.shape[1]), x.dtype)
    kept = np.empty((len(x), 3))
    kernels.layer_norm(x, gain, gain, 1e-5, kept, np.empty_like(x))
    return kept


def test_blocks_of_rows_add_up_to_the_whole(dtype, rng):
    n, d = 200, 33
    x, dy = rng.normal(size=(2, n, d)).astype(dtype)
    gain = rng.normal(size=(1, d)).astype(dtype)
    blocks = -(-n // kernels.ROWS)
    dx, parts = np.empty_like(x), np.empty((2, blocks, d), dtype)
    kept = statistics(x)
    kernels.layer_norm_backward(x, gain, kept, dy, dx, parts[0], parts[1])
    for i in range(blocks):
        rows = slice(i * kernels.ROWS, (i + 1) * kernels.ROWS)
        own, sums = np.empty_like(x[rows]), np.empty((2, 1, d), dtype)
        kernels.layer_norm_backward(x[rows], gain, kept[rows], dy[rows], own, sums[0], sums[1])
        np.testing.assert_array_equal(own, dx[rows])
        np.testing.assert_array_equal(sums[:, 0], parts[:, i])


def test_one_block_sums_all_rows_in_their_order(dtype, rng):
    x, dy = rng.normal(size=(2, 300, 5)).astype(dtype)
    dx, dgain, dshift = np.empty_like(x), np.empty((1, 5), dtype), np.empty((1, 5), dtype)
    kernels.layer_norm_backward(x, np.ones((1, 5), dtype), statistics(x), dy, dx, dgain, dshift)
    expected = np.zeros(5, dtype)
    for row in dy:
        expected += row
    np.testing.assert_array_equal(dshift[0], expected)


def test_the_output_may_be_the_input(dtype, rng):
    x, gain, shift = rng.normal(size=(20, 9)).astype(dtype), *np.ones((2, 1, 9), dtype)
    expected = np.empty_like(x)
    kernels.layer_norm(x, gain, shift, 1e-5, np.empty((20, 3)), expected)
    kernels.layer_norm(x, gain, shift, 1e-5, np.empty((20, 3)), x)
    np.testing.assert_array_equal(x, expected)


@pytest.mark.skipif(not target.FUSED, reason="a multiply-add is a call here, or nothing is compiled")
def test_all_loops_use_full_vectors(dtype):
    from fastnn.cli import inspection

    x, row, kept = np.ones((4, 4), dtype), np.ones((1, 4), dtype), np.ones((4, 3))
    for kernel, arguments in (
        (kernels.layer_norm, (x, row, row, 1e-5, kept, x)),
        (kernels.layer_norm_backward, (x, row, kept, x, x, row, row)),
    ):
        code = inspection.inspect(kernel, *arguments)
        assert inspection.problems(code) == []


# The layer.


def test_attributes_before_and_after_the_first_forward(dtype):
    layer = fastnn.LayerNorm()
    assert (layer.n_in, layer.n_out, layer.dtype) == (None, None, None)
    assert not layer.parameters
    layer.forward(np.zeros((2, 3), dtype))
    assert (layer.n_in, layer.n_out, layer.dtype) == (3, 3, dtype)
    assert list(layer.parameters) == list(layer.gradients) == ["gain", "shift"]
    assert layer.parameters["gain"].tolist() == [[1, 1, 1]]
    assert layer.parameters["shift"].tolist() == [[0, 0, 0]]
    assert list(layer.cache) == ["X", "statistics"]
    assert layer.penalised == ()
    assert not layer.buffers
    layer.clear_gradients()
    assert layer.cache == {"X": [], "statistics": []}


def test_parameters_before_the_layer_is_used():
    layer = fastnn.LayerNorm()
    shapes = layer.parameter_shapes((5, 4))
    parameters = layer.initial_parameters((5, 4), np.dtype("float32"))
    assert {name: array.shape for name, array in parameters.items()} == shapes
    assert all(array.dtype == np.float32 for array in parameters.values())
    assert layer.n_in is None
    layer.adopt(parameters, 4, np.dtype("float32"))
    assert (layer.n_in, layer.dtype) == (4, np.float32)


def test_float16_is_computed_in_float32():
    assert fastnn.LayerNorm().forward(np.ones((2, 3), np.float16)).dtype == np.float16


def test_read_only_input_stays_as_it_is(rng):
    X = rng.normal(size=(4, 5))
    before = X.copy()
    X.flags.writeable = False
    layer = fastnn.LayerNorm()
    layer.forward(X)
    layer.backward(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((3,), "batch"), ((2, 0), "at least one feature"), ((2, 4), "4 features, the layer needs 3")],
)
def test_inputs_that_do_not_fit(shape, message):
    layer = fastnn.LayerNorm()
    layer.forward(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=message):
        layer.forward(np.zeros(shape))
    with pytest.raises(ValueError, match=message):
        layer.check_input(shape)


@pytest.mark.parametrize("eps", [-1e-9, np.inf, np.nan])
def test_eps_out_of_range(eps):
    with pytest.raises(ValueError, match="eps must be"):
        fastnn.LayerNorm(eps)


def test_eps_must_be_a_number():
    with pytest.raises(TypeError, match="eps must be a number"):
        fastnn.LayerNorm("small")


def test_backward_needs_a_forward_and_its_shape():
    layer = fastnn.LayerNorm()
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(np.zeros((2, 3)))
    layer.forward(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"\(2, 3\), got \(3, 3\)"):
        layer.backward(np.zeros((3, 3)))
    layer.clear_gradients()
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(np.zeros((2, 3)))


def test_statistics_of_another_input(dtype, rng):
    layer, other = fastnn.LayerNorm(), fastnn.LayerNorm()
    X, dY = rng.normal(size=(2, 4, 5)).astype(dtype)
    layer.forward(1 - X)
    other.forward(X)
    layer.cache["X"] = X
    np.testing.assert_array_equal(layer.backward(dY), other.backward(dY))


def test_parameters_that_do_not_fit():
    layer = fastnn.LayerNorm()
    layer.forward(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="gain"):
        layer.parameters["gain"] = np.ones((1, 4))
    del layer.parameters["shift"]
    with pytest.raises(ValueError, match="'gain' and 'shift'; it holds 'gain'"):
        layer.forward(np.zeros((2, 3)))


def test_repr_copy_and_table(rng):
    assert repr(fastnn.LayerNorm()) == "LayerNorm()"
    assert repr(fastnn.LayerNorm(0.5)) == "LayerNorm(eps=0.5)"
    layer = fastnn.initialize_layer("layer_norm", eps=0.25)
    assert type(layer) is fastnn.LayerNorm
    assert layer.eps == 0.25
    assert fastnn.initialize_layer("layer_norm").eps == 1e-5
    X = rng.normal(size=(2, 3))
    layer.forward(X)
    other = copy.deepcopy(layer)
    other.parameters["gain"][:] = 2
    np.testing.assert_array_equal(2 * layer.forward(X), other.forward(X))


def test_a_network_with_the_layer_learns(rng):
    layers = [
        {"name": "fully_connected", "n_out": 8, "activation": "linear"},
        {"name": "layer_norm"},
        {"name": "fully_connected", "n_out": 3, "activation": "softmax"},
    ]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.5}, seed=0)
    X = rng.normal(size=(60, 4))
    labels = X[:, :3].argmax(axis=1)
    losses = [net.train_step(X, labels) for _ in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    assert net.layers[1].gradients["gain"].shape == (1, 8)
    assert (net.layers[1].parameters["gain"] != 1).any()
