"""Row softmax, its logarithm, and their gradients, over ``(n, k)`` arrays with ``k >= 1``.

The gradient never builds the ``k x k`` Jacobian ``diag(p) - p p^T``: multiplied out, its product with
``dy`` is ``p * (dy - sum(dy * p))``, ``4 k`` operations a row in place of ``3 k**2``.

Sums are kept in float64, and ``1 / sum`` in two numbers, so that an entry of a softmax is rounded
twice: as an exponential, and in the end. Each function does long rows by themselves and short ones as
lanes.
"""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import math as m
from fastnn.kernels import rows
from fastnn.kernels._jit import array_at, exact, fma, kernel
from fastnn.kernels.rows import LANES, SHORT, lane_values, reciprocal

_DOUBLE = np.float64(0)


@exact
def _scale_row(p: Array, total: float) -> None:
    high, low = reciprocal(total, p)
    for j in range(p.size):
        p[j] = fma(p[j], high, p[j] * low)


@exact
def _scale_lanes(t: Array, rests: Array, highs: Array, lows: Array) -> None:
    for r in range(LANES):
        highs[r], lows[r] = reciprocal(rests[r] + rows.scale_of(t), t)
    for j in range(t.shape[0]):
        for r in range(LANES):
            t[j, r] = fma(t[j, r], highs[r], t[j, r] * lows[r])


@kernel
def softmax(z: Array, out: Array) -> None:
    """``out = exp(z) / sum(exp(z))`` by rows."""
    n, k = z.shape
    if k > SHORT:
        for i in range(n):
            _scale_row(out[i], rows.exp_row(z[i], rows.row_max(z[i]), out[i]))
        return
    like = z.dtype.type(0)
    t = array_at(rows.first_block(), k, LANES, like)
    tops, rests = lane_values(rows.tops_at(), like), lane_values(rows.rests_at(), _DOUBLE)
    lows, parts = lane_values(rows.lows_at(), like), lane_values(rows.dots_at(), _DOUBLE)
    ties = lane_values(rows.ties_at(), _DOUBLE)
    for start in range(0, n, LANES):
        rows.load_lanes(z, start, t)
        rows.lane_tops(t, tops)
        rows.exp_lanes(t, tops, rests, parts, ties)
        _scale_lanes(t, rests, tops, lows)
        rows.store_lanes(t, start, out)


@exact
def _jvp_row(p: Array, dy: Array, total: float, dot: float, out: Array) -> None:
    """``out = p / total * (dy - dot / total)``."""
    high, low = reciprocal(total, p)
    mean = p.dtype.type(dot / total)
    for j in range(p.size):
        out[j] = fma(p[j], high, p[j] * low) * (dy[j] - mean)


@exact
def _jvp_lanes(p: Array, dy: Array, rests: Array, highs: Array, lows: Array, dots: Array) -> None:
    """As :func:`_jvp_row`, over p."""
    for r in range(LANES):
        dots[r] = 0.0
        highs[r], lows[r] = reciprocal(rests[r] + rows.scale_of(p), p)
    for j in range(p.shape[0]):
        p_row, dy_row = p[j], dy[j]
        for r in range(LANES):
            p_row[r] = fma(p_row[r], highs[r], p_row[r] * lows[r])
            dots[r] += np.float64(p_row[r]) * np.float64(dy_row[r])
    for r in range(LANES):
        lows[r] = p.dtype.type(dots[r])
    for j in range(p.shape[0]):
        p_row, dy_row = p[j], dy[j]
        for r in range(LANES):
            p_row[r] *= dy_row[r] - lows[r]


@kernel
def softmax_jvp(p: Array, dy: Array, out: Array) -> None:
    """``out = p * (dy - sum(dy * p))`` by rows: the softmax gradient where ``p`` is known."""
    for i in range(p.shape[0]):
        _jvp_row(p[i], dy[i], 1.0, rows.dot_row(p[i], dy[i]), out[i])


@kernel
def softmax_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = p * (dy - sum(dy * p))`` by rows with ``p = softmax(z)``."""
    n, k = z.shape
    if k > SHORT:
        for i in range(n):
            total = rows.exp_row(z[i], rows.row_max(z[i]), out[i])
            _jvp_row(out[i], dy[i], total, rows.dot_row(out[i], dy[i]), out[i])
        return
    like = z.dtype.type(0)
    t = array_at(rows.first_block(), k, LANES, like)
    d = array_at(rows.second_block(), k, LANES, like)
    tops, rests = lane_values(rows.tops_at(), like), lane_values(rows.rests_at(), _DOUBLE)
    lows, dots = lane_values(rows.lows_at(), like), lane_values(rows.dots_at(), _DOUBLE)
    ties = lane_values(rows.ties_at(), _DOUBLE)
    for start in range(0, n, LANES):
        rows.load_lanes(z, start, t)
        rows.load_lanes(dy, start, d)
        rows.lane_tops(t, tops)
        rows.exp_lanes(t, tops, rests, dots, ties)
        _jvp_lanes(t, d, rests, tops, lows, dots)
        rows.store_lanes(t, start, out)


@exact
def _log_row(z: Array, top: float, log_sum: float, out: Array) -> None:
    log_sum = z.dtype.type(log_sum)
    for j in range(z.size):
        out[j] = (z[j] - top) - log_sum


@exact
def _log_lanes(t: Array, tops: Array, rests: Array, z: Array) -> None:
    """As :func:`_log_row`, over z."""
    for r in range(LANES):
        rests[r] = m.log1p(rests[r] / rows.scale_of(t))
    for j in range(t.shape[0]):
        row = z[j]
        for r in range(LANES):
            row[r] = (row[r] - tops[r]) - t.dtype.type(rests[r])


@kernel
def log_softmax(z: Array, out: Array) -> None:
    """``out = (z - top) - log1p(sum of the others' exp(z - top))`` by rows, top the largest entry."""
    n, k = z.shape
    if k > SHORT:
        for i in range(n):
            top = rows.row_max(z[i])
            rest = rows.exp_row_but_one(z[i], top, out[i])
            _log_row(z[i], top, m.log1p(rest / rows.scale_of(out)), out[i])
        return
    like = z.dtype.type(0)
    t = array_at(rows.first_block(), k, LANES, like)
    kept = array_at(rows.second_block(), k, LANES, like)
    tops, rests = lane_values(rows.tops_at(), like), lane_values(rows.rests_at(), _DOUBLE)
    parts, ties = lane_values(rows.dots_at(), _DOUBLE), lane_values(rows.ties_at(), _DOUBLE)
    for start in range(0, n, LANES):
        rows.load_lanes(z, start, t)
        rows.load_lanes(z, start, kept)
        rows.lane_tops(t, tops)
        rows.exp_lanes(t, tops, rests, parts, ties)
        _log_lanes(t, tops, rests, kept)
        rows.store_lanes(kept, start, out)


@exact
def _log_gradient_row(p: Array, dy: Array, total: float, weight: float) -> None:
    high, low = reciprocal(total, p)
    weight = p.dtype.type(weight)
    for j in range(p.size):
        p[j] = dy[j] - fma(p[j], high, p[j] * low) * weight


@kernel
def log_softmax_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy - p sum(dy)`` by rows with ``p = softmax(z)``."""
    for i in range(z.shape[0]):
        total = rows.exp_row(z[i], rows.row_max(z[i]), out[i])
        _log_gradient_row(out[i], dy[i], total, rows.sum_row(dy[i]))
