"""What the machine can do: arithmetic, divisions, and bytes a second by working-set size.

Arithmetic: the best of BLAS's matrix products. Divisions: a loop of them over the first-level cache.
Bytes: the best of a copy (one array read for one written) and of a sum (two read), each a compiled loop
on every thread at once and, for the copy, the C library's own, over working sets from the first-level
cache to memory. A case's bound is the time it would need if only its slowest resource counted.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn._arrays import aligned_copy
from fastnn._typing import Array
from fastnn.bench.cases import Case
from fastnn.kernels._jit import exact

SIZES = [2**e for e in range(14, 29)]  # bytes of all arrays of one thread: 16 KB to 256 MB
_SECONDS = 0.005
_REPEATS = 5


@exact
def _copy(times: int, a: Array, b: Array, out: Array) -> None:
    for _ in range(times):
        for i in range(out.size):
            out[i] = a[i]


@exact
def _sum(times: int, a: Array, b: Array, out: Array) -> None:
    for _ in range(times):
        for i in range(out.size):
            out[i] = a[i] + b[i]


@exact
def _divide(times: int, a: Array, b: Array, out: Array) -> None:
    one = a.dtype.type(1)
    for _ in range(times):
        for i in range(out.size):
            out[i] = one / a[i]


def _library_copy(times: int, a: Array, b: Array, out: Array) -> None:
    for _ in range(times):
        np.copyto(out, a)


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

    def of(self, case: Case) -> tuple[float, str]:
        """Return the seconds a case needs at least, and what for: bytes, flops or divisions."""
        needs = {
            "bytes": case.bytes / self.bytes_per_second(case.bytes, case.reads),
            "flops": case.flops / self.flops[case.dtype],
            "divisions": case.divisions / self.divisions[case.dtype],
        }
        resource = max(needs, key=lambda name: needs[name])
        return needs[resource], resource


def measure(threads: int) -> dict[str, Any]:
    """Return the arguments of :class:`Bounds`, measured in this process."""
    dtypes = ("float32", "float64")
    with ThreadPoolExecutor(threads) as pool:
        return {
            "threads": threads,
            "flops": {dtype: _gemm(dtype) for dtype in dtypes},
            "divisions": {
                dtype: _rate(_divide, 2**14, 2, dtype, pool, threads) / 2 / np.dtype(dtype).itemsize
                for dtype in dtypes
            },
            "bandwidth": {
                "1": [
                    max(_rate(f, size, 2, "float64", pool, threads) for f in (_copy, _library_copy))
                    for size in SIZES
                ],
                "2": [_rate(_sum, size, 3, "float64", pool, threads) for size in SIZES],
            },
        }


def _gemm(dtype: str) -> float:
    best = 0.0
    for n in (1024, 2048):
        a = np.ones((n, n), dtype)
        out = np.empty_like(a)
        for _ in range(4):
            start = time.perf_counter()
            np.dot(a, a, out=out)
            best = max(best, 2 * n**3 / (time.perf_counter() - start))
    return best


def _rate(
    loop: Callable[..., None], size: int, arrays: int, dtype: str, pool: Any, threads: int
) -> float:
    """Return the bytes a second of a loop on all threads, each on arrays of its own."""
    m = size // arrays // np.dtype(dtype).itemsize
    work = [_arrays(arrays, m, dtype) for _ in range(threads)]

    def seconds(times: int) -> float:
        start = time.perf_counter()
        list(pool.map(lambda own: loop(times, *own), work))
        return time.perf_counter() - start

    seconds(1)
    times = 1
    while seconds(times) < _SECONDS:
        times *= 2
    fastest = min(seconds(times) for _ in range(_REPEATS))
    return times * threads * arrays * m * np.dtype(dtype).itemsize / fastest


def _arrays(count: int, m: int, dtype: str) -> tuple[Array, Array, Array]:
    """Return two inputs, one and the same if there are but two arrays, and an output."""
    made = [aligned_copy(np.ones(m, dtype)) for _ in range(count)]
    return made[0], made[-2], made[-1]
