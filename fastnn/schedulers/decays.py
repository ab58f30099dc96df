"""Schedules that are constant or fall."""

import math

from fastnn._changes import watched
from fastnn._validation import require_number
from fastnn.schedulers.base import Scheduler, least_rate, on_cosine, positive, rate


class Constant(Scheduler):
    """The same learning rate throughout."""

    lr: float = watched(rate)

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

    lr: float = watched(rate)
    decay: float = watched(lambda value: require_number("decay", value, low=0.0))
    stage_length: float = watched(positive("stage_length"))

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


class StepDecay(Scheduler):
    """``lr * decay ** floor(t / stage_length)``: the rate is multiplied by ``decay`` once per stage.

    The same as ``torch.optim.lr_scheduler.StepLR``.

    Parameters
    ----------
    lr : float
        The rate at epoch 0.
    stage_length : float
        In epochs, or in updates with ``by_step``.
    decay : float
        From 0 to 1.
    by_step : bool
        Whether the rate is a function of updates instead of epochs.

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number, or out of its range.
    """

    lr: float = watched(rate)
    stage_length: float = watched(positive("stage_length"))
    decay: float = watched(lambda value: require_number("decay", value, low=0.0, high=1.0))

    def __init__(
        self, lr: float = 0.01, stage_length: float = 10, decay: float = 0.1, by_step: bool = False
    ) -> None:
        self.lr, self.stage_length, self.decay, self.by_step = lr, stage_length, decay, by_step

    def scheduled_lr(self, epoch: float) -> float:
        """Return the rate of the stage that contains ``epoch``."""
        return float(self.lr * self.decay ** math.floor(epoch / self.stage_length))


class Cosine(Scheduler):
    """Half a cosine: ``lr_min + (lr - lr_min) (1 + cos(pi t / length)) / 2``, then ``lr_min``.

    Up to ``length`` the same as ``torch.optim.lr_scheduler.CosineAnnealingLR``, whose rate then rises
    again.
    Source: I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
    without restarts.

    Parameters
    ----------
    lr : float
        The rate at epoch 0.
    length : float
        Length of the fall, in epochs, or in updates with ``by_step``.
    lr_min : float
        The rate from ``length`` on, at least 0.
    by_step : bool
        Whether the rate is a function of updates instead of epochs.

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number, or out of its range.
    """

    lr: float = watched(rate)
    length: float = watched(positive("length"))
    lr_min: float = watched(least_rate)

    def __init__(
        self, lr: float = 0.01, length: float = 10, lr_min: float = 0.0, by_step: bool = False
    ) -> None:
        self.lr, self.length, self.lr_min, self.by_step = lr, length, lr_min, by_step

    def scheduled_lr(self, epoch: float) -> float:
        """Return the rate at an epoch, or at an update with ``by_step``."""
        return on_cosine(self.lr, self.lr_min, min(epoch / self.length, 1.0))
