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


SECONDS = 0.05  # how long a stretch may take, so that Ctrl-C and progress are prompt


def next_count(count: int, seconds: float) -> int:
    """Return how many batches to do next, where ``count`` took so long: at most twice as many."""
    return max(1, min(2 * count, int(count * SECONDS / seconds)))


def train(
    plans: Sequence[TrainingPlan],
    optimizers: Sequence[Optimizer],
    X: Array,
    Y: Array,
    orders: Sequence[Array],
    pool: Any,
) -> list[tuple[Array, Array]]:
    """Do all updates of a stretch; return each plan's mean losses and errors, by batch.

    ``orders``: for each plan the rows of ``X (n, d)`` and ``Y (n, k)``, of its dtype and C-contiguous,
    that it is to train on, a whole number of its batches. One plan's steps are shared by the pool's
    threads; several plans go side by side, a thread each.
    """
    orders = [np.ascontiguousarray(order, np.int64) for order in orders]
    counts = [len(order) // plan.n for plan, order in zip(plans, orders, strict=True)]
    rates = [
        np.array([optimizer.advance(plan.states) for _ in range(count)]).reshape(-1, 4)
        for plan, optimizer, count in zip(plans, optimizers, counts, strict=True)
    ]
    results = [np.empty((count, 2)) for count in counts]
    control = pool.control if len(plans) == 1 else 0
    words = np.zeros((len(plans), dense.STRETCH_WORDS), np.int64)
    for i, plan in enumerate(plans):
        plan.read_from(X, Y)
        words[i, dense.STRETCH_PLAN], words[i, dense.STRETCH_CONTROL] = plan.words.ctypes.data, control
        words[i, dense.BATCHES], words[i, dense.STRETCH_ORDER] = counts[i], orders[i].ctypes.data
        words[i, dense.STRETCH_RATES] = rates[i].ctypes.data
        words[i, dense.RESULTS] = results[i].ctypes.data
    job = dense.phase_job(dense.stretch).address
    dense.run_stretches(0 if len(plans) == 1 else pool.control, job, words)
    return [
        (result[:, 0] / plan.n, result[:, 1] / plan.errors)
        for result, plan in zip(results, plans, strict=True)
    ]
