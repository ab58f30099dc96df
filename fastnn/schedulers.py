"""Learning-rate schedules: ``scheduler(epoch)`` is the learning rate of that epoch."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

from fastnn._repr import as_call
from fastnn._validation import choose, require_number


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

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = require_number("lr", lr, low=0.0)

    def scheduled_lr(self, epoch: float) -> float:
        """Return ``lr``."""
        return self.lr


class Exponential(Scheduler):
    """Exponential decay: ``lr * decay ** (epoch / stage_length)``.

    With ``staircase`` the exponent is rounded down, so that the rate falls once per stage.
    """

    def __init__(
        self,
        lr: float = 0.01,
        decay: float = 0.9,
        stage_length: float = 10,
        staircase: bool = False,
    ) -> None:
        self.lr = require_number("lr", lr, low=0.0)
        self.decay = require_number("decay", decay, low=0.0)
        self.stage_length = require_number("stage_length", stage_length, low=0.0, strict=True)
        self.staircase = staircase

    def scheduled_lr(self, epoch: float) -> float:
        """Return the decayed learning rate."""
        exponent = epoch / self.stage_length
        if self.staircase:
            exponent = math.floor(exponent)
        return float(self.lr * self.decay**exponent)


def _exponential(
    lr: float, decay: float | None, stage_length: float | None, staircase: bool | None
) -> Scheduler:
    if decay is None or stage_length is None:
        missing = "decay" if decay is None else "stage_length"
        raise ValueError(f"the exponential scheduler needs {missing}, got None")
    return Exponential(lr, decay, stage_length, bool(staircase))


_SCHEDULERS: dict[str, Callable[[float, float | None, float | None, bool | None], Scheduler]] = {
    "constant": lambda lr, decay, stage_length, staircase: Constant(lr),
    "exponential": _exponential,
}


def initialize_scheduler(
    name: str,
    lr: float,
    decay: float | None = None,
    stage_length: float | None = None,
    staircase: bool | None = None,
) -> Scheduler:
    """Return the scheduler called ``name``: ``"constant"`` or ``"exponential"``.

    Raises
    ------
    NotImplementedError
        If no scheduler has that name; the message lists those there are.
    ValueError
        If the exponential scheduler gets no ``decay`` or no ``stage_length``.
    """
    return choose("scheduler", name, _SCHEDULERS)(lr, decay, stage_length, staircase)
