"""The base class of schedules, and functions that schedules share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from fastnn._repr import as_call
from fastnn._validation import require_number


class Scheduler(ABC):
    """Base class; calling a scheduler is :meth:`scheduled_lr`.

    ``by_step``: whether the rate is a function of the number of updates done instead of the epoch.
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

    # For schedules that depend on the course of training.

    def start(self) -> None:  # noqa: B027
        """Begin a new run."""

    def report(self, figure: float, epoch: float) -> None:  # noqa: B027
        """Take the loss at the end of an epoch, counted from 0."""

    @property
    def progress(self) -> dict[str, Any]:
        """The state of the current run, in types that JSON has; it may be set."""
        return {}

    @progress.setter
    def progress(self, kept: dict[str, Any]) -> None:
        if kept:
            raise ValueError(f"a {type(self).__name__} keeps nothing of a run, got {kept!r}")


def rate_at(scheduler: Callable[[float], float], epoch: float, step: int) -> float:
    """Return the learning rate of an update from a scheduler or any other function."""
    if isinstance(scheduler, Scheduler):
        return scheduler.rate_at(epoch, step)
    return scheduler(step if getattr(scheduler, "by_step", False) else epoch)


def counts_steps(scheduler: Callable[[float], float]) -> bool:
    """Return whether the rate of a scheduler or function may change within an epoch."""
    if isinstance(scheduler, Scheduler):
        return scheduler.counts_steps
    return bool(getattr(scheduler, "by_step", False))


def rate(value: float) -> float:
    """Return a learning rate, checked."""
    return require_number("lr", value, low=0.0)


def least_rate(value: float) -> float:
    """Return the lower bound of a schedule's rate, checked."""
    return require_number("lr_min", value, low=0.0)


def positive(name: str) -> Callable[[float], float]:
    """Return a function that checks that a number is above 0; ``name`` is for its messages."""
    return lambda value: require_number(name, value, low=0.0, strict=True)


def on_cosine(begin: float, end: float, done: float) -> float:
    """Return the value at ``done`` (0 to 1) of half a cosine from ``begin`` to ``end``."""
    return end + (begin - end) / 2 * (1 + math.cos(math.pi * done))
