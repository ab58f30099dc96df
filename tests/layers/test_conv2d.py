"""Convolution: the contract, the plain NumPy layer, PyTorch's, and inputs that do not fit."""

import numpy as np
import pytest

import fastnn
from fastnn import engine, reference
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.layers.convolution import Geometry
from fastnn.utils.grad_check import check_gradients

# Input, outputs, kernel, stride, pad: many and few channels, windows that overlap or leave pixels out.
CASES = [
    ((3, 6, 7, 2), 3, (3, 2), 1, "same"),
    ((2, 9, 8, 1), 6, (5, 5), 1, "same"),
    ((5, 10, 11, 3), 17, (3, 3), 2, "valid"),
    ((4, 7, 7, 17), 33, (2, 3), 3, (2, 1)),
    ((1, 5, 5, 2), 1, 5, 1, 0),
    ((40, 6, 6, 16), 20, 3, 1, 1),
    ((2, 4, 4, 16), 2, 2, 1, 3),
    ((3, 1, 1, 4), 2, 1, 1, "same"),
]


def pair_of(outputs, kernel, stride, pad, activation="tanh", l2=0.0):
    """Return the layer and its plain NumPy twin, which draw the same weights."""
    arguments = {"stride": stride, "pad": pad, "l2": l2}
    kinds = fastnn.Conv2D, reference.Conv2D
    return [kind(outputs, kernel, activation, **arguments) for kind in kinds]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_is_the_plain_layer(case, dtype):
    shape, *settings = case
    layer, plain = pair_of(*settings, l2=0.1)
    rng = np.random.default_rng(0)
    X = rng.normal(size=shape).astype(dtype)
    tolerance = 1e-12 if dtype == np.float64 else 2e-4
    np.random.seed(0)
    Y = layer.forward(X)
    np.random.seed(0)
    np.testing.assert_allclose(Y, plain.forward(X.astype(float)), rtol=tolerance, atol=tolerance)
    assert Y.dtype == dtype
    assert layer.pad == plain.pad
    dY = rng.normal(size=Y.shape).astype(dtype)
    dX, expected = layer.backward(dY), plain.backward(dY.astype(float))
    np.testing.assert_allclose(dX, expected, rtol=tolerance, atol=20 * tolerance)
    for name, gradient in layer.gradients.items():
        assert gradient.shape == layer.parameters[name].shape
        np.testing.assert_allclose(
            gradient, plain.gradients[name], rtol=tolerance, atol=200 * tolerance
        )
    layer.backward_parameters(dY)
    np.testing.assert_allclose(layer.gradients["W"], plain.gradients["W"], rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("n", [1, 33])
def test_networks_of_several_are_trained_in_one_step(n, optimizer, dtype):
    def network(kind):
        layers = [
            fastnn.Conv2D(6, 5, "relu"),
            fastnn.Conv2D(8, (3, 2), "tanh", stride=2, pad="valid", l2=0.1),
            fastnn.Conv2D(16, 3, "relu"),
            fastnn.Conv2D(5, 3, "sigmoid"),
            fastnn.Flatten(),
            fastnn.FullyConnected(3, "softmax"),
        ]
        return fastnn.NeuralNetwork("cross_entropy", layers, kind(0.05), seed=1, dtype=dtype)

    kind = getattr(fastnn, optimizer)
    compiled, by_layers = network(kind), network(type("Own", (kind,), {}))
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(n, 14, 13, 2)).astype(dtype), np.eye(3)[rng.integers(0, 3, n)]
    tolerance = 1e-12 if dtype == np.float64 else 5e-5
    for _ in range(3):
        np.testing.assert_allclose(
            compiled.train_step(X, Y), by_layers.train_step(X, Y), rtol=100 * tolerance
        )
    assert engine.obstacle(compiled) is None
    for a, b in zip(compiled.layers, by_layers.layers, strict=True):
        for name, array in a.parameters.items():
            np.testing.assert_allclose(array, b.parameters[name], rtol=tolerance, atol=20 * tolerance)
    out = compiled.predict(X)
    np.testing.assert_allclose(out, by_layers.predict(X), rtol=tolerance, atol=20 * tolerance)
    np.testing.assert_allclose(
        compiled.evaluate(X, Y), by_layers.evaluate(X, Y), rtol=100 * tolerance, atol=1e-12
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_results_do_not_depend_on_threads(threads, dtype):
    layer = fastnn.Conv2D(6, 5, "relu")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 28, 28, 3)).astype(dtype)
    with fastnn.set_num_threads(threads):
        np.random.seed(0)
        Y = layer.forward(X)
        dX = layer.backward(Y)
    again = fastnn.Conv2D(6, 5, "relu")
    np.random.seed(0)
    np.testing.assert_array_equal(again.forward(X), Y)
    np.testing.assert_array_equal(again.backward(Y), dX)
    np.testing.assert_array_equal(again.gradients["W"], layer.gradients["W"])


def test_gradients_are_those_of_finite_differences():
    layer = fastnn.Conv2D(3, 3, "tanh", stride=2, pad=1)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2, 5, 6, 2))
    Y = layer.forward(X)
    dY = rng.normal(size=Y.shape)
    dX = layer.backward(dY)
    assert check_gradients(layer.forward, dX, X, dY) < 1e-7
    for name, gradient in layer.gradients.items():
        forward = layer.forward_with_param(name, X)
        assert check_gradients(forward, gradient, layer.parameters[name], dY) < 1e-7


def test_the_contract():
    layer = fastnn.Conv2D(4, (3, 2), "relu", stride=2)
    assert layer.cache == {}
    assert layer.pad == "same"
    np.random.seed(3)
    Y = layer.forward(np.ones((2, 7, 8, 5)))
    np.random.seed(3)
    W = fastnn.initialize_weights("xavier_uniform", activation="relu")((3, 2, 5, 4))
    np.testing.assert_array_equal(layer.parameters["W"], W)
    assert Y.shape == (2, 4, 4, 4)
    assert layer.pad == (1, 0)
    assert layer.n_in == 5
    assert layer.cache["X"].shape == (2, 7, 8, 5)
    assert layer.cache["Z"].shape == Y.shape
    layer.clear_gradients()
    assert layer.cache == {"Z": [], "X": []}
    named = fastnn.initialize_layer(
        "conv2d",
        activation="relu",
        n_out=2,
        kernel_shape=(3, 3),
        stride=None,
        pad=None,
        weight_init=None,
    )
    assert (named.stride, named.pad) == (1, "same")
    assert layer.forward_faster(np.ones((2, 7, 8, 5))).shape == Y.shape
    assert layer.backward_faster(Y).shape == (2, 7, 8, 5)


def test_no_images_give_no_output():
    layer = fastnn.Conv2D(4, 3, "relu")
    Y = layer.forward(np.zeros((0, 6, 6, 2)))
    assert Y.shape == (0, 6, 6, 4)
    assert layer.backward(Y).shape == (0, 6, 6, 2)
    assert not layer.gradients["W"].any()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"pad": "full"}, ValueError, "pad must be 'same', 'valid'.*'full'"),
        ({"pad": -1}, ValueError, "pad"),
        ({"stride": 0}, ValueError, "stride must be at least 1"),
        ({"stride": (1, 1)}, TypeError, "stride"),
        ({"kernel_shape": (3,)}, ValueError, "kernel_shape"),
        ({"kernel_shape": 0}, ValueError, "kernel_shape"),
        ({"n_out": 0}, ValueError, "n_out"),
    ],
)
def test_bad_settings_are_named(arguments, error, match):
    with pytest.raises(error, match=match):
        fastnn.Conv2D(**{"n_out": 4, "kernel_shape": 3, "activation": "relu", **arguments})


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((4, 6, 6), "batch, height, width, channels"),
        ((4, 6, 6, 0), "at least one pixel"),
        ((4, 2, 6, 3), "2 rows of pixels.*kernel_shape"),
    ],
)
def test_images_that_do_not_fit_are_named(shape, match):
    layer = fastnn.Conv2D(4, 5, "relu", pad="valid")
    with pytest.raises(ValueError, match=match):
        layer.forward(np.zeros(shape))
    assert not layer.parameters


def test_other_channels_than_before_are_named():
    net = fastnn.NeuralNetwork(
        "l2", [fastnn.Conv2D(2, 3, "relu"), fastnn.Flatten(), fastnn.FullyConnected(1, "linear")],
        {"name": "SGD", "lr": 0.1},
    )  # fmt: skip
    X, Y = np.zeros((2, 5, 5, 3)), np.zeros((2, 1))
    net.train_step(X, Y)
    for call in (net.predict, lambda x: net.train_step(x, Y)):
        with pytest.raises(
            ValueError, match=r"layer 0 \(Conv2D\): X has 2 channels, the layer needs 3"
        ):
            call(np.zeros((2, 5, 5, 2)))
        with pytest.raises(ValueError, match=r"layer 2 \(FullyConnected\)"):
            call(np.zeros((2, 6, 5, 3)))


@pytest.mark.parametrize("change", [("stride", 2), ("pad", "valid"), ("pad", (0, 3))], ids=str)
def test_settings_changed_after_a_step_are_used(change):
    def network(kind):
        layers = [
            fastnn.Conv2D(4, 3, "relu"),
            fastnn.GlobalAveragePool2D(),
            fastnn.FullyConnected(2, "softmax"),
        ]
        return fastnn.NeuralNetwork("cross_entropy", layers, kind(0.1), seed=0)

    nets = network(fastnn.SGD), network(type("Own", (fastnn.SGD,), {}))
    X = np.random.default_rng(0).normal(size=(5, 9, 8, 2))
    for net in nets:
        net.train_step(X, [0, 1, 0, 1, 1])
        setattr(net.layers[0], *change)
        net.train_step(X, [0, 1, 0, 1, 1])
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), rtol=1e-12)
    for bad in (("stride", 0), ("pad", "full"), ("kernel_shape", ())):
        with pytest.raises(ValueError, match=bad[0]):
            setattr(nets[0].layers[0], *bad)


def test_few_outputs_are_taken_several_pixels_at_a_time():
    """Where vectors have 16 lanes, two pixels of six outputs fill twelve of them."""
    kinds = {(6, np.dtype("float32")), (32, np.dtype("float32"))}
    for outputs, dtype in kinds:
        geometry = Geometry((28, 28, 1), (28, 28, outputs), (5, 5), 1, (2, 2), dtype)
        assert geometry.group == 1 or outputs < 32


def test_parity_with_pytorch(dtype):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    layer = fastnn.Conv2D(6, (3, 5), "relu", stride=2, pad=(1, 2))
    X = rng.normal(size=(3, 9, 11, 4)).astype(dtype)
    Y = layer.forward(X)
    W, b = (torch.tensor(layer.parameters[name], requires_grad=True) for name in "Wb")
    x = torch.tensor(X, requires_grad=True)
    out = torch.nn.functional.conv2d(
        x.permute(0, 3, 1, 2), W.permute(3, 2, 0, 1), b[0], stride=2, padding=(1, 2)
    )
    out = torch.relu(out).permute(0, 2, 3, 1)
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(Y, out.detach(), rtol=tolerance, atol=tolerance)
    dY = rng.normal(size=Y.shape).astype(dtype)
    out.backward(torch.tensor(dY))
    np.testing.assert_allclose(layer.backward(dY), x.grad, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(layer.gradients["W"], W.grad, rtol=tolerance, atol=10 * tolerance)
