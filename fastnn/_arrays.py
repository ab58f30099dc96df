"""Arrays that begin on a cache line, so that no vector of theirs lies across two."""

import math
from typing import Any

import numpy as np

from fastnn._typing import Array

_LINE = 64  # bytes


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return zeros whose first element is at an address divisible by 64."""
    size = math.prod(shape) * dtype.itemsize
    buffer = np.zeros(size + _LINE, np.uint8)
    start = -buffer.ctypes.data % _LINE
    return buffer[start : start + size].view(dtype).reshape(shape)


def aligned_copy(array: Array) -> Array:
    """Return a C-contiguous copy like those of :func:`aligned_zeros`."""
    copy = aligned_zeros(array.shape, array.dtype)
    copy[...] = array
    return copy
