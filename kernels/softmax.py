"""Row softmax, its logarithm, and their gradients, over ``(n, k)`` arrays with ``k >= 1``.

The gradient never builds the ``k x k`` Jacobian ``diag(p) - p p^T``: multiplied out, its product with
``dy`` is ``p * (dy - sum(dy * p))``, ``4 k`` operations a row in place of ``3 k**2``.

Sums are kept in float64, and ``1 / sum`` in two numbers, so that an entry of a softmax is rounded
twice: as an exponential, and in the end. Each function does long rows by themselves and short ones as
lanes.
"""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import rows
from fastnn.kernels.compiling.jit import exact, fma, inner, muladd
from fastnn.kernels.elementary import math as m
from fastnn.kernels.elementary.shifted_exp import exp_row, exp_row_from_top, reciprocal, scale_of
from fastnn.kernels.rows import LANES, SHORT


@inner
def _scale_row(p: Array, total: float) -> None:
    high, low = reciprocal(p, total, 0.0)
    for j in range(p.size):
        p[j] = fma(p[j], high, p[j] * low)


@inner
def _scale_lanes(t: Array, totals: Array, highs: Array, lows: Array) -> None:
    lanes = rows.lanes_in(t)
    for r in range(lanes):
        highs[r], lows[r] = reciprocal(t, totals[r], 0.0)
    for j in range(t.shape[0]):
        row = t[j]
        for r in range(lanes):
            row[r] = fma(row[r], highs[r], row[r] * lows[r])


@exact
def softmax(z: Array, out: Array) -> None:
    """``out = exp(z) / sum(exp(z))`` by rows."""
    n, k = z.shape
    if k > SHORT:
        for i in range(n):
            _scale_row(out[i], exp_row(z[i], out[i]))
        return
    like = z.dtype.type(0)
    for start in range(0, n, LANES):
        lanes = rows.lanes_of(n - start)
        t, own, sums = rows.first(k, lanes, like), rows.values(lanes, like), rows.sums(lanes)
        rows.load_lanes(z, start, t)
        rows.lane_tops(t, own[0])
        rows.exp_lanes_and_totals(t, own[0], sums[0], sums[1])
        _scale_lanes(t, sums[0], own[1], own[2])
        rows.store_lanes(t, start, out)


@inner
def _jvp_row(p: Array, dy: Array, total: float, dot: float) -> None:
    """``p = p / total * (dy - dot / total)``."""
    high, low = reciprocal(p, total, 0.0)
    mean = p.dtype.type(dot / total)
    for j in range(p.size):
        p[j] = fma(p[j], high, p[j] * low) * (dy[j] - mean)


@inner
def _jvp_lanes(p: Array, dy: Array, totals: Array, dots: Array, highs: Array, lows: Array) -> None:
    """As :func:`_jvp_row`."""
    lanes = rows.lanes_in(p)
    for r in range(lanes):
        dots[r] = 0.0
        highs[r], lows[r] = reciprocal(p, totals[r], 0.0)
    for j in range(p.shape[0]):
        p_row, dy_row = p[j], dy[j]
        for r in range(lanes):
            p_row[r] = fma(p_row[r], highs[r], p_row[r] * lows[r])
        for r in range(lanes):
            dots[r] = muladd(np.float64(p_row[r]), np.float64(dy_row[r]), dots[r])
    for r in range(lanes):
        highs[r] = p.dtype.type(dots[r])
    for j in range(p.shape[0]):
        p_row, dy_row = p[j], dy[j]
        for r in range(lanes):
            p_row[r] *= dy_row[r] - highs[r]


@exact
def softmax_jvp(p: Array, dy: Array, out: Array) -> None:
    """``out = p * (dy - sum(dy * p))`` by rows: the softmax gradient where ``p`` is known."""
    for i in range(p.shape[0]):
        mean = p.dtype.type(rows.dot_row(p[i], dy[i]))
        for j in range(p.shape[1]):
            out[i, j] = p[i, j] * (dy[i, j] - mean)


@exact
def softmax_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = p * (dy - sum(dy * p))`` by rows with ``p = softmax(z)``."""
    n, k = z.shape
    if k > SHORT:
        for i in range(n):
            total = exp_row(z[i], out[i])
            _jvp_row(out[i], dy[i], total, rows.dot_row(out[i], dy[i]))
        return
    like = z.dtype.type(0)
    for start in range(0, n, LANES):
        lanes = rows.lanes_of(n - start)
        t, own, sums = rows.first(k, lanes, like), rows.values(lanes, like), rows.sums(lanes)
        d = rows.second(k, lanes, like)
        rows.load_lanes(z, start, t)
        rows.load_lanes(dy, start, d)
        rows.lane_tops(t, own[0])
        rows.exp_lanes_and_totals(t, own[0], sums[0], sums[1])
        _jvp_lanes(t, d, sums[0], sums[1], own[1], own[2])
        rows.store_lanes(t, start, out)


@inner
def _log_row(z: Array, top: float, log_sum: float, out: Array) -> None:
    log_sum = z.dtype.type(log_sum)
    for j in range(z.size):
        out[j] = (z[j] - top) - log_sum


@inner
def _log_lanes(z: Array, tops: Array, rests: Array, log_sums: Array) -> None:
    """As :func:`_log_row`, over z."""
    lanes = rows.lanes_in(z)
    for r in range(lanes):
        log_sums[r] = z.dtype.type(m.log1p(rests[r] / scale_of(z)))
    for j in range(z.shape[0]):
        row = z[j]
        for r in range(lanes):
            row[r] = (row[r] - tops[r]) - log_sums[r]


@exact
def log_softmax(z: Array, out: Array) -> None:
    """``out = (z - top) - log1p(sum of the others' exp(z - top))`` by rows, top the largest entry."""
    n, k = z.shape
    if k > SHORT:
        for i in range(n):
            top, rest = exp_row_from_top(z[i], out[i])
            _log_row(z[i], top, m.log1p(rest / scale_of(out)), out[i])
        return
    like = z.dtype.type(0)
    for start in range(0, n, LANES):
        lanes = rows.lanes_of(n - start)
        t, own, sums = rows.first(k, lanes, like), rows.values(lanes, like), rows.sums(lanes)
        kept = rows.second(k, lanes, like)
        rows.load_lanes(z, start, t)
        rows.load_lanes(z, start, kept)
        rows.lane_tops(t, own[0])
        rows.exp_lanes(t, own[0], sums[0], sums[1])
        _log_lanes(kept, own[0], sums[0], own[1])
        rows.store_lanes(kept, start, out)


@inner
def _log_gradient_row(p: Array, dy: Array, total: float, weight: float) -> None:
    high, low = reciprocal(p, total, 0.0)
    weight = p.dtype.type(weight)
    for j in range(p.size):
        p[j] = muladd(-fma(p[j], high, p[j] * low), weight, dy[j])


@inner
def _log_gradient_lanes(p: Array, dy: Array, totals: Array, sums: Array, own: Array) -> None:
    """As :func:`_log_gradient_row`; sums, and own, three numbers a lane, are scratch."""
    lanes = rows.lanes_in(p)
    highs, lows, weights = own[0], own[1], own[2]
    for r in range(lanes):
        sums[r] = 0.0
        highs[r], lows[r] = reciprocal(p, totals[r], 0.0)
    for j in range(p.shape[0]):
        dy_row = dy[j]
        for r in range(lanes):
            sums[r] += np.float64(dy_row[r])
    for r in range(lanes):
        weights[r] = p.dtype.type(sums[r])
    for j in range(p.shape[0]):
        p_row, dy_row = p[j], dy[j]
        for r in range(lanes):
            share = fma(p_row[r], highs[r], p_row[r] * lows[r])
            p_row[r] = muladd(-share, weights[r], dy_row[r])


@exact
def log_softmax_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy - p sum(dy)`` by rows with ``p = softmax(z)``."""
    n, k = z.shape
    if k > SHORT:
        for i in range(n):
            _log_gradient_row(out[i], dy[i], exp_row(z[i], out[i]), rows.sum_row(dy[i]))
        return
    like = z.dtype.type(0)
    for start in range(0, n, LANES):
        lanes = rows.lanes_of(n - start)
        t, own, sums = rows.first(k, lanes, like), rows.values(lanes, like), rows.sums(lanes)
        d = rows.second(k, lanes, like)
        rows.load_lanes(z, start, t)
        rows.load_lanes(dy, start, d)
        rows.lane_tops(t, own[0])
        rows.exp_lanes_and_totals(t, own[0], sums[0], sums[1])
        _log_gradient_lanes(t, d, sums[0], sums[1], own)
        rows.store_lanes(t, start, out)
