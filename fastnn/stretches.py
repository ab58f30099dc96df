"""Stretches of batches of one dataset, for one or several networks, in one compiled call."""

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


class Stretch:
    """Batches of one size, and what came of them; making it counts their updates.

    Parameters
    ----------
    plan : TrainingPlan
    optimizer : Optimizer
    order : (m,) integers
        Row numbers, a whole number of batches of them.
    """

    def __init__(self, plan: TrainingPlan, optimizer: Optimizer, order: Array) -> None:
        self.plan = plan
        self._order = np.ascontiguousarray(order, np.int64)
        count = len(order) // plan.n
        self._rates = optimizer.advance_by(count, plan.states)
        self._results = np.empty((count, 2))

    def write(self, words: Array, X: Array, Y: Array, control: int) -> None:
        """Write what the compiled loop takes."""
        self.plan.read_from(X, Y)
        words[dense.STRETCH_PLAN], words[dense.STRETCH_CONTROL] = self.plan.address, control
        words[dense.BATCHES], words[dense.STRETCH_ORDER] = len(self._results), self._order.ctypes.data
        words[dense.STRETCH_RATES] = self._rates.ctypes.data
        words[dense.RESULTS] = self._results.ctypes.data

    @property
    def means(self) -> Array:
        """Each batch's mean loss and error, ``(batches, 2)``."""
        return self._results / (self.plan.n, self.plan.errors)


def train(tracks: Sequence[Sequence[Stretch]], X: Array, Y: Array, pool: Any) -> list[Array]:
    """Do all updates; return each track's mean losses and errors, ``(batches, 2)``.

    A track is one network's: one stretch, or two that follow one another, the second one batch.
    ``X (n, d)`` and ``Y (n, k)`` are of the plans' dtype and C-contiguous. The steps of a single track
    are shared by the pool's threads; several tracks go side by side, a thread each.
    """
    single = len(tracks) == 1
    words = np.zeros((len(tracks), dense.IN_A_ROW, dense.STRETCH_WORDS), np.int64)
    for track, rows in zip(tracks, words, strict=True):
        for stretch, row in zip(track, rows, strict=False):
            stretch.write(row, X, Y, pool.control if single else 0)
    job = dense.phase_job(dense.stretch).address
    dense.run_stretches(0 if single else pool.control, job, words)
    return [np.concatenate([stretch.means for stretch in track]) for track in tracks]
