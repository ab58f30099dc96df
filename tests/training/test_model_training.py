"""Runs of ``fit`` and ``train``: what they take, report and draw; parts of a user's own."""

import copy
import pickle

import matplotlib.pyplot as plt
import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected


class LayerwiseSGD(fastnn.SGD):
    """Unknown to the engine: a step goes layer by layer."""


class LayerwiseAdam(fastnn.Adam):
    pass


ROADS = {"engine": (fastnn.SGD, fastnn.Adam), "layers": (LayerwiseSGD, LayerwiseAdam)}


@pytest.fixture(params=ROADS)
def road(request):
    return request.param


def network(road="engine", output="softmax", loss="cross_entropy", n_out=3, **options):
    layers = [FullyConnected(5, "tanh"), FullyConnected(n_out, output)]
    optimizer = options.pop("optimizer", None) or ROADS[road][0](0.1, momentum=0.5)
    return fastnn.NeuralNetwork(loss, layers, optimizer, **({"seed": 0} | options))


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


def assert_same(got, want, tolerance=0.0):
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=tolerance, atol=tolerance)


X, X_val = np.random.default_rng(2).normal(size=(2, 10, 4))
CLASSES = np.arange(10) % 3
ROWS = np.eye(3)[CLASSES]
SOFT = np.random.default_rng(1).dirichlet(np.ones(3), 10)
QUIET = {"epochs": 2, "batch_size": 4, "verbose": False}


def dataset():
    rng = np.random.default_rng(5)
    return fastnn.Dataset.from_arrays(rng.normal(size=(60, 4)), np.arange(60) % 3, batch_size=6)


# What fit takes.

TARGETS = {
    "class numbers": ("cross_entropy", CLASSES.astype(np.uint8), ROWS),
    "list of class numbers": ("cross_entropy", CLASSES.tolist(), ROWS),
    "integer rows": ("cross_entropy", ROWS.astype(int), ROWS),
    "soft rows": ("cross_entropy", SOFT.tolist(), SOFT),
    "one output": ("l2", SOFT[:, 0].tolist(), SOFT[:, :1]),
    "class numbers for l2 are targets": ("l2", CLASSES, CLASSES[:, None].astype(float)),
    "rows for l2": ("l2", SOFT, SOFT),
}


@pytest.mark.parametrize("form", TARGETS)
def test_targets_in_any_form(form, road):
    loss, given, rows = TARGETS[form]
    output = "softmax" if loss == "cross_entropy" else "linear"
    net, other = (network(road, output, loss, None) for _ in range(2))
    history = net.fit(X, given, **QUIET, shuffle=False, validation_data=(X_val, given))
    losses = [[other.train_step(X[i : i + 4], rows[i : i + 4]) for i in (0, 4, 8)] for _ in range(2)]
    assert net.layers[-1].n_out == rows.shape[1]
    assert_same(parameters(net), parameters(other))
    by_rows = [np.average(epoch, weights=[4, 4, 2]) for epoch in losses]
    assert history.loss == pytest.approx(by_rows, rel=1e-14)
    last = history.validation_loss[-1], history.validation_error[-1]
    assert last == other.evaluate(X_val, rows)


@pytest.mark.parametrize("validation", [None, (X_val, CLASSES)], ids=["no validation", "validation"])
@pytest.mark.parametrize("epochs", [0, 1, 3])
def test_a_history_has_an_entry_an_epoch(epochs, validation, tmp_path):
    net = network()
    history = net.fit(X, CLASSES, epochs, validation_data=validation, verbose=False)
    assert history is net.history
    assert len(history.loss) == len(history.error) == epochs
    count = epochs if validation else 0
    assert len(history.validation_loss) == len(history.validation_error) == count
    figure = history.plot(tmp_path / "curve.png")
    drawn = [line.get_ydata().tolist() for axis in figure.axes for line in axis.lines]
    curves = (history.loss, history.validation_loss, history.error, history.validation_error)
    assert drawn == [curve for curve in curves if curve]
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"
    plt.close(figure)


def test_verbose_prints_a_line_an_epoch(capsys):
    history = network().fit(X, CLASSES, 2, validation_data=(X_val, CLASSES))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if "loss" in line]
    assert len(lines) == 2
    for i, line in enumerate(lines):
        assert line.startswith(f"epoch {i + 1}: training loss {history.loss[i]:.4f}, accuracy ")
        assert f"validation loss {history.validation_loss[i]:.4f}" in line
    network().fit(X, CLASSES, 2, verbose=False)
    assert capsys.readouterr() == ("", "")


def test_test_and_test_kaggle(capsys):
    net, data = network(), dataset()
    log = net.test(data)
    loss, error = net.evaluate(data.test.data_, data.test.labels)
    assert len(log["loss"]) == len(log["error"]) == 2
    assert (np.mean(log["loss"]), np.mean(log["error"])) == pytest.approx((loss, error))
    assert f"loss {loss:.4f}, accuracy {1 - error:.4f}" in capsys.readouterr().out
    table = net.test_kaggle(data)
    assert table["Id"].tolist() == list(range(12))
    assert table["Category"].tolist() == net.predict(data.test.data_).argmax(axis=1).tolist()


def test_saved_parameters_make_the_same_network(tmp_path):
    net = network(logger=fastnn.Logger("run", {}, {}, save_dir=f"{tmp_path}/"))
    net.train_step(X, ROWS)
    net.save_parameters(3)
    other = network(seed=9)
    other.forward(X)
    for i, values in pickle.loads((tmp_path / "run" / "parameters_epoch3").read_bytes()).items():
        other.layers[i].parameters = values
    assert_same([other.predict(X)], [net.predict(X)])


def test_a_datasets_arrays_are_never_written(road):
    net, data = network(road), dataset()
    parts = [p for part in (data.train, data.validate, data.test) for p in (part.data_, part.labels)]
    before = copy.deepcopy(parts)
    net.train(data, 2)
    net.test(data)
    assert_same(parts, before)


# Random numbers.


def test_without_a_seed_shuffles_and_weights_are_drawn_in_the_references_order():
    np.random.seed(11)
    net = network(optimizer=fastnn.SGD(0.0), seed=None)
    net.fit(X, ROWS, **QUIET, validation_data=(X_val, ROWS))
    drawn = np.random.random()
    np.random.seed(11)
    np.random.shuffle(np.arange(10))
    gain = 5 / 3  # tanh's, over Xavier's bound
    bounds = gain * np.sqrt(6 / 9), np.sqrt(6 / 8)
    weights = [
        np.random.uniform(-b, b, shape) for b, shape in zip(bounds, [(4, 5), (5, 3)], strict=True)
    ]
    np.random.shuffle(np.arange(10))  # the second epoch; nothing is drawn to validate
    assert drawn == np.random.random()  # not one number more or less
    assert_same([layer.parameters["W"] for layer in net.layers], weights)


def test_a_seed_is_the_models_own_and_leaves_numpys_state():
    before = pickle.dumps(np.random.get_state())
    nets = [network(seed=seed) for seed in (4, 4, np.random.default_rng(4), 5)]
    for net in nets:
        net.fit(X, ROWS, **QUIET, validation_data=(X_val, ROWS))
        net.test(dataset())
        net.predict(X, ROWS)
    assert pickle.dumps(np.random.get_state()) == before
    for net in nets[1:3]:
        assert_same(parameters(net), parameters(nets[0]))
    assert not np.allclose(parameters(nets[3])[0], parameters(nets[0])[0])


# Dtypes and copies.


@pytest.mark.parametrize("given", ["float32", "float64", "int64"])
def test_the_models_dtype_is_that_of_all_arithmetic(given, dtype, road):
    net = network(road, dtype=dtype)
    x = (10 * X).astype(given)
    loss = net.backward(ROWS, net.forward(x))
    assert {g.dtype for layer in net.layers for g in layer.gradients.values()} == {dtype}
    assert net.evaluate(x, ROWS)[0] == pytest.approx(loss, rel=1e-6)
    same = network(road, dtype=dtype)
    assert same.train_step(x.astype(dtype), ROWS) == net.train_step(x, ROWS)
    assert {p.dtype for p in parameters(net)} == {net.predict(x).dtype} == {dtype}
    assert_same(parameters(net), parameters(same))


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda net: pickle.loads(pickle.dumps(net))}


@pytest.mark.parametrize("rule", [0, 1], ids=["SGD", "Adam"])
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_copy_goes_on_training_identically_by_itself(copied, rule, road):
    net = network(optimizer=ROADS[road][rule](0.05))
    net.fit(X, ROWS, **QUIET)
    twin = copied(net)
    before = copy.deepcopy(parameters(net))
    history = twin.fit(X, ROWS, **QUIET)
    assert_same(parameters(net), before)
    assert net.fit(X, ROWS, **QUIET) == history
    assert_same(parameters(twin), parameters(net))


# Parts of a user's own train layer by layer.


class Cube(fastnn.Activation):
    def forward(self, Z):
        return Z**3

    def backward(self, Z, dY):
        return 3 * Z**2 * dY


class Absolute(fastnn.Loss):
    name = "absolute"

    def forward(self, Y, Y_hat):
        return float(np.abs(Y - Y_hat).sum() / len(Y))

    def backward(self, Y, Y_hat):
        return np.sign(Y_hat - Y) / len(Y)


class Signed(fastnn.Optimizer):
    def update(self, param_name, param, param_grad, epoch=None):
        return self.lr * np.sign(param_grad)


class Scale(fastnn.Layer):
    def _init_parameters(self, X_shape):
        self.n_in = self.n_out = X_shape[1]
        self.parameters["s"] = np.full((1, X_shape[1]), 2.0)

    def forward(self, X):
        if self.n_in is None:
            self._init_parameters(X.shape)
        self.cache["X"] = X
        return X * self.parameters["s"]

    def backward(self, dLdY):
        self.gradients["s"] = (dLdY * self.cache["X"]).sum(axis=0, keepdims=True)
        return dLdY * self.parameters["s"]


@pytest.mark.parametrize("own", ["Cube", "Absolute", "Signed"])
def test_parts_of_a_users_own_are_used_and_named(own):
    activation = Cube() if own == "Cube" else "linear"
    loss = Absolute() if own == "Absolute" else "l2"
    optimizer = (Signed if own == "Signed" else fastnn.SGD)(1e-3)
    net = fastnn.NeuralNetwork(loss, [FullyConnected(3, activation)], optimizer, seed=0)
    Z = net.layers[0].preactivation(X)
    out = Z**3 if own == "Cube" else Z
    dZ = np.sign(out - SOFT) if own == "Absolute" else out - SOFT
    gradient = X.T @ (dZ * (3 * Z**2 if own == "Cube" else 1)) / 10
    step = np.sign(gradient) if own == "Signed" else gradient
    want = net.layers[0].parameters["W"] - 1e-3 * step
    difference = np.abs(out - SOFT).sum() if own == "Absolute" else ((out - SOFT) ** 2).sum() / 2
    assert net.train_step(X, SOFT) == pytest.approx(difference / 10, rel=1e-12)
    assert_same([net.layers[0].parameters["W"]], [want], 1e-12)
    assert own in net.summary().splitlines()[-1]
    history = net.fit(X, SOFT, epochs=5, verbose=False)
    assert history.loss[-1] < history.loss[0]


def test_a_layer_of_a_users_own_is_trained_and_named():
    net = fastnn.NeuralNetwork("l2", [Scale(), FullyConnected(3, "linear")], fastnn.SGD(0.1), seed=0)
    out = net.predict(X)
    W = net.layers[1].parameters["W"]
    assert_same([out], [2 * X @ W], 1e-12)
    want = 2 - 0.1 * (X * ((out - SOFT) / 10 @ W.T)).sum(axis=0, keepdims=True)
    net.train_step(X, SOFT)
    assert_same([net.layers[0].parameters["s"]], [want], 1e-12)
    assert "layer by layer (layer 0 is a Scale)" in net.summary()


def test_layers_as_mappings_and_objects_and_the_optimizer_as_either():
    layers = [
        {"name": "fully_connected", "n_out": 5, "activation": "tanh"},
        FullyConnected(3, "softmax"),
    ]
    mapping = {"name": "SGD", "lr": 0.1, "momentum": 0.5}
    net = fastnn.initialize_model("any", "cross_entropy", layers, mapping, seed=0)
    other = network()
    assert net.fit(X, ROWS, **QUIET) == other.fit(X, ROWS, **QUIET)
    assert net.layers[1] is layers[1]
    assert_same(parameters(net), parameters(other))
