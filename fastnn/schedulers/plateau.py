"""A rate that falls when a figure stops falling."""

from __future__ import annotations

import math
from typing import Any

from fastnn._changes import watched
from fastnn._validation import require_count, require_number
from fastnn.schedulers.base import Scheduler, least_rate, rate


class Plateau:
    """Whether a figure has stopped falling; see :class:`ReduceOnPlateau`."""

    def __init__(self, factor: float, patience: int, threshold: float, cooldown: int) -> None:
        self.factor = require_number("factor", factor, low=0.0, high=1.0)
        if self.factor == 1:
            raise ValueError("factor must be below 1, got 1: the rate would not fall")
        self.patience = require_count("patience", patience, low=0)
        self.threshold = require_number("threshold", threshold, low=0.0, high=1.0)
        self.cooldown = require_count("cooldown", cooldown, low=0)
        self.start()

    def start(self) -> None:
        """Forget all figures."""
        self.best, self.waited, self.cooling = math.inf, 0, 0

    def has_come(self, figure: float) -> bool:
        """Take the next value; return whether to reduce the rate. NaN and infinity never improve."""
        limit = self.best
        if math.isfinite(limit):
            limit -= self.threshold * abs(limit)
        if math.isfinite(figure) and figure < limit:
            self.best, self.waited = figure, 0
        else:
            self.waited += 1
        if self.cooling:
            self.cooling, self.waited = self.cooling - 1, 0
        if self.waited <= self.patience:
            return False
        self.cooling, self.waited = self.cooldown, 0
        return True

    @property
    def progress(self) -> dict[str, Any]:
        """The best figure, None before there is one, and the counts; it may be set."""
        best = self.best if math.isfinite(self.best) else None
        return {"best": best, "waited": self.waited, "cooling": self.cooling}

    @progress.setter
    def progress(self, kept: dict[str, Any]) -> None:
        best, waited, cooling = kept["best"], kept["waited"], kept["cooling"]
        least = -math.inf
        self.best = math.inf if best is None else require_number("best", best, low=least)
        self.waited = require_count("waited", waited, low=0)
        self.cooling = require_count("cooling", cooling, low=0)


class Reduces:
    """The settings of what reduces a rate by a :class:`Plateau`, its attribute ``plateau``."""

    plateau: Plateau

    @property
    def factor(self) -> float:
        """What the rate is multiplied by."""
        return self.plateau.factor

    @property
    def patience(self) -> int:
        """How many epochs in a row may pass without a better figure."""
        return self.plateau.patience

    @property
    def threshold(self) -> float:
        """By what share a better figure is below the best."""
        return self.plateau.threshold

    @property
    def cooldown(self) -> int:
        """How many epochs after a reduction do not count."""
        return self.plateau.cooldown


class ReduceOnPlateau(Reduces, Scheduler):
    """``lr`` times ``factor`` for each time the loss stopped falling.

    ``fit`` and ``train`` report the validation loss at the end of every epoch, or the training loss if
    nothing is validated. A figure is better than the best if it is below ``best (1 - threshold)``.
    After more than ``patience`` epochs in a row without a better one the rate is reduced, from the next
    epoch on; then ``cooldown`` epochs pass before such epochs count again. A new run begins anew. As
    ``torch.optim.lr_scheduler.ReduceLROnPlateau``. The callback :class:`fastnn.ReduceLROnPlateau`
    multiplies any optimiser's rate, by any figure.

    Parameters
    ----------
    lr : float
        The rate at first.
    factor : float
        Between 0 and 1.
    patience : int
        Number of epochs without an improvement that are tolerated.
    threshold : float
        Smallest relative improvement.
    cooldown : int
        Number of epochs after a reduction that are not counted.
    lr_min : float
        The rate does not fall below this.
    """

    lr: float = watched(rate)
    lr_min: float = watched(least_rate)

    def __init__(
        self,
        lr: float = 0.01,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        lr_min: float = 0.0,
    ) -> None:
        self.lr, self.lr_min = lr, lr_min
        self.plateau = Plateau(factor, patience, threshold, cooldown)
        self._reduced: list[float] = []  # the epochs from which on the rate is lower

    def scheduled_lr(self, epoch: float) -> float:
        """Return the rate of an epoch, given the losses reported so far."""
        times = sum(begin <= epoch for begin in self._reduced)
        if not times:
            return self.lr
        return max(self.lr * self.factor**times, min(self.lr, self.lr_min))

    def report(self, figure: float, epoch: float) -> None:
        """Take the figure of an epoch, counted from 0, which may reduce the rate of the next."""
        if self.plateau.has_come(figure):
            self._reduced.append(epoch + 1)

    def start(self) -> None:
        """Forget all figures, for a new run."""
        self.plateau.start()
        self._reduced = []

    @property
    def progress(self) -> dict[str, Any]:
        """What it keeps of the figures so far, as JSON takes it; it may be set."""
        return {"reduced": [*self._reduced], **self.plateau.progress}

    @progress.setter
    def progress(self, kept: dict[str, Any]) -> None:
        reduced = [require_number("reduced", at, low=-math.inf) for at in kept["reduced"]]
        self.plateau.progress = kept
        self._reduced = reduced
