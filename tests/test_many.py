"""Several networks side by side, against each by itself."""

import itertools
import signal

import numpy as np
import pytest

import fastnn
from fastnn.engine import stretches

RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 5))
LABELS = RNG.integers(0, 3, 70)


def network(seed=0, optimizer=None, hidden="tanh", **options):
    layers = [
        {"name": "fully_connected", "n_out": 8, "activation": hidden},
        {"name": "fully_connected", "n_out": None, "activation": "softmax"},
    ]
    return fastnn.NeuralNetwork(
        "cross_entropy", layers, optimizer or {"name": "Adam", "lr": 0.01}, seed=seed, **options
    )


def assert_equal(a, b):
    for mine, other in zip(a.layers, b.layers, strict=True):
        for name in mine.parameters:
            np.testing.assert_array_equal(mine.parameters[name], other.parameters[name])
    np.testing.assert_allclose(a.history.loss, b.history.loss, rtol=1e-12)
    np.testing.assert_allclose(a.history.error, b.history.error, rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_network_ends_as_after_a_fit_of_its_own(threads):
    def different():
        sgd = {
            "name": "SGD",
            "lr": 0.1,
            "momentum": 0.9,
            "lr_scheduler": "exponential",
            "stage_length": 1,
        }
        return [network(1), network(2, sgd), network(3, hidden="gelu"), network(4)]

    many, alone = different(), different()
    with fastnn.set_num_threads(threads):
        histories = fastnn.fit_many(many, X, LABELS, epochs=4, batch_size=16)
    for a, b, history in zip(many, alone, histories, strict=True):
        b.fit(X, LABELS, epochs=4, batch_size=16, verbose=False)
        assert history is a.history
        assert_equal(a, b)


def test_folds_train_on_their_own_rows():
    folds = [np.arange(0, 40), np.arange(30, 70, 2)]
    many, alone = [network(1), network(2)], [network(1), network(2)]
    fastnn.fit_many(many, X, LABELS, epochs=3, batch_size=16, rows=folds)
    for a, b, fold in zip(many, alone, folds, strict=True):
        b.fit(X[fold], LABELS[fold], epochs=3, batch_size=16, verbose=False)
        assert_equal(a, b)


def test_a_second_call_goes_on():
    a, b = network(1), network(1)
    for _ in range(2):
        fastnn.fit_many([a], X, LABELS, epochs=2)
        b.fit(X, LABELS, epochs=2, verbose=False)
    assert_equal(a, b)


def test_an_interrupted_run_is_a_shorter_one(monkeypatch):
    trained, calls = stretches.train, itertools.count(1)

    def train(*arguments):
        found = trained(*arguments)
        if next(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(stretches, "train", train)
    many, alone = [network(1), network(2)], [network(1), network(2)]
    with pytest.raises(KeyboardInterrupt):
        fastnn.fit_many(many, X, LABELS, epochs=10_000, batch_size=16)
    monkeypatch.undo()
    epochs = len(many[0].history.loss)
    assert epochs > 3  # of which a call did several
    for a, b in zip(many, alone, strict=True):
        b.fit(X, LABELS, epochs=epochs, batch_size=16, verbose=False)
        assert_equal(a, b)


class Own(fastnn.ReLU):
    """Unknown to the engine."""


@pytest.mark.parametrize(
    ("networks", "options", "error", "message"),
    [
        (lambda: [], {}, ValueError, "networks is empty"),
        (lambda: [network()] * 2, {}, ValueError, "one network twice"),
        (lambda: [network(optimizer=o) for o in [fastnn.SGD()] * 2], {}, ValueError, "one optimizer"),
        (lambda: [network(), network(dtype="float32")], {}, ValueError, r"networks\[1\] computes in"),
        (lambda: [network()], {"rows": []}, ValueError, "0 entries for 1"),
        (lambda: [network()], {"rows": [[0.5]]}, ValueError, r"rows\[0\]"),
        (lambda: [network()], {"rows": [[70]]}, IndexError, "X has 70 rows"),
        (lambda: [network()], {"epochs": -1}, ValueError, "epochs"),
        (lambda: [network()], {"batch_size": 0}, ValueError, "batch_size"),
    ],
)
def test_bad_arguments_change_nothing(networks, options, error, message):
    nets = networks()
    with pytest.raises(error, match=message):
        fastnn.fit_many(nets, X, LABELS, **options)
    assert all(not layer.parameters for net in nets for layer in net.layers)


def test_a_network_for_the_layer_road_is_refused():
    layers = [fastnn.FullyConnected(4, Own()), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, fastnn.SGD())
    with pytest.raises(ValueError, match=r"networks\[0\] cannot train in compiled code: .*Own"):
        fastnn.fit_many([net], X, LABELS)
