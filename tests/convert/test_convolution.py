"""Convolutions to PyTorch and back, and to ONNX: LeNet-5, gradients, and modules that are refused."""

import numpy as np
import pytest

import fastnn


@pytest.fixture
def lenet(rng):
    """Return LeNet-5 after a step, and images that it has not seen."""
    layers = [
        fastnn.Conv2D(6, 5, "relu"),
        fastnn.Pool2D(2, stride=2),
        fastnn.Conv2D(16, 5, "relu", pad="valid"),
        fastnn.Pool2D(2, stride=2),
        fastnn.Flatten(),
        fastnn.FullyConnected(120, "relu"),
        fastnn.FullyConnected(84, "relu"),
        fastnn.FullyConnected(10, "softmax"),
    ]
    net = fastnn.NeuralNetwork("cross_entropy", layers, fastnn.SGD(0.01), seed=0, dtype="float32")
    X = rng.random((8, 28, 28, 1), np.float32)
    net.train_step(X[:5], [0, 1, 2, 3, 4])
    return net, X[5:]


def test_lenet_there_and_back(lenet, close):
    torch = pytest.importorskip("torch")
    net, X = lenet
    state = torch.random.get_rng_state()
    module = fastnn.to_torch(net)
    assert torch.equal(state, torch.random.get_rng_state())
    assert module[0][0].weight.shape == (6, 1, 5, 5)
    close(module(torch.from_numpy(X)).detach().numpy(), net.predict(X))
    back = fastnn.from_torch(module)
    assert repr(back.layers) == repr(net.layers)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(back.flat_parameters, net.flat_parameters)
    close(back.predict(X), net.predict(X))


def test_lenet_as_onnx(lenet, close, tmp_path):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    net, X = lenet
    path = tmp_path / "lenet.onnx"
    fastnn.export_onnx(net, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = runtime.InferenceSession(path)
    assert session.get_inputs()[0].shape == ["batch", "height", "width", 1]
    close(session.run(None, {"input": X})[0], net.predict(X))
    with pytest.raises(TypeError, match=r"lenet\.onnx: the node Transpose that makes .* not converted"):
        fastnn.from_onnx(path)


def test_a_convolution_of_others_in_onnx_is_named(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, float32, None) for name in "xy"]
    W = onnx.numpy_helper.from_array(np.ones((1, 1, 2, 2), np.float32), "W")
    node = helper.make_node("Conv", ["x", "W"], ["y"])
    onnx.save(
        helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:], [W])), tmp_path / "c"
    )
    with pytest.raises(
        TypeError, match="the node Conv that makes 'y' is not converted: it has no layer"
    ):
        fastnn.from_onnx(tmp_path / "c")


def unended(rng, *after, activation="tanh", dtype="float64", **options):
    """Return a network whose output is images, and images as its input."""
    layers = [fastnn.Conv2D(3, (2, 3), activation, **options), *after]
    net = fastnn.NeuralNetwork("l2", layers, fastnn.SGD(0.1), seed=0, dtype=dtype)
    X = rng.normal(size=(4, 7, 6, 2)).astype(dtype)
    net.forward(X)
    return net, X


@pytest.mark.parametrize("options", [{"stride": 2, "pad": (0, 2)}, {"activation": "softmax"}])
def test_gradients(options, rng):
    torch = pytest.importorskip("torch")
    net, X = unended(rng, **options)
    (layer,), images = net.layers, torch.from_numpy(X).requires_grad_()
    module = fastnn.to_torch(net)
    dY = rng.normal(size=layer.forward(X).shape)
    dX = layer.backward(dY)
    module(images).backward(torch.from_numpy(dY))
    convolution = module[0][0]
    pairs = {
        "X": (dX, images.grad),
        "W": (layer.gradients["W"], convolution.weight.grad.permute(2, 3, 1, 0)),
        "b": (layer.gradients["b"][0], convolution.bias.grad),
    }
    for name, (mine, theirs) in pairs.items():
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("after", [[], [fastnn.Pool2D(2)], [fastnn.Residual([fastnn.BatchNorm2D()])]])
def test_images_as_the_output_of_onnx(after, rng, close, tmp_path):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    net, X = unended(rng, *after, dtype="float32")
    net.layers[
        0
    ].pad = "same"  # as a name again: of an even kernel, other libraries mean another border
    path = tmp_path / "images.onnx"
    fastnn.export_onnx(net, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    close(runtime.InferenceSession(path).run(None, {"input": X})[0], net.predict(X))


def test_same_is_the_border_of_this_library(rng, close):
    torch = pytest.importorskip("torch")
    net, X = unended(rng)
    net.layers[0].pad = "same"
    close(fastnn.to_torch(net)(torch.from_numpy(X)).detach().numpy(), net.predict(X))


class Cube(fastnn.Activation):
    def forward(self, Z):
        return Z**3

    def backward(self, Z, dY):
        return 3 * Z**2 * dY


@pytest.mark.parametrize("library", ["torch", "onnx"])
def test_a_layer_with_an_activation_of_ones_own_is_named(library, rng, tmp_path):
    pytest.importorskip(library)
    block = fastnn.Residual([fastnn.Conv2D(3, 3, Cube())])
    net, _ = unended(rng, block)
    with pytest.raises(
        TypeError, match=r"layer 1\.0 is a Conv2D with Cube: no (PyTorch|ONNX) .*Sigmoid"
    ):
        fastnn.to_torch(net) if library == "torch" else fastnn.export_onnx(net, tmp_path / "net.onnx")


def test_modules_that_are_not_converted(rng):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    with pytest.raises(TypeError, match=r"Sequential\.0 is Conv2d.* channels first"):
        fastnn.from_torch(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)))
    changes = [
        (0, nn.Conv2d(2, 3, 2, dilation=2), "no dilation"),
        (0, nn.Conv2d(2, 3, 2, bias=False), "a bias"),
        (0, nn.Conv2d(2, 3, 2, padding="same"), "numeric padding"),
        (0, nn.Conv2d(2, 3, 2).half(), "float16"),
        (1, nn.Softmax(dim=1), "dim=-1"),
    ]
    for place, changed, message in changes:
        module = fastnn.to_torch(unended(rng, activation="softmax")[0])
        module[0][place] = changed
        with pytest.raises(TypeError, match=rf"Sequential\.0 .*{message}"):
            fastnn.from_torch(module)
