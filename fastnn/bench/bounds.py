"""What the machine can do: arithmetic, divisions, and bytes a second by working-set size.

Arithmetic: chains of multiply-adds on registers of the kernels' width, which no matrix product exceeds.
Divisions: a loop of them over the first-level cache. Bytes: the best loop that reads and writes as many
arrays as the case does (a sum of one, a copy, a sum of two), compiled or the library's, on every thread
at once, over the same number of bytes. A store fetches its line first unless it streams; the best loop
does what is faster.

A case's bound is the time it would need if only its slowest resource counted. What a shared machine can
do changes by the second, memory by a factor of two; so a case's bound takes its turn with the
contestants, in every round.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastnn._arrays import aligned_copy
from fastnn._typing import Array
from fastnn.bench.cases import Case, by_key
from fastnn.kernels.compiling.jit import VECTOR_BYTES
from fastnn.kernels.step import probes

SIZES = [2**e for e in range(14, 29)]  # bytes of all arrays of one thread: 16 KB to 256 MB
_CACHED = 2**14  # bytes that stay in the first-level cache
_SECONDS = 0.005
_REPEATS = 5

# loops by the arrays that they read for one written, 0 if they write none: (times, *arrays)
_MOVES: dict[int, tuple[Callable[..., None], ...]] = {
    0: (lambda times, z: probes.total(times, z, np.empty(1)),),
    1: (probes.copy, lambda times, z, out: _repeat(np.copyto, times, out, z)),
    2: (probes.add, lambda times, a, b, out: _repeat(np.add, times, a, b, out)),
}


def _repeat(function: Callable[..., Any], times: int, *arrays: Array) -> None:
    for _ in range(times):
        function(*arrays)


@dataclass(frozen=True)
class Bounds:
    """Measured rates, all a second.

    Attributes
    ----------
    threads : int
        How many threads reached them together.
    flops, divisions : dict
        By dtype.
    bandwidth : dict
        Bytes, by arrays read for one written, one for each of ``SIZES`` times ``threads``.
    """

    threads: int
    flops: dict[str, float]
    divisions: dict[str, float]
    bandwidth: dict[str, list[float]]

    def bytes_per_second(self, size: float, reads: int) -> float:
        """Return the bandwidth for a working set of so many bytes, interpolated."""
        sizes = np.log(np.array(SIZES) * self.threads)
        return float(np.interp(np.log(size), sizes, self.bandwidth[str(reads)]))


class Meter:
    """Measures in this process, on so many threads."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads)

    def bounds(self) -> Bounds:
        """Return all rates over all sizes."""
        dtypes = ("float32", "float64")
        return Bounds(
            self.threads,
            {dtype: self.flops(dtype) for dtype in dtypes},
            {dtype: self.divisions(dtype) for dtype in dtypes},
            {str(r): [self.bandwidth(size * self.threads, r) for size in SIZES] for r in _MOVES},
        )

    def least(self, case: Case) -> tuple[float, str]:
        """Return the seconds a case needs at least, and what for: bytes, flops or divisions."""
        needs = {
            "bytes": case.bytes / self.bandwidth(case.bytes, case.reads),
            "flops": case.flops / self.flops(case.dtype),
        }
        if case.divisions:
            needs["divisions"] = case.divisions / self.divisions(case.dtype)
        resource = max(needs, key=lambda name: needs[name])
        return needs[resource], resource

    def bandwidth(self, size: int, reads: int) -> float:
        """Return the bytes a second over that many bytes, by the best loop."""
        arrays = reads + 1 if reads else 1
        m = max(size // self.threads // arrays // 8, 1)
        moved = self.threads * arrays * m * 8
        return max(moved / self._seconds(loop, arrays, m, "float64") for loop in _MOVES[reads])

    def flops(self, dtype: str) -> float:
        """Return the operations a second."""
        itemsize = np.dtype(dtype).itemsize
        seconds = self._seconds(probes.multiply_add, 1, 2 * VECTOR_BYTES // itemsize, dtype)
        return self.threads * probes.flops_of_a_turn(itemsize) / seconds

    def divisions(self, dtype: str) -> float:
        """Return the divisions a second."""
        m = _CACHED // 2 // np.dtype(dtype).itemsize
        return self.threads * m / self._seconds(probes.divide, 2, m, dtype)

    def _seconds(self, loop: Callable[..., None], count: int, m: int, dtype: str) -> float:
        """Return the seconds of a loop on all threads, each with so many arrays of its own."""
        work = [
            [aligned_copy(np.full(m, 0.5, dtype)) for _ in range(count)] for _ in range(self.threads)
        ]

        def seconds(times: int) -> float:
            start = time.perf_counter()
            list(self._pool.map(lambda own: loop(times, *own), work))
            return time.perf_counter() - start

        seconds(1)
        times = 1
        while seconds(times) < _SECONDS:
            times *= 2
        return min(seconds(times) for _ in range(_REPEATS)) / times


def answers(threads: int, requests: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the answer to each request: a case's bound, or to an empty one all rates."""
    meter = Meter(threads)
    for request in requests:
        if "case" in request:
            seconds, resource = meter.least(by_key()[request["case"]])
            yield {"us": 1e6 * seconds, "by": resource}
        else:
            yield asdict(meter.bounds())
