"""Callbacks that the estimators use."""

from __future__ import annotations

from collections.abc import Callable

from fastnn import training
from fastnn._typing import Array
from fastnn.callbacks import Callback
from fastnn.sklearn.networks import Network


class Penalty(Callback):
    """Sums up what the penalty adds to an epoch's losses: the mean of before and after some batches."""

    def __init__(self, network: Network, alpha: float) -> None:
        self._network, self._alpha = network, alpha
        self._before = network.weight_squares()

    def on_epoch_begin(self, run: training.Run) -> None:
        self.total = 0.0

    def on_batches_end(self, run: training.Run, losses: Array, errors: Array) -> None:
        after = self._network.weight_squares()
        rows = run.dataset.train.rows_per_weight()[len(run.losses) - len(losses) : len(run.losses)]
        self.total += self._alpha / 2 * float(rows.sum()) * (self._before + after) / 2
        self._before = after


class RestoreBest(Callback):
    """Puts the parameters of the best validation score back when a run ends.

    ``on_train_end`` is called from the last callback to the first. This one is the last, so parameters
    that another one restores are kept.
    """

    def __init__(self, restore: Callable[[], None]) -> None:
        self._restore = restore

    def on_train_end(self, run: training.Run) -> None:
        self._restore()
