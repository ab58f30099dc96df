"""Pooling: windows, padding, ties, leftovers, and what the layer checks."""

import numpy as np
import pytest

import fastnn
from fastnn import reference
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.layers import pool2d as kernels

# (n, height, width, channels), kernel, stride, pad: every way that the kernels go
CASES = [
    ((2, 4, 4, 3), 2, 2, 0),
    ((2, 5, 7, 1), 2, 2, 0),  # left over at the bottom and right
    ((1, 6, 6, 16), 3, 2, (1, 0)),
    ((2, 6, 5, 20), (2, 3), 1, "same"),
    ((1, 7, 7, 33), 2, 3, 1),  # gaps between windows
    ((2, 5, 7, 5), (3, 2), 3, "valid"),
    ((1, 3, 3, 2), 3, 1, 0),
    ((140, 8, 8, 16), 2, 2, 0),  # on all cores
    ((200, 8, 8, 6), 3, 1, 1),
    ((2, 11, 15, 6), 2, 2, 0),  # few channels: several windows in a vector, and one left over
    ((2, 5, 14, 2), 2, 2, 0),
    ((2, 4, 13, 4), 2, 1, 0),
]


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_layer_is_its_twin(case, mode, dtype, rng):
    shape, kernel, stride, pad = case
    X = rng.integers(-3, 4, shape).astype(dtype)  # with ties, and windows that are all negative
    layer = fastnn.Pool2D(kernel, mode, stride, pad)
    plain = reference.Pool2D(kernel, mode, stride, pad)
    Y, expected = layer.forward(X), plain.forward(X)
    assert Y.dtype == dtype
    np.testing.assert_allclose(Y, expected, rtol=1e-6)
    dY = rng.normal(size=Y.shape).astype(dtype)
    dX = layer.backward(dY)
    assert dX.dtype == dtype
    assert dX.shape == shape
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(dX, plain.backward(dY), rtol=tolerance, atol=tolerance)
    assert list(layer.cache) == list(plain.cache)
    for name, value in plain.cache.items():
        np.testing.assert_array_equal(layer.cache[name], value)


@pytest.mark.parametrize("mode", ["max", "average"])
def test_gradients_are_those_of_finite_differences(mode, rng):
    X = rng.permutation(2 * 5 * 6 * 3).reshape(2, 5, 6, 3) / 10.0  # no two are close
    layer = fastnn.Pool2D(3, mode, 2, 1)
    dY = rng.normal(size=layer.forward(X).shape)
    assert fastnn.check_gradients(layer.forward, layer.backward(dY), X, dY) < 1e-7


def test_ties_go_to_the_first_maximum():
    layer = fastnn.Pool2D(2)
    layer.forward(np.ones((1, 2, 2, 1)))
    np.testing.assert_array_equal(layer.backward([[[[3.0]]]]).ravel(), [3, 0, 0, 0])


def test_padding_wins_over_negative_windows_whose_gradient_is_lost():
    layer = fastnn.Pool2D(2, "max", 2, 1)
    Y = layer.forward(-np.ones((1, 2, 2, 1)))
    assert not Y.any()
    assert not layer.backward(np.ones((1, 2, 2, 1))).any()
    average = fastnn.Pool2D(2, "average", 2, 1)
    np.testing.assert_array_equal(average.forward(np.ones((1, 2, 2, 1))).ravel(), [0.25] * 4)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 19])
def test_ties_zeros_and_nan_in_every_place_of_a_window(channels, dtype):
    """All 2 x 2 windows of four values: the gradient goes where argmax says, after a ReLU too."""
    values = np.array([-0.0, 0.0, 1.0, np.nan], dtype)
    windows = values[np.stack(np.meshgrid(*[range(4)] * 4, indexing="ij"), -1).reshape(-1, 4)]
    windows = np.stack([np.roll(windows, 7 * c, axis=0) for c in range(channels)], 1)
    rows = windows.reshape(8, 32, channels, 2, 2)
    X = np.ascontiguousarray(rows.transpose(0, 3, 1, 4, 2)).reshape(1, -1)
    places = windows.argmax(2)
    dY = np.arange(1, 256 * channels + 1, dtype=dtype).reshape(256, channels)
    Y = np.empty((1, 256 * channels), dtype)
    kernels.max_pool(X, 16, 64, 2, 2, 2, Y)
    np.testing.assert_array_equal(Y.reshape(256, channels), windows.max(2))
    for of_relu in (0, 1):
        top = np.take_along_axis(windows, places[..., None], 2)
        given = np.where(of_relu & np.signbit(top), 0, dY[..., None]).astype(dtype)
        expected = np.zeros_like(windows)
        np.put_along_axis(expected, places[..., None], given, 2)
        dX = np.full_like(X, 7)
        kernels.max_pool_backward(X, 16, 64, 2, 2, 2, of_relu, dY.reshape(1, -1), dX)
        found = dX.reshape(8, 2, 32, 2, channels).transpose(0, 2, 4, 1, 3).reshape(windows.shape)
        np.testing.assert_array_equal(found, expected)


def test_nan_is_the_maximum_and_gets_the_gradient(dtype):
    X = np.arange(32, dtype=dtype).reshape(1, 4, 4, 2)
    X[0, 0, 1, 0] = X[0, 1, 0, 0] = np.nan
    layer = fastnn.Pool2D(2, stride=2)
    Y = layer.forward(X)
    assert np.isnan(Y).sum() == 1
    dX = layer.backward(np.ones_like(Y))
    assert dX[0, 0, 1, 0] == 1
    assert dX.sum() == Y.size
    assert np.isnan(fastnn.Pool2D(2, "average").forward(X)[..., 0]).sum() == 3


def test_arguments_and_attributes():
    layer = fastnn.Pool2D(3, pad="same")
    assert (layer.kernel_shape, layer.mode, layer.stride, layer.pad) == ((3, 3), "max", 1, (1, 1))
    assert (layer.pool_fn, layer.arg_pool_fn) == (np.max, np.argmax)
    assert fastnn.Pool2D((2, 3), pad="same").pad == (0, 1)
    average = fastnn.Pool2D([2, 3], "average", pad=(1, 2))
    assert (average.pool_fn, average.pad) == (np.mean, (1, 2))
    assert not hasattr(average, "arg_pool_fn")
    assert not layer.parameters
    assert dict(layer.cache) == {name: [] for name in layer.cached}
    layer.forward(np.ones((1, 4, 4, 1)))
    layer.clear_gradients()
    assert all(value == [] for value in layer.cache.values())
    made = fastnn.initialize_layer("pool2d", kernel_shape=2, stride=None, pad=None, mode=None)
    assert repr(made) == "Pool2D(kernel_shape=(2, 2))"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"mode": "median"}, ValueError, "'max' or 'average'"),
        ({"pad": "full"}, ValueError, "'same', 'valid'"),
        ({"pad": -1}, ValueError, "pad must be"),
        ({"pad": 1.5}, ValueError, "pad must be"),
        ({"pad": (1, 2, 3)}, ValueError, "pad must be"),
        ({"stride": 0}, ValueError, "stride must be at least 1"),
        ({"stride": (1, 2)}, TypeError, "stride must be an integer"),
        ({"kernel_shape": 0}, ValueError, "kernel_shape must be at least 1"),
        ({"kernel_shape": (2, 2.5)}, TypeError, "kernel_shape must be an integer"),
        ({"kernel_shape": None}, ValueError, "kernel_shape must be an integer or two"),
    ],
)
def test_wrong_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        fastnn.Pool2D(**{"kernel_shape": 2, **arguments})


def test_wrong_inputs(rng):
    layer = fastnn.Pool2D(3)
    with pytest.raises(ValueError, match=r"\(batch, height, width, channels\)"):
        layer.forward(np.ones((3, 4)))
    with pytest.raises(ValueError, match="does not fit into images of 2 x 5"):
        layer.forward(np.ones((1, 2, 5, 1)))
    with pytest.raises(ValueError, match="at least one channel"):
        layer.forward(np.ones((1, 5, 5, 0)))
    with pytest.raises(RuntimeError, match="forward pass first"):
        layer.backward(np.ones((1, 1, 1, 1)))
    layer.forward(np.ones((1, 5, 5, 1)))
    with pytest.raises(ValueError, match="dLdY must have the output's shape"):
        layer.backward(np.ones((1, 2, 3, 1)))
    assert layer.forward(np.ones((0, 5, 5, 2))).shape == (0, 3, 3, 2)
    assert layer.backward(np.ones((0, 3, 3, 2))).shape == (0, 5, 5, 2)
    forms = np.asfortranarray(rng.normal(size=(2, 5, 5, 2)))
    forms.setflags(write=False)
    assert layer.forward(forms).shape == (2, 3, 3, 2)


@pytest.mark.parametrize("shape", [(1, 5, 5, 2, 1), (5, 5, 2), (1, 1, 5, 2), (1, 5, 5, 0)], ids=str)
def test_a_replaced_cache_must_hold_images(shape):
    layer = fastnn.Pool2D(2)
    dY = layer.forward(np.ones((1, 5, 5, 2)))
    layer.cache["X_pad"] = np.ones(shape)
    with pytest.raises(ValueError, match=r"cache\['X_pad'\] has shape"):
        layer.backward(dY)


@pytest.mark.parametrize("changes", [{"pad": (0, 1)}, {"kernel_shape": (3, 3)}], ids=str)
def test_settings_that_change_before_backward_need_another_forward(changes):
    layer = fastnn.Pool2D(2, pad=1)
    dY = layer.forward(np.ones((1, 5, 5, 2)))
    for name, value in changes.items():
        setattr(layer, name, value)
    with pytest.raises(ValueError, match="go forward again"):
        layer.backward(dY)
    assert layer.backward(layer.forward(np.ones((1, 5, 5, 2)))).shape == (1, 5, 5, 2)


@pytest.mark.parametrize("kernel", [2, 3])
def test_it_is_what_torch_computes(kernel, rng):
    torch = pytest.importorskip("torch")
    X = np.abs(rng.normal(size=(2, 7, 8, 3)))  # positive: torch pads maxima with -inf
    dY = rng.normal(size=fastnn.Pool2D(kernel, stride=2, pad=1).forward(X).shape)
    for mode, kind in (("max", torch.nn.MaxPool2d), ("average", torch.nn.AvgPool2d)):
        layer = fastnn.Pool2D(kernel, mode, 2, 1)
        x = torch.tensor(X.transpose(0, 3, 1, 2), requires_grad=True)
        y = kind(kernel, 2, 1)(x)
        y.backward(torch.tensor(dY.transpose(0, 3, 1, 2)))
        np.testing.assert_allclose(layer.forward(X), y.detach().permute(0, 2, 3, 1), rtol=1e-12)
        np.testing.assert_allclose(layer.backward(dY), x.grad.permute(0, 2, 3, 1), rtol=1e-12)


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
@pytest.mark.parametrize(("mode", "pad", "stride"), [("max", 0, 2), ("average", (1, 0), 1)])
def test_compiled_steps_are_those_of_the_layers(mode, pad, stride, rng):
    """Pooling behind pooling, so that one has an input gradient; with batches that end early."""

    def network(name):
        layers = [
            {"name": "layer_norm"},
            {"name": "pool2d", "kernel_shape": 2, "mode": mode, "stride": stride, "pad": pad},
            {"name": "pool2d", "kernel_shape": 3, "mode": "max", "pad": 1},
            {"name": "flatten"},
            {"name": "fully_connected", "n_out": 3, "activation": "softmax"},
        ]
        optimizer = type(name, (fastnn.Adam,), {}) if name else fastnn.Adam
        return fastnn.NeuralNetwork("cross_entropy", layers, optimizer(0.01), seed=0)

    X, labels = rng.normal(size=(70, 9, 8, 4)), rng.integers(0, 3, 70)
    nets = network(None), network("Own")
    losses = [net.fit(X, labels, epochs=2, batch_size=32, verbose=False).loss for net in nets]
    np.testing.assert_allclose(*losses, rtol=1e-12)
    assert fastnn.engine.obstacle(nets[0]) is None
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), rtol=1e-11)
