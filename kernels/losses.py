"""Losses and their gradients. Sums are kept in float64 whatever the arrays' dtype.

Cross-entropy from logits is in :mod:`fastnn.kernels.cross_entropy`.
"""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import rows
from fastnn.kernels.compiling.jit import VECTOR_BYTES, exact, inlined, inner, muladd
from fastnn.kernels.elementary import math as m
from fastnn.kernels.emitted.arg_max import arg_maxes_apart
from fastnn.kernels.emitted.sums import sum_of, sum_of_squares, terms

_EPS = np.finfo(np.float64).eps


@rows.by_blocks
def _cross_entropy_sum(y: Array, p: Array) -> float:
    parts = terms(y.size, 0.0)
    for i in range(y.size):
        parts[i] = -np.float64(y[i]) * m.log(np.float64(p[i]) + _EPS)
    return sum_of(parts)


@exact
def cross_entropy(y: Array, p: Array) -> float:
    """Return ``-sum(y * log(p + eps))`` over flat ``(m,)`` arrays; ``eps`` is float64's."""
    return _cross_entropy_sum(y, p)


@exact
def cross_entropy_backward(y: Array, p: Array, n: int, out: Array) -> None:
    """``out = -y / (p n)`` over flat arrays; an entry of no weight has gradient 0, even at p = 0."""
    scale = y.dtype.type(-1) / y.dtype.type(n)
    zero = y.dtype.type(0)
    for i in range(y.size):
        out[i] = y[i] if y[i] == zero and p[i] == zero else scale * (y[i] / p[i])


@rows.by_blocks
def _yes_no_sum(y: Array, p: Array) -> float:
    one, parts = y.dtype.type(1), terms(y.size, 0.0)
    for i in range(y.size):
        no = np.float64(one - y[i]) * m.log(np.float64(one - p[i]) + _EPS)
        parts[i] = -muladd(np.float64(y[i]), m.log(np.float64(p[i]) + _EPS), no)
    return sum_of(parts)


@exact
def yes_no_cross_entropy(y: Array, p: Array) -> float:
    """Return ``-sum(y log(p + eps) + (1 - y) log(1 - p + eps))`` over flat arrays."""
    return _yes_no_sum(y, p)


@inlined
def _quotient(y, p, zero):
    return zero if y == zero and p == zero else y / p


@exact
def yes_no_cross_entropy_backward(y: Array, p: Array, n: int, out: Array) -> None:
    """``out = ((1 - y) / (1 - p) - y / p) / n`` over flat arrays; a quotient 0 / 0 is 0."""
    zero, one = y.dtype.type(0), y.dtype.type(1)
    scale = one / y.dtype.type(n)
    for i in range(y.size):
        out[i] = (_quotient(one - y[i], one - p[i], zero) - _quotient(y[i], p[i], zero)) * scale


@exact
def wrong_answers(y: Array, scores: Array, threshold: float) -> float:
    """Return how many of flat arrays' scores are on the other side than y; NaN if a score is NaN."""
    wrong, unknown = 0, 0
    for i in range(y.size):
        wrong += (y[i] > 0.5) != (scores[i] > threshold)
        unknown += scores[i] != scores[i]
    return np.nan if unknown > 0 else float(wrong)


@exact
def target_rows(y: Array, smoothing: float, weights: Array, out: Array) -> None:
    """``out = weights ((1 - smoothing) y + smoothing sum(y) / k)`` by rows, weights ``(k,)``."""
    for i in range(y.shape[0]):
        even = smoothing / y.shape[1] * rows.sum_row(y[i])
        for j in range(y.shape[1]):
            out[i, j] = weights[j] * muladd(1.0 - smoothing, np.float64(y[i, j]), even)


@exact
def weigh_rows(a: Array, weights: Array) -> None:
    """Do ``a *= weights`` by rows, weights ``(n,)``."""
    for i in range(a.shape[0]):
        weight = a.dtype.type(weights[i])
        for j in range(a.shape[1]):
            a[i, j] *= weight


@rows.by_blocks_to
def _binary_sum(out: Array, z: Array, y: Array, scale: Any) -> float:
    zero, one = z.dtype.type(0), z.dtype.type(1)
    parts = terms(z.size, zero)
    for i in range(z.size):
        x, t = z[i], y[i]
        e = m.exp_nonpositive(-abs(x))
        near, below = m.log1p(e), one + e
        positive = near + (zero if x < zero else x)
        negative = near + (zero if -x < zero else -x)
        negative = negative if t != zero else zero
        positive = positive if t != one else zero
        parts[i] = muladd(t, negative, (one - t) * positive)
        yes, no = (e if x < zero else one) / below, (one if x < zero else e) / below
        out[i] = muladd(one - t, yes, -(t * no)) * scale
    return sum_of(parts)


@exact
def binary_cross_entropy(z: Array, y: Array, n: int, out: Array) -> float:
    """Return ``sum(y softplus(-z) + (1 - y) softplus(z))``; write its gradient ``(s - y) / n``.

    Flat arrays: logits, targets in [0, 1]; ``s = sigmoid(z)``, and the gradient is taken as
    ``((1 - y) sigmoid(z) - y sigmoid(-z)) / n``, which cancels nothing.
    """
    scale = z.dtype.type(1) / z.dtype.type(n)
    return _binary_sum(out, z, y, scale)


@rows.by_blocks_to
def _weighted_binary_sum(out: Array, z: Array, y: Array, no: Any, yes: Any, scale: Any) -> float:
    zero, one = z.dtype.type(0), z.dtype.type(1)
    parts = terms(z.size, zero)
    for i in range(z.size):
        x, t, f = z[i], yes * y[i], no * (one - y[i])
        e = m.exp_nonpositive(-abs(x))
        near, below = m.log1p(e), one + e
        positive = near + (zero if x < zero else x)
        negative = near + (zero if -x < zero else -x)
        negative = negative if t != zero else zero
        positive = positive if f != zero else zero
        parts[i] = muladd(t, negative, f * positive)
        up, down = (e if x < zero else one) / below, (one if x < zero else e) / below
        out[i] = muladd(f, up, -(t * down)) * scale
    return sum_of(parts)


@exact
def weighted_binary_cross_entropy(
    z: Array, y: Array, no: float, yes: float, n: int, out: Array
) -> float:
    """Return ``sum(yes y softplus(-z) + no (1 - y) softplus(z))``; write its gradient over n."""
    scale = z.dtype.type(1) / z.dtype.type(n)
    a, b = z.dtype.type(no), z.dtype.type(yes)
    return _weighted_binary_sum(out, z, y, a, b, scale)


@rows.by_blocks
def _weighted_yes_no_sum(y: Array, p: Array, a: float, b: float) -> float:
    one, parts = y.dtype.type(1), terms(y.size, 0.0)
    for i in range(y.size):
        no = a * np.float64(one - y[i]) * m.log(np.float64(one - p[i]) + _EPS)
        parts[i] = -muladd(b * np.float64(y[i]), m.log(np.float64(p[i]) + _EPS), no)
    return sum_of(parts)


@exact
def weighted_yes_no_cross_entropy(y: Array, p: Array, no: float, yes: float) -> float:
    """Return ``-sum(yes y log(p + eps) + no (1 - y) log(1 - p + eps))`` over flat arrays."""
    return _weighted_yes_no_sum(y, p, no, yes)


@exact
def weighted_yes_no_cross_entropy_backward(
    y: Array, p: Array, no: float, yes: float, n: int, out: Array
) -> None:
    """``out = (no (1 - y) / (1 - p) - yes y / p) / n`` over flat arrays; a quotient 0 / 0 is 0."""
    zero, one = y.dtype.type(0), y.dtype.type(1)
    a, b, scale = y.dtype.type(no), y.dtype.type(yes), one / y.dtype.type(n)
    for i in range(y.size):
        against = a * _quotient(one - y[i], one - p[i], zero)
        out[i] = (against - b * _quotient(y[i], p[i], zero)) * scale


@rows.by_blocks
def _squares_sum(y: Array, y_hat: Array) -> float:
    return sum_of_squares(y, y_hat)


@exact
def l2(y: Array, y_hat: Array) -> float:
    """Return ``sum((y - y_hat)**2)`` over flat arrays."""
    return _squares_sum(y, y_hat)


@exact
def l2_backward(y: Array, y_hat: Array, n: float, out: Array) -> None:
    """``out = (y_hat - y) / n`` over flat arrays."""
    scale = y.dtype.type(1) / y.dtype.type(n)
    for i in range(y.size):
        out[i] = (y_hat[i] - y[i]) * scale


@inner
def _wrong_lanes(d: Array, t: Array) -> tuple[int, int]:
    """Return in how many lanes the arg-maxes differ, and in how many of t there is a NaN."""
    wrong, unknown = 0, 0
    lanes, like = rows.lanes_in(t), t[0, 0]
    at_d, at_t = np.int64(d.ctypes.data), np.int64(t.ctypes.data)
    for offset in range(0, lanes * t.itemsize, VECTOR_BYTES):
        apart, lost = arg_maxes_apart(at_d + offset, at_t + offset, lanes, t.shape[0], like)
        wrong, unknown = wrong + apart, unknown + lost
    return wrong, unknown


@inner
def _wrong_row(y: Array, scores: Array) -> tuple[int, int]:
    target, guess = 0, 0
    known = scores[0] == scores[0]
    for j in range(1, y.size):
        target = j if y[j] > y[target] else target
        guess = j if scores[j] > scores[guess] else guess
        known &= scores[j] == scores[j]
    return target != guess, not known


@exact
def misclassified(y: Array, scores: Array) -> float:
    """Return in how many rows the arg-maxes differ; NaN if a score is NaN."""
    wrong, unknown = 0, 0
    n, k = y.shape
    if k > rows.SHORT:
        for i in range(n):
            differs, lost = _wrong_row(y[i], scores[i])
            wrong, unknown = wrong + differs, unknown + lost
    else:
        like = scores.dtype.type(0)
        for start in range(0, n, rows.LANES):
            lanes = rows.lanes_of(n - start)
            d, t = rows.first(k, lanes, like), rows.second(k, lanes, like)
            rows.load_lanes(y, start, d)
            rows.load_lanes(scores, start, t)
            differ, lost = _wrong_lanes(d, t)
            wrong, unknown = wrong + differ, unknown + lost
    return np.nan if unknown > 0 else float(wrong)
