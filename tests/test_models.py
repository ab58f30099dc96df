"""The network as its caller sees it, over both roads of training."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected


class LayerwiseSGD(fastnn.SGD):
    """Unknown to the engine: a step goes layer by layer."""


class LayerwiseAdam(fastnn.Adam):
    pass


OPTIMIZERS = {
    "SGD": (fastnn.SGD, LayerwiseSGD),
    "Adam": (fastnn.Adam, LayerwiseAdam),
}


@pytest.fixture(params=[0, 1], ids=["engine", "layers"])
def road(request):
    return request.param


def network(road=0, layers=((5, "tanh"), (3, "softmax")), loss="cross_entropy", rule="SGD", **options):
    rules = {name: options.pop(name) for name in ("momentum", "clip_norm") if name in options}
    optimizer = OPTIMIZERS[rule][road](0.1, **rules)
    layers = [FullyConnected(*layer) for layer in layers]
    return fastnn.NeuralNetwork(loss, layers, optimizer, **({"seed": 0} | options))


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


def gradients(net):
    return [g for layer in net.layers for g in layer.gradients.values()]


def assert_same(got, want, tolerance=0.0):
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)


def copies(arrays):
    return [np.array(a) for a in arrays]


def softmax(Z):
    return np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)


VALUES = {"softmax": softmax, "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)), "tanh": np.tanh}
SLOPES = {"sigmoid": lambda A: A * (1 - A), "tanh": lambda A: 1 - A**2, "linear": np.ones_like}


def times_jacobian(name, A, dA):
    if name != "softmax":
        return dA * SLOPES[name](A)
    jacobians = A[:, :, None] * (np.eye(A.shape[1]) - A[:, None, :])
    return np.einsum("nij,nj->ni", jacobians, dA)


def by_hand(net, names, X, loss_gradient):
    """Return the output, and every parameter's gradient by the chain rule."""
    values, found = [X], []
    for layer, name in zip(net.layers, names, strict=True):
        Z = values[-1] @ layer.parameters["W"] + layer.parameters["b"]
        values.append(VALUES.get(name, lambda Z: Z)(Z))
    dA = loss_gradient(values[-1])
    for i in reversed(range(len(names))):
        dZ = times_jacobian(names[i], values[i + 1], dA)
        found = [values[i].T @ dZ, dZ.sum(axis=0, keepdims=True), *found]
        dA = dZ @ net.layers[i].parameters["W"].T
    return values[-1], found


LOSSES = {
    "cross_entropy": (lambda Y, P: -np.sum(Y * np.log(P)) / len(P), lambda Y, P: -Y / P / len(P)),
    "l2": (lambda Y, P: np.sum((Y - P) ** 2) / 2 / len(P), lambda Y, P: (P - Y) / len(P)),
}
N = 19  # more than one block of rows of the engine's
ONE_HOT = np.eye(3)[np.arange(N) * 7 % 5 % 3]
SOFT = np.random.default_rng(1).dirichlet(np.ones(3), N)
TARGETS = {
    "one-hot": ONE_HOT,
    "soft": SOFT,
    "smoothed": 0.9 * ONE_HOT + 0.1 / 3,
    "weighted": SOFT * np.arange(N)[:, None],
    "zeros": np.zeros((N, 3)),
}
X = np.random.default_rng(2).normal(size=(N, 4))
Y = ONE_HOT


@pytest.mark.parametrize(
    ("hidden", "output", "loss", "target"),
    [
        *(("tanh", "softmax", "cross_entropy", name) for name in TARGETS),
        ("softmax", "softmax", "cross_entropy", "soft"),
        ("softmax", "linear", "l2", "soft"),
        ("tanh", "softmax", "l2", "weighted"),
        ("tanh", "sigmoid", "cross_entropy", "soft"),
        ("softmax", "sigmoid", "cross_entropy", "weighted"),
    ],
)
def test_gradients_are_those_of_the_chain_rule(hidden, output, loss, target, road):
    net, target = network(road, [(5, hidden), (3, output)], loss), TARGETS[target]
    out = net.forward(X)
    value, gradient = LOSSES[loss]
    want_out, want = by_hand(net, (hidden, output), X, lambda P: gradient(target, P))
    assert_same([out], [want_out], 1e-13)
    assert net.backward(target, out.copy()) == pytest.approx(value(target, out), rel=1e-12)
    assert_same(gradients(net), want, 1e-13)
    before = copies(parameters(net))
    assert net.train_step(X, target) == pytest.approx(value(target, out), rel=1e-12)
    assert_same(parameters(net), [p - 0.1 * g for p, g in zip(before, want, strict=True)], 1e-13)


COPIES = {
    "itself": lambda out: out,
    "copy": np.copy,
    "list": np.ndarray.tolist,
    "fortran": np.asfortranarray,
    "float32": np.float32,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_of_the_output_takes_loss_and_gradient_from_the_logits(copied):
    net = network(layers=[(2, "softmax", "identity")])
    out = net.forward([[0.0, -800.0]])
    assert net.backward([[0.0, 1.0]], copied(out)) == 800
    assert net.layers[0].gradients["b"].tolist() == [[1, -1]]


OTHERS = {
    "mixed": lambda out: 0.9 * out + 0.1 / 3,
    "scaled": lambda out: np.multiply(out, 0.5, out=out),
    "bool": lambda out: np.ones(out.shape, bool),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_an_output_that_is_something_else_takes_the_general_path(other):
    net = network()
    out = other(net.forward(X))
    _, want = by_hand(net, ("tanh", "softmax"), X, lambda _: -SOFT / out / len(X))
    loss = net.backward(SOFT, out)
    assert loss == pytest.approx(-np.sum(SOFT * np.log(out)) / len(X), rel=1e-12, abs=1e-12)
    assert_same(gradients(net), want, 1e-13)


LOOKS = {"predict": lambda net: net.predict(2 * X), "evaluate": lambda net: net.evaluate(2 * X, SOFT)}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_looking_between_forward_and_backward_changes_nothing(look):
    net, other = network(), network()
    net.backward(SOFT, net.forward(X))
    out = other.forward(X)
    cached, before = [dict(layer.cache) for layer in other.layers], copies(parameters(other))
    look(other)
    for layer, values in zip(other.layers, cached, strict=True):
        assert all(layer.cache[name] is value for name, value in values.items())
    assert not any(g.any() for g in gradients(other))
    assert_same(parameters(other), before)
    other.backward(SOFT, out)
    assert_same(gradients(other), gradients(net))


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_network_can_be_looked_at_before_it_is_trained(look, road):
    net, other = network(road), network(road)
    look(other)
    assert not any(np.size(value) for layer in other.layers for value in layer.cache.values())
    assert other.train_step(X, Y) == net.train_step(X, Y)
    assert_same(parameters(other), parameters(net))


def test_predict_with_targets_is_forward_and_backward():
    net, other = network(), network()
    Y_hat, loss = net.predict(X, SOFT)
    out = other.forward(X)
    assert loss == other.backward(SOFT, out)
    assert_same([Y_hat, *gradients(net)], [out, *gradients(other)])


@pytest.mark.parametrize("loss", ["cross_entropy", "l2"])
def test_evaluate_and_error(loss):
    net = network(loss=loss)
    out = net.predict(X)
    wrong = np.mean([p.argmax() != y.argmax() for p, y in zip(out, Y, strict=True)])
    error = wrong if loss == "cross_entropy" else np.mean((out - Y) ** 2)
    assert net.error(Y, out) == pytest.approx(error, rel=1e-12)
    assert net.error(Y.tolist(), out.tolist()) == net.error(Y, out)
    want = pytest.approx((LOSSES[loss][0](Y, out), error), rel=1e-12)
    assert net.evaluate(X, Y) == net.evaluate(X.tolist(), Y.astype(np.uint8)) == want


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_a_train_step_is_forward_backward_and_update(rule, road):
    options = {"momentum": 0.9, "clip_norm": 0.3} if rule == "SGD" else {"clip_norm": 0.3}
    net, other = (network(road, rule=rule, **options) for _ in range(2))
    for _ in range(4):
        loss = other.backward(SOFT, other.forward(X))
        other.update(0)
        assert net.train_step(X, SOFT) == pytest.approx(loss, rel=1e-12)
    assert_same(parameters(net), parameters(other), 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_was_handed_out_or_in_is_never_written(dtype, road):
    net = network(road, momentum=0.9, dtype=dtype)
    batch, rows = X.astype(dtype), SOFT.astype(dtype)
    batch.flags.writeable = rows.flags.writeable = False
    step = np.ones((4, 5), dtype)
    handed = [batch, rows, step, *net.predict(batch, rows)[:1], net.predict(batch)]
    handed += [net.forward(batch), net.optimizer.update("W0", step, step, 0)]
    net.backward(rows, handed[-2])
    handed += [*gradients(net), *(v for layer in net.layers for v in layer.cache.values())]
    before = copies(handed)
    for _ in range(3):
        net.backward(rows[::-1], net.forward(-batch))
        net.train_step(batch, rows)
        net.predict(-batch)
        net.update(0)
    net.fit(batch, rows, epochs=2, batch_size=3, validation_data=(batch, rows), verbose=False)
    assert_same(handed, before)


ASSIGNMENTS = {
    "item": lambda layer, W: layer.parameters.__setitem__("W", W),
    "all": lambda layer, W: setattr(layer, "parameters", {"W": W, "b": layer.parameters["b"]}),
    "in place": lambda layer, W: layer.parameters["W"].__setitem__(..., W),
}


@pytest.mark.parametrize("assign", ASSIGNMENTS)
def test_predict_and_train_step_follow_an_assigned_parameter(assign, road):
    net = network(road)
    for i, layer in enumerate(net.layers):
        net.train_step(X, Y)
        old = layer.parameters["W"]
        W = np.random.default_rng(i).normal(size=old.shape)
        kept, mine = old.copy(), W.copy()
        ASSIGNMENTS[assign](layer, W)
        out, want = by_hand(net, ("tanh", "softmax"), X, lambda P: -Y / P / len(P))
        assert_same([net.predict(X)], [out], 1e-12)
        assert_same([layer.parameters["W"]], [mine])
        net.train_step(X, Y)
        assert_same([layer.parameters["W"], W], [mine - 0.1 * want[2 * i], mine], 1e-12)
        if assign != "in place":
            assert_same([old], [kept])


def test_an_assigned_object_with_an_array_of_its_own_is_copied():
    class Holder:
        def __init__(self, array):
            self.array = array

        def __array__(self, dtype=None, copy=None):
            return self.array

    net, W = network(), np.ones((4, 5))
    net.forward(X)
    net.layers[0].parameters["W"] = Holder(W)
    net.train_step(X, Y)
    assert (W == 1).all()


def test_summary_before_and_after_the_first_batch():
    net = network(layers=((5, "tanh"), (None, "softmax")))
    assert "one compiled call" in net.summary()
    rows = [line.split()[1:] for line in net.summary().splitlines() if line[0] in "01"]
    assert rows[1] == ["FullyConnected", "SoftMax", "?", "?", "?"]
    net.train_step(X, Y)
    rows = [line.split()[2:] for line in net.summary().splitlines() if line[0] in "01"]
    assert rows == [["TanH", "4", "5", "25"], ["SoftMax", "5", "3", "18"]]
    assert "43 parameters, float64; loss cross_entropy" in net.summary()
    assert "layer by layer (optimizer LayerwiseSGD)" in network(1).summary()


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_a_pickle_of_an_earlier_version_trains_on(name, rng):
    X, Y = rng.normal(size=(8, 4)), np.eye(3)[rng.integers(0, 3, 8)]
    layers = [fastnn.FullyConnected(5, "relu"), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": name, "lr": 0.1}, seed=0)
    net.train_step(X, Y)
    state = vars(net).copy()
    state["_engine"] = state.pop("engine")
    optimizer = type(net.optimizer).__new__(type(net.optimizer))
    settings = vars(net.optimizer).copy()
    del settings["global_clip_norm"]
    optimizer.__setstate__(copy.deepcopy(settings))
    other = fastnn.NeuralNetwork.__new__(fastnn.NeuralNetwork)
    other.__setstate__(copy.deepcopy(state) | {"optimizer": optimizer})
    assert other.train_step(X, Y) == net.train_step(X, Y)
