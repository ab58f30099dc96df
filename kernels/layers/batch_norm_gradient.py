"""The gradients of batch normalisation, of the columns of ``(m, d)`` arrays, ``d >= 1``.

Sums are in float64, of blocks of rows, which are added in their order: see :mod:`batch_norm`.
"""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import exact, inner, muladd
from fastnn.kernels.emitted.sums import terms
from fastnn.kernels.layers.columns import lanes_in, repeat, together


@inner
def _gradient_lanes(x: Array, dy: Array, begin: int, mean: Array, totals: Array, dots: Array) -> None:
    lanes, m = mean.size, x.shape[0]
    for j in range(lanes):
        totals[j], dots[j] = 0.0, 0.0
    i = 0
    while i + 2 <= m:
        p, q = x[i, begin : begin + lanes], x[i + 1, begin : begin + lanes]
        r, s = dy[i, begin : begin + lanes], dy[i + 1, begin : begin + lanes]
        for j in range(lanes):
            a, b = np.float64(r[j]), np.float64(s[j])
            totals[j] += a + b
            gap, other = np.float64(p[j]) - mean[j], np.float64(q[j]) - mean[j]
            dots[j] += muladd(a, gap, b * other)
        i += 2
    if i < m:
        p, r = x[i, begin : begin + lanes], dy[i, begin : begin + lanes]
        for j in range(lanes):
            a = np.float64(r[j])
            totals[j] += a
            dots[j] = muladd(a, np.float64(p[j]) - mean[j], dots[j])


@exact
def gradient_sums(x: Array, mean: Array, rest: Array, dy: Array, totals: Array, dots: Array) -> None:
    """Write ``totals = sum(dy)`` and ``dots = sum(dy (x - mean - rest))`` by columns.

    x, dy ``(m, d)``; the others ``(1, d)``, of float64 to keep their digits.
    """
    m, d = x.shape
    group = together(m, d)
    tall, width = m // group, group * d
    step = lanes_in(width)
    center, some, some_dots = terms(step, 0.0), terms(step, 0.0), terms(step, 0.0)
    for j in range(d):
        totals[0, j], dots[0, j] = 0, 0
    for begin in range(0, width, step):
        lanes = min(step, width - begin)
        count = min(lanes, d)
        for j in range(count):
            center[j] = mean[0, begin + j]
        repeat(center[:lanes], d)
        _gradient_lanes(
            x[: tall * group].reshape(tall, width), dy[: tall * group].reshape(tall, width), begin,
            center[:lanes], some[:lanes], some_dots[:lanes],
        )  # fmt: skip
        for first in range(0, lanes, count):
            for j in range(count):
                totals[0, begin + j] += some[first + j]
                dots[0, begin + j] += some_dots[first + j]
    for i in range(tall * group, m):
        for j in range(d):
            totals[0, j] += dy[i, j]
            dots[0, j] += np.float64(dy[i, j]) * (np.float64(x[i, j]) - mean[0, j])
    for j in range(d):
        dots[0, j] -= rest[0, j] * totals[0, j]


@exact
def parameter_gradients(
    totals: Array, dots: Array, var: Array, eps: float, total: Array, dot: Array, dgamma: Array,
    dbeta: Array,
) -> None:  # fmt: skip
    """Write ``total = sum(totals)``, ``dot = sum(dots)``, sums over blocks, and the gradients.

    These are ``dgamma = dot / sqrt(var + eps)`` and ``dbeta = total``. totals, dots ``(b, d)``, of each
    block, as of :func:`gradient_sums`; the others ``(1, d)``.
    """
    for j in range(totals.shape[1]):
        total[0, j], dot[0, j] = totals[0, j], dots[0, j]
    for i in range(1, totals.shape[0]):
        for j in range(totals.shape[1]):
            total[0, j] += totals[i, j]
            dot[0, j] += dots[i, j]
    for j in range(totals.shape[1]):
        dgamma[0, j] = dot[0, j] / np.sqrt(np.float64(var[0, j]) + eps)
        dbeta[0, j] = total[0, j]


@inner
def _input_rows(
    x: Array, dy: Array, begin: int, high: Array, low: Array, slope: Array, shift: Array, tilt: Array,
    dx: Array,
) -> None:  # fmt: skip
    lanes = high.size
    for i in range(x.shape[0]):
        p, r, q = (
            x[i, begin : begin + lanes],
            dy[i, begin : begin + lanes],
            dx[i, begin : begin + lanes],
        )
        for j in range(lanes):
            gap = (p[j] - high[j]) - low[j]
            q[j] = slope[j] * muladd(-gap, tilt[j], r[j] - shift[j])


@inner
def _constants(
    mean: Array, rest: Array, var: Array, eps: float, gamma: Array, totals: Array, dots: Array,
    share: float, high: Array, low: Array, slope: Array, shift: Array, tilt: Array,
) -> None:  # fmt: skip
    for j in range(mean.size):
        scale = 1.0 / np.sqrt(np.float64(var[j]) + eps)
        high[j] = mean[j]
        low[j] = (np.float64(mean[j]) - np.float64(high[j])) + rest[j]
        slope[j] = np.float64(gamma[j]) * scale
        shift[j] = totals[j] * share if share > 0 else 0.0
        tilt[j] = dots[j] * share * scale * scale if share > 0 else 0.0


@exact
def input_gradient(
    x: Array, mean: Array, rest: Array, var: Array, eps: float, gamma: Array, dy: Array,
    totals: Array, dots: Array, rows: int, dx: Array,
) -> None:  # fmt: skip
    """Write the gradient of :func:`batch_norm`'s input, whose statistics are those of ``rows`` rows.

    With ``h = (x - mean - rest) / sqrt(var + eps)``, by columns::

        dx = gamma / sqrt(var + eps) * (dy - totals / rows - h dots / (rows sqrt(var + eps)))

    and without the means, ``gamma / sqrt(var + eps) * dy``, if ``rows`` is 0: the statistics are then
    constants. x, dy, dx ``(m, d)``, any rows of the batch; the others ``(1, d)``, totals and dots
    as of :func:`gradient_sums` for the whole batch.
    """
    m, d = x.shape
    like = x.dtype.type(0)
    group = together(m, d)
    tall, width = m // group, group * d
    step = lanes_in(width)
    high, low, slope, shift, tilt = (
        terms(step, like), terms(step, like), terms(step, like), terms(step, like), terms(step, like)
    )  # fmt: skip
    share = 1.0 / rows if rows > 0 else 0.0
    for begin in range(0, width, step):
        lanes = min(step, width - begin)
        part = slice(begin, begin + min(lanes, d))
        _constants(
            mean[0, part], rest[0, part], var[0, part], eps, gamma[0, part], totals[0, part],
            dots[0, part], share, high, low, slope, shift, tilt,
        )  # fmt: skip
        for array in (high, low, slope, shift, tilt):
            repeat(array[:lanes], d)
        _input_rows(
            x[: tall * group].reshape(tall, width), dy[: tall * group].reshape(tall, width), begin,
            high[:lanes], low[:lanes], slope[:lanes], shift[:lanes], tilt[:lanes],
            dx[: tall * group].reshape(tall, width),
        )  # fmt: skip
    if group > 1:
        left = tall * group
        _input_rows(
            x[left:], dy[left:], 0, high[:d], low[:d], slope[:d], shift[:d], tilt[:d], dx[left:]
        )
