"""The callback ReduceLROnPlateau."""

import numpy as np
import pytest

import fastnn
from fastnn.schedulers import ReduceOnPlateau

LOSSES = [5, 4, 4, 4, 4, 3.9, 4, 4, 4, float("nan"), 4, 3, 3, 3, 3]


def network(lr=3.0, **options):
    layers = [fastnn.FullyConnected(6, "tanh"), fastnn.FullyConnected(3, "softmax")]
    return fastnn.NeuralNetwork("cross_entropy", layers, fastnn.SGD(lr, **options), seed=0)


def data(n=40):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)), rng.integers(0, 3, n)


class Run:
    """As much of a run as the callback asks for."""

    def __init__(self, net):
        self.net, self.dataset, self.history, self.epoch = net, fastnn.Dataset, fastnn.History(), 0
        self.dataset.validate = True

    @property
    def figures(self):
        return {"validation_loss": self.history.validation_loss[-1]}


@pytest.mark.parametrize("options", [{}, {"cooldown": 2}, {"lr_min": 0.4}])
def test_rates_are_those_of_the_schedule(options):
    callback = fastnn.ReduceLROnPlateau(factor=0.5, patience=2, **options)
    schedule = ReduceOnPlateau(1.0, 0.5, 2, **options)
    run = Run(network(1.0))
    callback.on_train_begin(run)
    for run.epoch, loss in enumerate(LOSSES):
        assert run.net.optimizer.lr == schedule(run.epoch)
        run.history.validation_loss.append(loss)
        callback.on_epoch_end(run)
        schedule.report(loss, run.epoch)
    assert callback.reduced[0] == 4


def test_it_reduces_in_fit_and_a_resumed_run_ends_with_the_same_bits(tmp_path):
    pytest.importorskip("safetensors")
    X, y = data()

    class Stop(fastnn.Callback):
        def on_epoch_begin(self, run):
            if run.epoch == 7:
                raise KeyboardInterrupt

    def fit(net, *more, **options):
        callback = fastnn.ReduceLROnPlateau("Validation_Loss", factor=0.5, patience=1)
        rates = fastnn.LearningRateLog()
        net.fit(
            X,
            y,
            12,
            8,
            validation_split=0.2,
            verbose=False,
            callbacks=[callback, rates, *more],
            **options,
        )
        return net, callback, rates.rates

    whole, callback, rates = fit(network())
    assert len(callback.reduced) > 1
    assert rates[-1] < rates[0] == 3.0
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        fit(network(), Stop(), checkpoint=path, checkpoint_every=0)
    resumed, again, _ = fit(network(), checkpoint=path, resume=True)
    assert again.reduced == callback.reduced
    np.testing.assert_array_equal(resumed.flat_parameters, whole.flat_parameters)


def test_what_it_needs_is_checked_before_training():
    X, y = data()
    net = network()
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau.* needs validation data"):
        net.fit(X, y, 1, verbose=False, callbacks=[fastnn.ReduceLROnPlateau()])
    net.optimizer.lr_scheduler = lambda epoch: 0.1
    with pytest.raises(AttributeError, match="no lr to set"):
        net.fit(X, y, 1, verbose=False, callbacks=[fastnn.ReduceLROnPlateau("loss")])
    with pytest.raises(ValueError, match="factor must be below 1"):
        fastnn.ReduceLROnPlateau(factor=1)
    with pytest.raises(NotImplementedError, match="'validation_loss'"):
        fastnn.ReduceLROnPlateau("accuracy")
