"""Flatten and global averages: shapes, memory, and what they check."""

import numpy as np
import pytest

import fastnn
from fastnn import engine, reference
from fastnn.kernels.compiling.jit import COMPILED


@pytest.mark.parametrize(
    ("keep_dim", "shape"), [("first", (2, 60)), (-1, (1, 120)), ("last", (24, 5)), (3, (24, 5))]
)
def test_shapes_by_keep_dim(keep_dim, shape, dtype, rng):
    X = rng.normal(size=(2, 3, 4, 5)).astype(dtype)
    layer = fastnn.Flatten(keep_dim)
    Y = layer.forward(X)
    assert (Y.shape, Y.dtype) == (shape, dtype)
    np.testing.assert_array_equal(Y, reference.Flatten(keep_dim).forward(X))
    assert layer.cache["in_dims"] == X.shape
    np.testing.assert_array_equal(layer.backward(Y), X)


def test_outputs_have_memory_of_their_own(rng):
    X = rng.normal(size=(2, 3, 4))
    layer = fastnn.Flatten()
    Y = layer.forward(X)
    assert not np.shares_memory(X, Y)
    assert not np.shares_memory(Y, layer.backward(Y))
    assert layer.forward(X[:0]).shape == (0, 12)


def test_what_the_cache_keeps():
    layer = fastnn.Flatten()
    assert dict(layer.cache) == {"in_dims": []}
    layer.forward(np.ones((2, 3, 4)), retain_derived=False)
    assert layer.cache["in_dims"] == []
    with pytest.raises(RuntimeError, match="forward pass first"):
        layer.backward(np.ones((2, 12)))
    layer.forward(np.ones((2, 3, 4)))
    with pytest.raises(ValueError, match="dLdY must have the output's shape"):
        layer.backward(np.ones((2, 11)))
    with pytest.raises(ValueError, match="batch axis"):
        layer.forward(3.0)
    with pytest.raises(ValueError, match="at least one feature"):
        layer.forward(np.ones((3, 0)))
    assert fastnn.initialize_layer("flatten", keep_dim=None).keep_dim == "first"


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
def test_only_first_is_compiled():
    def network(keep_dim):
        layers = [
            {"name": "flatten", "keep_dim": keep_dim},
            {"name": "fully_connected", "n_out": 2, "activation": "softmax"},
        ]
        return fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.1}, seed=0)

    X, labels = np.ones((4, 2, 3)), [0, 1, 0, 1]
    net = network("first")
    net.train_step(X, labels)
    assert engine.obstacle(net) is None
    assert "does not keep the batch's rows" in engine.obstacle(network("last"))


def test_saved_networks_keep_all_arguments(tmp_path, rng):
    pytest.importorskip("safetensors")
    layers = [
        fastnn.Pool2D((2, 3), "average", 2, (1, 0)),
        fastnn.Flatten(),
        fastnn.FullyConnected(2, "softmax"),
    ]
    net = fastnn.NeuralNetwork("cross_entropy", layers, fastnn.SGD(0.1), seed=0)
    X = rng.normal(size=(3, 5, 6, 2))
    net.train_step(X, [0, 1, 0])
    net.save(tmp_path / "net.safetensors")
    loaded = fastnn.load(tmp_path / "net.safetensors")
    assert repr(loaded) == repr(net)
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    net = fastnn.NeuralNetwork("l2", [fastnn.Flatten(-1)], fastnn.SGD(0.1))
    net.save(tmp_path / "net.safetensors")
    assert fastnn.load(tmp_path / "net.safetensors").layers[0].keep_dim == -1


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (140, 7, 7, 20)], ids=str)
def test_global_averages(shape, dtype, rng):
    X = rng.normal(size=shape).astype(dtype)
    layer, plain = fastnn.GlobalAveragePool2D(), reference.GlobalAveragePool2D()
    Y = layer.forward(X)
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    assert (Y.shape, Y.dtype) == ((shape[0], shape[3]), dtype)
    np.testing.assert_allclose(Y, plain.forward(X), rtol=1e-5, atol=tolerance)
    dX = layer.backward(Y)
    assert (dX.shape, dX.dtype) == (shape, dtype)
    np.testing.assert_allclose(dX, plain.backward(Y), rtol=1e-6)


def test_global_averages_check_their_input(rng):
    layer = fastnn.GlobalAveragePool2D()
    with pytest.raises(ValueError, match=r"\(batch, height, width, channels\)"):
        layer.forward(np.ones((3, 4)))
    with pytest.raises(ValueError, match="at least one pixel"):
        layer.forward(np.ones((3, 0, 4, 1)))
    with pytest.raises(RuntimeError, match="forward pass first"):
        layer.backward(np.ones((3, 4)))
    X = rng.normal(size=(2, 3, 4, 5))
    dY = rng.normal(size=layer.forward(X).shape)
    assert fastnn.check_gradients(layer.forward, layer.backward(dY), X, dY) < 1e-7
    with pytest.raises(ValueError, match="dLdY must have the output's shape"):
        layer.backward(np.ones((2, 4)))
    assert layer.forward(X[:0]).shape == (0, 5)
