"""Whether several threads share a small step is found by trying; results do not depend on it."""

import numpy as np
import pytest

from fastnn import _trial
from fastnn._trial import Trial


class Clock:
    """Stands in for ``time``; moves on by what a step takes."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


def run(trial, clock, calls, shared, alone):
    """Report so many calls; return which of them went which way."""
    ways = []
    for _ in range(calls):
        ways.append(trial.shared)
        seconds = shared if trial.shared else alone
        clock.now += seconds
        trial.report(seconds)
    return ways


@pytest.mark.parametrize(("shared", "alone"), [(3e-5, 6e-5), (6e-5, 3e-5)])
def test_the_faster_way_is_taken_until_the_next_trial(monkeypatch, shared, alone):
    clock = Clock()
    monkeypatch.setattr(_trial, "time", clock)
    trial = Trial()
    waking = int(_trial._WAKING / shared) + 2
    assert all(run(trial, clock, waking, shared, alone))
    run(trial, clock, 2 * _trial._TURNS, shared, alone)
    assert trial.most > _trial._STEPS
    settled = run(trial, clock, _trial._PERIOD // 2, shared, alone)
    assert set(settled) == {shared < alone}
    after = run(trial, clock, _trial._PERIOD, shared, alone)
    assert set(after) == {True, False}


def test_calls_while_helpers_wake_do_not_count(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(_trial, "time", clock)
    trial = Trial()
    run(trial, clock, int(_trial._WAKING / 1e-3) + 1, 1e-3, 3e-5)  # slow while helpers wake
    run(trial, clock, 2 * _trial._TURNS, 1e-5, 3e-5)
    assert trial.shared


def test_results_are_the_same_both_ways(monkeypatch, dtype, networks, rng):
    X, Y = rng.normal(size=(64, 64)).astype(dtype), np.eye(10)[rng.integers(0, 10, 64)]
    found = []
    for way in (True, False):
        monkeypatch.setattr(
            Trial, "report", lambda trial, seconds, way=way: setattr(trial, "shared", way)
        )
        net, _ = networks([(128, "relu"), (10, "softmax")], seed=0, dtype=dtype)
        history = net.fit(X, Y, epochs=3, batch_size=32)
        steps = [net.train_step(X, Y) for _ in range(3)]
        found.append([history.loss, steps, net.predict(X), net.flat_parameters])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
