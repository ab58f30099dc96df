"""Ctrl-C: between two steps, parameters whole, finished epochs kept."""

import json
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from processes import read_until, started

import fastnn


class Interrupting(fastnn.ReLU):
    """Sends SIGINT to this process in the middle of the n-th forward pass."""

    def __init__(self, at):
        self.calls_left = at

    def forward(self, Z):
        self.calls_left -= 1
        if self.calls_left == 0:
            signal.raise_signal(signal.SIGINT)
        return super().forward(Z)


def network(activation):
    layers = [fastnn.FullyConnected(4, activation, "normal"), fastnn.FullyConnected(2, "softmax")]
    return fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.1}, seed=0)


def test_the_step_that_was_under_way_is_finished(rng):
    X, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    stopped, whole = network(Interrupting(7)), network("relu")
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(X, y, epochs=5, batch_size=10, shuffle=False, verbose=False)
    assert len(stopped.history.loss) == 1
    for step in range(7):
        batch = slice(step % 4 * 10, step % 4 * 10 + 10)
        whole.train_step(X[batch], y[batch])
    for a, b in zip(stopped.layers, whole.layers, strict=True):
        np.testing.assert_allclose(a.parameters["W"], b.parameters["W"], rtol=1e-12)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_programs_own_is_left_alone(rng):
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        X, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
        history = network(Interrupting(3)).fit(X, y, epochs=2, batch_size=10, verbose=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1]
    assert len(history.loss) == 2


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal on this system")
def test_another_signals_exception_at_a_runs_end_leaves_ctrl_c_alive(rng, monkeypatch):
    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    set_handler = signal.signal
    late = []

    def arriving(signum, handler):
        # as if the other signal came just now: Python calls its handler before anything is set
        if handler is signal.default_int_handler and not late:
            late.append(1)
            signal.raise_signal(signal.SIGUSR1)
        return set_handler(signum, handler)

    before = signal.signal(signal.SIGUSR1, ring)
    X, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    net = network("relu")
    try:
        monkeypatch.setattr(signal, "signal", arriving)
        with pytest.raises(Alarm):
            net.fit(X, y, epochs=2, batch_size=10, verbose=False)
    finally:
        monkeypatch.undo()
        signal.signal(signal.SIGUSR1, before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert net.fit(X, y, epochs=2, batch_size=10, verbose=False).loss


class Own(fastnn.ReLU):
    """Unknown to the engine."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
@pytest.mark.parametrize("activation", ["relu", Own()], ids=["engine", "layers"])
def test_an_exception_of_a_signal_in_a_step_leaves_the_network_free(activation, rng):
    class Alarm(Exception):
        pass

    def ring(*_):
        raise Alarm

    X, y = rng.normal(size=(4, 3)), rng.integers(0, 2, 4)
    net = network(activation)

    def train_until_it_rings(seconds):
        signal.setitimer(signal.ITIMER_REAL, seconds)
        while True:
            net.train_step(X, y)

    for _ in range(3):
        net.train_step(X, y)
    random.seed(0)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        for _ in range(1000):
            with pytest.raises(Alarm):
                train_until_it_rings(random.uniform(2e-5, 8e-5))
            assert net.turn.free == [None]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to another process")
def test_the_command_stops_with_130_and_keeps_the_history(tmp_path):
    path = tmp_path / "run.json"
    command = [sys.executable, "-m", "fastnn", "train", "--history", path, "--epochs", "1000000"]
    shown = os.environ | {"FORCE_COLOR": "1"}  # its progress, though this is no terminal
    with started(command, stderr=subprocess.STDOUT, env=shown) as process:
        progress = read_until(process, "epoch 2")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate()
    assert process.returncode == 130, progress + output
    assert "Interrupted after" in output
    assert "Traceback" not in output
    assert len(json.loads(path.read_text(encoding="utf-8"))["loss"]) > 0
