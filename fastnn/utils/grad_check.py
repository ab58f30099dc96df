"""Numerical gradient checks."""

from collections.abc import Callable

import numpy as np

from fastnn._typing import Array


def check_gradients(
    fn: Callable[[Array], Array], grad: Array, x: Array, dLdf: Array, h: float = 1e-6
) -> float:
    """Compare a gradient with two-sided differences.

    Parameters
    ----------
    fn : callable
        Function of ``x``.
    grad : array, shape of ``x``
        The gradient of ``sum(fn(x) * dLdf)`` to check.
    x : float64 array
        Where to check it. Its entries are moved by ``h`` and put back.
    dLdf : array, shape of ``fn(x)``
        Gradient of the loss with respect to the function's value.
    h : float
        Step.

    Returns
    -------
    float
        ``norm(numerical - grad) / norm(numerical + grad)``; 0 if both are zero.

    Raises
    ------
    TypeError
        If ``x`` is not an array of floats: another cannot be moved by ``h``.
    """
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f":
        raise TypeError(f"x must be a float array, got {getattr(x, 'dtype', type(x).__name__)}")
    numerical = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        try:
            x[index] = value + h
            above = np.array(fn(x))
            x[index] = value - h
            below = np.array(fn(x))
        finally:
            x[index] = value
        numerical[index] = np.sum((above - below) * dLdf) / (2 * h)
    scale = float(np.linalg.norm(numerical + grad))
    difference = float(np.linalg.norm(numerical - grad))
    if scale == 0:
        return 0.0 if difference == 0 else float("inf")
    return difference / scale
