"""Whether several threads share a small step is found by trying; results do not depend on it."""

import numpy as np
import pytest

import fastnn
from fastnn import pace
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.pace import Trial


class Clock:
    """Stands in for ``time``; moves on by what a step takes."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


@pytest.fixture(autouse=True)
def forgotten():
    """Leave no trial to others, nor take one of theirs."""
    pace.trial.cache_clear()
    yield
    pace.trial.cache_clear()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    monkeypatch.setattr(pace.threads.pool(), "born", 0.0)
    return clock


def run(trial, clock, seconds, shared, alone):
    """Report calls for so long; return which of them went which way."""
    ways, end = [], clock.now + seconds
    while clock.now < end:
        ways.append(trial.shared)
        clock.now += shared if trial.shared else alone
        trial.report(ways[-1], shared if ways[-1] else alone)
    return ways


@pytest.mark.parametrize(("shared", "alone"), [(3e-5, 6e-5), (6e-5, 3e-5)])
def test_the_faster_way_is_taken_until_the_next_trial(clock, shared, alone):
    trial = Trial(8)
    assert all(run(trial, clock, pace._WAKING - shared, shared, alone))
    assert trial.most == 8
    assert set(run(trial, clock, 0.01, shared, alone)) == {True, False}
    assert trial.most > 8
    assert set(run(trial, clock, pace._PAUSE / 2, shared, alone)) == {shared < alone}
    assert set(run(trial, clock, pace._PAUSE, shared, alone)) == {True, False}


def test_a_first_trial_in_a_busy_moment_is_corrected_soon(clock):
    trial = Trial(1)
    clock.now = 1.0
    run(trial, clock, 0.001, 9e-5, 6e-5)
    assert not trial.shared
    run(trial, clock, 2 * pace._PAUSE, 3e-5, 6e-5)
    assert trial.shared


def test_trials_become_rare(clock):
    ways = run(Trial(1), clock, 10 * pace._LONGEST, 3e-4, 6e-4)
    assert ways.count(False) < 0.005 * len(ways)


def test_calls_while_helpers_wake_do_not_count(clock):
    trial = Trial(1)
    slow = pace._WAKING / 50
    run(trial, clock, pace._WAKING - slow, slow, 3e-5)  # while helpers wake
    run(trial, clock, 0.01, 1e-5, 3e-5)
    assert trial.shared


def test_reports_of_calls_that_began_in_another_thread_s_turn(clock):
    trial = Trial(1)
    clock.now = 1.0
    for shared in [True] * 20 + [True, False] * 20:
        trial.report(shared, 1.0 if shared else 2.0)
    assert trial.shared


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
def test_networks_alike_share_what_was_found_out():
    one, other, wider = (
        fastnn.NeuralNetwork("l2", [fastnn.FullyConnected(k, "relu")], fastnn.SGD(0.01))
        for k in (100, 100, 101)
    )
    X, Y = np.ones((512, 64), np.float32), {k: np.ones((512, k), np.float32) for k in (100, 101)}
    with fastnn.set_num_threads(2):
        for net, k in ((one, 100), (other, 100), (wider, 101)):
            net.train_step(X, Y[k])
        a, b, c = (net.engine._training.get(X.shape).trial for net in (one, other, wider))
    assert a is b
    assert a is not c


def test_results_are_the_same_both_ways(monkeypatch, dtype, networks, rng):
    X, Y = rng.normal(size=(64, 64)).astype(dtype), np.eye(10)[rng.integers(0, 10, 64)]
    found = []
    for way in (True, False):
        monkeypatch.setattr(Trial, "report", lambda trial, *_, way=way: setattr(trial, "shared", way))
        net, _ = networks([(128, "relu"), (10, "softmax")], seed=0, dtype=dtype)
        history = net.fit(X, Y, epochs=3, batch_size=32)
        steps = [net.train_step(X, Y) for _ in range(3)]
        found.append([history.loss, steps, net.predict(X), net.flat_parameters])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
