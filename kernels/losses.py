"""Losses and their gradients. Sums are kept in float64 whatever the arrays' dtype."""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import math as m
from fastnn.kernels import rows
from fastnn.kernels._jit import by_dtype, exact, fma, inlined, kernel
from fastnn.kernels.rows import LANES, SHORT
from fastnn.kernels.shifted_exp import exp_row_from_top, halves, reciprocal, scale_of

_EPS = np.finfo(np.float64).eps
_CUT = 1.5 * 2.0 ** (52 - 26)  # of targets: see shifted_exp.py


@kernel
def cross_entropy(y: Array, p: Array) -> float:
    """Return ``-sum(y * log(p + eps))`` over flat ``(m,)`` arrays; ``eps`` is float64's."""
    total = 0.0
    for i in range(y.size):
        total -= y[i] * m.log(np.float64(p[i]) + _EPS)
    return total


@kernel
def cross_entropy_backward(y: Array, p: Array, n: int, out: Array) -> None:
    """``out = -y / (p n)`` over flat arrays; an entry of no weight has gradient 0, even at p = 0."""
    scale = y.dtype.type(-1) / y.dtype.type(n)
    zero = y.dtype.type(0)
    for i in range(y.size):
        out[i] = y[i] if y[i] == zero and p[i] == zero else scale * (y[i] / p[i])


@kernel
def yes_no_cross_entropy(y: Array, p: Array) -> float:
    """Return ``-sum(y log(p + eps) + (1 - y) log(1 - p + eps))`` over flat arrays."""
    one = y.dtype.type(1)
    total = 0.0
    for i in range(y.size):
        total -= y[i] * m.log(np.float64(p[i]) + _EPS)
        total -= (one - y[i]) * m.log(np.float64(one - p[i]) + _EPS)
    return total


@exact
def _quotient(y, p, zero):
    return zero if y == zero and p == zero else y / p


@kernel
def yes_no_cross_entropy_backward(y: Array, p: Array, n: int, out: Array) -> None:
    """``out = ((1 - y) / (1 - p) - y / p) / n`` over flat arrays; a quotient 0 / 0 is 0."""
    zero, one = y.dtype.type(0), y.dtype.type(1)
    scale = one / y.dtype.type(n)
    for i in range(y.size):
        out[i] = (_quotient(one - y[i], one - p[i], zero) - _quotient(y[i], p[i], zero)) * scale


@kernel
def wrong_answers(y: Array, scores: Array, threshold: float) -> int:
    """Return how many of the questions of flat arrays have an answer on the other side than y."""
    wrong = 0
    for i in range(y.size):
        wrong += (y[i] > 0.5) != (scores[i] > threshold)
    return wrong


@kernel
def target_rows(y: Array, smoothing: float, weights: Array, out: Array) -> None:
    """``out = weights ((1 - smoothing) y + smoothing sum(y) / k)`` by rows, weights ``(k,)``."""
    for i in range(y.shape[0]):
        even = smoothing / y.shape[1] * rows.sum_row(y[i])
        for j in range(y.shape[1]):
            out[i, j] = weights[j] * ((1.0 - smoothing) * np.float64(y[i, j]) + even)


@exact
def _row_loss(weight: float, rest: float, below: float, like: Any) -> Any:
    """Return ``weight log1p(rest / SCALE) + below``; NaN for a row that has no softmax."""
    return weight * m.log1p(rest / scale_of(like)) + below + rest * 0.0


@exact
def _gradient_row(p: Array, y: Array, rest: float, weight: float, n: int) -> None:
    """``p = ((weight - y) p - y others) / (total n)``, the others being those beside each entry.

    That is ``(softmax weight - y) / n`` without its cancellation where a softmax is near 1.
    """
    total = rest + scale_of(p)
    high, low = reciprocal(p, total * n)
    dtype = p.dtype.type
    w, around, total_high, scale = dtype(weight), dtype(rest), dtype(total), dtype(scale_of(p))
    total_low = dtype(total - np.float64(total_high))
    for j in range(p.size):
        others = around if p[j] == scale else (total_high - p[j]) + total_low
        away = y[j] * others
        lost = fma(y[j], others, -away)
        g = fma(w - y[j], p[j], -away) - lost
        p[j] = fma(g, high, g * low)


@exact
def _gradient_lanes(p: Array, y: Array, rests: Array, weights: Array, n: int, own: Array) -> None:
    """As :func:`_gradient_row`; ``own`` is six numbers a lane of scratch."""
    lanes, dtype = rows.lanes_in(p), p.dtype.type
    scale = dtype(scale_of(p))
    highs, lows, w, around, total_highs, total_lows = own[0], own[1], own[2], own[3], own[4], own[5]
    for r in range(lanes):
        total = rests[r] + scale_of(p)
        highs[r], lows[r] = reciprocal(p, total * n)
        w[r], around[r], total_highs[r] = dtype(weights[r]), dtype(rests[r]), dtype(total)
        total_lows[r] = dtype(total - np.float64(total_highs[r]))
    for j in range(p.shape[0]):
        p_row, y_row = p[j], y[j]
        for r in range(lanes):
            others = (total_highs[r] - p_row[r]) + total_lows[r]
            others = around[r] if p_row[r] == scale else others
            g = (w[r] - y_row[r]) * p_row[r] - y_row[r] * others
            p_row[r] = fma(g, highs[r], g * lows[r])


@inlined
def _target_32(y):
    return np.float64(y), 0.0


@inlined
def _target_64(y):
    return halves(y, _CUT)


_target = by_dtype(_target_32, _target_64)  # in two parts, whose sums are exact for targets of about 1


@kernel
def _weigh_row(z: Array, y: Array, top: float) -> tuple[float, float]:
    """Return ``sum(y)`` and ``sum(y (top - z))``."""
    high = low = below = 0.0
    for j in range(z.size):
        h, rest = _target(y[j])
        high += h
        low += rest
        w = np.float64(y[j])
        below += w * (np.float64(top) - np.float64(z[j])) if w != 0.0 else 0.0
    return high + low, below


@exact
def _weigh_lanes(z: Array, y: Array, tops: Array, weights: Array, below: Array, lows: Array) -> None:
    """As :func:`_weigh_row`; lows is scratch."""
    lanes = rows.lanes_in(z)
    for r in range(lanes):
        weights[r] = below[r] = lows[r] = 0.0
    for j in range(z.shape[0]):
        z_row, y_row = z[j], y[j]
        for r in range(lanes):
            h, rest = _target(y_row[r])
            weights[r] += h
            lows[r] += rest
            w = np.float64(y_row[r])
            below[r] += w * (np.float64(tops[r]) - np.float64(z_row[r])) if w != 0.0 else 0.0
    for r in range(lanes):
        weights[r] += lows[r]


@kernel
def softmax_cross_entropy_long(z: Array, y: Array, n: int, out: Array) -> float:
    """As :func:`softmax_cross_entropy`, row by row."""
    loss, lost = 0.0, 0.0
    for i in range(z.shape[0]):
        top, rest = exp_row_from_top(z[i], out[i])
        weight, below = _weigh_row(z[i], y[i], top)
        loss, lost = rows.add(loss, lost, _row_loss(weight, rest, below, out))
        _gradient_row(out[i], y[i], rest, weight, n)
    return loss + lost


@kernel
def softmax_cross_entropy_short(z: Array, y: Array, n: int, out: Array) -> float:
    """As :func:`softmax_cross_entropy`, for rows of up to ``SHORT`` entries, as lanes."""
    k = z.shape[1]
    loss, lost = 0.0, 0.0
    like = z.dtype.type(0)
    for start in range(0, z.shape[0], LANES):
        lanes = rows.lanes_of(z.shape[0] - start)
        own, sums = rows.values(lanes, like), rows.sums(lanes)
        t, d = rows.first(k, lanes, like), rows.second(k, lanes, like)
        rows.load_lanes(z, start, t)
        rows.load_lanes(y, start, d)
        rows.lane_tops(t, own[0])
        _weigh_lanes(t, d, own[0], sums[0], sums[1], sums[2])
        rows.exp_lanes(t, own[0], sums[2], sums[3])
        for r in range(lanes):
            sums[3, r] = _row_loss(sums[0, r], sums[2, r], sums[1, r], t)
        for r in range(lanes):
            loss, lost = rows.add(loss, lost, sums[3, r])
        _gradient_lanes(t, d, sums[2], sums[0], n, own)
        rows.store_lanes(t, start, out)
    return loss + lost


@kernel
def softmax_cross_entropy(z: Array, y: Array, n: int, out: Array) -> float:
    """Return ``sum(y * (logsumexp(z) - z))``; write its gradient ``(p sum(y) - y) / n``.

    z, y, out: blocks of rows ``(m, k)`` of a batch of ``n``; ``p = softmax(z)``. Classes of
    weight 0 add nothing, even at z = -inf.
    """
    if z.shape[1] > SHORT:
        return softmax_cross_entropy_long(z, y, n, out)
    return softmax_cross_entropy_short(z, y, n, out)


@kernel
def softmax_cross_entropy_labels(
    z: Array,
    labels: Array,
    sample_weight: Array,
    class_weight: Array,
    smoothing: float,
    n: int,
    out: Array,
) -> float:
    """As :func:`softmax_cross_entropy` for rows of targets that are never written down.

    labels ``(m,)`` integers, sample_weight ``(m,)``, class_weight ``(k,)``: the target of row i is
    ``sample_weight[i] * class_weight * ((1 - smoothing) * one_hot(labels[i]) + smoothing / k)``.
    """
    k = z.shape[1]
    loss, lost = 0.0, 0.0
    class_sum = 0.0
    for j in range(k):
        class_sum += np.float64(class_weight[j])
    for i in range(z.shape[0]):
        label = labels[i]
        even = np.float64(sample_weight[i]) * smoothing / k
        peak = np.float64(sample_weight[i]) * np.float64(class_weight[label]) * (1.0 - smoothing)
        weight = peak + even * class_sum
        top, rest = exp_row_from_top(z[i], out[i])
        below = 0.0
        if even != 0.0:
            for j in range(k):
                below += even * np.float64(class_weight[j]) * (np.float64(top) - np.float64(z[i, j]))
        if peak != 0.0:
            below += peak * (np.float64(top) - np.float64(z[i, label]))
        loss, lost = rows.add(loss, lost, _row_loss(weight, rest, below, out))
        _label_gradient_row(out[i], class_weight, label, even, peak, rest, weight, n)
    return loss + lost


@exact
def _label_gradient_row(
    p: Array,
    class_weight: Array,
    label: int,
    even: float,
    peak: float,
    rest: float,
    weight: float,
    n: int,
) -> None:
    total = rest + scale_of(p)
    dtype = p.dtype.type
    high, low = reciprocal(p, total * n)
    at_label = np.float64(p[label])
    others = rest if at_label == scale_of(p) else total - at_label
    target = even * np.float64(class_weight[label]) + peak
    w, e, total_one = dtype(weight), dtype(even), dtype(total)
    for j in range(p.size):
        y = e * class_weight[j]
        g = w * p[j] - y * total_one
        p[j] = fma(g, high, g * low)
    p[label] = dtype(((weight - target) * at_label - target * others) / (total * n))


@kernel
def binary_cross_entropy(z: Array, y: Array, n: int, out: Array) -> float:
    """Return ``sum(y softplus(-z) + (1 - y) softplus(z))``; write its gradient ``(s - y) / n``.

    Flat arrays: logits, targets in [0, 1]; ``s = sigmoid(z)``, and the gradient is taken as
    ``((1 - y) sigmoid(z) - y sigmoid(-z)) / n``, which cancels nothing.
    """
    zero, one = z.dtype.type(0), z.dtype.type(1)
    scale = one / z.dtype.type(n)
    total = 0.0
    for i in range(z.size):
        x, t = z[i], y[i]
        near = m.log1p(m.exp_nonpositive(-abs(x)))
        positive = near + (zero if x < zero else x)
        negative = near + (zero if -x < zero else -x)
        part = (t * negative if t != zero else zero) + ((one - t) * positive if t != one else zero)
        total += np.float64(part)
        out[i] = ((one - t) * m.sigmoid(x) - t * m.sigmoid(-x)) * scale
    return total


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
