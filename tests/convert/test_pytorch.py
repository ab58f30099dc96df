"""Networks to PyTorch modules and back."""

import numpy as np
import pytest

import fastnn

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn


def skip_without_counterpart(activation):
    if activation.torch is None and not isinstance(activation, fastnn.Linear):
        pytest.skip("PyTorch has no such module")


def outputs(module, X):
    return module(torch.from_numpy(X)).detach().numpy()


def test_there_and_back(activation, dtype, trained, close):
    skip_without_counterpart(activation)
    net, X = trained(activation, dtype)
    module = fastnn.to_torch(net)
    found = outputs(module, X)
    close(found, net.predict(X))
    back = fastnn.from_torch(module)
    assert vars(back.layers[0].activation) == vars(activation)
    np.testing.assert_array_equal(back.predict(X), net.predict(X))


def test_gradients(activation, trained):
    skip_without_counterpart(activation)
    net, X = trained(activation, "float64")
    module = fastnn.to_torch(net)
    Y = np.random.default_rng(2).random((len(X), 4))
    loss = net.backward(Y, net.forward(X))
    theirs = ((torch.from_numpy(Y) - module(torch.from_numpy(X))) ** 2).sum() / (2 * len(X))
    theirs.backward()
    assert theirs.item() == pytest.approx(loss, rel=1e-11)
    for mine, linear in zip(net.layers, (module[0], module[-1]), strict=True):
        grads = {"W": linear.weight.grad.T, "b": linear.bias.grad[None]}
        for name, grad in grads.items():
            np.testing.assert_allclose(mine.gradients[name], grad.numpy(), rtol=1e-9, atol=1e-12)


def test_training_there_leaves_the_network_alone_and_the_other_way_round(trained):
    net, X = trained("relu", "float64")
    before = net.predict(X)
    module = fastnn.to_torch(net)
    back = fastnn.from_torch(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
    np.testing.assert_array_equal(net.predict(X), before)
    np.testing.assert_array_equal(back.predict(X), before)
    back.train_step(X, np.zeros((len(X), 4)))
    assert all((parameter == 1).all() for parameter in module.parameters())


def test_to_torch_draws_no_random_numbers(trained):
    net, _ = trained("relu", "float32")
    state = torch.random.get_rng_state()
    fastnn.to_torch(net)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("last", "loss", "theirs"),
    [
        ("softmax", "cross_entropy", nn.CrossEntropyLoss),
        ("sigmoid", "binary_cross_entropy", lambda: nn.BCEWithLogitsLoss(reduction="sum")),
    ],
)
def test_logits(last, loss, theirs, trained):
    net, X = trained("tanh", "float64", last, loss)
    Y = np.eye(4)[np.arange(len(X)) % 4]
    module = fastnn.to_torch(net, logits=True)
    assert type(module[-1]) is nn.Linear
    found = theirs()(module(torch.from_numpy(X)), torch.from_numpy(Y)).item()
    n = len(X) if loss == "binary_cross_entropy" else 1  # ours is a mean over rows, theirs a sum
    assert found / n == pytest.approx(net.evaluate(X, Y)[0], rel=1e-11)

    back = fastnn.from_torch(module, loss, logits=True)
    np.testing.assert_array_equal(back.predict(X), net.predict(X))
    assert back.evaluate(X, Y) == net.evaluate(X, Y)


def test_a_last_log_softmax_as_for_nll_loss():
    module = nn.Sequential(nn.Linear(5, 4), nn.LogSoftmax(dim=1)).double()
    X = np.random.default_rng(0).standard_normal((9, 5))
    net = fastnn.from_torch(module, logits=True)
    assert net.loss.name == "cross_entropy"
    np.testing.assert_allclose(np.log(net.predict(X)), outputs(module, X), rtol=1e-12)


@pytest.mark.parametrize(
    ("last", "loss"),
    [(nn.Softmax(1), "cross_entropy"), (nn.Sigmoid(), "binary_cross_entropy"), (nn.Tanh(), "l2")],
)
def test_the_loss_by_default(last, loss):
    assert fastnn.from_torch(nn.Sequential(nn.Linear(3, 2), last)).loss.name == loss


def test_nested_without_bias_and_with_modules_that_do_nothing(dtype, close):
    inner = nn.Sequential(nn.Linear(5, 6, bias=False), nn.ReLU(inplace=True), nn.Dropout(0.0))
    module = nn.Sequential(nn.Flatten(), inner, nn.Identity(), nn.Sequential(nn.Linear(6, 4)))
    module.to(getattr(torch, dtype.name))
    X = np.random.default_rng(0).standard_normal((9, 5)).astype(dtype)
    net = fastnn.from_torch(module)
    assert net.n_layers == 2
    assert not net.layers[0].parameters["b"].any()
    assert net.predict(X).dtype == dtype
    close(net.predict(X), outputs(module, X))


def test_dropout_is_left_out_in_evaluation_only():
    module = nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.5), nn.ReLU())
    with pytest.raises(TypeError, match=r"Sequential\.1 is Dropout\(p=0\.5.*call module\.eval\(\)"):
        fastnn.from_torch(module)
    X = np.ones((2, 5), np.float32)
    found = fastnn.from_torch(module.eval()).predict(X)
    np.testing.assert_allclose(found, outputs(module, X), rtol=1e-5)


class OwnForward(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (nn.Conv2d(1, 1, 3), "Conv2d"),
        (
            nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.InstanceNorm1d(3))),
            r"Sequential\.1\.0 is Instance",
        ),
        (nn.Sequential(nn.Linear(3, 3), nn.Softmax(dim=0)), r"Softmax\(dim=0\)"),
        (nn.Sequential(nn.Linear(3, 3), nn.Softplus(beta=2)), "Softplus"),
        (nn.Sequential(nn.Linear(3, 3), nn.Flatten(0)), "Flatten"),
        (OwnForward(nn.Linear(3, 3)), "OwnForward"),
        (nn.Linear(3, 3).half(), r"float16.*module\.float\(\)"),
        (nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3).double()), "float32, float64"),
        (nn.Sequential(nn.ReLU(), nn.Linear(3, 3)), "ReLU follows no linear layer"),
        (nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Tanh()), "TanH follows another activation"),
        (nn.Sequential(), "no linear layer to convert"),
    ],
)
def test_what_cannot_be_converted_is_named(module, named):
    with pytest.raises(TypeError, match=named):
        fastnn.from_torch(module)


def test_losses_that_do_not_go_with_the_last_activation():
    linear, probabilities = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 2), nn.Softmax(1))
    with pytest.raises(ValueError, match="pass logits=True"):
        fastnn.from_torch(linear, "cross_entropy")
    with pytest.raises(ValueError, match="not 'l2'"):
        fastnn.from_torch(linear, "l2", logits=True)
    with pytest.raises(ValueError, match="the last activation is SoftMax"):
        fastnn.from_torch(probabilities, logits=True)


class Cube(fastnn.Activation):
    def forward(self, Z):
        return Z**3

    def backward(self, Z, dY):
        return 3 * Z**2 * dY


class OwnLayer(fastnn.Layer):
    def forward(self, X):
        return X

    def backward(self, dLdY):
        return dLdY


def test_networks_that_cannot_be_converted():
    args = ("l2", [fastnn.FullyConnected(2, Cube())], fastnn.SGD(0.1))
    net = fastnn.NeuralNetwork(*args)
    with pytest.raises(RuntimeError, match="no parameters"):
        fastnn.to_torch(net)
    net.forward(np.ones((1, 3)))
    with pytest.raises(TypeError, match="Cube; there are: Sigmoid, TanH"):
        fastnn.to_torch(net)
    net = fastnn.NeuralNetwork("l2", [OwnLayer(), fastnn.FullyConnected(2, "relu")], fastnn.SGD(0.1))
    with pytest.raises(TypeError, match="layer 0 is a OwnLayer"):
        fastnn.to_torch(net)


def test_layers_that_do_not_fit_one_another_are_refused():
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"layer 1 has W \(5, 2\), layer 0 before it has 4 outputs"):
        fastnn.from_torch(module)


def recurrent(dtype="float64", **options):
    """Return a network of two Elman layers that has been trained, and its input."""
    layers = [
        fastnn.Elman(4, "relu", return_sequences=True),
        fastnn.Elman(5, **options),
        fastnn.FullyConnected(3, "softmax"),
    ]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.1}, seed=0, dtype=dtype)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(7, 2, 6)).astype(dtype)
    net.train_step(X, np.eye(3)[rng.integers(0, 3, 7)])
    return net, X


def test_recurrent_networks(dtype, close):
    net, X = recurrent(dtype)
    module = fastnn.to_torch(net)
    close(outputs(module, X), net.predict(X))
    back = fastnn.from_torch(module)
    np.testing.assert_array_equal(back.predict(X), net.predict(X))


@pytest.mark.parametrize("options", [{"activation": "sigmoid"}, {"mask_value": 0.0}])
def test_recurrences_that_pytorch_lacks(options):
    with pytest.raises(TypeError, match="layer 1 is an Elman"):
        fastnn.to_torch(recurrent(**options)[0])
