"""The phases of Elman layers, and their kernels: skipped time steps, a linear gradient."""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import exact, inner
from fastnn.kernels.compiling.memory import array_at
from fastnn.kernels.layers.layer_norm import add_blocks
from fastnn.kernels.layers.recurrence import (
    Elman,
    Masking,
    backward_block,
    find_masks,
    forward_block,
    parameter_gradients,
)
from fastnn.kernels.step.parts import Part
from fastnn.kernels.step.phases import Parameter, update
from fastnn.kernels.step.plan import Step, Task, row_block


class Sum(Task):
    """Blocks' gradients of a parameter at ``source``, of ``size`` elements each, to be added up."""

    parameter: int
    source: int
    size: int


@exact
def find_masked(x: Array, value: float, masks: Array) -> None:
    """``masks[0, i] = 1`` where all ``x[j, i]`` are ``value``, else 0.

    x ``(d, >= m)``; masks ``(1, m)``.
    """
    zero, value = x.dtype.type(0), x.dtype.type(value)
    masks[:] = 1
    for j in range(x.shape[0]):
        for i in range(masks.shape[1]):
            masks[0, i] = masks[0, i] if x[j, i] == value else zero


@exact
def keep_masked(masks: Array, factor: float, source: Array, target: Array) -> None:
    """``target[i] = factor target[i] + source[i]`` for the rows i whose mask is not 0.

    masks ``(n, 1)``; source, target ``(n, k)``; factor is 0 or 1. With 0, NaN are overwritten too.
    """
    for i in range(masks.shape[0]):
        if masks[i, 0] != 0:
            for j in range(target.shape[1]):
                target[i, j] = source[i, j] if factor == 0 else target[i, j] + source[i, j]


@exact
def clear_masked(masks: Array, target: Array) -> None:
    """``target[i] = 0`` for the rows i whose mask is not 0; masks ``(n, 1)``, target ``(n, k)``."""
    for i in range(masks.shape[0]):
        if masks[i, 0] != 0:
            target[i] = 0


@exact
def assign_gradient(z: Array, dy: Array, out: Array) -> None:
    """``out = dy``: the linear activation's gradient."""
    for i in range(z.size):
        out[i] = dy[i]


_kernel: Any = None  # as in `step/parts.py`
_like: Any = None


def _find(at: int, _: int) -> None:
    call = Masking(at)
    x = array_at(call.source, call.width, call.stride, _like)
    _kernel(x, call.value, array_at(call.masks, 1, call.rows, _like))


def _keep(at: int, _: int) -> None:
    call = Masking(at)
    source = array_at(call.source, call.rows, call.width, _like)
    target = array_at(call.target, call.rows, call.width, _like)
    _kernel(array_at(call.masks, call.rows, 1, _like), call.value, source, target)


def _clear(at: int, _: int) -> None:
    call = Masking(at)
    target = array_at(call.target, call.rows, call.width, _like)
    _kernel(array_at(call.masks, call.rows, 1, _like), target)


find, keep = Part(_find, find_masked), Part(_keep, keep_masked)
clear = Part(_clear, clear_masked)


@inner
def _own_block(step, layer, index):
    first = index * layer.block_rows
    return first, max(min(step.n - first, layer.block_rows), 0)


def forward(at: int, index: int) -> None:
    """Write the states of one of the layer's own blocks of rows."""
    task = Task(at)
    step, layer = Step(task.step), Elman(task.row)
    first, rows = _own_block(step, layer, index)
    if rows > 0:
        forward_block(step, layer, first, rows)


def forward_rows(at: int, index: int) -> None:
    """Write the states of a block of rows."""
    task = Task(at)
    step, layer = Step(task.step), Elman(task.row)
    first, rows = row_block(step, index)
    if rows > 0:
        forward_block(step, layer, first, rows)


@inner
def _backward_and_gradients(step, layer, first, rows, index):
    """Write a block's gradients, and its share of those of the parameters."""
    row = layer.k * step.itemsize
    d_W, d_U = layer.d_W + index * layer.d * row, layer.d_U + index * layer.k * row
    backward_block(step, layer, first, rows, index)
    cuts = (0, layer.d), (0, layer.k)
    parameter_gradients(step, layer, first, rows, *cuts, d_W, d_U, layer.d_b + index * row)


def backward(at: int, index: int) -> None:
    """Go back through time with one of the layer's own blocks of rows."""
    task = Task(at)
    step, layer = Step(task.step), Elman(task.row)
    first, rows = _own_block(step, layer, index)
    layer.used_rows = layer.block_rows  # by every block alike
    if rows > 0:
        _backward_and_gradients(step, layer, first, rows, index)


def backward_rows(at: int, index: int) -> None:
    """Go back through time with a block of rows."""
    task = Task(at)
    step, layer = Step(task.step), Elman(task.row)
    first, rows = row_block(step, index)
    layer.used_rows = step.block_rows
    if rows > 0:
        _backward_and_gradients(step, layer, first, rows, index)


def backward_alone(at: int, index: int) -> None:
    """Go back through time with one of the layer's own blocks, without the parameters' gradients."""
    task = Task(at)
    step, layer = Step(task.step), Elman(task.row)
    first, rows = _own_block(step, layer, index)
    if rows > 0:
        find_masks(step, layer, first, rows)
        backward_block(step, layer, first, rows, index)


def gradients(at: int, index: int) -> None:
    """Write one of ``pieces`` pieces of the parameters' gradients, each a sum over the whole batch."""
    task = Task(at)
    step, layer = Step(task.step), Elman(task.row)
    d_cut = index * layer.d // layer.pieces, (index + 1) * layer.d // layer.pieces
    k_cut = index * layer.k // layer.pieces, (index + 1) * layer.k // layer.pieces
    parameter_gradients(step, layer, 0, step.n, d_cut, k_cut, layer.d_W, layer.d_U, layer.d_b)


def _add(at: int, _: int) -> None:
    task = Sum(at)
    step, layer, parameter = Step(task.step), Elman(task.row), Parameter(task.parameter)
    blocks = (step.n + layer.used_rows - 1) // layer.used_rows
    parts = array_at(task.source, blocks, task.size, _like)
    _kernel(parts, array_at(parameter.gradient, 1, task.size, _like))
    if step.clip == np.inf:  # else a later phase updates it
        update(step, parameter, 1.0)


update_parameter = Part(_add, add_blocks)
