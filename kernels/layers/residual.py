"""Sums and copies of blocks of rows, for layers whose input is added to their output."""

from typing import Any

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import exact_light
from fastnn.kernels.compiling.memory import array_at
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.step.parts import Part
from fastnn.kernels.step.plan import Step, Task, row_block


@exact_light
def add(x: Array, y: Array, out: Array) -> None:
    """``out = x + y`` of flat arrays; out may be one of them."""
    for i in range(x.size):
        out[i] = x[i] + y[i]


@exact_light
def assign(x: Array, out: Array) -> None:
    """``out = x`` of flat arrays."""
    for i in range(x.size):
        out[i] = x[i]


class Sum(Record):
    """Addresses of arrays ``(n, width)``: ``out`` is the sum of ``x`` and ``y``, or a copy of ``x``."""

    x: int
    y: int
    out: int
    width: int


_kernel: Any = None  # as in `step/parts.py`
_like: Any = None


def _add(at: int, index: int) -> None:
    task = Task(at)
    step, row = Step(task.step), Sum(task.row)
    first, n = row_block(step, index)
    offset, size = first * row.width * step.itemsize, n * row.width
    _kernel(
        array_at(row.x + offset, 1, size, _like)[0], array_at(row.y + offset, 1, size, _like)[0],
        array_at(row.out + offset, 1, size, _like)[0],
    )  # fmt: skip


def _assign(at: int, index: int) -> None:
    task = Task(at)
    step, row = Step(task.step), Sum(task.row)
    first, n = row_block(step, index)
    offset, size = first * row.width * step.itemsize, n * row.width
    _kernel(array_at(row.x + offset, 1, size, _like)[0], array_at(row.out + offset, 1, size, _like)[0])


add_rows = Part(_add, add)
assign_rows = Part(_assign, assign)
