"""Stretches of batches, of one dataset, for one or several networks, in one compiled call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import dense

if TYPE_CHECKING:
    from fastnn.optimizers import Optimizer
    from fastnn.plans import TrainingPlan


class Stretches:
    """For each plan, ``count`` batches of its size, by row numbers into ``X (n, d)``, ``Y (n, k)``.

    Arrays are C-contiguous, in the plans' dtype.
    """

    def __init__(
        self, plans: Sequence[TrainingPlan], X: Array, Y: Array, orders: Sequence[Array], count: int
    ) -> None:
        self._plans, self._count = plans, count
        self._arrays = (X, Y, [np.ascontiguousarray(order, np.int64) for order in orders])
        self._rates = np.empty((len(plans), count, 4))
        self._results = np.empty((len(plans), count, 2))
        self._words = np.zeros((len(plans), dense.STRETCH_WORDS), np.int64)
        for i, (plan, order) in enumerate(zip(plans, self._arrays[2], strict=True)):
            plan.read_from(X, Y)
            words = self._words[i]
            words[dense.STRETCH_PLAN], words[dense.BATCHES] = plan.words.ctypes.data, count
            words[dense.STRETCH_ORDER] = order.ctypes.data
            words[dense.STRETCH_RATES] = self._rates[i].ctypes.data
            words[dense.RESULTS] = self._results[i].ctypes.data

    def run(
        self, pool: Any, optimizers: Sequence[Optimizer], side_by_side: bool = False
    ) -> list[tuple[Array, Array]]:
        """Do all updates; return each plan's mean losses and errors, by batch.

        The pool's threads share each step, or, side by side, the networks.
        """
        for rates, plan, optimizer in zip(self._rates, self._plans, optimizers, strict=True):
            rates[:] = [optimizer.advance(plan.states) for _ in range(self._count)]
        self._words[:, dense.STRETCH_CONTROL] = 0 if side_by_side else pool.control
        job = dense.phase_job(dense.stretch).address
        dense.run_stretches(pool.control if side_by_side else 0, job, self._words)
        return [
            (result[:, 0] / plan.n, result[:, 1] / plan.errors)
            for result, plan in zip(self._results, self._plans, strict=True)
        ]
