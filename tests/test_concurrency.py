"""One network, several Python threads: all may predict with it at once, one may train it."""

import contextlib
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected
from fastnn.engine import made_from
from fastnn.kernels.compiling import jit


@pytest.fixture
def often():
    """Let Python switch threads as often as it can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("rows", [1, 7, 600])
def test_threads_that_ask_one_network_get_their_own_answers(rows, dtype, networks, rng, often):
    net, _ = networks([(64, "tanh"), (32, "gelu"), (10, "softmax")], seed=0, dtype=dtype)
    batches = [rng.normal(size=(rows, 64)).astype(dtype) for _ in range(8)]
    Y = np.eye(10, dtype=dtype)[rng.integers(0, 10, rows)]
    net.prepare(10, (rows, 64))
    net.forward(batches[0])
    wanted = [(net.predict(X), net.evaluate(X, Y)) for X in batches]

    def ask(i):
        for _ in range(150):
            np.testing.assert_array_equal(net.predict(batches[i]), wanted[i][0])
            assert net.evaluate(batches[i], Y) == wanted[i][1]

    with ThreadPoolExecutor(len(batches)) as pool:
        list(pool.map(ask, range(len(batches))))


class Own(fastnn.TanH):
    """An activation that compiled steps do not know."""


class Doubled(fastnn.Layer):
    """A layer of the user's, without parameters."""

    def forward(self, X):
        self.cache["X"] = X
        return 2 * self.cache["X"]

    def backward(self, dLdY):
        return 2 * dLdY


@pytest.mark.parametrize("last", ["softmax", "linear"])
def test_threads_that_ask_a_network_of_own_parts(last, rng, often):
    layers = [FullyConnected(32, Own()), Doubled(), FullyConnected(5, last)]
    loss = "cross_entropy" if last == "softmax" else "l2"
    net = fastnn.NeuralNetwork(loss, layers, fastnn.SGD(), seed=0)
    batches = [rng.normal(size=(n, 16)) for n in (1, 3, 20, 40)]
    targets = [np.eye(5)[rng.integers(0, 5, len(X))] for X in batches]
    pairs = list(zip(batches, targets, strict=True))
    wanted = [(net.predict(X), net.evaluate(X, Y)) for X, Y in pairs]
    net.forward(batches[0])
    kept = [dict(layer.cache) for layer in net.layers]

    def ask(i):
        X, Y = pairs[i]
        for _ in range(100):
            np.testing.assert_array_equal(net.predict(X), wanted[i][0])
            assert net.evaluate(X, Y) == wanted[i][1]

    with ThreadPoolExecutor(len(pairs)) as pool:
        list(pool.map(ask, range(len(pairs))))
    for layer, cache in zip(net.layers, kept, strict=True):
        assert all(layer.cache[name] is value for name, value in cache.items())


def test_asking_makes_parameters_and_leaves_no_cache(rng):
    layers = [FullyConnected(4, Own()), Doubled(), FullyConnected(2, "linear")]
    net = fastnn.NeuralNetwork("l2", layers, fastnn.SGD(), seed=0)
    X = rng.normal(size=(3, 5))
    first = net.predict(X)
    np.testing.assert_array_equal(net.predict(X), first)
    assert net.layers[2].parameters["W"].shape == (4, 2)
    assert all(value == [] for layer in net.layers for value in layer.cache.values())


class Paused(fastnn.Callback):
    """Holds a run in its middle until it may go on."""

    def __init__(self):
        self.began, self.go_on = threading.Event(), threading.Event()

    def on_batches_end(self, run, losses, errors):
        self.began.set()
        assert self.go_on.wait(60)


def small_network(activation="relu"):
    layers = [FullyConnected(8, activation), FullyConnected(3, "softmax")]
    return fastnn.NeuralNetwork("cross_entropy", layers, fastnn.Adam(), seed=0)


def bits(net):
    return [p.tobytes() for layer in net.layers for p in layer.parameters.values()]


@pytest.mark.parametrize("activation", ["relu", Own()])
def test_one_thread_at_a_time_trains_a_network(activation, rng):
    X, Y = rng.normal(size=(64, 4)), np.eye(3)[rng.integers(0, 3, 64)]
    net, alone = small_network(activation), small_network(activation)
    for each in (net, alone):
        each.fit(X, Y, epochs=1, batch_size=16, verbose=False)
    paused = Paused()

    def wrapped(networks, X, Y):  # fit_many trains in compiled code only
        networks[0].train_step(X, Y)

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(net.fit, X, Y, 2, 16, verbose=False, callbacks=[paused])
        try:
            assert paused.began.wait(60)
            before = bits(net)
            for train in (
                lambda: net.fit(X, Y, epochs=1, verbose=False),
                lambda: net.train(fastnn.Dataset(X, Y, 16), 1),
                lambda: net.train_step(X[:16], Y[:16]),
                lambda: net.train_step(X[:5], Y[:5]),
                lambda: (fastnn.fit_many if activation == "relu" else wrapped)([net], X, Y),
            ):
                with pytest.raises(RuntimeError, match="is being trained by another thread"):
                    train()
            assert bits(net) == before
            net.predict(X)
            net.evaluate(X, Y)
        finally:
            paused.go_on.set()
        run.result(60)
    alone.fit(X, Y, 2, 16, verbose=False)
    assert bits(net) == bits(alone)
    net.train_step(X[:16], Y[:16])  # the turn was given back


def test_a_callback_may_train_the_network_of_its_run(rng):
    X, Y = rng.normal(size=(64, 4)), np.eye(3)[rng.integers(0, 3, 64)]

    class More(fastnn.Callback):
        def on_epoch_end(self, run):
            run.net.train_step(X[:8], Y[:8])

    net = small_network()
    net.fit(X, Y, epochs=2, batch_size=16, verbose=False, callbacks=[More()])
    assert len(net.history.loss) == 2


def test_threads_that_train_one_network_get_errors_and_no_worse(rng, often):
    X, Y = rng.normal(size=(64, 4)), np.eye(3)[rng.integers(0, 3, 64)]
    net = small_network()
    net.fit(X, Y, epochs=1, batch_size=16, verbose=False)

    def train(i):
        done = 0
        for _ in range(100):
            with contextlib.suppress(RuntimeError):
                net.train_step(X[: 8 + i], Y[: 8 + i])
                net.fit(X, Y, epochs=1, batch_size=8 + i, verbose=False)
                done += 1
        return done

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(train, range(4))) > 0
    assert all(np.isfinite(p).all() for layer in net.layers for p in layer.parameters.values())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_may_train_what_its_parent_was_training(rng):
    X, Y = rng.normal(size=(64, 4)), np.eye(3)[rng.integers(0, 3, 64)]
    net = small_network()
    paused = Paused()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(net.fit, X, Y, 2, 16, verbose=False, callbacks=[paused])
        assert paused.began.wait(60)
        child = os.fork()
        if child == 0:
            try:
                net.train_step(X[:16], Y[:16])
                os._exit(0)
            finally:
                os._exit(1)
        paused.go_on.set()
        run.result(60)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_shows_its_progress_while_its_parent_does(rng):
    from tqdm.auto import tqdm

    X, Y = rng.normal(size=(64, 4)), np.eye(3)[rng.integers(0, 3, 64)]
    net = small_network()
    net.fit(X, Y, 1, 16, verbose=True)
    shown, go_on = threading.Event(), threading.Event()

    def show():
        with tqdm.get_lock():
            shown.set()
            assert go_on.wait(120)

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(show)
        assert shown.wait(60)
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # ends it where it would wait for ever
            try:
                net.fit(X, Y, 1, 16, verbose=True)
                os._exit(0)
            finally:
                os._exit(1)
        found = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        go_on.set()
        run.result(60)
    assert found == 0


def test_weights_replaced_while_another_thread_makes_a_plan(rng, monkeypatch):
    X, W = rng.normal(size=(5, 4)), rng.normal(size=(4, 8))
    net = small_network()
    net.forward(X)
    parts = made_from.parts_of
    late = [W]

    def between(model):
        # as if two other threads came just now: one asks, and then one assigns
        if late:
            value = late.pop()
            net.predict(X)
            net.layers[0].parameters["W"] = value
        return parts(model)

    monkeypatch.setattr(made_from, "parts_of", between)
    net.predict(X)
    assert not late
    np.testing.assert_allclose(net.predict(X), net.forward(X), rtol=1e-12)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_waits_for_what_another_thread_compiles():
    compiling = threading.Event()

    def compile_something():
        with jit.global_compiler_lock:
            compiling.set()
            time.sleep(0.2)  # a fork in the meantime is the one that matters

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(compile_something)
        assert compiling.wait(60)
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # ends it where it would wait for ever
            with jit.global_compiler_lock:
                os._exit(0)
        run.result(60)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
