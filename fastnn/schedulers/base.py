"""What every schedule has."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from fastnn._repr import as_call
from fastnn._validation import require_number


class Scheduler(ABC):
    """Base class; calling a scheduler is :meth:`scheduled_lr`.

    ``by_step``: whether it is a function of the number of updates done, instead of the epoch.
    """

    by_step: bool = False

    def __repr__(self) -> str:
        return as_call(self)

    def __call__(self, epoch: float) -> float:
        return self.scheduled_lr(epoch)

    @abstractmethod
    def scheduled_lr(self, epoch: float) -> float:
        """Return the learning rate at ``epoch``, counted from 0."""

    @property
    def counts_steps(self) -> bool:
        """Whether the rate may differ between updates of an epoch."""
        return self.by_step

    def rate_at(self, epoch: float, step: int) -> float:
        """Return the learning rate of an update, given its epoch and its number, both from 0."""
        return self(step if self.by_step else epoch)

    # For schedules that look at what training comes to.

    def start(self) -> None:  # noqa: B027
        """Begin a new run."""

    def report(self, figure: float, epoch: float) -> None:  # noqa: B027
        """Take the loss of an epoch that has ended, counted from 0."""

    @property
    def progress(self) -> dict[str, Any]:
        """What it keeps of a run so far, as JSON takes it; it may be set."""
        return {}

    @progress.setter
    def progress(self, kept: dict[str, Any]) -> None:
        if kept:
            raise ValueError(f"a {type(self).__name__} keeps nothing of a run, got {kept!r}")


def rate_at(scheduler: Callable[[float], float], epoch: float, step: int) -> float:
    """Return the learning rate of an update by a scheduler, or by any function of a number."""
    if isinstance(scheduler, Scheduler):
        return scheduler.rate_at(epoch, step)
    return scheduler(step if getattr(scheduler, "by_step", False) else epoch)


def counts_steps(scheduler: Callable[[float], float]) -> bool:
    """Return whether a scheduler, or any function of a number, may differ within an epoch."""
    if isinstance(scheduler, Scheduler):
        return scheduler.counts_steps
    return bool(getattr(scheduler, "by_step", False))


def rate(value: float) -> float:
    """Return a learning rate, checked."""
    return require_number("lr", value, low=0.0)


def least_rate(value: float) -> float:
    """Return the rate that a schedule does not fall below, checked."""
    return require_number("lr_min", value, low=0.0)


def positive(name: str) -> Callable[[float], float]:
    """Return the check of a number above 0, of that name."""
    return lambda value: require_number(name, value, low=0.0, strict=True)


def on_cosine(begin: float, end: float, done: float) -> float:
    """Return the number on half a cosine between two, of which a part of 0 to 1 is done."""
    return end + (begin - end) / 2 * (1 + math.cos(math.pi * done))
