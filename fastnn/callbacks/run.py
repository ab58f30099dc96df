"""A training run under way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fastnn import _own
from fastnn.datasets import Dataset
from fastnn.evaluation import describe
from fastnn.logs import History
from fastnn.schedulers import rate_at
from fastnn.stack import LayerStack


@dataclass
class Run:
    """A training run under way: what callbacks are told of it, and how they end it.

    Attributes
    ----------
    net : NeuralNetwork
    dataset : Dataset
    epochs : int
        How many passes over ``dataset.train`` were asked for.
    epoch : int
        The one under way, counted from 0.
    losses : list of float
        Of its batches so far.
    errors : list of float
        Likewise.
    history : History
        Of the finished epochs; ``net.history`` as well.
    stopped : str or None
        Why :meth:`stop` was called, if it was.
    by_rows : bool
        Whether every row counts the same in an epoch's figures, as in ``fit``; else every batch does,
        whatever its size, as in ``train``.
    """

    net: LayerStack
    dataset: Dataset
    epochs: int
    epoch: int = 0
    losses: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    history: History = field(default_factory=History)
    stopped: str | None = None
    by_rows: bool = False

    @property
    def steps(self) -> int:
        """The number of batches of an epoch."""
        return _own.steps(self.dataset.train)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the current epoch; for a schedule by update, of the next update.

        NaN if the optimiser has no learning rate.
        """
        scheduler = getattr(self.net.optimizer, "lr_scheduler", None)
        if callable(scheduler):
            updates = getattr(self.net.optimizer, "updates", 0)
            return float(rate_at(scheduler, self.epoch, updates))
        return float(getattr(self.net.optimizer, "lr", math.nan))

    @property
    def figures(self) -> dict[str, float]:
        """The last finished epoch's ``loss``, ``error`` and, if validated, ``validation_...``."""
        return {name: values[-1] for name, values in vars(self.history).items() if values}

    @property
    def summary(self) -> str:
        """The last finished epoch in words."""
        history = self.history
        line = "training " + describe(self.net, history.loss[-1], history.error[-1])
        if history.validation_loss:
            loss, error = history.validation_loss[-1], history.validation_error[-1]
            line += f"; validation {describe(self.net, loss, error)}"
        return line

    def stop(self, reason: str = "a callback asked for it") -> None:
        """End the run once all callbacks have been told what this one was just told.

        From ``on_batches_end`` an epoch is broken off, and does not count, unless that was its end.
        """
        self.stopped = reason
