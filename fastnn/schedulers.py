"""Learning-rate schedules: ``scheduler(epoch)`` is the learning rate of that epoch.

Their settings are attributes that may be changed: the next step uses the new value.
"""

import inspect
import math
from abc import ABC, abstractmethod
from typing import Any

from fastnn._changes import watched
from fastnn._repr import as_call
from fastnn._validation import choose, require_number


def _rate(value: float) -> float:
    return require_number("lr", value, low=0.0)


class Scheduler(ABC):
    """Base class; calling a scheduler is :meth:`scheduled_lr`."""

    def __repr__(self) -> str:
        return as_call(self)

    def __call__(self, epoch: float) -> float:
        return self.scheduled_lr(epoch)

    @abstractmethod
    def scheduled_lr(self, epoch: float) -> float:
        """Return the learning rate at ``epoch``, counted from 0."""


class Constant(Scheduler):
    """The same learning rate throughout."""

    lr: float = watched(_rate)

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr

    def scheduled_lr(self, epoch: float) -> float:
        """Return ``lr``."""
        return self.lr


class Exponential(Scheduler):
    """Exponential decay: ``lr * decay ** (epoch / stage_length)``.

    With ``staircase`` the exponent is rounded down, so that the rate falls once per stage. A ``decay``
    above 1 lets the rate grow; ``ValueError`` is raised for an epoch at which it overflows.
    """

    lr: float = watched(_rate)
    decay: float = watched(lambda value: require_number("decay", value, low=0.0))
    stage_length: float = watched(
        lambda value: require_number("stage_length", value, low=0.0, strict=True)
    )

    def __init__(
        self,
        lr: float = 0.01,
        decay: float = 0.9,
        stage_length: float = 10,
        staircase: bool = False,
    ) -> None:
        self.lr = lr
        self.decay = decay
        self.stage_length = stage_length
        self.staircase = staircase

    def scheduled_lr(self, epoch: float) -> float:
        """Return the decayed learning rate."""
        exponent = float(epoch) / self.stage_length
        if self.staircase:
            exponent = math.floor(exponent)
        try:
            rate = self.lr * self.decay**exponent
        except OverflowError:
            rate = math.inf if self.lr else 0.0
        if rate == math.inf:
            raise ValueError(
                f"the learning rate overflows at epoch {epoch}: lr={self.lr} times decay={self.decay} "
                f"to the power {exponent:g}; a decay of at most 1 does not"
            )
        return float(rate)


SCHEDULERS: dict[str, type[Scheduler]] = {
    "constant": Constant,
    "exponential": Exponential,
}


def initialize_scheduler(
    name: str,
    lr: float,
    decay: float | None = None,
    stage_length: float | None = None,
    staircase: bool | None = None,
) -> Scheduler:
    """Return the scheduler called ``name``: ``"constant"`` or ``"exponential"``.

    ``staircase`` is accepted and has no effect, as in the teaching library, whose programs pass it: by
    name the decay is smooth. ``Exponential(..., staircase=True)`` itself steps.

    Raises
    ------
    NotImplementedError
        If no scheduler has that name; the message lists those there are.
    ValueError
        If the exponential scheduler gets no ``decay`` or no ``stage_length``.
    """
    kind: Any = choose("scheduler", name, SCHEDULERS)
    known = inspect.signature(kind).parameters
    given = {"decay": decay, "stage_length": stage_length}
    given = {argument: value for argument, value in given.items() if argument in known}
    for argument, value in given.items():
        if value is None:
            raise ValueError(f"the {name} scheduler needs {argument}, got None")
    scheduler: Scheduler = kind(lr, **given)
    return scheduler
