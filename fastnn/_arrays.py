"""The memory of arrays: where they begin, and in which form kernels take them.

New arrays begin on a cache line, so that no vector of theirs lies across two.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._typing import Array

LINE = 64  # bytes


class _Unlocked:
    """The memory of a read-only array, of which NumPy makes a writable view."""

    def __init__(self, array: Array) -> None:
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}
        self.array = array  # which owns the memory


def unlocked(array: Array) -> Array:
    """Return the array, or, if it is read-only, a writable view of it; nothing is copied.

    The view is for compiled code, which never writes to its inputs: numba would compile that code a
    second time for read-only arrays. Nothing else may use it, as the memory may be write-protected.
    """
    return array if array.flags.writeable else np.asarray(_Unlocked(array))


def extent(array: Array) -> tuple[int, int]:
    """Return the addresses where a contiguous array begins and ends."""
    begin = int(array.ctypes.data)
    return begin, begin + array.nbytes


def extents(arrays: Sequence[Array]) -> Array:
    """Return where the memory of contiguous arrays begins and ends, in order, ``(count, 2)``.

    Neighbours that are less than a cache line apart are taken together.

    Raises ``ValueError`` if two arrays share memory.
    """
    found: list[list[int]] = []
    for begin, end in sorted(extent(array) for array in arrays if array.size):
        if found and begin < found[-1][1]:
            raise ValueError("two of the arrays share memory")
        if found and begin - found[-1][1] < LINE:
            found[-1][1] = end
        else:
            found.append([begin, end])
    return np.array(found, np.int64).reshape(-1, 2)


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return zeros whose first element is at an address divisible by 64."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.zeros(size + LINE, np.uint8)
    start = -buffer.ctypes.data % LINE
    return buffer[start : start + size].view(dtype).reshape(shape)


def aligned_copy(array: Array) -> Array:
    """Return a C-contiguous copy like those of :func:`aligned_zeros`."""
    copy = aligned_zeros(array.shape, array.dtype)
    copy[...] = array
    return copy


def aligned_views(shapes: Sequence[tuple[int, ...]], dtype: np.dtype[Any]) -> tuple[Array, list[Array]]:
    """Return zeros of these shapes, like those of :func:`aligned_zeros`, as views of one flat array.

    Between two arrays the flat one has zeros that belong to neither, up to the next cache line.
    """
    step = LINE // dtype.itemsize
    sizes = [math.prod(shape) for shape in shapes]
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + -(-size // step) * step)
    flat = aligned_zeros((starts[-1],), dtype)
    views = [
        flat[start : start + size].reshape(shape)
        for start, size, shape in zip(starts, sizes, shapes, strict=False)
    ]
    return flat, views


def of_steps(gradient: Any) -> Any:
    """Stack a list of t gradients ``(n, d)`` to ``(n, d, t)``; return other gradients unchanged."""
    return np.stack(gradient, axis=-1) if isinstance(gradient, list) else gradient
