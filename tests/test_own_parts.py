"""A course program's own parts, in the teaching library's form: nothing more is asked of them."""

from collections import OrderedDict

import numpy as np
import pytest

import fastnn
from fastnn import Dataset, FullyConnected, NeuralNetwork
from fastnn.activations import Activation
from fastnn.layers import Layer
from fastnn.losses import Loss
from fastnn.models import initialize_model
from fastnn.optimizers import Optimizer, initialize_optimizer


class OwnData:
    """``sample()`` takes no argument; of attributes it has those that the library reads."""

    def __init__(self, data, labels, batch_size):
        self._rows, self._labels, self._size = data, labels, batch_size
        self._next = 0
        self.samples_per_epoch = np.ceil(len(data) / batch_size)  # a float, as np.ceil gives it

    def sample(self):
        batch = slice(self._next * self._size, (self._next + 1) * self._size)
        self._next = (self._next + 1) % int(self.samples_per_epoch)
        X = self._rows[batch]
        return X if self._labels is None else (X, self._labels[batch])


class OwnDataset:
    def __init__(self, **parts):
        vars(self).update(parts)
        self.out_dim = 3


class OwnLayer(Layer):
    """``Y = f(X W)``, without a call of ``super().__init__()``."""

    def __init__(self, n_out):
        self.n_in = None
        self.n_out = n_out
        self.parameters = {}
        self.cache = {}
        self.gradients = {}

    def forward(self, X):
        if not self.parameters:
            W = np.random.uniform(-1, 1, (X.shape[1], self.n_out))
            self.n_in = X.shape[1]
            self.parameters["W"] = W
            self.gradients = OrderedDict(W=np.zeros_like(W))
        self.cache["X"] = X
        return X @ self.parameters["W"]

    def backward(self, dLdY):
        self.gradients["W"] = self.cache["X"].T @ dLdY
        return dLdY @ self.parameters["W"].T


class BareLayer:
    """Derived from nothing, with two methods and no attribute."""

    def forward(self, X):
        return 2.0 * X

    def backward(self, dLdY):
        return 2.0 * dLdY


class OwnActivation(Activation):
    def __init__(self):
        super().__init__()

    def forward(self, Z):
        return np.where(Z >= 0, Z, 0.1 * Z)

    def backward(self, Z, dY):
        return dY * np.where(Z >= 0, 1.0, 0.1)


class BareActivation:
    forward, backward = OwnActivation.forward, OwnActivation.backward


class OwnLoss(Loss):
    """Without a name."""

    def forward(self, Y, Y_hat):
        return np.sum(np.abs(Y - Y_hat)) / len(Y)

    def backward(self, Y, Y_hat):
        return np.sign(Y_hat - Y) / len(Y)


class BareLoss:
    forward, backward = OwnLoss.forward, OwnLoss.backward


class OwnOptimizer(Optimizer):
    """Without a call of ``super().__init__()``."""

    def __init__(self, lr):
        self.lr = lr
        self.epochs = []

    def update(self, name, param, grad, epoch):
        self.epochs.append(epoch)
        return self.lr * grad


class LightOptimizer:
    """Of the light edition: no epoch, and no base class."""

    def __init__(self, lr):
        self.rate = lr

    def update(self, param_name, param, param_grad):
        return self.rate * param_grad


class OwnLogger:
    def __init__(self):
        self.pushed = []

    def push(self, log):
        self.pushed.append(log)


rng = np.random.default_rng(0)
X, X_VAL = rng.normal(size=(2, 20, 4))
Y, Y_VAL = (np.eye(3)[rng.integers(0, 3, 20)] for _ in range(2))


def parts(batch_size=6):
    return {
        "train": OwnData(X, Y, batch_size),
        "validate": OwnData(X_VAL, Y_VAL, batch_size),
        "test": OwnData(X_VAL, Y_VAL, batch_size),
    }


def dense(n_out, activation):
    return {
        "name": "fully_connected",
        "n_out": n_out,
        "activation": activation,
        "weight_init": "xavier_uniform",
    }


def test_a_program_with_its_own_data_and_logger(capsys):
    logger = OwnLogger()
    dataset = OwnDataset(**parts())
    np.random.seed(0)
    model = initialize_model(
        name="experiment",
        loss="cross_entropy",
        layer_args=[dense(8, "tanh"), dense(None, "softmax")],
        optimizer_args={"name": "SGD", "lr": 0.1, "momentum": 0.9, "clip_norm": 1.0},
        logger=logger,
    )
    model.train(dataset, epochs=3)
    log = model.test(dataset)
    assert len(log["loss"]) == len(log["error"]) == 4
    table = model.test_kaggle(dataset)
    assert len(table["Category"]) == 20
    out, loss = model.predict(X, Y)
    assert out.shape == (20, 3)
    assert np.isfinite(loss)

    # the same by the library's own data, in the order of the rows
    np.random.seed(0)
    other = fastnn.NeuralNetwork(
        "cross_entropy",
        [dense(8, "tanh"), dense(3, "softmax")],
        {"name": "SGD", "lr": 0.1, "momentum": 0.9, "clip_norm": 1.0},
    )
    for epoch in range(3):
        losses = []
        for i in range(0, 20, 6):
            losses.append(other.backward(Y[i : i + 6], other.forward(X[i : i + 6])))
            other.update(epoch)
        curves = [pushed["loss"]["train"] for pushed in logger.pushed]
        assert curves[epoch] == pytest.approx(np.mean(losses), abs=1e-4)
    validation = [other.evaluate(X_VAL[i : i + 6], Y_VAL[i : i + 6])[0] for i in range(0, 20, 6)]
    assert logger.pushed[-1]["loss"]["validate"] == pytest.approx(np.mean(validation), abs=1e-4)
    assert set(logger.pushed[0]["params"]) == {"W0", "b0", "W1", "b1"}
    np.testing.assert_array_equal(table["Category"], other.predict(X_VAL).argmax(axis=1))
    with pytest.raises(ValueError, match=r"save_parameters needs a logger .* save_dir"):
        model.save_parameters(3)
    capsys.readouterr()


def test_an_own_last_layers_width_is_inferred(capsys):
    def network(width):
        np.random.seed(3)
        return fastnn.NeuralNetwork("l2", [OwnLayer(5), OwnLayer(width)], {"name": "SGD"})

    histories = [network(width).train(OwnDataset(**parts()), 2) for width in (3, None)]
    assert histories[0] == histories[1]
    net = network(None)
    assert net.fit(X, Y, epochs=1, verbose=False) == network(3).fit(X, Y, epochs=1, verbose=False)
    assert net.layers[-1].n_out == 3


@pytest.mark.parametrize("loss", [OwnLoss(), BareLoss()], ids=["derived", "bare"])
@pytest.mark.parametrize("make", [OwnOptimizer, LightOptimizer])
@pytest.mark.parametrize("activation", [OwnActivation(), BareActivation()], ids=["derived", "bare"])
def test_every_part_may_be_the_programs_own(loss, make, activation, capsys):
    def network():
        np.random.seed(3)
        layers = [
            OwnLayer(5),
            BareLayer(),
            fastnn.FullyConnected(3, activation, weight_init=lambda shape: np.full(shape, 0.1)),
        ]
        return fastnn.NeuralNetwork(loss, layers, make(0.05), OwnLogger())

    net = network()
    history = net.train(OwnDataset(**parts()), 2)
    # by hand
    np.random.seed(3)
    W, V, b = np.random.uniform(-1, 1, (4, 5)), np.full((5, 3), 0.1), np.zeros((1, 3))
    act, part, expected = OwnActivation(), OwnLoss(), []
    for _ in range(2):
        losses = []
        for i in range(0, 20, 6):
            x, y = X[i : i + 6], Y[i : i + 6]
            H = 2 * (x @ W)
            Z = H @ V + b
            losses.append(part.forward(y, act.forward(Z)))
            dZ = act.backward(Z, part.backward(y, act.forward(Z)))
            dV, db, dW = H.T @ dZ, dZ.sum(axis=0), x.T @ (2 * (dZ @ V.T))
            W, V, b = W - 0.05 * dW, V - 0.05 * dV, b - 0.05 * db
        expected.append(np.mean(losses))
    np.testing.assert_allclose(history.loss, expected, rtol=1e-12)
    np.testing.assert_allclose(net.layers[0].parameters["W"], W, rtol=1e-12)
    np.testing.assert_allclose(net.layers[2].parameters["W"], V, rtol=1e-12)
    assert np.isnan(history.error).all()  # none is defined for such a loss
    net.test(OwnDataset(**parts()))
    net.test_kaggle(OwnDataset(**parts()))
    net.predict(X, Y)
    net.train_step(X, Y)
    net.fit(X, Y, epochs=1, validation_data=(X_VAL, Y_VAL), verbose=False)
    assert type(loss).__name__ in net.summary()
    assert repr(net)
    rates = fastnn.LearningRateLog()
    net.train(OwnDataset(**parts()), 1, callbacks=[rates])
    assert len(rates.rates) == 1
    if make is OwnOptimizer:
        assert None not in net.optimizer.epochs
        assert {0, 1} <= set(net.optimizer.epochs)
    capsys.readouterr()


@pytest.mark.parametrize("missing", [{}, {"validate": None}, {"n_validation": 0}])
def test_a_dataset_without_validation(missing, capsys):
    dataset = OwnDataset(train=OwnData(X, Y, 7), **missing)
    net = fastnn.NeuralNetwork("cross_entropy", [dense(None, "softmax")], fastnn.SGD(0.1), seed=0)
    history = net.train(dataset, 2)
    assert history.validation_loss == []
    with pytest.raises(ValueError, match="no test part"):
        net.test(dataset)
    with pytest.raises(ValueError, match="needs validation data"):
        net.train(dataset, 1, callbacks=[fastnn.EarlyStopping()])
    capsys.readouterr()


def test_a_dataset_without_out_dim_and_one_without_labels(capsys):
    dataset = OwnDataset(train=OwnData(X, Y, 7), test=OwnData(X_VAL, None, 7))
    del dataset.out_dim
    net = fastnn.NeuralNetwork("cross_entropy", [dense(None, "softmax")], fastnn.SGD(0.1), seed=0)
    net.train(dataset, 1)
    assert net.layers[-1].n_out == 3
    assert len(net.test_kaggle(dataset)["Id"]) == 20
    with pytest.raises(ValueError, match=r"must return \(X, Y\)"):
        net.test(dataset)
    with pytest.raises(TypeError, match=r"dataset.train needs sample\(\) and samples_per_epoch"):
        net.train(OwnDataset(train=X), 1)
    with pytest.raises(ValueError, match="no train part"):
        net.train(OwnDataset(), 1)
    capsys.readouterr()


def test_a_dataset_of_ones_own_with_parts_of_the_library(capsys):
    dataset = OwnDataset(train=fastnn.Data(X, 5, Y), validate=fastnn.Data(X_VAL, 5, Y_VAL))
    del dataset.out_dim
    nets = [
        fastnn.NeuralNetwork("cross_entropy", [dense(None, "softmax")], fastnn.SGD(0.1), seed=0)
        for _ in range(2)
    ]
    assert nets[0].train(dataset, 2) == nets[1].train(fastnn.Dataset(X, Y, 5, X_VAL, Y_VAL), 2)
    capsys.readouterr()


def test_a_sample_or_shuffle_of_ones_own_is_called_and_gets_what_it_takes(capsys):
    class Doubled(fastnn.Data):
        def sample(self):
            x, y = super().sample(shuffle=False)
            return 2 * x, y

    class InOrder(fastnn.Data):
        def shuffle(self):
            pass

    class Seeded(OwnData):
        def sample(self, rng):
            self.seen = rng
            return super().sample()

    def trained(part, **options):
        dataset = OwnDataset(train=part)
        net = fastnn.NeuralNetwork(
            "cross_entropy", [dense(None, "softmax")], fastnn.SGD(0.1), **options
        )
        return net, net.train(dataset, 2)

    np.random.seed(1)
    _, doubled = trained(Doubled(X, 5, Y))
    np.random.seed(1)
    _, plain = trained(OwnData(2 * X, Y, 5))
    assert doubled == plain
    np.random.seed(1)
    _, in_order = trained(InOrder(2 * X, 5, Y))
    assert in_order == plain
    seeded = Seeded(X, Y, 5)
    net, _ = trained(seeded, seed=4)
    assert seeded.seen is net.rng
    capsys.readouterr()


def test_a_logger_with_a_folder_gets_the_files(tmp_path, capsys):
    class Folder(OwnLogger):
        save_dir = str(tmp_path / "run") + "/"

    net = fastnn.NeuralNetwork(
        "cross_entropy", [dense(None, "softmax")], fastnn.SGD(0.1), Folder(), seed=0
    )
    dataset = OwnDataset(**parts())
    net.train(dataset, 1)
    net.test(dataset, save_predictions=True)
    net.test_kaggle(dataset)
    net.save_parameters(1)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"test_predictions.p", "kaggle_predictions.csv", "parameters_epoch1"}
    capsys.readouterr()


# Found in course programs.


def test_parameters_cache_and_gradients_are_given_as_lists():
    layer = fastnn.FullyConnected(3, "relu")
    assert layer._get_parameters() == layer._get_gradients() == []
    layer.forward(X)
    W, b = layer._get_parameters()
    assert W is layer.parameters["W"]
    assert b is layer.parameters["b"]
    assert layer._get_cache()[1] is layer.cache["X"]
    assert [g.shape for g in layer._get_gradients()] == [(4, 3), (1, 3)]


def test_the_exponential_scheduler_by_name_does_not_step():
    by_name = fastnn.initialize_scheduler("exponential", 1.0, 0.5, 2, staircase=True)
    options = {"lr_scheduler": "exponential", "lr_decay": 0.5, "stage_length": 2, "staircase": True}
    optimizer = initialize_optimizer("SGD", lr=1.0, **options)
    for scheduler in (by_name, optimizer.lr_scheduler, fastnn.SGD(1.0, **options).lr_scheduler):
        assert scheduler(1) == 0.5**0.5
    assert fastnn.Exponential(1.0, 0.5, 2, staircase=True)(1) == 1.0


def test_the_optimizers_arguments_in_both_editions_order():
    full = initialize_optimizer("SGD", 0.2, "constant", 0.9, 1.5, 0.5, True, 10)
    for light in (
        initialize_optimizer("SGD", 0.2, 0.9, 1.5),
        initialize_optimizer("SGD", 0.2, 0.9, clip_norm=1.5),
        initialize_optimizer("SGD", 0.2, np.float32(0.9), 1.5),
        initialize_optimizer("SGD", lr=0.2, momentum=0.9, clip_norm=1.5),
    ):
        assert light.momentum == pytest.approx(0.9)
        assert (light.lr, light.clip_norm) == (full.lr, full.clip_norm) == (0.2, 1.5)
    alone = initialize_optimizer("SGD", 0.2, 0, None)
    assert (alone.momentum, alone.clip_norm) == (0.0, None)
    with pytest.raises(TypeError, match=r"momentum=0\.5 beside the momentum 0\.9"):
        initialize_optimizer("SGD", 0.2, 0.9, momentum=0.5)
    with pytest.raises(TypeError, match="got 5 arguments"):
        initialize_optimizer("SGD", 0.2, 0.9, 1.5, 0.9)
    with pytest.raises(NotImplementedError, match=r"unknown scheduler 0\.9"):
        initialize_optimizer("SGD", lr=0.2, lr_scheduler=0.9)


def test_an_update_without_an_epoch():
    net = fastnn.NeuralNetwork(
        "l2", [fastnn.FullyConnected(3, "identity")], initialize_optimizer("SGD", 0.1, 0.9), seed=0
    )
    for _ in range(2):
        net.backward(Y, net.forward(X))
        net.update()
    assert np.isfinite(net.predict(X)).all()


@pytest.mark.parametrize("labels", ["numbers", "column", "rows"])
def test_mnist_as_the_teaching_library_keeps_it(labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "datasets" / "mnist"
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (7, 28, 28)).astype(np.uint8)
    classes = np.array([0, 3, 9, 1, 1, 2, 5])
    kept = {"numbers": classes, "column": classes[:, None], "rows": np.eye(10)[classes]}[labels]
    for part in ("train", "val"):
        np.save(folder / f"mnist_{part}_data.npy", images)
        np.save(folder / f"mnist_{part}_labels.npy", kept)
    dataset = fastnn.initialize_dataset("mnist", batch_size=3)
    assert dataset.test is None
    for part in (dataset.train, dataset.validate):
        assert part.data_.shape == (7, 28, 28, 1)
        assert part.data_.dtype == np.float64
        expected = (images.astype(np.float32) / 255).astype(np.float64)
        np.testing.assert_array_equal(part.data_[..., 0], expected)
        np.testing.assert_array_equal(part.labels, np.eye(10)[classes])
    np.save(folder / "mnist_val_data.npy", images[:, :20])
    with pytest.raises(ValueError, match="28 x 28"):
        fastnn.initialize_dataset("mnist")


class Decaying(NeuralNetwork):
    """Weights decay after every update."""

    def update(self, epoch=None):
        super().update(epoch)
        for layer in self.layers:
            layer.parameters["W"] *= 0.9


class Scaled(NeuralNetwork):
    """Its inputs are scaled."""

    def forward(self, X):
        return super().forward(np.asarray(X) / 2)


class Doubled(NeuralNetwork):
    """Its gradients are doubled."""

    def backward(self, target, out):
        loss = super().backward(target, out)
        for layer in self.layers:
            layer.gradients["W"] *= 2
        return loss


class Counting(NeuralNetwork):
    """Its error is the number of rows."""

    def error(self, target, out):
        return float(len(out))


@pytest.mark.parametrize("kind", [Decaying, Scaled, Doubled, Counting])
@pytest.mark.parametrize("call", ["train_step", "fit", "train"])
def test_methods_of_a_subclass_are_called(kind, call):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(12, 4)), np.eye(3)[rng.integers(0, 3, 12)]

    def made():
        layers = [FullyConnected(5, "relu"), FullyConnected(3, "softmax")]
        net = kind("cross_entropy", layers, {"name": "SGD", "lr": 0.1}, seed=0)
        net.forward(X[:1])  # makes the parameters
        return net

    expected, net = made(), made()
    for _ in range(2):
        out = expected.forward(X)
        loss, error = expected.backward(Y, out), expected.error(Y, out)
        expected.update(0)
    if call == "train_step":
        net.train_step(X, Y)
        assert net.train_step(X, Y) == pytest.approx(loss, rel=1e-12)
    else:
        data = Dataset(X, Y, 12)
        run = net.train(data, 2) if call == "train" else net.fit(X, Y, 2, 12, verbose=False)
        assert run.loss[-1] == pytest.approx(loss, rel=1e-12)
        assert run.error[-1] == pytest.approx(error, rel=1e-12)
    for a, b in zip(net.layers, expected.layers, strict=True):
        np.testing.assert_allclose(a.parameters["W"], b.parameters["W"], rtol=1e-10)
    out = expected.forward(X)
    np.testing.assert_allclose(net.predict(X), out, rtol=1e-10)
    found = expected.loss.forward(Y, out), expected.error(Y, out)
    assert net.evaluate(X, Y) == pytest.approx(found, rel=1e-10)


def test_a_subclass_without_weights_of_rows_says_so():
    net = Doubled("cross_entropy", [FullyConnected(2, "softmax")], {"name": "SGD"}, seed=0)
    with pytest.raises(ValueError, match=r"Doubled.*weights of rows"):
        net.fit(np.ones((4, 3)), [0, 1, 0, 1], sample_weight=np.ones(4), verbose=False)
    with pytest.raises(ValueError, match="methods of its own"):
        fastnn.fit_many([net], np.ones((4, 3)), [0, 1, 0, 1])


class Slotted:
    __slots__ = ("cache", "dtype", "gradients", "init_weights", "l2", "n_in", "n_out", "parameters")

    def forward(self, X):
        return X

    def backward(self, dLdY):
        return dLdY


class Named(fastnn.Layer):
    """A layer whose attributes have names that newer versions of the base class use."""

    def __init__(self):
        self.mode, self.made, self.step, self.outputs = "max", 3, 1, []
        self.parameters, self.buffers = {}, {"seen": [1.0, 2.0]}

    def forward(self, X):
        return np.asarray(X)

    def backward(self, dLdY):
        return dLdY


@pytest.mark.parametrize("kind", [Slotted, Named])
def test_layers_of_any_attributes_train_and_predict(kind, rng):
    layers = [fastnn.FullyConnected(8, "relu"), kind(), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.1}, seed=0)
    X, Y = rng.normal(size=(20, 6)), np.eye(3)[rng.integers(0, 3, 20)]
    first = net.train_step(X, Y)
    for _ in range(10):
        last = net.train_step(X, Y)
    assert last < first
    assert net.predict(X).shape == (20, 3)
    assert "layer by layer" in net.summary()
