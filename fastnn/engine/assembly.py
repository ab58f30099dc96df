"""From what layers have written into a blueprint to the phases of a step."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from fastnn._arrays import LINE
from fastnn._typing import Array
from fastnn.blueprint import Blueprint, Learning, Loop
from fastnn.kernels.step import phases
from fastnn.kernels.step.plan import Phase, chain, each
from fastnn.ports import Port


class Assembly(Blueprint):
    """A blueprint that is filled by layers, one after the other, and then becomes a step.

    Attributes
    ----------
    phases : array of records
        Of :class:`fastnn.kernels.step.plan.Phase`; of ``step``, what compiled code takes.
    contents : list of list of (job, layer)
        What each phase is made of.
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
        super().__init__(X_shape, dtype, shared, block_rows, threads, learning)
        self._loss: Loop | None = None

    def add(self, layer: Any, parameters: dict[str, Array], shape: tuple[int, ...]) -> None:
        """Let a layer write itself.

        ``parameters``: records of its parameters, each of length 1; ``shape``: of its output's rows.
        """
        self.input, self._parameters = self.output, parameters
        self.backward_loops.append([])
        layer.compile(self)
        if self.output.shape != shape:
            raise ValueError(
                f"{type(layer).__name__}.compile set to.output to a port of rows {self.output.shape}; "
                f"its check_input says {shape}"
            )
        self.ports.append(self.output)

    def add_loss(self, row: int) -> None:
        """Add the loss, whose record is at an address."""
        self._loss = self._loop(None, row, 0, phases.loss_rows)

    def finish(self, by_rows: bool) -> None:
        """Write the phases; ``by_rows``: whether threads take rows through the layers.

        Otherwise they take columns of each layer. That is up to the layers in part: those that have no
        job for columns take rows, and those that have none for rows take columns.
        """
        by_rows = by_rows and all(loop.by_rows is not None for loop in self.forward_loops)
        loops = self._joined([*self._forward_order(by_rows), *self._backward_order(by_rows)])
        first = [self.task(job, row) for job, row, only in self.first_jobs if by_rows or not only]
        if first:
            loops.insert(0, self._each(first))
        self.phases, self.contents = Phase.make(len(loops)), [loop.holds for loop in loops]
        for row, loop in zip(self.phases, loops, strict=True):
            self._write(row, loop)
        self.step["phases"], self.step["phase_count"] = self.phases.ctypes.data, len(loops)
        self.step["inputs"] = self._fields(self.ports[0])
        self.step["outputs"] = self._fields(self.output)

    def connect(self, X: int) -> None:
        """Let the step read the batch at an address."""
        for address in self.ports[0].fields:
            (ctypes.c_int64).from_address(address).value = X

    def finish_picking(self, row: int, shared: bool) -> None:
        """Write the phase that picks a batch, whose record is at an address."""
        written = Phase.make()
        self._write(written[0], Loop(phases.pick_rows, row, self.row_blocks, shared=shared))
        self.step["picking"] = self.keep(written)

    def apart(self) -> bool:
        """Return whether rows of all hidden layers' outputs are whole cache lines."""
        return not any(port.width * self.itemsize % LINE for port in self.ports[1:-1])

    def _fields(self, port: Port) -> int:
        return self.keep(np.array([len(port.fields), *port.fields], np.int64))

    def _forward_order(self, by_rows: bool) -> list[Loop]:
        loops = [*self.forward_loops]
        if by_rows:
            return [self._rows(loop) for loop in loops]
        narrow = self._loss is not None  # the last layers, if they are, go by rows as the loss does
        for i, loop in reversed([*enumerate(loops)]):
            narrow = narrow and loop.by_rows is not None and loop.count <= 1
            if loop.job is None or narrow:
                loops[i] = self._rows(loop)
        return loops

    def _backward_order(self, by_rows: bool) -> list[Loop]:
        loops = [] if self._loss is None else [self._rows(self._loss)]
        if self.learning is None:
            return loops
        for i, backward in reversed([*enumerate(self.backward_loops)]):
            loops += self.gate_loops(self.ports[1 + i].gate, i)
            for loop in backward:
                goes = loop.job is None or (by_rows and loop.by_rows is not None)
                loops.append(self._rows(loop) if goes else loop)
        loops += self.late_loops
        if tasks := [task for share in self.updates for task in share]:
            loops.append(self._each(tasks))
        return [*loops, *self._clipping()]

    def _each(self, tasks: list[int]) -> Loop:
        """Return a loop over tasks, given by their records' addresses."""
        return Loop(each, self.keep(np.array(tasks, np.int64)), len(tasks), holds=[(each, 0)])

    def _clipping(self) -> list[Loop]:
        """Return the updates of all parameters whose gradients are clipped."""
        assert self.learning is not None
        count, row = len(self.learning.parameters), self.keep(self.learning.parameters)
        if not self.learning.clips:
            return []
        if not self.learning.jointly:
            jobs = [phases.clipped_update]
        else:
            jobs = [phases.measured, phases.jointly_clipped_update]
        return [Loop(job, row, count, holds=[(job, 0)]) for job in jobs]

    def _rows(self, loop: Loop) -> Loop:
        held = [(loop.by_rows, layer) for _, layer in loop.holds]
        return Loop(None, loop.row, self.row_blocks, loop.by_rows, holds=held)

    def _joined(self, loops: list[Loop]) -> list[Loop]:
        """Join neighbours that go by rows: a thread takes its rows through all of them."""
        joined: list[Loop] = []
        for goes_by_rows, group in groupby(loops, lambda loop: loop.job is None):
            members = [*group]
            if not goes_by_rows:
                joined += members
            elif len(members) == 1:
                joined.append(replace(members[0], job=members[0].by_rows))
            else:
                joined.append(self._chained(members))
        return joined

    def _chained(self, members: list[Loop]) -> Loop:
        written = Phase.make(len(members))
        for row, loop in zip(written, members, strict=True):
            self._write(row, replace(loop, job=loop.by_rows))
        held = [part for loop in members for part in loop.holds]
        return Loop(chain, self.keep(written), self.row_blocks, members=len(members), holds=held)

    def _write(self, phase: Any, loop: Loop) -> None:
        phase["job"], phase["step"] = self.address_of(loop.job), self.step.ctypes.data
        phase["row"], phase["count"] = loop.row, loop.count
        phase["shared"], phase["members"] = self.shared and loop.shared, loop.members
