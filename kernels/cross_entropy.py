"""Softmax and cross-entropy as one function of the logits, and its gradient.

Targets are rows of weights, or class numbers. Each of the two does long rows by themselves and short
ones as lanes, as in :mod:`fastnn.kernels.softmax`. Sums are kept in float64.
"""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import rows
from fastnn.kernels.compiling.jit import by_dtype, exact, fma, inlined, inner, muladd
from fastnn.kernels.elementary import math as m
from fastnn.kernels.elementary.shifted_exp import exp_row_from_top, halves, reciprocal, scale_of
from fastnn.kernels.emitted.sums import BLOCK, sums_of_gaps
from fastnn.kernels.rows import LANES, SHORT

_CUT = 1.5 * 2.0 ** (52 - 26)  # of targets: see shifted_exp.py


@inner
def _row_loss(weight: float, rest: float, below: float, like: Any) -> Any:
    """Return ``weight log1p(rest / SCALE) + below``; NaN for a row that has no softmax."""
    return muladd(weight, m.log1p(rest / scale_of(like)), below) + rest * 0.0


@inlined
def _total(rest, scale, n):
    # rest + scale, n times that, and what the roundings of either left out
    total = rest + scale
    back = total - rest
    lost = (rest - (total - back)) + (scale - back)
    product = total * n
    return total, lost, product, muladd(lost, n, fma(total, n, -product))


@inner
def _gradient_row(p: Array, y: Array, rest: float, weight: float, n: int) -> None:
    """``p = ((weight - y) p - y others) / (total n)``, the others being those beside each entry.

    That is ``(softmax weight - y) / n`` without its cancellation where a softmax is near 1.
    """
    total, lost, product, lost_of_product = _total(rest, scale_of(p), np.float64(n))
    high, low = reciprocal(p, product, lost_of_product)
    dtype = p.dtype.type
    w, around, total_high, scale = dtype(weight), dtype(rest), dtype(total), dtype(scale_of(p))
    total_low = dtype((total - np.float64(total_high)) + lost)
    for j in range(p.size):
        others = around if p[j] == scale else (total_high - p[j]) + total_low
        away = y[j] * others
        lost = fma(y[j], others, -away)
        g = fma(w - y[j], p[j], -away) - lost
        p[j] = fma(g, high, g * low)


@inner
def _gradient_lanes(p: Array, y: Array, rests: Array, weights: Array, n: int, own: Array) -> None:
    """As :func:`_gradient_row`; ``own`` is six numbers a lane of scratch."""
    lanes, dtype = rows.lanes_in(p), p.dtype.type
    scale = dtype(scale_of(p))
    highs, lows, w, around, total_highs, total_lows = own[0], own[1], own[2], own[3], own[4], own[5]
    for r in range(lanes):
        total, lost, product, lost_of_product = _total(rests[r], scale_of(p), np.float64(n))
        highs[r], lows[r] = reciprocal(p, product, lost_of_product)
        w[r], around[r], total_highs[r] = dtype(weights[r]), dtype(rests[r]), dtype(total)
        total_lows[r] = dtype((total - np.float64(total_highs[r])) + lost)
    for j in range(p.shape[0]):
        p_row, y_row = p[j], y[j]
        for r in range(lanes):
            others = (total_highs[r] - p_row[r]) + total_lows[r]
            others = around[r] if p_row[r] == scale else others
            g = muladd(w[r] - y_row[r], p_row[r], -(y_row[r] * others))
            p_row[r] = fma(g, highs[r], g * lows[r])


@inlined
def _target_32(y):
    return np.float64(y), 0.0


@inlined
def _target_64(y):
    return halves(y, _CUT)


_target = by_dtype(_target_32, _target_64)  # in two parts, whose sums are exact for targets of about 1


@inlined
def _gap(weight, top, z):
    # what a target adds to `below`; of weight 0 nothing, even at z = -inf
    gap = np.float64(top) - np.float64(z)
    return weight * (gap if weight != 0.0 else 0.0)


@inner
def _weigh_row(z: Array, y: Array, top: float) -> tuple[float, float]:
    """Return ``sum(y)`` and ``sum(y (top - z))``."""
    high = low = below = lost = 0.0
    for start in range(0, z.size, BLOCK):
        some = slice(start, start + BLOCK)
        more_high, more_low, more = sums_of_gaps(z[some], y[some], top, _CUT)
        high, low = high + more_high, low + more_low
        below, lost = rows.add(below, lost, more)
    return high + low, below + lost


@inner
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
            below[r] += _gap(np.float64(y_row[r]), tops[r], z_row[r])
    for r in range(lanes):
        weights[r] += lows[r]


@exact
def softmax_cross_entropy_long(z: Array, y: Array, n: int, out: Array) -> float:
    """As :func:`softmax_cross_entropy`, row by row."""
    loss, lost = 0.0, 0.0
    for i in range(z.shape[0]):
        top, rest = exp_row_from_top(z[i], out[i])
        weight, below = _weigh_row(z[i], y[i], top)
        loss, lost = rows.add(loss, lost, _row_loss(weight, rest, below, out))
        _gradient_row(out[i], y[i], rest, weight, n)
    return loss + lost


@inner
def _finish_lanes(t: Array, d: Array, n: int, own: Array, sums: Array) -> float:
    """Turn logits t into the gradient; return the loss.

    d: targets; own[0]: the lanes' largest logits; sums[0], sums[1]: what :func:`_weigh_row` returns.
    """
    rows.exp_lanes(t, own[0], sums[2], sums[3])
    for r in range(rows.lanes_in(t)):
        sums[3, r] = _row_loss(sums[0, r], sums[2, r], sums[1, r], t)
    loss, lost = 0.0, 0.0
    for r in range(rows.lanes_in(t)):
        loss, lost = rows.add(loss, lost, sums[3, r])
    _gradient_lanes(t, d, sums[2], sums[0], n, own)
    return loss + lost


@exact
def softmax_cross_entropy_short(z: Array, y: Array, n: int, out: Array) -> float:
    """As :func:`softmax_cross_entropy`, for rows of up to ``SHORT`` entries, as lanes.

    Longer rows do not fit in its scratch memory: they are left as they are, and their loss is NaN.
    """
    k = z.shape[1]
    if k > SHORT:
        return np.nan
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
        loss, lost = rows.add(loss, lost, _finish_lanes(t, d, n, own, sums))
        rows.store_lanes(t, start, out)
    return loss + lost


@exact
def softmax_cross_entropy(z: Array, y: Array, n: int, out: Array) -> float:
    """Return ``sum(y * (logsumexp(z) - z))``; write its gradient ``(p sum(y) - y) / n``.

    z, y, out: blocks of rows ``(m, k)`` of a batch of ``n``; ``p = softmax(z)``. Classes of
    weight 0 add nothing, even at z = -inf.
    """
    if z.shape[1] > SHORT:
        return softmax_cross_entropy_long(z, y, n, out)
    return softmax_cross_entropy_short(z, y, n, out)


@inner
def _label_gradient_row(p, class_weight, label, even, peak, rest, weight, n):
    total, _, product, lost_of_product = _total(rest, scale_of(p), np.float64(n))
    dtype = p.dtype.type
    high, low = reciprocal(p, product, lost_of_product)
    at_label = np.float64(p[label])
    others = rest if at_label == scale_of(p) else total - at_label
    target = even * np.float64(class_weight[label]) + peak
    w, e, total_one = dtype(weight), dtype(even), dtype(total)
    for j in range(p.size):
        y = e * class_weight[j]
        g = muladd(w, p[j], -(y * total_one))
        p[j] = fma(g, high, g * low)
    p[label] = dtype(((weight - target) * at_label - target * others) / (total * n))


@inner
def _split_target(label, sample_weight, class_weight, smoothing):
    # the target is `even class_weight`, and at the label the peak more
    weight = np.float64(sample_weight)
    peak = weight * np.float64(class_weight[label]) * (1.0 - smoothing)
    return weight * smoothing / class_weight.size, peak


@inner
def _labels_long(z, labels, sample_weight, class_weight, smoothing, n, out):
    loss, lost = 0.0, 0.0
    class_sum = rows.sum_row(class_weight)
    for i in range(z.shape[0]):
        label = labels[i]
        even, peak = _split_target(label, sample_weight[i], class_weight, smoothing)
        weight = peak + even * class_sum
        top, rest = exp_row_from_top(z[i], out[i])
        below = 0.0
        if even != 0.0:
            below = even * _weigh_row(z[i], class_weight, top)[1]
        if peak != 0.0:
            below += peak * (np.float64(top) - np.float64(z[i, label]))
        loss, lost = rows.add(loss, lost, _row_loss(weight, rest, below, out))
        _label_gradient_row(out[i], class_weight, label, even, peak, rest, weight, n)
    return loss + lost


@inner
def _weigh_even_lanes(t, d, class_weight, tops, evens, below):
    # d = evens class_weight, and these targets' part of `below`
    lanes = rows.lanes_in(t)
    for r in range(lanes):
        below[r] = 0.0
    for j in range(t.shape[0]):
        t_row, d_row = t[j], d[j]
        for r in range(lanes):
            w = evens[r] * np.float64(class_weight[j])
            d_row[r] = w
            below[r] += _gap(w, tops[r], t_row[r])


@inner
def _weigh_labels(t, d, labels, sample_weight, class_weight, smoothing, tops, sums):
    # as _weigh_lanes, into sums[0] and sums[1]; writes the targets to d
    class_sum = rows.sum_row(class_weight)
    weights, below, evens, peaks = sums[0], sums[1], sums[2], sums[3]
    for r in range(labels.size, rows.lanes_in(t)):
        evens[r] = weights[r] = 0.0
    for r in range(labels.size):
        evens[r], peaks[r] = _split_target(labels[r], sample_weight[r], class_weight, smoothing)
        weights[r] = peaks[r] + evens[r] * class_sum
    _weigh_even_lanes(t, d, class_weight, tops, evens, below)
    for r in range(labels.size):
        label = labels[r]
        d[label, r] = evens[r] * class_weight[label] + peaks[r]
        if peaks[r] != 0.0:
            below[r] += peaks[r] * (np.float64(tops[r]) - np.float64(t[label, r]))


@inner
def _labels_short(z, labels, sample_weight, class_weight, smoothing, n, out):
    k = z.shape[1]
    loss, lost = 0.0, 0.0
    like = z.dtype.type(0)
    for start in range(0, z.shape[0], LANES):
        lanes = rows.lanes_of(z.shape[0] - start)
        own, sums = rows.values(lanes, like), rows.sums(lanes)
        t, d = rows.first(k, lanes, like), rows.second(k, lanes, like)
        some = slice(start, start + LANES)
        rows.load_lanes(z, start, t)
        rows.lane_tops(t, own[0])
        _weigh_labels(t, d, labels[some], sample_weight[some], class_weight, smoothing, own[0], sums)
        loss, lost = rows.add(loss, lost, _finish_lanes(t, d, n, own, sums))
        rows.store_lanes(t, start, out)
    return loss + lost


@exact
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
    if z.shape[1] > SHORT:
        loss: float = _labels_long(z, labels, sample_weight, class_weight, smoothing, n, out)
    else:
        loss = _labels_short(z, labels, sample_weight, class_weight, smoothing, n, out)
    return loss


@exact
def strangers(labels: Array, k: int) -> int:
    """Return how many int64 labels are not in ``0 .. k - 1``."""
    count = 0
    for i in range(labels.size):
        count += (labels[i] < 0) | (labels[i] >= k)
    return count
