"""The loop that times a step's phases does that step."""

import ctypes
import time

import numpy as np
import pytest

import fastnn
from fastnn.bench.networks import TrainingStep
from fastnn.engine.training import TrainingPlan
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.step import probes

TIMES = 5


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
@pytest.mark.skipif(not hasattr(time, "clock_gettime"), reason="no clock of that kind")
def test_timed_phases_are_the_steps():
    case = TrainingStep(32, (64, 128, 64, 10))
    clock = ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value
    timed, plain = case.network(fastnn), case.network(fastnn)
    X, Y = case.batch()[0], case.one_hot()
    plan = TrainingPlan(timed, case.n)
    plan.train(timed, X, Y, None)
    out = np.zeros((TIMES, len(plan.to.phases) + 1, 2), np.int64)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    probes.phases(plan.pool().control, plan.address, clock, time.CLOCK_MONOTONIC, out)
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    readings = (out @ [10**9, 1]).reshape(-1)
    assert before <= readings[0]
    assert readings[-1] <= after
    assert (np.diff(readings) >= 0).all()
    for _ in range(1 + TIMES):
        plain.train_step(X, Y)
    for mine, other in zip(timed.layers, plain.layers, strict=True):
        np.testing.assert_array_equal(mine.parameters["W"], other.parameters["W"])
