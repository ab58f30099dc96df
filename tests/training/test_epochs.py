"""Several epochs in one compiled call, against a call for each."""

import warnings

import numpy as np
import pytest

import fastnn
from fastnn.engine import stretches
from fastnn.kernels.compiling.jit import COMPILED

compiled_step = pytest.mark.skipif(not COMPILED, reason="no compiled step here")
OPTIMIZERS = {
    "SGD": {"name": "SGD", "lr": 0.1, "momentum": 0.9, "clip_norm": 0.05},
    "Adam": {"name": "Adam", "lr": 0.01},
    "decaying": {
        "name": "SGD", "lr": 0.1, "lr_scheduler": "exponential", "lr_decay": 0.5, "stage_length": 9,
    },
}  # fmt: skip


def batch(rng):
    return rng.normal(size=(37, 4)).astype("f4"), np.eye(3, dtype="f4")[rng.integers(0, 3, 37)]


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


def fitted(optimizer, shuffle, callbacks, monkeypatch):
    """Return a network trained on a few rows for many epochs, and each call's passes and batches."""
    rng, passes = np.random.default_rng(0), []
    X, Y = batch(rng)
    layers = [fastnn.FullyConnected(6, "tanh"), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, optimizer, seed=3, dtype="float32")
    train = stretches.train
    with monkeypatch.context() as patch:
        patch.setattr(
            stretches, "train", lambda s, pool: passes.append(s[0].means.shape[:2]) or train(s, pool)
        )
        net.fit(X, Y, 60, 10, shuffle=shuffle, verbose=False, callbacks=callbacks)
    return net, passes


@compiled_step
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_several_epochs_in_a_call_are_one_a_call(optimizer, shuffle, monkeypatch):
    """Callbacks run after every epoch, so with a callback every epoch is a call of its own."""
    together, many = fitted(optimizer, shuffle, [], monkeypatch)
    alone, ones = fitted(optimizer, shuffle, [fastnn.Callback()], monkeypatch)
    assert max(passes for passes, _ in many) > 1
    assert sum(passes * batches for passes, batches in many) == 60 * 4 - 1  # the first makes parameters
    assert {passes for passes, _ in ones} == {1}
    assert together.history.loss == alone.history.loss
    assert together.history.error == alone.history.error
    assert len(together.history.loss) == 60
    for a, b in zip(parameters(together), parameters(alone), strict=True):
        np.testing.assert_array_equal(a, b)
    assert together.rng.random() == alone.rng.random()


@compiled_step
def test_a_schedule_of_ones_own_is_asked_after_the_epochs_before(rng):
    X, Y = batch(rng)
    layers = [fastnn.FullyConnected(3, "softmax")]
    seen = []

    def schedule(epoch):
        seen.append((epoch, len(net.history.loss)))
        return 0.1

    schedule.lr = 0.1
    optimizer = fastnn.SGD(lr_scheduler=schedule)
    net = fastnn.NeuralNetwork("cross_entropy", layers, optimizer, seed=3, dtype="float32")
    net.fit(X, Y, 60, 10, verbose=False)
    assert {epoch for epoch, _ in seen} == set(range(60))
    assert all(epoch == done for epoch, done in seen)


@compiled_step
def test_a_warning_raised_as_an_error_leaves_history_and_parameters_together(rng):
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, 1))
    net = fastnn.NeuralNetwork("l2", [fastnn.FullyConnected(1, "linear")], fastnn.SGD(lr=20.0), seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with pytest.raises(RuntimeWarning, match=r"in epoch \d+: the network has diverged"):
            net.fit(X, Y, 1000, 10, verbose=False)
    assert net.optimizer.epoch == len(net.history.loss) - 1


def diverging():
    rng = np.random.default_rng(0)
    net = fastnn.NeuralNetwork("l2", [fastnn.FullyConnected(1, "linear")], fastnn.SGD(lr=20.0), seed=1)
    return net, rng.normal(size=(40, 3)), rng.normal(size=(40, 1))


def fit(callbacks):
    net, X, Y = diverging()
    net.fit(X, Y, 1000, 10, verbose=False, callbacks=callbacks)


def fit_many():
    net, X, Y = diverging()
    fastnn.fit_many([net], X, Y, 1000, 10)


@compiled_step
@pytest.mark.parametrize(
    "train",
    [lambda: fit([]), lambda: fit([fastnn.Callback()]), fit_many],
    ids=["epochs together", "epochs alone", "fit_many"],
)
def test_the_warning_of_a_lost_run_points_at_the_users_line(train):
    with pytest.warns(RuntimeWarning, match="diverged") as told:
        train()
    assert [warning.filename for warning in told] == [__file__]
