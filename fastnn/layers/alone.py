"""Phases of a layer's compiled step, for its methods ``forward`` and ``backward``."""

from __future__ import annotations

from typing import Any

from fastnn import pace
from fastnn._typing import Array
from fastnn.blueprint import Blueprint
from fastnn.kernels.step import steps, threads
from fastnn.kernels.step.phases import Parameter
from fastnn.kernels.step.plan import Phase


class Alone(Blueprint):
    """A blueprint for one batch of a layer, outside a network's step.

    Parameters
    ----------
    X : array (n, ...)
        The batch, C-contiguous.
    work : int
        Approximate number of multiplications; decides whether threads share the work.
    """

    def __init__(self, X: Array, work: int) -> None:
        shared = work > pace.SERIAL
        rows = pace.block_rows(len(X), work, shared, large=True)
        super().__init__(X.shape, X.dtype, shared, rows, 1)
        self.step["clip"] = 0  # a finite norm: jobs write gradients and leave updates to a later phase

    def run(self, job: Any, row: int) -> None:
        """Do a job for all blocks of rows, with the record at an address."""
        self._run(job, row, self.row_blocks)

    def run_once(self, job: Any, row: int) -> None:
        """Do a job once, for the whole batch."""
        self._run(job, row, 1)

    def gradient(self, out: Array) -> int:
        """Return a parameter's record, whose gradient goes into an array; nothing is updated."""
        return self.record(Parameter, size=out.size, gradient=out.ctypes.data)

    def _run(self, job: Any, row: int, count: int) -> None:
        step = self.step.ctypes.data
        job, shared = self.address_of(job), self.shared
        phase = Phase.make(job=job, step=step, row=row, count=count, shared=shared)
        if not shared:
            steps.run(threads.Alone.control, phase.ctypes.data, 1)
            return
        pool = threads.pool()
        pool.wake()
        steps.run(pool.control, phase.ctypes.data, 1)
