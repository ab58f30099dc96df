"""Losses and their gradients. Sums are kept in float64 whatever the arrays' dtype."""

import math

import numpy as np

from fastnn._typing import Array
from fastnn.kernels._jit import kernel
from fastnn.kernels.rows import block_rows, pick, shifted_exp, sums, tops

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
def softmax_cross_entropy(z: Array, y: Array, n: int, out: Array) -> float:
    """Return ``sum(y * (logsumexp(z) - z))``; write its gradient ``(p sum(y) - y) / n``.

    z, y, out: blocks of rows ``(m, k)`` of a batch of ``n``; ``p = softmax(z)``. Classes of
    weight 0 add nothing, even at z = -inf.
    """
    m, k = z.shape
    zero = z.dtype.type(0)
    inverse_n = z.dtype.type(1) / z.dtype.type(n)
    loss = 0.0
    block = block_rows(k)
    for start in range(0, m, block):
        z_block = z[start : start + block]
        y_block = y[start : start + block]
        p = out[start : start + block]
        shifted_exp(z_block, p)
        for i in range(0, p.shape[0], 4):
            t0, t1, t2, t3 = tops(z_block, i)
            s0, s1, s2, s3 = sums(p, i)
            w0, w1, w2, w3 = sums(y_block, i)
            for r in range(i, min(i + 4, p.shape[0])):
                top = pick(r - i, t0, t1, t2, t3)
                total = pick(r - i, s0, s1, s2, s3)
                weight = pick(r - i, w0, w1, w2, w3)
                below = zero
                for j in range(k):
                    w = y_block[r, j]
                    below += w * (top - z_block[r, j]) if w != zero else zero
                # total * 0 is 0, or NaN for a row that has no softmax, of which no loss is known
                loss += weight * math.log(total) + below + total * zero
                scale = weight / total
                for j in range(k):
                    p[r, j] = (p[r, j] * scale - y_block[r, j]) * inverse_n
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


@kernel
def misclassified(y: Array, scores: Array) -> int:
    """Return in how many rows the arg-maxes differ; that of a row with NaN counts as class 0."""
    wrong = 0
    for i in range(y.shape[0]):
        target = 0
        guess = 0
        known = scores[i, 0] == scores[i, 0]
        for j in range(1, y.shape[1]):
            target = j if y[i, j] > y[i, target] else target
            guess = j if scores[i, j] > scores[i, guess] else guess
            known &= scores[i, j] == scores[i, j]
        wrong += target != (guess if known else 0)
    return wrong
