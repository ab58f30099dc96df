"""Lookup of table rows by index, the gradient of the table, and their phases.

Indices are floats, because networks pass floats to layers. Python checks that they are whole numbers
and in the table. These kernels clamp other values to the table, so that they access no other memory.
"""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import exact, inner
from fastnn.kernels.compiling.memory import array_at
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.step.parts import Part
from fastnn.kernels.step.phases import Parameter, update
from fastnn.kernels.step.plan import Step, Task, row_block


@inner
def _row(number: float, rows: int) -> int:
    """Return an index as an integer, clamped to the table."""
    if number >= rows:
        return rows - 1
    return int(number) if number >= 1 else 0  # also for NaN


@exact
def embed(x: Array, table: Array, last: bool, out: Array) -> None:
    """Write ``table[x]``: indices x ``(n, t)``, table ``(m, k)``, out ``(n, t k)``.

    ``last``: whether a row of out is ``(t, k)``; otherwise it is ``(k, t)``.
    """
    n, t = x.shape
    m, k = table.shape
    for i in range(n):
        for j in range(t):
            row = table[_row(x[i, j], m)]
            if last:
                for f in range(k):
                    out[i, j * k + f] = row[f]
            else:
                for f in range(k):
                    out[i, f * t + j] = row[f]


@exact
def embed_backward(
    x: Array, rows: int, first: int, padding: int, last: bool, dy: Array, dtable: Array
) -> None:
    """Write the gradient of b rows of the table, from row ``first`` on, to dtable ``(b, k)``.

    A row's gradient is the sum over its occurrences in x ``(n, t)``, in their order. Row ``padding``
    (-1 for none) has gradient 0. ``rows``: number of rows of the whole table; ``last``, and the layout
    of dy: as in :func:`embed`.
    """
    n, t = x.shape
    k = dtable.shape[1]
    dtable[:] = 0
    for i in range(n):
        for j in range(t):
            row = _row(x[i, j], rows)
            if row < first or row >= first + dtable.shape[0] or row == padding:
                continue
            out = dtable[row - first]
            if last:
                for f in range(k):
                    out[f] += dy[i, j * k + f]
            else:
                for f in range(k):
                    out[f] += dy[i, f * t + j]


class Embedding(Record):
    """A layer with a table ``(rows, width)`` at ``table``, and inputs of ``steps`` indices per row.

    ``first``, ``count``: the rows of the table that an update applies to; ``parameter``: its record.
    """

    input: int
    output: int
    d_output: int
    table: int
    rows: int
    width: int
    steps: int
    last: int
    padding: int
    parameter: int
    first: int
    count: int


_kernel: Any = None  # as in `step/parts.py`
_like: Any = None


def _forward(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), Embedding(task.row)
    begin, n = row_block(step, index)
    t, wide, size = layer.steps, layer.steps * layer.width, step.itemsize
    _kernel(
        array_at(layer.input + begin * t * size, n, t, _like),
        array_at(layer.table, layer.rows, layer.width, _like), layer.last != 0,
        array_at(layer.output + begin * wide * size, n, wide, _like),
    )  # fmt: skip


def _update(at: int, _: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), Embedding(task.row)
    whole, t, k = Parameter(layer.parameter), layer.steps, layer.width
    offset = layer.first * k * step.itemsize
    _kernel(
        array_at(layer.input, step.n, t, _like), layer.rows, layer.first, layer.padding,
        layer.last != 0, array_at(layer.d_output, step.n, t * k, _like),
        array_at(whole.gradient + offset, layer.count, k, _like),
    )  # fmt: skip
    if step.clip == np.inf:  # else a later phase updates the table
        part = Parameter()
        part.values, part.gradient = whole.values + offset, whole.gradient + offset
        part.size, part.distances = layer.count * k, whole.distances
        part.rule, part.l2 = whole.rule, whole.l2
        update(step, part, 1.0)


forward, update_rows = Part(_forward, embed), Part(_update, embed_backward)
