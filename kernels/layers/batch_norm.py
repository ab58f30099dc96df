"""Batch normalisation of the columns of ``(m, d)`` arrays, ``d >= 1``, and its gradient.

Rows are samples, or pixels of samples; statistics are those of each column, in float64. Blocks of rows
are reduced by themselves, then merged in their order, so that no result depends on who reduces them.
In a block, sums are of deviations from one of its own numbers, of few rows at a time, and the moments
of these are merged. A mean is stored as two numbers; the second is the rounding error of the first.
Columns far from zero therefore lose no digits, and constant columns have variance 0.

Source: T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", The
American Statistician 37, 1983. S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network
training by reducing internal covariate shift", arXiv:1502.03167.
"""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import exact, inner, muladd
from fastnn.kernels.emitted.sums import terms
from fastnn.kernels.layers.columns import lanes_in, repeat, together

_TALL = 32  # rows whose deviations are from their first one


@inner
def _two_sum(a: float, b: float) -> tuple[float, float]:
    """Return a sum and its rounding error."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


@inner
def _merge(
    count: int, mean: float, rest: float, square: float, n: int, other: float, other_rest: float,
    other_square: float,
) -> tuple[float, float, float]:  # fmt: skip
    """Return the mean, in two numbers, and the squares of ``count`` numbers and n others."""
    share = n / (count + n)
    gap = (other - mean) + (other_rest - rest)
    mean, lost = _two_sum(mean, muladd(gap, share, rest))
    return mean, lost, square + (other_square + gap * gap * (share * count))


@inner
def _tall_sums(x: Array, first: int, rows: int, begin: int, base: Array, totals: Array, squares: Array):
    """Add deviations of some rows of lanes from ``base``, and their squares; four rows at a time."""
    lanes, end = base.size, first + rows
    i = first
    while i + 4 <= end:
        p, q = x[i, begin : begin + lanes], x[i + 1, begin : begin + lanes]
        r, s = x[i + 2, begin : begin + lanes], x[i + 3, begin : begin + lanes]
        for j in range(lanes):
            a, b = np.float64(p[j]) - base[j], np.float64(q[j]) - base[j]
            c, e = np.float64(r[j]) - base[j], np.float64(s[j]) - base[j]
            totals[j] += (a + b) + (c + e)
            squares[j] += muladd(a, a, b * b) + muladd(c, c, e * e)
        i += 4
    while i < end:
        p = x[i, begin : begin + lanes]
        for j in range(lanes):
            a = np.float64(p[j]) - base[j]
            totals[j] += a
            squares[j] = muladd(a, a, squares[j])
        i += 1


@inner
def _lane_moments(x: Array, begin: int, means: Array, rests: Array, squares: Array) -> None:
    """Write the means of lanes from ``begin`` on, and the sums of squared deviations from them."""
    lanes = means.size
    origin = x[0, begin : begin + lanes]  # of the means, until all rows are in
    base, totals, sums = terms(lanes, 0.0), terms(lanes, 0.0), terms(lanes, 0.0)
    for first in range(0, x.shape[0], _TALL):
        rows = min(_TALL, x.shape[0] - first)
        p = x[first, begin : begin + lanes]
        for j in range(lanes):
            base[j], totals[j], sums[j] = p[j], 0.0, 0.0
        _tall_sums(x, first, rows, begin, base, totals, sums)
        share, each = rows / (first + rows), 1.0 / rows
        weight = share * first
        for j in range(lanes):
            part = totals[j] * each
            square = sums[j] - totals[j] * part
            square = 0.0 if square < 0.0 else square
            mean = (base[j] - np.float64(origin[j])) + part
            gap = mean - (means[j] if first > 0 else mean)
            means[j] = muladd(gap, share, means[j]) if first > 0 else mean
            squares[j] = (squares[j] if first > 0 else 0.0) + (square + gap * gap * weight)
    for j in range(lanes):
        means[j], rests[j] = _two_sum(np.float64(origin[j]), means[j])


@exact
def column_moments(x: Array, means: Array, rests: Array, squares: Array) -> None:
    """Write ``means + rests = mean(x)`` and ``squares = sum((x - means - rests)**2)`` by columns.

    x ``(m, d)``; the others ``(1, d)``, of float64 to keep their digits; 0 for no rows.
    """
    m, d = x.shape
    if m == 0:
        for j in range(d):
            means[0, j], rests[0, j], squares[0, j] = 0, 0, 0
        return
    group = together(m, d)
    tall, width = m // group, group * d
    wide = x[: tall * group].reshape(tall, width)
    step = lanes_in(width)
    found, found_rests, found_squares = terms(step, 0.0), terms(step, 0.0), terms(step, 0.0)
    for begin in range(0, width, step):
        lanes = min(step, width - begin)
        _lane_moments(wide, begin, found[:lanes], found_rests[:lanes], found_squares[:lanes])
        for j in range(lanes if group == 1 else 0):
            means[0, begin + j], rests[0, begin + j] = found[j], found_rests[j]
            squares[0, begin + j] = found_squares[j]
    for j in range(d if group > 1 else 0):  # all lanes are found: merge those of the same column
        mean, rest, square = found[j], found_rests[j], found_squares[j]
        for lane in range(d + j, width, d):
            mean, rest, square = _merge(
                lane // d * tall, mean, rest, square,
                tall, found[lane], found_rests[lane], found_squares[lane],
            )  # fmt: skip
        for i in range(tall * group, m):  # the rows that no lane has taken
            mean, rest, square = _merge(i, mean, rest, square, 1, np.float64(x[i, j]), 0.0, 0.0)
        means[0, j], rests[0, j], squares[0, j] = mean, rest, square


@inner
def _merge_rows(
    count: int, mean: Array, rest: Array, square: Array, n: int, other: Array, other_rest: Array,
    other_square: Array,
) -> None:  # fmt: skip
    for j in range(mean.size):
        mean[j], rest[j], square[j] = _merge(
            count, mean[j], rest[j], square[j], n, other[j], other_rest[j], other_square[j]
        )


@exact
def merge_moments(
    means: Array, rests: Array, squares: Array, rows: int, total: int, mean: Array, rest: Array,
    var: Array,
) -> None:  # fmt: skip
    """Write the means and biased variances of ``total`` rows, given those of blocks of ``rows``.

    means, rests, squares ``(b, d)``, of each block, as of :func:`column_moments`; the last blocks may
    have fewer rows, or none. mean, rest, var ``(1, d)``; 0 for no rows.
    """
    for j in range(means.shape[1]):
        mean[0, j], rest[0, j], var[0, j] = means[0, j], rests[0, j], squares[0, j]
    for i in range(1, means.shape[0]):
        n = min(rows, total - i * rows)
        if n <= 0:
            break
        _merge_rows(i * rows, mean[0], rest[0], var[0], n, means[i], rests[i], squares[i])
    for j in range(means.shape[1]):
        var[0, j] /= max(total, 1)


@exact
def update_running(running: Array, momentum: float, factor: float, batch: Array) -> None:
    """Set ``running = momentum running + (1 - momentum) factor batch``; arrays ``(1, d)``."""
    dtype = running.dtype.type
    for j in range(running.shape[1]):
        running[0, j] = dtype(momentum * running[0, j] + (1.0 - momentum) * (factor * batch[0, j]))


@inner
def _normalise_rows(
    x: Array, begin: int, high: Array, low: Array, slope: Array, beta: Array, out: Array
):
    lanes = high.size
    for i in range(x.shape[0]):
        p, q = x[i, begin : begin + lanes], out[i, begin : begin + lanes]
        for j in range(lanes):
            q[j] = muladd((p[j] - high[j]) - low[j], slope[j], beta[j])


@inner
def _constants(
    mean: Array, rest: Array, var: Array, eps: float, gamma: Array, beta: Array,
    high: Array, low: Array, slope: Array, shift: Array,
) -> None:  # fmt: skip
    for j in range(mean.size):
        high[j] = mean[j]
        low[j] = (np.float64(mean[j]) - np.float64(high[j])) + rest[j]
        slope[j] = np.float64(gamma[j]) / np.sqrt(np.float64(var[j]) + eps)
        shift[j] = beta[j]


@exact
def batch_norm(
    x: Array, mean: Array, rest: Array, var: Array, eps: float, gamma: Array, beta: Array, out: Array
) -> None:
    """``out = (x - mean - rest) / sqrt(var + eps) * gamma + beta`` by columns.

    x, out ``(m, d)``, which may be the same array; the others ``(1, d)``.
    """
    m, d = x.shape
    like = x.dtype.type(0)
    group = together(m, d)
    tall, width = m // group, group * d
    step = lanes_in(width)
    high, low, slope, shift = terms(step, like), terms(step, like), terms(step, like), terms(step, like)
    for begin in range(0, width, step):
        lanes = min(step, width - begin)
        part = slice(begin, begin + min(lanes, d))
        _constants(
            mean[0, part], rest[0, part], var[0, part], eps, gamma[0, part], beta[0, part],
            high, low, slope, shift,
        )  # fmt: skip
        for array in (high, low, slope, shift):
            repeat(array[:lanes], d)
        _normalise_rows(
            x[: tall * group].reshape(tall, width), begin, high[:lanes], low[:lanes], slope[:lanes],
            shift[:lanes], out[: tall * group].reshape(tall, width),
        )  # fmt: skip
    if group > 1:  # rows that are left, of the lanes' first columns
        _normalise_rows(
            x[tall * group :], 0, high[:d], low[:d], slope[:d], shift[:d], out[tall * group :]
        )
