"""Rates that rise first: a warm-up before another schedule, and one cycle."""

from collections.abc import Callable
from typing import Any

from fastnn._changes import watched
from fastnn._validation import require_number
from fastnn.schedulers.base import Scheduler, counts_steps, on_cosine, positive, rate, rate_at
from fastnn.schedulers.decays import Constant


class OneCycle(Scheduler):
    """One cycle: a rise to ``lr``, then a fall to almost 0, each along half a cosine.

    The rate rises from ``lr / start_divisor`` to ``lr`` in the first ``rise * length`` updates, and
    then falls to ``lr / start_divisor / end_divisor`` at the last of ``length`` updates. Later updates
    keep this rate.
    The same as ``torch.optim.lr_scheduler.OneCycleLR`` with ``cycle_momentum=False``. Source: L. Smith,
    N. Topin, "Super-convergence: very fast training of neural networks using large learning rates",
    2018.

    Parameters
    ----------
    lr : float
        The largest rate.
    length : float
        Total number of updates, ``epochs * ceil(rows / batch_size)``; without ``by_step``, of epochs.
    rise : float
        Fraction of ``length`` in which the rate rises, 0 to 1.
    start_divisor, end_divisor : float
        ``lr`` over the first rate, and the first rate over the last; above 0.
    by_step : bool
        Whether the rate is a function of updates instead of epochs.

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number, or out of its range.
    """

    lr: float = watched(rate)
    length: float = watched(positive("length"))
    rise: float = watched(lambda value: require_number("rise", value, low=0.0, high=1.0))
    start_divisor: float = watched(positive("start_divisor"))
    end_divisor: float = watched(positive("end_divisor"))

    def __init__(
        self,
        lr: float = 0.01,
        length: float = 1000,
        rise: float = 0.3,
        start_divisor: float = 25.0,
        end_divisor: float = 1e4,
        by_step: bool = True,
    ) -> None:
        self.lr, self.length, self.rise, self.by_step = lr, length, rise, by_step
        self.start_divisor, self.end_divisor = start_divisor, end_divisor

    def scheduled_lr(self, epoch: float) -> float:
        """Return the rate at an update, or at an epoch without ``by_step``."""
        start = self.lr / self.start_divisor
        top, last = self.rise * self.length - 1, self.length - 1
        if epoch < top:
            return on_cosine(start, self.lr, epoch / top)
        fall = last - max(top, 0.0)
        done = min((epoch - max(top, 0.0)) / fall, 1.0) if fall > 0 else 1.0
        return on_cosine(self.lr, start / self.end_divisor, done)


class LinearWarmup(Scheduler):
    """A linear rise, followed by another schedule.

    While ``t < length`` the rate is ``(start_factor + (1 - start_factor) t / length)`` times the first
    rate of the other schedule. Afterwards it is the other schedule's rate at ``t - length``. If one of
    the two is by update and the other by epoch, the other schedule is not shifted: its rate at the
    current update or epoch is used throughout. The same as ``torch.optim.lr_scheduler.LinearLR``
    followed by another scheduler in a ``SequentialLR``.

    Parameters
    ----------
    lr_scheduler : float or Scheduler
        The other schedule: a rate, a scheduler, or any function of an epoch.
    length : float
        Length of the rise, in updates, or in epochs without ``by_step``.
    start_factor : float
        The first rate as a fraction of the other schedule's first rate, 0 to 1.
    by_step : bool
        Whether ``length`` is in updates instead of epochs.

    Raises
    ------
    TypeError, ValueError
        If a setting is not a number, or out of its range.

    Example
    -------
    >>> fastnn.AdamW(lr_scheduler=fastnn.LinearWarmup(fastnn.Cosine(0.001, 20), length=500))
    """

    lr_scheduler: Callable[[float], float] = watched()
    length: float = watched(positive("length"))
    start_factor: float = watched(
        lambda value: require_number("start_factor", value, low=0.0, high=1.0)
    )

    def __init__(
        self,
        lr_scheduler: float | Callable[[float], float] = 0.01,
        length: float = 100,
        start_factor: float = 1 / 3,
        by_step: bool = True,
    ) -> None:
        self.lr_scheduler = lr_scheduler if callable(lr_scheduler) else Constant(lr_scheduler)
        self.length, self.start_factor, self.by_step = length, start_factor, by_step

    @property
    def lr(self) -> float:
        """The other schedule's ``lr``."""
        return float(self._other.lr)  # raises AttributeError if it has none

    @lr.setter
    def lr(self, value: float) -> None:
        if hasattr(self._other, "lr"):
            self._other.lr = value
        else:
            raise AttributeError(f"{self._other!r} has no lr to set")

    @property
    def _other(self) -> Any:
        return self.lr_scheduler

    @property
    def counts_steps(self) -> bool:
        """Whether the rate may differ between updates of an epoch."""
        return self.by_step or counts_steps(self._other)

    @property
    def _shifted(self) -> bool:
        """Whether both schedules are by update, or both by epoch."""
        return counts_steps(self._other) == self.by_step

    def scheduled_lr(self, epoch: float) -> float:
        """Return the rate if both schedules are by update, or both by epoch."""
        return self.rate_at(epoch, int(epoch))

    def rate_at(self, epoch: float, step: int) -> float:
        """Return the learning rate of an update, given its epoch and its number, both from 0."""
        t = step if self.by_step else epoch
        if self._shifted:
            epoch = step = max(t - self.length, 0)  # type: ignore[assignment]
        found = rate_at(self.lr_scheduler, epoch, step)
        if t < self.length:
            found *= self.start_factor + (1 - self.start_factor) * t / self.length
        return found

    def start(self) -> None:
        """Begin a new run."""
        if isinstance(self._other, Scheduler):
            self._other.start()

    def report(self, figure: float, epoch: float) -> None:
        """Pass the loss of an epoch to the other schedule."""
        if isinstance(self._other, Scheduler):
            self._other.report(figure, epoch - self.length if self._shifted else epoch)

    @property
    def progress(self) -> dict[str, Any]:
        """The other schedule's ``progress``."""
        return self._other.progress if isinstance(self._other, Scheduler) else {}

    @progress.setter
    def progress(self, kept: dict[str, Any]) -> None:
        if kept or isinstance(self._other, Scheduler):
            self._other.progress = kept
