"""Column-wise preprocessing; every function returns a new float array."""

import numpy as np

from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float


def center(X: ArrayLike, axis: int = 0) -> Array:
    """Return ``X - mean(X)`` along ``axis``."""
    x = as_float(X, "X")
    return np.asarray(x - np.mean(x, axis=axis, keepdims=True))


def normalize(X: ArrayLike, axis: int = 0, max_val: float | None = None) -> Array:
    """Return ``X`` shifted to a minimum of 0 and divided by its maximum then, or by ``max_val``.

    A constant column, whose maximum is then 0, stays 0.
    """
    x = as_float(X, "X")
    if max_val == 0:
        raise ValueError("max_val must not be 0")
    shifted = x - np.min(x, axis=axis, keepdims=True)
    if max_val is None:
        largest = np.max(shifted, axis=axis, keepdims=True)
        return np.asarray(shifted / np.where(largest == 0, 1, largest))
    return np.asarray(shifted / x.dtype.type(max_val))


def standardize(X: ArrayLike, axis: int = 0) -> Array:
    """Return ``(X - mean(X)) / (std(X) + 1e-10)`` along ``axis``."""
    x = as_float(X, "X")
    mean = np.mean(x, axis=axis, keepdims=True)
    std = np.std(x, axis=axis, keepdims=True)
    return np.asarray((x - mean) / (std + x.dtype.type(1e-10)))
