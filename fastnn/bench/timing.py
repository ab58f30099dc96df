"""Verify, warm up, time: the same for every contestant."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.bench.cases import Case

_SAMPLE = 200e-6  # seconds: what one reading of the clock is spread over, at least
_WARM_UP = 0.15  # seconds
_TRIAL = 0.1  # seconds for each variant of a library's call


def settle_allocator() -> None:
    """Bring the C library's allocator into the state that suits arrays of up to 32 MB best.

    It starts by giving arrays above 128 KB back to the system, so that every new one costs page
    faults. Once it has seen a larger block freed, it keeps what is smaller.
    """
    np.empty(31 * 2**20, np.uint8).fill(0)


def verify(case: Case, results: tuple[Array, ...]) -> str | None:
    """Return what is wrong with the results of a case, or None."""
    for got, want in zip(results, case.expected(), strict=True):
        if got.shape != want.shape:
            return f"shape {got.shape} for {want.shape}"
        scale = np.max(np.abs(want)) or 1.0
        error = np.max(np.abs(got - want)) / scale
        if not error <= case.tolerance:
            return f"off by {error:.1e} of the largest entry"
    return None


def plan(seconds: float, budget: float) -> tuple[int, int]:
    """Return how many samples to take, and of how many calls each, for calls of so many seconds."""
    calls = max(1, round(_SAMPLE / max(seconds, 1e-9)))
    return max(1, int(budget / (calls * max(seconds, 1e-9)))), calls


def sample(call: Callable[[], Any], calls: int) -> float:
    """Return the seconds a call takes on average over so many."""
    turns = range(calls)
    start = time.perf_counter()
    for _ in turns:
        call()
    return (time.perf_counter() - start) / calls


def warm_up(call: Callable[[], Any]) -> float:
    """Call for a while, but no slow call twice; return the seconds of the fastest.

    Threads wake up meanwhile, those of other libraries, which were used to verify results, fall asleep,
    and who tries out several ways has done so.
    """
    start, fastest = time.perf_counter(), float("inf")
    while time.perf_counter() - start < _WARM_UP:
        fastest = min(fastest, sample(call, 1))
    return fastest


def fastest(ways: Sequence[Callable[[], Callable[[], Any]]]) -> Callable[[], Any]:
    """Return a new call of the fastest variant; each element of ``ways`` makes a call with a state."""
    if len(ways) == 1:
        return ways[0]()
    seconds = []
    for make in ways:
        call = make()
        warm_up(call)
        seconds.append(measure(call, _TRIAL))
    return ways[seconds.index(min(seconds))]()


def measure(call: Callable[[], Any], budget: float) -> float:
    """Return the median seconds of a call, after a warm-up; takes about ``budget``."""
    first = sample(call, 1)
    if first > budget:
        return first
    seconds = min(first, sample(call, plan(first, budget)[1]))
    collecting = gc.isenabled()
    gc.disable()
    try:
        samples, calls = plan(seconds, budget)
        return statistics.median(sample(call, calls) for _ in range(samples))
    finally:
        if collecting:
            gc.enable()
