"""The phases of batch normalisation in a compiled step.

Forward, blocks of rows are reduced, one job merges their moments, and blocks of rows are normalised;
backward likewise. Where statistics are constants, in evaluation, blocks are only normalised.
"""

from typing import Any

import numpy as np

from fastnn.kernels.compiling.jit import inner
from fastnn.kernels.compiling.memory import array_at
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.layers import batch_norm as kernels
from fastnn.kernels.layers import batch_norm_gradient as gradient_kernels
from fastnn.kernels.step.parts import Part
from fastnn.kernels.step.phases import Parameter, update
from fastnn.kernels.step.plan import Step, Task, row_block


class BatchNorm(Record):
    """A layer of ``(n, each * width)`` arrays: of ``each`` pixels a row, of ``width`` channels.

    Addresses of ``(1, width)`` float64 arrays: ``mean``, ``rest``, ``var``, the statistics; ``total``,
    ``dot``, the gradient's sums. Of ``(blocks, width)`` ones, the same of each block of rows:
    ``means``, ``rests``, ``squares``, ``totals``, ``dots``. ``gamma``, ``beta``: addresses of the
    parameters' values; ``gamma_row``, ``beta_row``: of their records; ``running_mean``,
    ``running_var``: of the running statistics, in the step's dtype; ``unbiased``: whether the running
    variance is of m / (m - 1) times the batch's; ``constant``: whether ``mean`` and ``var`` do not
    depend on the batch.
    """

    input: int
    output: int
    d_output: int
    d_input: int
    each: int
    width: int
    blocks: int
    eps: float
    momentum: float
    unbiased: int
    constant: int
    gamma: int
    beta: int
    gamma_row: int
    beta_row: int
    running_mean: int
    running_var: int
    mean: int
    var: int
    rest: int
    means: int
    rests: int
    squares: int
    totals: int
    dots: int
    total: int
    dot: int


_DOUBLE = np.float64(0)
_kernel: Any = None  # as in `step/parts.py`
_like: Any = None


@inner
def _statistics(layer, which, index):
    """Return row ``index`` of one of the layer's arrays of statistics."""
    return array_at(which + index * layer.width * 8, 1, layer.width, _DOUBLE)


def _moments(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), BatchNorm(task.row)
    first, n = row_block(step, index)
    x = layer.input + first * layer.each * layer.width * step.itemsize
    _kernel(
        array_at(x, n * layer.each, layer.width, _like),
        _statistics(layer, layer.means, index), _statistics(layer, layer.rests, index),
        _statistics(layer, layer.squares, index),
    )  # fmt: skip


def _merge(at: int, _: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), BatchNorm(task.row)
    blocks, d, total = layer.blocks, layer.width, step.n * layer.each
    mean, var = _statistics(layer, layer.mean, 0), _statistics(layer, layer.var, 0)
    kernels.merge_moments(
        array_at(layer.means, blocks, d, _DOUBLE), array_at(layer.rests, blocks, d, _DOUBLE),
        array_at(layer.squares, blocks, d, _DOUBLE), step.block_rows * layer.each, total,
        mean, _statistics(layer, layer.rest, 0), var,
    )  # fmt: skip
    if total > 0:
        factor = total / max(total - 1, 1) if layer.unbiased != 0 else 1.0
        _kernel(array_at(layer.running_mean, 1, d, _like), layer.momentum, 1.0, mean)
        _kernel(array_at(layer.running_var, 1, d, _like), layer.momentum, factor, var)


def _constants(at: int, _: int) -> None:
    layer = BatchNorm(Task(at).row)
    d = layer.width
    _kernel(array_at(layer.running_mean, 1, d, _like), _statistics(layer, layer.mean, 0))
    _kernel(array_at(layer.running_var, 1, d, _like), _statistics(layer, layer.var, 0))


def _normalise(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), BatchNorm(task.row)
    first, n = row_block(step, index)
    m, d = n * layer.each, layer.width
    offset = first * layer.each * d * step.itemsize
    _kernel(
        array_at(layer.input + offset, m, d, _like),
        _statistics(layer, layer.mean, 0), _statistics(layer, layer.rest, 0),
        _statistics(layer, layer.var, 0), layer.eps,
        array_at(layer.gamma, 1, d, _like), array_at(layer.beta, 1, d, _like),
        array_at(layer.output + offset, m, d, _like),
    )  # fmt: skip


def _gradient_sums(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), BatchNorm(task.row)
    first, n = row_block(step, index)
    m, d = n * layer.each, layer.width
    offset = first * layer.each * d * step.itemsize
    _kernel(
        array_at(layer.input + offset, m, d, _like), _statistics(layer, layer.mean, 0),
        _statistics(layer, layer.rest, 0), array_at(layer.d_output + offset, m, d, _like),
        _statistics(layer, layer.totals, index), _statistics(layer, layer.dots, index),
    )  # fmt: skip


def _gradients(at: int, _: int) -> None:
    layer = BatchNorm(Task(at).row)
    blocks, d = layer.blocks, layer.width
    _kernel(
        array_at(layer.totals, blocks, d, _DOUBLE), array_at(layer.dots, blocks, d, _DOUBLE),
        _statistics(layer, layer.var, 0), layer.eps,
        _statistics(layer, layer.total, 0), _statistics(layer, layer.dot, 0),
        array_at(Parameter(layer.gamma_row).gradient, 1, d, _like),
        array_at(Parameter(layer.beta_row).gradient, 1, d, _like),
    )  # fmt: skip


def _input_gradient(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), BatchNorm(task.row)
    first, n = row_block(step, index)
    m, d = n * layer.each, layer.width
    offset = first * layer.each * d * step.itemsize
    _kernel(
        array_at(layer.input + offset, m, d, _like),
        _statistics(layer, layer.mean, 0), _statistics(layer, layer.rest, 0),
        _statistics(layer, layer.var, 0), layer.eps,
        array_at(layer.gamma, 1, d, _like), array_at(layer.d_output + offset, m, d, _like),
        _statistics(layer, layer.total, 0), _statistics(layer, layer.dot, 0),
        0 if layer.constant != 0 else step.n * layer.each,
        array_at(layer.d_input + offset, m, d, _like),
    )  # fmt: skip


def update_parameters(at: int, _: int) -> None:
    """Update gamma and beta by their gradients, unless a later phase does, which clips these."""
    task = Task(at)
    step, layer = Step(task.step), BatchNorm(task.row)
    if step.clip == np.inf:
        update(step, Parameter(layer.gamma_row), 1.0)
        update(step, Parameter(layer.beta_row), 1.0)


@inner
def _copy(values, out):
    for j in range(out.shape[1]):
        out[0, j] = values[0, j]


moments = Part(_moments, kernels.column_moments)
merge = Part(_merge, kernels.update_running)
constants = Part(_constants, _copy)
normalise = Part(_normalise, kernels.batch_norm)
gradient_sums = Part(_gradient_sums, gradient_kernels.gradient_sums)
gradients = Part(_gradients, gradient_kernels.parameter_gradients)
input_gradient = Part(_input_gradient, gradient_kernels.input_gradient)
