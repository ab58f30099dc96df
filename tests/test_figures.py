"""Figures of an epoch: by rows in ``fit``, by batches in ``train``; NaN in data, outputs, figures."""

import math
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected

rng = np.random.default_rng(0)
X = rng.normal(size=(33, 4))
CLASSES = rng.integers(0, 3, 33)
ROWS = np.eye(3)[CLASSES]
X_VAL, CLASSES_VAL = 3 * rng.normal(size=(33, 4)), rng.integers(0, 3, 33)
QUIET = {"batch_size": 32, "verbose": False}


class LayerwiseSGD(fastnn.SGD):
    """Unknown to the engine: a step goes layer by layer."""


@pytest.fixture(params=[fastnn.SGD, LayerwiseSGD], ids=["engine", "layers"])
def road(request):
    return request.param


def network(road=fastnn.SGD, activation="softmax", loss="cross_entropy", seed=0, lr=0.1):
    layers = [FullyConnected(5, "tanh"), FullyConnected(3, activation)]
    return fastnn.NeuralNetwork(loss, layers, road(lr), seed=seed)


def weights(net):
    return [p.tobytes() for layer in net.layers for p in layer.parameters.values()]


@pytest.mark.parametrize("seed", [0, None])
def test_validation_is_evaluate_and_changes_nothing(road, seed):
    validation = X_VAL, CLASSES_VAL
    nets = []
    for given in (validation, None):
        np.random.seed(5)
        nets.append(network(road, seed=seed))
        history = nets[-1].fit(X, CLASSES, 3, validation_data=given, **QUIET)
        if given:
            last = history.validation_loss[-1], history.validation_error[-1]
            assert last == nets[-1].evaluate(*validation)
    assert weights(nets[0]) == weights(nets[1])
    assert nets[0].history.loss == nets[1].history.loss


def test_fit_weighs_batches_by_their_rows_and_train_does_not(road):
    frozen = network(road, lr=0.0)
    history = frozen.fit(X, CLASSES, 1, **QUIET)
    assert (history.loss[0], history.error[0]) == pytest.approx(frozen.evaluate(X, CLASSES), rel=1e-12)
    history = frozen.train(fastnn.Dataset(X, ROWS, 32, X_VAL, np.eye(3)[CLASSES_VAL]), 1)
    assert history.loss[0] != pytest.approx(frozen.evaluate(X, CLASSES)[0], rel=1e-6)


def test_with_weights_an_epochs_loss_is_the_mean_by_them(road):
    given = rng.uniform(0, 2, 33)
    frozen = network(road, lr=0.0)
    history = frozen.fit(X, CLASSES, 1, sample_weight=given, shuffle=False, **QUIET)
    losses = [frozen.evaluate(X[i : i + 1], CLASSES[i : i + 1])[0] for i in range(33)]
    assert history.loss[0] == pytest.approx(np.average(losses, weights=given), rel=1e-12)
    assert history.error[0] == pytest.approx(frozen.evaluate(X, CLASSES)[1], rel=1e-12)


def test_many_networks_have_the_figures_of_a_fit():
    nets, others = ([network(seed=seed) for seed in (1, 2)] for _ in range(2))
    if fastnn.engine.obstacle(nets[0]) is not None:
        pytest.skip("no compiled steps here")
    for net, history in zip(others, fastnn.fit_many(nets, X, CLASSES, 3, 32), strict=True):
        assert net.fit(X, CLASSES, 3, **QUIET) == history


# NaN.


@pytest.mark.parametrize(
    ("activation", "loss"),
    [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"), ("tanh", "cross_entropy")],
)
@pytest.mark.parametrize("targets", [0, 1])
def test_the_error_of_nan_outputs_is_nan(activation, loss, targets, road):
    net = network(road, activation, loss)
    net.forward(X)
    Y = np.eye(3)[[targets] * 33]
    strange = X.copy()
    strange[30, 2] = np.nan
    loss_found, error = net.evaluate(strange, Y)
    assert math.isnan(loss_found)
    assert math.isnan(error)
    assert math.isnan(net.error(Y, net.predict(strange)))
    assert not math.isnan(net.evaluate(X, Y)[1])
    with pytest.warns(RuntimeWarning, match="the training loss is nan in epoch 1"):
        history = net.fit(strange, Y, 2, check_finite=False, **QUIET)
    assert all(map(math.isnan, history.error))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["X", "Y", "validation_data[0]", "validation_data[1]"])
def test_what_is_not_finite_is_found_before_training(value, where, road, dtype):
    arrays = {"X": X, "Y": rng.normal(size=(33, 3))}
    arrays = {name: array.astype(dtype) for name, array in arrays.items()}
    arrays |= {"validation_data[0]": arrays["X"], "validation_data[1]": arrays["Y"]}
    strange = arrays[where].copy()
    strange[7, 2] = strange[9, 0] = value
    arrays[where] = strange
    net = network(road, "linear", "l2")
    net.forward(X.astype(dtype))
    before = weights(net)
    fit = (arrays["X"], arrays["Y"], 1)
    options = {"validation_data": (arrays["validation_data[0]"], arrays["validation_data[1]"])}
    where_in_text = where.replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(ValueError, match=f"{where_in_text} holds -?(nan|inf) in row 7, column 2"):
        net.fit(*fit, **options, **QUIET)
    assert weights(net) == before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        net.fit(*fit, **options, check_finite=False, **QUIET)
    if where in "XY" and road is fastnn.SGD and fastnn.engine.obstacle(net) is None:
        with pytest.raises(ValueError, match=f"{where} holds -?(nan|inf) in row 7, column 2"):
            fastnn.fit_many([net], arrays["X"], arrays["Y"])


def test_large_finite_numbers_are_finite(dtype):
    large = np.full((33, 4), np.finfo(dtype).max, dtype)  # whose sum is not
    net = network(activation="linear", loss="l2", lr=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        net.fit(large, np.zeros((33, 3), dtype), 1, **QUIET)
    far = np.zeros((70000, 2))
    far[69999, 1] = np.nan
    with pytest.raises(ValueError, match="row 69999, column 1"):
        net.fit(far, np.zeros((70000, 3)), 1, **QUIET)


def test_a_diverging_run_warns_once_with_epoch_and_remedy(road):
    net = network(road, "linear", "l2", lr=1e10)
    with pytest.warns(RuntimeWarning) as caught:
        history = net.fit(X, ROWS, 60, **QUIET)
    (warning,) = [w for w in caught if "training loss" in str(w.message)]
    lost = next(i for i, loss in enumerate(history.loss) if not math.isfinite(loss))
    assert f"in epoch {lost + 1}: " in str(warning.message)
    assert "learning rate" in str(warning.message)
    assert warning.filename == __file__
    if road is fastnn.SGD and fastnn.engine.obstacle(net) is None:
        nets = [network(seed=1), network(activation="linear", loss="l2", lr=1e10)]
        with pytest.warns(RuntimeWarning, match=r"networks\[1\]") as caught:
            fastnn.fit_many(nets, X, ROWS, 60)
        assert len(caught) == 1


def test_nan_is_never_the_best(road):
    net = network(road)
    stopping = fastnn.EarlyStopping("error", patience=3)
    net.forward(X)
    net.layers[0].parameters["W"][0, 0] = np.nan
    with pytest.warns(RuntimeWarning) as caught:
        net.fit(X, CLASSES * 0, 9, callbacks=[stopping], **QUIET)  # NaN used to count as class 0
    messages = [str(warning.message) for warning in caught]
    assert any("no best parameters to restore" in message for message in messages)
    assert (stopping.best, stopping.best_epoch) == (math.inf, -1)
    assert len(net.history.loss) == 3


def test_the_best_finite_epoch_is_restored_and_infinity_is_not_it(road):
    figures = iter([math.nan, -math.inf, 5.0, 4.0, math.nan, -math.inf])
    kept = {}

    class Keep(fastnn.Callback):
        def on_epoch_end(self, run):
            kept[run.epoch] = weights(run.net)

    net = network(road)
    stopping = fastnn.EarlyStopping(lambda net: next(figures), patience=9)
    net.fit(X, CLASSES, 6, callbacks=[Keep(), stopping], **QUIET)
    assert (stopping.best, stopping.best_epoch) == (4.0, 3)
    assert weights(net) == kept[3]


def test_a_checkpoint_of_the_best_is_not_one_of_nan(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "best.safetensors"
    net = network()
    net.forward(X)
    net.layers[0].parameters["W"][0, 0] = np.nan
    keeper = fastnn.ModelCheckpoint(path, "error")
    with pytest.warns(RuntimeWarning, match="the training loss is nan"):
        net.fit(X, CLASSES * 0, 2, callbacks=[keeper], **QUIET)
    assert not path.exists()
    assert keeper.best_epoch == -1
