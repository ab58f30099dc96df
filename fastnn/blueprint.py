"""What a layer writes its compiled step into: records, scratch arrays and phases.

A :class:`Blueprint` is for one number of rows. Each layer's ``compile(to)`` writes its records into
it, in the network's order, and leaves its output in ``to.output``, which is the next layer's
``to.input``. It says what is to be done forward and backward; the blueprint puts it in order. What
records and phases are stands in :mod:`fastnn.kernels.step.plan`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastnn import pace
from fastnn._arrays import LINE, aligned_zeros
from fastnn._typing import Array
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted.rules import Rule
from fastnn.kernels.step import parts, phases
from fastnn.kernels.step.plan import Step, Task, phase_job
from fastnn.ports import Gate, Port


def column_blocks(width: int, itemsize: int, threads: int) -> int:
    """Return into how many blocks to cut columns: a multiple of the threads, of about 3 lines each."""
    lines = -(-width * itemsize // LINE)
    return 1 if lines < 2 * threads else -(-lines // (3 * threads)) * threads


@dataclass
class Learning:
    """How a step changes parameters.

    ``parameters``: records of all of them, :class:`fastnn.kernels.step.phases.Parameter`, in order;
    ``rule``: the optimiser's; ``plain``: whether it is gradient descent without a penalty, which a
    product's tile does by itself; ``clip``: the norm that gradients are clipped to, or infinity;
    ``jointly``: whether that is the norm of all of them.
    """

    parameters: Array
    rule: Rule
    plain: bool
    clip: float
    jointly: bool

    @property
    def clips(self) -> bool:
        return self.clip != np.inf

    @property
    def by_rule(self) -> bool:
        """Whether products update weights by the rule."""
        return not (self.plain or self.clips)


@dataclass
class Loop:
    """A phase before it is written.

    ``job``: over ``count`` blocks of columns; ``by_rows``: over blocks of rows; either may be missing.
    ``holds``: what it is made of, for each part its job and the layer's number.
    """

    job: Any
    row: int
    count: int
    by_rows: Any = None
    shared: bool = True
    members: int = 0
    holds: list[tuple[Any, int]] = field(default_factory=list)


@dataclass
class Block:
    """Layers within a layer: the ports at their ends and, for each, its gate and its loops backward."""

    input: Port
    output: Port
    backward: list[tuple[Gate | None, list[Loop]]]


class Blueprint:
    """The records and loops of a network's step, for a batch of ``n`` rows.

    Parameters
    ----------
    X_shape : tuple of int
        Shape of the network's input, ``(n, ...)``.
    dtype : dtype
    shared : bool
        Whether threads share the step. The last bits of a loss depend on this, so it must not depend on
        the number of threads.
    block_rows : int
        Rows in a block of rows; this must not depend on the number of threads either.
    threads : int
        How many there are.
    learning : Learning, optional
        Without it the step changes nothing.

    Attributes
    ----------
    input : Port
        What the layer that is being compiled reads.
    output : Port
        What it writes; the layer sets it.
    leaves_activation : bool
        Whether the layer is to leave its activation to the loss.
    step : array of a record
        The :class:`fastnn.kernels.step.plan.Step`.
    ports : list of Port
        The network's input, and each layer's output.
    """

    def __init__(
        self,
        X_shape: tuple[int, ...],
        dtype: np.dtype[Any],
        shared: bool,
        block_rows: int,
        threads: int,
        learning: Learning | None = None,
    ) -> None:
        self.n, self.dtype, self.itemsize = X_shape[0], dtype, dtype.itemsize
        self.shared, self.threads, self.learning = shared, threads, learning
        self.block_rows = block_rows
        self.input = self.output = Port(0, X_shape[1:])
        self.leaves_activation = False
        self.step = Step.make(n=self.n, itemsize=self.itemsize, block_rows=self.block_rows)
        self.ports = [self.input]
        self._kept: list[Array] = [self.step]
        self._parameters: dict[str, Array] = {}  # of the layer that is being compiled
        self.forward_loops: list[Loop] = []
        self.backward_loops: list[list[Loop]] = []  # for each layer
        self.late_loops: list[Loop] = []
        self.first_jobs: list[tuple[Any, int, bool]] = []
        self.updates: list[list[int]] = [[] for _ in range(threads)]

    def array(self, *shape: int, dtype: Any = None) -> int:
        """Return the address of a new array of zeros, of the step's dtype by default."""
        return self.keep(aligned_zeros(shape, np.dtype(dtype or self.dtype)))

    def keep(self, array: Array) -> int:
        """Keep an array alive as long as the step; return its address."""
        self._kept.append(array)
        return array.ctypes.data

    def port(self, shape: int | tuple[int, ...], blocks: int = 1, gradient: bool = True) -> Port:
        """Return a new array for a layer's output, with a gradient if the step learns.

        ``shape``: of a row, without n.
        """
        shape = (shape,) if isinstance(shape, int) else shape
        wanted = gradient and self.learning is not None
        address = self.array(self.n, *shape)
        return Port(address, shape, blocks, self.array(self.n, *shape) if wanted else 0)

    def reshaped(self, shape: tuple[int, ...]) -> Port:
        """Return the input as one of another shape and the same size: nothing is copied."""
        return replace(self.input, shape=shape)

    def record(self, kind: type[Record], **values: Any) -> int:
        """Write a record; return its address. The value of an address may be a :class:`Port`."""
        numbers = {n: v.address if isinstance(v, Port) else v for n, v in values.items()}
        row = kind.make(**numbers)
        for name, value in values.items():
            if isinstance(value, Port):
                value.fields.append(kind.place(row, name))
        return self.keep(row)

    def parameter(self, name: str, written: bool = False) -> int:
        """Return the address of a parameter's :class:`fastnn.kernels.step.phases.Parameter`.

        ``written``: whether the layer writes the whole gradient down, and then updates the parameter.
        """
        row = self._parameters[name]
        if written:
            self._write_down(row)
        return row.ctypes.data

    def forward(self, job: Any, row: int, blocks: int, by_rows: Any = None) -> None:
        """Add a phase forward over blocks of columns; ``by_rows``: its job for blocks of rows."""
        self.forward_loops.append(self._loop(job, row, blocks, by_rows))

    def forward_rows(self, job: Any, row: int) -> None:
        """Add a phase forward over blocks of rows."""
        self.forward_loops.append(self._loop(None, row, 0, job))

    def backward(self, job: Any, row: int, blocks: int, work: int, by_rows: Any = None) -> None:
        """Add a phase backward over blocks of columns, of so many multiplications.

        ``by_rows``: its job for blocks of rows.
        """
        worth = work > pace.SERIAL // 2
        self.backward_loops[-1].append(self._loop(job, row, blocks, by_rows, worth))

    def backward_rows(self, job: Any, row: int) -> None:
        """Add a phase backward over blocks of rows."""
        self.backward_loops[-1].append(self._loop(None, row, 0, job))

    def block(self, layers: Sequence[Any], gradient: bool) -> Block:
        """Compile the layers of a block, inside the layer that is being compiled.

        The block's input is that layer's input. ``gradient``: whether the block writes the gradient of
        its input, to an array of its own. Parameters have names such as ``0.W``. Forward loops are
        added at once, backward loops by :meth:`backward_block`.
        """
        outer, parameters, loops = self.input, self._parameters, self.backward_loops[-1]
        at = self.array(self.n, *outer.shape) if gradient and self.learning else 0
        first = self.output = replace(outer, gate=None, gradient=at)
        made = Block(first, first, [])
        for i, layer in enumerate(layers):
            self.input = self.output
            self._parameters = {
                name.removeprefix(f"{i}."): row
                for name, row in parameters.items()
                if name.startswith(f"{i}.")
            }
            self.backward_loops[-1] = []
            layer.compile(self)
            made.backward.append((self.output.gate, self.backward_loops[-1]))
        made.output = self.output
        self.input, self._parameters, self.backward_loops[-1] = outer, parameters, loops
        return made

    def backward_block(self, block: Block) -> None:
        """Add the backward phases of a block; the gradient of its output must have been written."""
        layer = len(self.backward_loops) - 1
        for gate, loops in reversed(block.backward):
            self.backward_loops[-1] += [*self.gate_loops(gate, layer), *loops]

    def gate_loops(self, gate: Gate | None, layer: int) -> list[Loop]:
        """Return the phase that applies a gate; none if there is no gate, or a layer has applied it."""
        if gate is None or gate.honoured:
            return []
        gate.honoured = True
        held = [(phases.gradient_rows, layer)]
        return [Loop(None, gate.row, self.row_blocks, phases.gradient_rows, holds=held)]

    def before(self, job: Any, row: int, only_by_rows: bool = False) -> None:
        """Add a job that runs once, before all other phases of a step.

        ``only_by_rows``: only in steps whose threads share the rows, not the columns of each layer.
        """
        self.first_jobs.append((job, row, only_by_rows))

    def before_updates(self, job: Any, row: int, blocks: int) -> None:
        """Add a phase between the last one backward and the updates."""
        self.late_loops.append(self._loop(job, row, blocks))

    def task(self, job: Any, row: int, kind: type[Task] = Task, **values: Any) -> int:
        """Write the record of a job and the row it works on; return its address."""
        values |= {"job": self.address_of(job), "step": self.step.ctypes.data, "row": row}
        return self.record(kind, **values)

    def update(self, task: int, thread: int = 0) -> None:
        """Add a task, given by its record's address, to those that update parameters.

        ``thread``: whose share of the work it is to be in.
        """
        self.updates[thread].append(task)

    @cached_property
    def product(self) -> int:
        """The address of the part that multiplies matrices, and updates by the optimiser's rule."""
        if self.learning and self.learning.by_rule:
            return parts.rule_product(self.learning.rule).address(self.dtype)
        return parts.product.address(self.dtype)

    @cached_property
    def one(self) -> int:
        """The address of a 1."""
        return self.keep(np.ones(1, self.dtype))

    @property
    def row_blocks(self) -> int:
        """Into how many blocks the batch's rows are cut."""
        return -(-self.n // self.block_rows)

    def _write_down(self, parameter: Array) -> None:
        """Give a parameter an array for its gradient, and what updates it from there."""
        assert self.learning is not None
        if not parameter["gradient"][0]:
            parameter["gradient"] = self.array(int(parameter["size"][0]))
        parameter["rule"] = parts.rule_update(self.learning.rule).address(self.dtype)
        if self.learning.clips:
            parameter["measure"] = parts.measure.address(self.dtype)

    def address_of(self, job: Any) -> int:
        """Return where a job is: a function, or a :class:`Part`, compiled for the step's dtype."""
        if isinstance(job, parts.Part):
            return job.address(self.dtype)
        return int(phase_job(job).address)

    def _loop(self, job: Any, row: int, count: int, by_rows: Any = None, shared: bool = True) -> Loop:
        held = [(job or by_rows, len(self.backward_loops) - 1)]
        return Loop(job, row, count, by_rows, shared, holds=held)
