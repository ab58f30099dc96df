"""Kernels over large arrays on all cores; small arrays take one call on one.

:func:`elementwise` runs a kernel over flat arrays, :func:`by_rows` one over ``(n, k)`` arrays. Neither
elements nor rows depend on the chunk they fall in, so results do not depend on the number of threads.
Nor do sums, those of losses (:func:`sum_by_rows` and the like): for any number of threads they cut rows
in the same way, and add what the chunks give in their order. Arrays are C-contiguous, of one shape and
dtype.

A chunk is a job for `step/threads.py`, which calls it by address with two integers. The
templates below turn those into arrays; :func:`_job` puts a kernel and a dtype into a template.
"""

import functools
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import activations
from fastnn.kernels.compiling import jit
from fastnn.kernels.compiling.jit import inner, kernel
from fastnn.kernels.compiling.memory import array_at
from fastnn.kernels.rows import LANES, SHORT, add
from fastnn.kernels.step import threads

CHUNK = 8192  # elements: a few microseconds of work, and three arrays of it in the first-level cache
# Bytes of an array from which on several cores are used. A loop on two costs about 2.5 us more than the
# call it replaces, and pays from about 5 us of work on. By `make crossover`, on two cores of an AMD
# EPYC, float32, time on one over time on both:
#
#     KB    relu   tanh_backward   sigmoid   gelu   softmax k=10, 1000   cross-entropy k=10, 1000
#     32    0.66            1.09      1.11   1.35           1.47, 1.23                 1.67, 1.31
#     64    0.80            1.36      1.31   1.61           1.62, 1.32                 1.96, 1.70
#    256    1.27            1.77      1.74   1.83           1.79, 1.77                 2.09, 1.91
#
# At the lower quartile, with the cores far from each other, sigmoid at 32 KB has 1.01, tanh_backward
# 0.99. float64 crosses at the same bytes, or at half or twice as many.
SMALL = 2**16
SMALL_PLAIN = 2**18  # for what does next to nothing with an element
SMALL_ROWS = 2**15
_PLAIN = {
    activations.relu,
    activations.relu_backward,
    activations.leaky_relu,
    activations.leaky_relu_backward,
    activations.arctan_backward,
}

_WORD, _DOUBLE = np.int64(0), np.float64(0)
# Rows, columns, rows of a chunk, size of an element, up to three addresses, a parameter; for a sum also
# the addresses of the chunks' sums and of labels, sample weights and class weights.
_WORDS = 12
_PARAMETER = 8 * 7  # bytes
_SUMS, _LABELS, _SAMPLES, _CLASSES = range(8, 12)
_kernel: Any = None  # what a template calls, and
_like: Any = None  # a number of its arrays' dtype: see `_job`


@inner
def _chunk(words_at: int, chunk: int) -> tuple[int, int, int, int, int]:
    """Return the rows and columns of a chunk, and where its up to three arrays begin."""
    w = array_at(words_at, 1, _WORDS, _WORD)[0]
    first = chunk * w[2]
    at = first * w[1] * w[3]
    return min(w[2], w[0] - first), w[1], w[4] + at, w[5] + at, w[6] + at


@inner
def _parameter(words_at: int) -> Any:
    return array_at(words_at + _PARAMETER, 1, 1, _DOUBLE)[0, 0]


def _flat_2(words_at: int, chunk: int) -> None:
    m, _, a, b, _ = _chunk(words_at, chunk)
    _kernel(array_at(a, 1, m, _like)[0], array_at(b, 1, m, _like)[0])


def _flat_3(words_at: int, chunk: int) -> None:
    m, _, a, b, c = _chunk(words_at, chunk)
    _kernel(array_at(a, 1, m, _like)[0], array_at(b, 1, m, _like)[0], array_at(c, 1, m, _like)[0])


def _flat_2_parameter(words_at: int, chunk: int) -> None:
    m, _, a, b, _ = _chunk(words_at, chunk)
    p = _parameter(words_at)
    _kernel(array_at(a, 1, m, _like)[0], p, array_at(b, 1, m, _like)[0])


def _flat_3_parameter(words_at: int, chunk: int) -> None:
    m, _, a, b, c = _chunk(words_at, chunk)
    p = _parameter(words_at)
    _kernel(array_at(a, 1, m, _like)[0], p, array_at(b, 1, m, _like)[0], array_at(c, 1, m, _like)[0])


def _rows_2(words_at: int, chunk: int) -> None:
    m, k, a, b, _ = _chunk(words_at, chunk)
    _kernel(array_at(a, m, k, _like), array_at(b, m, k, _like))


def _rows_3(words_at: int, chunk: int) -> None:
    m, k, a, b, c = _chunk(words_at, chunk)
    _kernel(array_at(a, m, k, _like), array_at(b, m, k, _like), array_at(c, m, k, _like))


def _sum_rows(words_at: int, chunk: int) -> None:
    m, k, a, b, c = _chunk(words_at, chunk)
    w = array_at(words_at, 1, _WORDS, _WORD)[0]
    z, y, out = array_at(a, m, k, _like), array_at(b, m, k, _like), array_at(c, m, k, _like)
    array_at(w[_SUMS], 1, chunk + 1, _DOUBLE)[0, chunk] = _kernel(z, y, w[0], out)


def _sum_flat(words_at: int, chunk: int) -> None:
    m, k, a, b, c = _chunk(words_at, chunk)
    w = array_at(words_at, 1, _WORDS, _WORD)[0]
    z, y = array_at(a, 1, m * k, _like)[0], array_at(b, 1, m * k, _like)[0]
    out = array_at(c, 1, m * k, _like)[0]
    array_at(w[_SUMS], 1, chunk + 1, _DOUBLE)[0, chunk] = _kernel(z, y, w[0], out)


def _sum_labels(words_at: int, chunk: int) -> None:
    m, k, a, b, _ = _chunk(words_at, chunk)
    w = array_at(words_at, 1, _WORDS, _WORD)[0]
    at = 8 * chunk * w[2]
    labels = array_at(w[_LABELS] + at, 1, m, _WORD)[0]
    samples = array_at(w[_SAMPLES] + at, 1, m, _DOUBLE)[0]
    classes = array_at(w[_CLASSES], 1, k, _DOUBLE)[0]
    z, out = array_at(a, m, k, _like), array_at(b, m, k, _like)
    array_at(w[_SUMS], 1, chunk + 1, _DOUBLE)[0, chunk] = _kernel(
        z, labels, samples, classes, _parameter(words_at), w[0], out
    )


@functools.cache
def _job(template: Any, function: Any, dtype: np.dtype[Any]) -> Any:
    """Return ``template`` compiled for one kernel and dtype; its ``address`` holds while it lives."""
    return jit.job_from(template, function, dtype)


@kernel
def _run_2(control, job, n, k, rows, p, a, b):
    words = np.empty(_WORDS, np.int64)
    words[0], words[1], words[2], words[3] = n, k, rows, a.itemsize
    words[4], words[5] = a.ctypes.data, b.ctypes.data
    words.view(np.float64)[7] = p
    threads.parallel_for(control, job, words.ctypes.data, (n + rows - 1) // rows)
    words[0] = 0  # numba frees an array after its last use


@kernel
def _run_3(control, job, n, k, rows, p, a, b, c):
    words = np.empty(_WORDS, np.int64)
    words[0], words[1], words[2], words[3] = n, k, rows, a.itemsize
    words[4], words[5], words[6] = a.ctypes.data, b.ctypes.data, c.ctypes.data
    words.view(np.float64)[7] = p
    threads.parallel_for(control, job, words.ctypes.data, (n + rows - 1) // rows)
    words[0] = 0


def _run(
    template: Any, function: Any, shape: tuple[int, int], rows: int, p: float, arrays: Any
) -> None:
    pool = threads.pool()
    job = _job(template, function, arrays[0].dtype).address
    pool.wake()
    (_run_2 if len(arrays) == 2 else _run_3)(pool.control, job, *shape, rows, p, *arrays)


def _share(n: int, k: int, together: int) -> int:
    """Return how many of n rows make a chunk of about CHUNK elements, the same for every thread."""
    threads_ = threads.pool().n_threads
    chunks = -(-n * k // (CHUNK * threads_)) * threads_
    return -(-n // (chunks * together)) * together


def elementwise(function: Any, *arrays: Array, parameter: float | None = None) -> None:
    """Call ``function(inputs..., out)`` on two or three arrays, whatever their shape, as flat ones.

    A parameter comes second: ``function(input, parameter, ..., out)``.
    """
    if arrays[0].ndim != 1:
        arrays = tuple([array.ravel() for array in arrays])
    first = arrays[0]
    small = first.nbytes < SMALL or (first.nbytes < SMALL_PLAIN and function in _PLAIN)
    if small or not jit.COMPILED:
        function(*arrays) if parameter is None else function(first, parameter, *arrays[1:])
        return
    m = first.size
    if parameter is None:
        _run(_flat_2 if len(arrays) == 2 else _flat_3, function, (m, 1), _share(m, 1, 64), 0.0, arrays)
    else:
        template = _flat_2_parameter if len(arrays) == 2 else _flat_3_parameter
        _run(template, function, (m, 1), _share(m, 1, 64), parameter, arrays)


def by_rows(function: Any, *arrays: Array) -> None:
    """Call ``function(inputs..., out)`` on two or three arrays as rows along their last axis."""
    if arrays[0].ndim != 2:
        arrays = tuple([array.reshape(-1, array.shape[-1]) for array in arrays])
    first = arrays[0]
    if first.nbytes < SMALL_ROWS or not jit.COMPILED:
        function(*arrays)
        return
    n, k = first.shape
    rows = _share(n, k, LANES if k <= SHORT else 1)
    _run(_rows_2 if len(arrays) == 2 else _rows_3, function, (n, k), rows, 0.0, arrays)


@inner
def _run_sum(control, job, words, chunks):
    """Run the chunks, each of which writes a sum; return the sum of all."""
    sums = np.empty(chunks)
    words[_SUMS] = sums.ctypes.data
    threads.parallel_for(control, job, words.ctypes.data, chunks)
    total, lost = 0.0, 0.0
    for i in range(chunks):
        total, lost = add(total, lost, sums[i])
    return total + lost


@kernel
def _run_sum_rows(control, job, n, k, rows, z, y, out):
    words = np.empty(_WORDS, np.int64)
    words[0], words[1], words[2], words[3] = n, k, rows, z.itemsize
    words[4], words[5], words[6] = z.ctypes.data, y.ctypes.data, out.ctypes.data
    return _run_sum(control, job, words, (n + rows - 1) // rows)


@kernel
def _run_sum_labels(control, job, n, k, rows, z, labels, samples, classes, smoothing, out):
    words = np.empty(_WORDS, np.int64)
    words[0], words[1], words[2], words[3] = n, k, rows, z.itemsize
    words[4], words[5] = z.ctypes.data, out.ctypes.data
    words.view(np.float64)[7] = smoothing
    words[_LABELS], words[_SAMPLES] = labels.ctypes.data, samples.ctypes.data
    words[_CLASSES] = classes.ctypes.data
    return _run_sum(control, job, words, (n + rows - 1) // rows)


def _sum(template: Any, function: Any, arrays: Any) -> float:
    """Return the sum of what ``function`` returns for chunks of rows of the arrays."""
    n = len(arrays[0])
    k = arrays[0].size // n
    together = LANES if k <= SHORT else 1
    rows = -(-CHUNK // (4 * k * together)) * together
    job = _job(template, function, arrays[0].dtype).address
    pool = threads.pool()
    pool.wake()
    run = _run_sum_labels if template is _sum_labels else _run_sum_rows
    return float(run(pool.control, job, n, k, rows, *arrays))


def sum_by_rows(function: Any, z: Array, y: Array, out: Array) -> float:
    """Return ``function(z, y, n, out)``, a loss over ``n`` rows, which writes its gradient."""
    if z.nbytes < SMALL_ROWS or not jit.COMPILED:
        return float(function(z, y, len(z), out))
    return _sum(_sum_rows, function, (z, y, out))


def sum_elementwise(function: Any, z: Array, y: Array, out: Array) -> float:
    """As :func:`sum_by_rows`, for a function of flat arrays; these have any shape ``(n, ...)``."""
    if z.nbytes < SMALL_ROWS or not jit.COMPILED:
        return float(function(z.reshape(-1), y.reshape(-1), len(z), out.reshape(-1)))
    return _sum(_sum_flat, function, (z, y, out))


def sum_by_labels(
    function: Any, z: Array, labels: Array, samples: Array, classes: Array, smoothing: float, out: Array
) -> float:
    """Return ``function(z, labels, samples, classes, smoothing, n, out)``, a loss over ``n`` rows.

    labels are int64, sample and class weights float64.
    """
    if z.nbytes < SMALL_ROWS or not jit.COMPILED:
        return float(function(z, labels, samples, classes, smoothing, len(z), out))
    return _sum(_sum_labels, function, (z, labels, samples, classes, smoothing, out))
