"""Layer normalisation of the rows of ``(n, d)`` arrays, ``d >= 1``, its gradient, and its phases.

Sums of deviations from a center, and of their squares, give the mean and the variance. They are
float64 numbers. For float64 rows the center is the mean, which takes a pass of its own; the sum of the
deviations corrects its rounding. For float32 rows the center is the row's first element ``x0``: as x0
belongs to the row, ``(x0 - mean)**2 <= d var``, so no more than the factor d is lost of the 29 bits
that float64 has beyond float32. Rows far from zero therefore lose no digits, and constant rows have
variance 0.

Source: T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", The
American Statistician 37, 1983. J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization",
arXiv:1607.06450.
"""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import rows
from fastnn.kernels.compiling.jit import exact, inner, muladd
from fastnn.kernels.compiling.memory import array_at
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted.sums import BLOCK, sums_of_deviations, sums_of_products, terms
from fastnn.kernels.step.parts import Part
from fastnn.kernels.step.phases import Parameter, update
from fastnn.kernels.step.plan import Step, Task, row_block

ROWS = 64  # rows whose parameter gradients are summed together, see `layer_norm_backward`
_TOGETHER = 1024  # elements whose rows' statistics are computed together
_KEPT, _DOUBLE = 24, np.float64(0)  # bytes of a row's statistics, and what they are like


@inner
def _deviations(x: Array, mean: float) -> tuple[float, float]:
    """Return ``mean(x - mean)`` and ``mean((x - mean)**2)`` of a row."""
    total = lost = squares = lost_of_squares = 0.0
    for start in range(0, x.size, BLOCK):
        part, square = sums_of_deviations(x[start : start + BLOCK], mean)
        total, lost = rows.add(total, lost, part)
        squares, lost_of_squares = rows.add(squares, lost_of_squares, square)
    return (total + lost) / x.size, (squares + lost_of_squares) / x.size


@inner
def _statistics(x: Array, eps: float, kept: Array) -> None:
    """Write rows' statistics, see :func:`layer_norm`.

    One statistic after the other: a row's sums wait for one another, those of several rows do not.
    """
    wide = x.itemsize == 8
    for i in range(x.shape[0]):
        kept[i, 0] = rows.sum_row(x[i]) / x.shape[1] if wide else x[i, 0]
    for i in range(x.shape[0]):
        rest, variance = _deviations(x[i], np.float64(kept[i, 0]))
        variance -= rest * rest
        variance = 0.0 if variance < 0.0 else variance
        kept[i, 2] = 1.0 / np.sqrt(variance + eps)
        if wide:
            kept[i, 1] = rest
        else:
            kept[i, 0], kept[i, 1] = kept[i, 0] + rest, rest - rest  # 0 or NaN


@inner
def _normalise_row(
    x: Array, mean: float, rest: float, scale: float, gain: Array, shift: Array, out: Array
) -> None:
    dtype = x.dtype.type
    high = dtype(mean)
    low, scale = dtype((mean - high) + rest), dtype(scale)
    for j in range(x.size):
        out[j] = muladd(((x[j] - high) - low) * scale, gain[j], shift[j])


@exact
def layer_norm(x: Array, gain: Array, shift: Array, eps: float, kept: Array, out: Array) -> None:
    """``out = (x - mean) / sqrt(var + eps) * gain + shift`` by rows.

    x, out ``(n, d)``, which may be the same array; gain, shift ``(1, d)``. The variance is the biased
    one, ``mean((x - mean)**2)``. kept ``(n, 3)``, float64, gets the statistics of each row: its mean as
    a sum of two numbers, and ``1 / sqrt(var + eps)``.
    """
    n, d = x.shape
    together = max(1, _TOGETHER // d)
    for start in range(0, n, together):
        some = slice(start, start + together)
        part, own, out_part = x[some], kept[some], out[some]
        _statistics(part, eps, own)
        for i in range(part.shape[0]):
            _normalise_row(part[i], own[i, 0], own[i, 1], own[i, 2], gain[0], shift[0], out_part[i])


@inner
def _gradient_means(
    x: Array, mean: float, rest: float, scale: float, gain: Array, dy: Array
) -> tuple[float, float]:
    """Return ``mean(g)`` and ``mean(g h)`` of a row."""
    d = x.size
    total = lost = dot = lost_of_dot = 0.0
    for start in range(0, d, BLOCK):
        some = slice(start, start + BLOCK)
        part, part_of_dot = sums_of_products(dy[some], gain[some], x[some], mean)
        total, lost = rows.add(total, lost, part)
        dot, lost_of_dot = rows.add(dot, lost_of_dot, part_of_dot)
    mean_g = (total + lost) / d
    return mean_g, ((dot + lost_of_dot) / d - rest * mean_g) * scale


@inner
def _gradient_row(
    x: Array, mean: float, rest: float, scale: float, mean_g: float, mean_gh: float,
    gain: Array, dy: Array, dx: Array, dgain: Array, dshift: Array,
) -> None:  # fmt: skip
    dtype = x.dtype.type
    high = dtype(mean)
    low, scale = dtype((mean - high) + rest), dtype(scale)
    mean_g, mean_gh = dtype(mean_g), dtype(mean_gh)
    for j in range(x.size):
        h = ((x[j] - high) - low) * scale
        dgain[j] = muladd(dy[j], h, dgain[j])
        dshift[j] += dy[j]
        dx[j] = scale * muladd(-h, mean_gh, dy[j] * gain[j] - mean_g)


@exact
def layer_norm_backward(
    x: Array, gain: Array, kept: Array, dy: Array, dx: Array, dgain: Array, dshift: Array
) -> None:
    """Write the gradients of :func:`layer_norm`'s input and parameters.

    With the standardised row ``h = (x - mean) / sqrt(var + eps)`` and ``g = dy gain``::

        dx = (g - mean(g) - h mean(g h)) / sqrt(var + eps)
        dgain = sum(dy h), dshift = sum(dy)    over the rows, in their order

    x, dy, dx ``(n, d)``; gain ``(1, d)``; kept ``(n, 3)``, as layer_norm wrote it; dgain, dshift
    ``(b, d)``, ``b >= 1``. Their row i sums the rows of x from ``ROWS i`` on, up to ``ROWS (i + 1)``;
    the last row sums all that are left, so that with ``b = 1`` it sums all rows.
    """
    dgain[:] = 0
    dshift[:] = 0
    last = dgain.shape[0] - 1
    n, d = x.shape
    together = max(1, _TOGETHER // d)
    means_g, means_gh = terms(together, 0.0), terms(together, 0.0)
    for start in range(0, n, together):
        some = slice(start, start + together)
        part, own, dy_part, dx_part = x[some], kept[some], dy[some], dx[some]
        for i in range(part.shape[0]):
            means_g[i], means_gh[i] = _gradient_means(
                part[i], np.float64(own[i, 0]), own[i, 1], own[i, 2], gain[0], dy_part[i]
            )
        for i in range(part.shape[0]):
            block = min((start + i) // ROWS, last)
            _gradient_row(
                part[i], own[i, 0], own[i, 1], own[i, 2], means_g[i], means_gh[i],
                gain[0], dy_part[i], dx_part[i], dgain[block], dshift[block],
            )  # fmt: skip


@exact
def add_blocks(parts: Array, out: Array) -> None:
    """``out = parts[0] + parts[1] + ...``, added in this order; parts ``(b, d)``, out ``(1, d)``."""
    out[:] = 0
    for i in range(parts.shape[0]):
        for j in range(parts.shape[1]):
            out[0, j] += parts[i, j]


class LayerNorm(Record):
    """A layer for arrays ``(n, rows, width)``, normalised over the last axis.

    ``gain``, ``shift``: addresses of the parameters' values; ``gain_row``, ``shift_row``: of their
    records; ``d_gain``, ``d_shift``: of their gradients for each block of rows, ``(blocks, width)``.
    ``kept``: of the statistics of ``n * rows`` rows.
    """

    input: int
    output: int
    kept: int
    d_output: int
    d_input: int
    width: int
    rows: int
    gain: int
    shift: int
    gain_row: int
    shift_row: int
    d_gain: int
    d_shift: int
    blocks: int
    eps: float


_kernel: Any = None  # as in `step/parts.py`
_like: Any = None


def _forward(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), LayerNorm(task.row)
    first, n = row_block(step, index)
    first, n, d = first * layer.rows, n * layer.rows, layer.width
    offset = first * d * step.itemsize
    _kernel(
        array_at(layer.input + offset, n, d, _like), array_at(layer.gain, 1, d, _like),
        array_at(layer.shift, 1, d, _like), layer.eps,
        array_at(layer.kept + first * _KEPT, n, 3, _DOUBLE),
        array_at(layer.output + offset, n, d, _like),
    )  # fmt: skip


def _backward(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), LayerNorm(task.row)
    first, n = row_block(step, index)
    first, n = first * layer.rows, n * layer.rows
    d, row = layer.width, layer.width * step.itemsize
    offset, block = first * row, index * row
    _kernel(
        array_at(layer.input + offset, n, d, _like), array_at(layer.gain, 1, d, _like),
        array_at(layer.kept + first * _KEPT, n, 3, _DOUBLE),
        array_at(layer.d_output + offset, n, d, _like), array_at(layer.d_input + offset, n, d, _like),
        array_at(layer.d_gain + block, 1, d, _like), array_at(layer.d_shift + block, 1, d, _like),
    )  # fmt: skip


def _update(at: int, _: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), LayerNorm(task.row)
    gain, shift, blocks, d = (
        Parameter(layer.gain_row),
        Parameter(layer.shift_row),
        layer.blocks,
        layer.width,
    )
    _kernel(array_at(layer.d_gain, blocks, d, _like), array_at(gain.gradient, 1, d, _like))
    _kernel(array_at(layer.d_shift, blocks, d, _like), array_at(shift.gradient, 1, d, _like))
    if step.clip == np.inf:  # else a later phase updates them
        update(step, gain, 1.0)
        update(step, shift, 1.0)


forward = Part(_forward, layer_norm)
backward = Part(_backward, layer_norm_backward)
update_parameters = Part(_update, add_blocks)
