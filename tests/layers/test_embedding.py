"""Embeddings: rows of the table, their gradient, padding, and numbers that are not in the table."""

import numpy as np
import pytest

import fastnn
from fastnn import reference
from fastnn.kernels.compiling.jit import COMPILED


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (0, 3)], ids=str)
def test_the_layer_is_its_twin(shape, axis, rng):
    X = rng.integers(0, 9, shape)
    layer = fastnn.Embedding(9, 4, axis=axis, padding_index=2)
    plain = reference.Embedding(9, 4, axis=axis, padding_index=2)
    layer.forward(X)
    plain.forward(X)
    plain.parameters["W"] = layer.parameters["W"].copy()
    assert not layer.parameters["W"][2].any()
    Y = layer.forward(X)
    np.testing.assert_array_equal(Y, plain.forward(X))
    np.testing.assert_array_equal(Y, layer.forward(X.astype(float)))
    dY = rng.normal(size=Y.shape)
    assert not layer.backward(dY).any()
    plain.backward(dY)
    np.testing.assert_allclose(layer.gradients["W"], plain.gradients["W"], rtol=1e-14)
    assert not layer.gradients["W"][2].any()


def test_the_gradient_is_that_of_finite_differences(rng):
    layer, X = fastnn.Embedding(5, 3), [[1, 1], [4, 0]]
    dY = rng.normal(size=layer.forward(X).shape)
    layer.backward(dY)
    function = layer.forward_with_param("W", X)
    W, gradient = layer.parameters["W"].copy(), layer.gradients["W"]
    assert fastnn.check_gradients(function, gradient, W, dY) < 1e-7


@pytest.mark.parametrize(
    ("X", "error", "words"),
    [
        ([[5]], IndexError, "X holds 5, but the table of the Embedding has 5 rows: 0 to 4"),
        ([-1], IndexError, "X holds -1"),
        ([1.5], ValueError, "X holds 1.5"),
        ([np.nan], ValueError, "X holds nan"),
        ([np.inf], IndexError, "X holds inf"),
        ([[[1]]], ValueError, r"\(batch, time\)"),
        (np.ones((2, 0)), ValueError, "at least one number"),
        (["a"], TypeError, "real numbers"),
    ],
)
def test_numbers_that_are_not_in_the_table(X, error, words):
    layer = fastnn.Embedding(5, 2)
    with pytest.raises(error, match=words):
        layer.forward(X)
    assert not layer.parameters


def test_wrong_arguments():
    with pytest.raises(TypeError, match="n_in must be an integer"):
        fastnn.Embedding(None, 2)
    with pytest.raises(ValueError, match="n_out must be at least 1"):
        fastnn.Embedding(5, 0)
    with pytest.raises(ValueError, match="axis must be -1"):
        fastnn.Embedding(5, 2, axis=0)
    with pytest.raises(ValueError, match="padding_index is 5"):
        fastnn.Embedding(5, 2, padding_index=5)
    layer = fastnn.initialize_layer("embedding", n_in=5, n_out=2)
    assert repr(layer) == "Embedding(n_in=5, n_out=2)"
    with pytest.raises(RuntimeError, match="forward pass first"):
        layer.backward(np.ones((1, 2)))
    layer.forward([1])
    with pytest.raises(ValueError, match="dLdY must have the output's shape"):
        layer.backward(np.ones((2, 2)))


def test_a_padding_index_that_is_assigned_is_checked(rng):
    net = network(optimizer=fastnn.SGD, rows=3)
    layer, X, labels = net.layers[0], rng.integers(0, 3, (4, 3)), np.array([0, 1, 0, 1])
    net.train_step(X, labels)
    before = net.flat_parameters.copy()
    for wrong, error, words in ((1.5, TypeError, "an integer"), (-1, ValueError, "at least 0")):
        with pytest.raises(error, match=f"padding_index must be {words}"):
            layer.padding_index = wrong
    assert layer.padding_index == 1
    layer.padding_index = 7  # which a larger table may have
    for call in (lambda: net.train_step(X, labels), lambda: net.predict(X), lambda: layer.forward(X)):
        with pytest.raises(ValueError, match="padding_index is 7, the table has 3 rows"):
            call()
    np.testing.assert_array_equal(net.flat_parameters, before)
    layer.padding_index = 2
    net.train_step(X, labels)
    np.testing.assert_array_equal(layer.parameters["W"][2], before[40:60])


def network(axis=-1, optimizer=fastnn.Adam, dtype="float64", rows=5000):
    layers = [
        fastnn.Embedding(rows, 20, axis=axis, padding_index=1),
        fastnn.Flatten(),
        fastnn.FullyConnected(2, "softmax"),
    ]
    return fastnn.NeuralNetwork("cross_entropy", layers, optimizer(0.01), seed=0, dtype=dtype)


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
@pytest.mark.parametrize("axis", [-1, 1])
def test_compiled_steps_are_those_of_the_layers(axis, rng):
    X, labels = rng.integers(0, 5000, (70, 3)), rng.integers(0, 2, 70)
    X[::5] = 1
    nets = network(axis), network(axis, type("Own", (fastnn.Adam,), {}))
    losses = [net.fit(X, labels, epochs=2, batch_size=32, verbose=False).loss for net in nets]
    np.testing.assert_allclose(*losses, rtol=1e-12)
    assert fastnn.engine.obstacle(nets[0]) is None
    tables = [net.layers[0].parameters["W"] for net in nets]
    np.testing.assert_allclose(*tables, rtol=1e-10, atol=1e-12)
    assert not tables[0][1].any()


def test_networks_check_numbers_before_anything_changes(rng):
    net = network(dtype="float32", rows=10)
    X, labels = rng.integers(0, 10, (8, 3)), rng.integers(0, 2, 8)
    net.train_step(X, labels)
    before, wrong = net.flat_parameters.copy(), X.copy()
    wrong[-1, -1] = 10
    calls = (
        lambda: net.train_step(wrong, labels),
        lambda: net.fit(wrong, labels, epochs=1, batch_size=4, verbose=False),
        lambda: net.predict(wrong),
        lambda: net.evaluate(wrong, labels),
        lambda: net.forward(wrong),
    )
    for call in calls:
        with pytest.raises(IndexError, match="X holds 10"):
            call()
    np.testing.assert_array_equal(net.flat_parameters, before)


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
def test_it_must_be_the_first_layer():
    layers = [
        fastnn.Flatten(),
        fastnn.Embedding(3, 2),
        fastnn.Flatten(),
        fastnn.FullyConnected(2, "tanh"),
    ]
    net = fastnn.NeuralNetwork("l2", layers, fastnn.SGD(0.1), seed=0)
    with pytest.raises(ValueError, match="first layer"):
        net.train_step(np.ones((2, 3)), np.ones((2, 2)))


def test_it_is_what_torch_computes(rng):
    torch = pytest.importorskip("torch")
    X = rng.integers(0, 6, (5, 4))
    layer, module = fastnn.Embedding(6, 3, padding_index=0), torch.nn.Embedding(6, 3, padding_idx=0)
    module = module.double()
    layer.forward(X)
    layer.parameters["W"] = module.weight.detach().numpy()
    Y = module(torch.tensor(X))
    dY = rng.normal(size=Y.shape)
    Y.backward(torch.tensor(dY))
    np.testing.assert_array_equal(layer.forward(X), Y.detach())
    layer.backward(dY)
    np.testing.assert_allclose(layer.gradients["W"], module.weight.grad, rtol=1e-14)


def test_a_resumed_run_comes_to_the_same_bits(rng, tmp_path):
    pytest.importorskip("safetensors")
    X, labels = rng.integers(0, 9, (60, 3)), rng.integers(0, 2, 60)
    whole, begun, resumed = (network(rows=9) for _ in range(3))
    options = {"batch_size": 16, "verbose": False}
    whole.fit(X, labels, epochs=3, **options)
    begun.fit(X, labels, epochs=1, checkpoint=tmp_path / "run", **options)
    resumed.fit(X, labels, epochs=3, checkpoint=tmp_path / "run", resume=True, **options)
    np.testing.assert_array_equal(resumed.flat_parameters, whole.flat_parameters)
