"""Kernels over large arrays on all cores; small arrays take one call on one.

:func:`elementwise` runs a kernel over flat arrays, :func:`by_rows` one over ``(n, k)`` arrays. Both cut
the arrays into the same chunks whatever the number of threads, and rows never depend on their chunk, so
neither do results. Arrays are C-contiguous, of one shape and dtype.

A chunk is a job for :mod:`fastnn.kernels.threads`, which calls it by address with two integers. The
templates below turn those into arrays; :func:`_job` puts a kernel and a dtype into a template.
"""

import functools
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import _jit, threads
from fastnn.kernels._jit import array_at, kernel
from fastnn.kernels.rows import block_rows

CHUNK = 8192  # elements: a few microseconds of work, and three arrays of it in the first-level cache
SMALL = 2 * CHUNK  # elements: below this a second core costs more than it brings

_WORD = np.int64(0)
_kernel: Any = None  # what a template calls, and
_like: Any = None  # a number of its arrays' dtype: see `_job`


def _flat_2(words_at: int, chunk: int) -> None:
    w = array_at(words_at, 1, 7, _WORD)[0]
    first = chunk * w[2]
    m = min(w[2], w[0] - first)
    at = first * w[3]
    _kernel(array_at(w[4] + at, 1, m, _like)[0], array_at(w[5] + at, 1, m, _like)[0])


def _flat_3(words_at: int, chunk: int) -> None:
    w = array_at(words_at, 1, 7, _WORD)[0]
    first = chunk * w[2]
    m = min(w[2], w[0] - first)
    at = first * w[3]
    a, b, c = w[4] + at, w[5] + at, w[6] + at
    _kernel(array_at(a, 1, m, _like)[0], array_at(b, 1, m, _like)[0], array_at(c, 1, m, _like)[0])


def _rows_2(words_at: int, chunk: int) -> None:
    w = array_at(words_at, 1, 7, _WORD)[0]
    k = w[1]
    first = chunk * w[2]
    m = min(w[2], w[0] - first)
    at = first * k * w[3]
    _kernel(array_at(w[4] + at, m, k, _like), array_at(w[5] + at, m, k, _like))


def _rows_3(words_at: int, chunk: int) -> None:
    w = array_at(words_at, 1, 7, _WORD)[0]
    k = w[1]
    first = chunk * w[2]
    m = min(w[2], w[0] - first)
    at = first * k * w[3]
    a, b, c = w[4] + at, w[5] + at, w[6] + at
    _kernel(array_at(a, m, k, _like), array_at(b, m, k, _like), array_at(c, m, k, _like))


@functools.cache
def _job(template: Any, function: Any, dtype: np.dtype[Any]) -> Any:
    """Return ``template`` compiled for one kernel and dtype; its ``address`` holds while it lives."""
    return _jit.job_from(template, function, dtype)


@kernel
def _words(n: int, k: int, rows: int, size: int) -> Array:
    words = np.empty(7, np.int64)
    words[0], words[1], words[2], words[3] = n, k, rows, size
    return words


@kernel
def _run_2(control: int, job: int, n: int, k: int, rows: int, a: Array, b: Array) -> None:
    words = _words(n, k, rows, a.itemsize)
    words[4], words[5] = a.ctypes.data, b.ctypes.data
    threads.parallel_for(control, job, words.ctypes.data, (n + rows - 1) // rows)
    words[0] = 0  # numba frees an array after its last use


@kernel
def _run_3(control: int, job: int, n: int, k: int, rows: int, a: Array, b: Array, c: Array) -> None:
    words = _words(n, k, rows, a.itemsize)
    words[4], words[5], words[6] = a.ctypes.data, b.ctypes.data, c.ctypes.data
    threads.parallel_for(control, job, words.ctypes.data, (n + rows - 1) // rows)
    words[0] = 0


def _run(template: Any, function: Any, n: int, k: int, rows: int, arrays: tuple[Array, ...]) -> None:
    pool = threads.pool()
    job = _job(template, function, arrays[0].dtype).address
    pool.wake()
    (_run_2 if len(arrays) == 2 else _run_3)(pool.control, job, n, k, rows, *arrays)


def elementwise(function: Any, *arrays: Array) -> None:
    """Call ``function(inputs..., out)`` on two or three arrays, whatever their shape, as flat ones."""
    flat = [array if array.ndim == 1 else array.reshape(-1) for array in arrays]
    m = flat[0].size
    if m < SMALL or not _jit.COMPILED:
        function(*flat)
    else:
        _run(_flat_2 if len(flat) == 2 else _flat_3, function, m, 1, CHUNK, tuple(flat))


def by_rows(function: Any, *arrays: Array) -> None:
    """Call ``function(inputs..., out)`` on two or three arrays as rows along their last axis."""
    k = arrays[0].shape[-1]
    rows = [array if array.ndim == 2 else array.reshape(-1, k) for array in arrays]
    n = len(rows[0])
    if n * k < SMALL or not _jit.COMPILED:
        function(*rows)
    else:
        block = block_rows(k)
        chunk = max(CHUNK // k // block, 1) * block
        _run(_rows_2 if len(rows) == 2 else _rows_3, function, n, k, chunk, tuple(rows))
