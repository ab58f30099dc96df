"""Losses and their gradients. Sums are kept in float64 whatever the arrays' dtype."""

import math

import numpy as np

from fastnn._typing import Array
from fastnn.kernels._jit import kernel
from fastnn.kernels.softmax import shifted_exp

_EPS = np.finfo(np.float64).eps


@kernel
def cross_entropy(y: Array, p: Array) -> float:
    """Return ``-sum(y * log(p + eps))`` over flat ``(m,)`` arrays; ``eps`` is float64's."""
    total = 0.0
    for i in range(y.size):
        total -= y[i] * math.log(p[i] + _EPS)
    return total


@kernel
def cross_entropy_backward(y: Array, p: Array, n: int, out: Array) -> None:
    """``out = -y / (p n)`` over flat arrays; an entry of no weight has gradient 0, even at p = 0."""
    scale = y.dtype.type(-1) / y.dtype.type(n)
    zero = y.dtype.type(0)
    for i in range(y.size):
        out[i] = y[i] if y[i] == zero and p[i] == zero else scale * (y[i] / p[i])


@kernel
def softmax_cross_entropy(z: Array, y: Array, out: Array) -> float:
    """Return ``sum(y * (logsumexp(z) - z))``; write its gradient ``(p sum(y) - y) / n``.

    z, y, out: ``(n, k)``; ``p = softmax(z)``. Classes of weight 0 add nothing, even at z = -inf.
    """
    n, k = z.shape
    zero = z.dtype.type(0)
    inverse_n = z.dtype.type(1) / z.dtype.type(n)
    loss = 0.0
    shifted_exp(z, out)
    for i in range(n):
        total = zero
        weight = zero
        top = z.dtype.type(-np.inf)
        for j in range(k):
            total += out[i, j]
            weight += y[i, j]
            top = z[i, j] if z[i, j] > top else top
        below = 0.0
        for j in range(k):
            below += y[i, j] * (top - z[i, j]) if y[i, j] != zero else zero
        # total * 0 is 0, or NaN for a row that has no softmax, of which no loss is known
        loss += weight * math.log(total) + below + total * zero
        scale = weight / total
        for j in range(k):
            out[i, j] = (out[i, j] * scale - y[i, j]) * inverse_n
    return loss


@kernel
def l2(y: Array, y_hat: Array) -> float:
    """Return ``sum((y - y_hat)**2)`` over flat arrays."""
    total = 0.0
    for i in range(y.size):
        d = np.float64(y[i]) - np.float64(y_hat[i])
        total += d * d
    return total


@kernel
def l2_backward(y: Array, y_hat: Array, n: int, out: Array) -> None:
    """``out = (y_hat - y) / n`` over flat arrays."""
    scale = y.dtype.type(1) / y.dtype.type(n)
    for i in range(y.size):
        out[i] = (y_hat[i] - y[i]) * scale
