"""Networks of images and of row numbers, to PyTorch and ONNX."""

import numpy as np
import pytest

import fastnn


def network(kind, dtype, rng):
    """Return a network after a step, and rows that it has not seen."""
    last = fastnn.FullyConnected(3, "softmax")
    if kind == "pool":
        layers = [
            fastnn.Pool2D((2, 3), stride=2, pad=(1, 0)),
            fastnn.Pool2D(2, "average"),
            fastnn.Flatten(),
        ]
    elif kind == "convolutions":
        layers = [
            fastnn.Conv2D(6, 5, "relu"),
            fastnn.Pool2D(2, stride=2),
            fastnn.Conv2D(4, (3, 2), "tanh", stride=2, pad=(1, 1)),
            fastnn.Residual([fastnn.Conv2D(4, 3, "softmax"), fastnn.Conv2D(4, 1, "linear")]),
            fastnn.Flatten(),
            fastnn.FullyConnected(5, "relu"),
        ]
    elif kind == "images in batches":
        block = [fastnn.BatchNorm2D(), fastnn.Residual([fastnn.BatchNorm2D(1e-3, 0.5)])]
        layers = [fastnn.BatchNorm2D(), fastnn.Residual(block), fastnn.Flatten()]
    elif kind == "average":
        block = [fastnn.FullyConnected(7, "relu"), fastnn.FullyConnected(4, "linear")]
        layers = [fastnn.GlobalAveragePool2D(), fastnn.FullyConnected(4, "tanh")]
        layers += [fastnn.Residual(block), fastnn.BatchNorm1D(eps=1e-3)]
    else:
        axis = 1 if kind == "embedding, axis=1" else -1
        layers = [fastnn.Embedding(9, 4, axis=axis, padding_index=0), fastnn.Flatten()]
    net = fastnn.NeuralNetwork("cross_entropy", [*layers, last], fastnn.SGD(0.1), seed=0, dtype=dtype)
    images = kind in ("pool", "convolutions", "average", "images in batches")
    X = rng.normal(size=(12, 6, 7, 2)).astype(dtype) if images else rng.integers(0, 9, (12, 5))
    net.train_step(X[:6], [0, 1, 2, 0, 1, 2])
    return net, X[6:]


KINDS = ["pool", "convolutions", "average", "images in batches", "embedding", "embedding, axis=1"]


@pytest.mark.parametrize("kind", KINDS)
def test_to_torch_and_back(kind, dtype, rng, close):
    torch = pytest.importorskip("torch")
    net, X = network(kind, dtype, rng)
    module = fastnn.to_torch(net)
    close(module(torch.from_numpy(X)).detach().numpy(), net.predict(X))
    back = fastnn.from_torch(module)
    assert repr(back.layers) == repr(net.layers)
    close(back.predict(X), net.predict(X))


@pytest.mark.parametrize("kind", KINDS)
def test_to_onnx(kind, rng, close, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    net, X = network(kind, np.dtype(np.float32), rng)
    fastnn.export_onnx(net, tmp_path / "net.onnx")
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    close(session.run(None, {"input": X})[0], net.predict(X))


def test_what_is_not_converted(rng):
    pytest.importorskip("torch")
    layers = [fastnn.LayerNorm(), fastnn.FullyConnected(2, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, fastnn.SGD(0.1))
    with pytest.raises(
        TypeError, match="layer 0 is a LayerNorm; converted are: FullyConnected, Conv2D, Pool2D"
    ):
        fastnn.to_torch(net)
