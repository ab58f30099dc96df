"""Losses of regression other than l2, their gradients, and the errors that networks report for them.

Targets and outputs are arrays ``(m,)``, except for quantiles, ``(rows, k)``. Gradients are divided by
``n``. Where target and output are equal the gradient is 0; NaN gives NaN.
"""

from typing import Any

from fastnn._typing import Array
from fastnn.kernels import rows
from fastnn.kernels.compiling.jit import exact, inlined, inner
from fastnn.kernels.elementary import math as m
from fastnn.kernels.emitted.sums import BLOCK, sum_of, terms

EPS = 1e-8  # added to a rate before its logarithm is taken, as in PyTorch


@inlined
def _sided(d, below, above, zero):
    """Return ``above`` if d is positive, ``below`` if it is negative, else d, which is 0 or NaN."""
    return above if d > zero else (below if d < zero else d)


@rows.by_blocks_to
def _mae_sum(out: Array, y: Array, y_hat: Array, scale: Any) -> float:
    zero = y.dtype.type(0)
    parts = terms(y.size, zero)
    for i in range(y.size):
        d = y_hat[i] - y[i]
        parts[i] = abs(d)
        out[i] = _sided(d, -scale, scale, zero)
    return sum_of(parts)


@exact
def mae(y: Array, y_hat: Array, n: int, out: Array) -> float:
    """Return ``sum(|y - y_hat|)``; write its gradient by ``y_hat``, over n."""
    scale = y.dtype.type(1) / y.dtype.type(n)
    return _mae_sum(out, y, y_hat, scale)


@rows.by_blocks_to
def _huber_sum(out: Array, y: Array, y_hat: Array, delta: Any, scale: Any) -> float:
    zero, half = y.dtype.type(0), y.dtype.type(0.5)
    parts = terms(y.size, zero)
    for i in range(y.size):
        d = y_hat[i] - y[i]
        size = abs(d)
        near = size <= delta
        parts[i] = half * (d * d) if near else delta * (size - half * delta)
        out[i] = scale * (d if near else _sided(d, -delta, delta, zero))
    return sum_of(parts)


@exact
def huber(y: Array, y_hat: Array, delta: float, n: int, out: Array) -> float:
    """Return the sum of ``d**2 / 2`` up to ``|d| = delta``, then ``delta (|d| - delta / 2)``.

    ``d = y_hat - y``; the gradient by ``y_hat``, over n, is written. Source: P. Huber, "Robust
    estimation of a location parameter", 1964.
    """
    scale, limit = y.dtype.type(1) / y.dtype.type(n), y.dtype.type(delta)
    return _huber_sum(out, y, y_hat, limit, scale)


@rows.by_blocks_to
def _poisson_sum(out: Array, y: Array, x: Array, scale: Any) -> float:
    parts = terms(y.size, y.dtype.type(0))
    for i in range(y.size):
        rate = m.exp(x[i])
        parts[i] = rate - y[i] * x[i]
        out[i] = scale * (rate - y[i])
    return sum_of(parts)


@exact
def poisson(y: Array, x: Array, n: int, out: Array) -> float:
    """Return ``sum(exp(x) - y x)`` of counts y and logarithms x of rates; write its gradient over n."""
    scale = y.dtype.type(1) / y.dtype.type(n)
    return _poisson_sum(out, y, x, scale)


@rows.by_blocks_to
def _rates_sum(out: Array, y: Array, rate: Array, scale: Any) -> float:
    one, eps, parts = y.dtype.type(1), y.dtype.type(EPS), terms(y.size, y.dtype.type(0))
    for i in range(y.size):
        above = rate[i] + eps
        parts[i] = rate[i] - y[i] * m.log(above)
        out[i] = scale * (one - y[i] / above)
    return sum_of(parts)


@exact
def poisson_rates(y: Array, rate: Array, n: int, out: Array) -> float:
    """Return ``sum(rate - y log(rate + 1e-8))``; write its gradient by the rates, over n."""
    scale = y.dtype.type(1) / y.dtype.type(n)
    return _rates_sum(out, y, rate, scale)


@inner
def _quantile_block(y: Array, y_hat: Array, levels: Array, scale: Any, out: Array) -> float:
    zero, one = y.dtype.type(0), y.dtype.type(1)
    parts = terms(y.size, zero)
    for j in range(y.size):
        d, level = y[j] - y_hat[j], y.dtype.type(levels[j])
        parts[j] = d * (level - one if d < zero else level)
        out[j] = scale * _sided(d, one - level, -level, zero)
    return sum_of(parts)


@exact
def quantile(y: Array, y_hat: Array, levels: Array, n: int, out: Array) -> float:
    """Return ``sum(max(level d, (level - 1) d))``, ``d = y - y_hat``; write its gradient over n.

    Arrays ``(rows, k)``; ``levels (k,)``, one for each column. Source: R. Koenker, G. Bassett,
    "Regression quantiles", 1978.
    """
    scale = y.dtype.type(1) / y.dtype.type(n)
    total = lost = 0.0
    for r in range(y.shape[0]):
        for start in range(0, y.shape[1], BLOCK):
            some = slice(start, start + BLOCK)
            part = _quantile_block(y[r, some], y_hat[r, some], levels[some], scale, out[r, some])
            total, lost = rows.add(total, lost, part)
    return total + lost


@rows.by_blocks
def _distances_sum(y: Array, y_hat: Array) -> float:
    parts = terms(y.size, y.dtype.type(0))
    for i in range(y.size):
        parts[i] = abs(y[i] - y_hat[i])
    return sum_of(parts)


@exact
def distances(y: Array, y_hat: Array) -> float:
    """Return ``sum(|y - y_hat|)``."""
    return _distances_sum(y, y_hat)


@rows.by_blocks
def _rate_distances_sum(y: Array, x: Array) -> float:
    parts = terms(y.size, y.dtype.type(0))
    for i in range(y.size):
        parts[i] = abs(y[i] - m.exp(x[i]))
    return sum_of(parts)


@exact
def rate_distances(y: Array, x: Array) -> float:
    """Return ``sum(|y - exp(x)|)``."""
    return _rate_distances_sum(y, x)
