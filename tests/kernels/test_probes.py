"""The loop that times a step's phases does that step; no product exceeds the peak."""

import ctypes
import re
import time

import numpy as np
import pytest

import fastnn
from fastnn.bench.networks import TrainingStep
from fastnn.engine.training import TrainingPlan
from fastnn.kernels.compiling import target
from fastnn.kernels.compiling.jit import COMPILED, assembly, exact
from fastnn.kernels.emitted.chains import CHAINS
from fastnn.kernels.emitted.gemm import gemm
from fastnn.kernels.emitted.tile import PLAIN
from fastnn.kernels.step import probes

TIMES = 5
TURNS = 20  # so that the call itself counts for little


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
@pytest.mark.skipif(not hasattr(time, "clock_gettime"), reason="no clock of that kind")
def test_timed_phases_are_the_steps():
    case = TrainingStep(32, (64, 128, 64, 10))
    clock = ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value
    timed, plain = case.network(fastnn), case.network(fastnn)
    X, Y = case.batch()[0], case.one_hot()
    plan = TrainingPlan(timed, X.shape)
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


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
def test_the_peak_is_that_of_whole_registers(dtype):
    code = assembly(probes.multiply_add, 1, np.ones(64, dtype))
    fused = [line for line in code.splitlines() if re.search(r"\tv?fn?m(add|la)", line)]
    if not target.FUSED:
        assert fused == []
        return
    register = {64: "%zmm", 32: "%ymm"}.get(target.VECTOR_BYTES, "")
    assert len([line for line in fused if register in line]) >= CHAINS


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
def test_no_product_exceeds_the_peak(dtype):
    """By the best of many times, taken in turns, so that a busy machine slows both."""
    m, n, k = 48, 96, 256
    A, B, C = (np.ones(shape, dtype) for shape in ((m, k), (k, n), (m, n)))
    vector, one, size = np.full(64, 0.5, dtype), dtype.type(1), dtype.itemsize
    places = A.ctypes.data, k, 1, B.ctypes.data, n, C.ctypes.data, n

    @exact
    def product(*arguments):
        gemm(*arguments)

    best = {"peak": np.inf, "product": np.inf}
    for _ in range(40):
        start = time.perf_counter()
        probes.multiply_add(TURNS, vector)
        peak = time.perf_counter()
        product(*places, m, n, k, 0, 0, PLAIN, size, (one, one))
        end = time.perf_counter()
        best = {"peak": min(best["peak"], peak - start), "product": min(best["product"], end - peak)}
    peak = TURNS * probes.flops_of_a_turn(size) / best["peak"]
    assert 2 * m * n * k / best["product"] < 1.1 * peak
