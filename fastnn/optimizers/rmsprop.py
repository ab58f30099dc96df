"""RMSProp."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._changes import checked, watched
from fastnn._typing import Array, ArrayLike
from fastnn._validation import require_number
from fastnn.kernels import optimizers as kernels
from fastnn.kernels.emitted import rules
from fastnn.kernels.emitted.rules import numbers_of
from fastnn.optimizers.base import Optimizer, copied, decay_rate, decayed
from fastnn.schedulers import Scheduler


class MeanSquare:
    """RMSProp's state of one parameter; an array that the settings do not need is None.

    ``v``: running mean of the squared gradient; ``mean``: running mean of the gradient; ``velocity``:
    the velocity of momentum.
    """

    v: Array = watched()
    mean: Array | None = watched()
    velocity: Array | None = watched()

    def __init__(self, v: Array, mean: Array | None = None, velocity: Array | None = None) -> None:
        self.v, self.mean, self.velocity = v, mean, velocity

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays that are not None."""
        return tuple(name for name in ("v", "mean", "velocity") if getattr(self, name) is not None)


class RMSProp(Optimizer):
    """RMSProp: ``delta = lr(epoch) * grad / (sqrt(v) + eps)``.

    ``v = alpha v + (1 - alpha) grad**2``. If ``centered``, the gradient's variance ``v - mean**2``
    replaces ``v``, with ``mean = alpha mean + (1 - alpha) grad``. With ``momentum``, ``velocity =
    momentum velocity + grad / (sqrt(v) + eps)`` and ``delta = lr(epoch) * velocity``. With
    ``weight_decay``, ``lr(epoch) * weight_decay * param`` is added to ``delta``, for all parameters
    including biases; this decay is decoupled from the gradient. Update rule and defaults are those of
    ``torch.optim.RMSprop``, except that its ``weight_decay`` is a penalty in the gradient.
    Sources: T. Tieleman, G. Hinton, "Lecture 6.5", Neural networks for machine learning, 2012;
    A. Graves, "Generating sequences with recurrent neural networks", 2013.
    """

    alpha: float = checked(lambda value: require_number("alpha", value, low=0.0, high=1.0 - 1e-9))
    eps: float = checked(lambda value: require_number("eps", value, low=0.0, strict=True))
    momentum: float = watched(lambda value: require_number("momentum", value, low=0.0, high=1.0))
    centered: bool = watched(bool)
    weight_decay: float = checked(decay_rate)

    def __init__(
        self,
        lr: float = 0.01,
        lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
        global_clip_norm: float | None = None,
    ) -> None:
        super().__init__(
            lr, lr_scheduler, clip_norm, lr_decay, stage_length, staircase, global_clip_norm
        )
        self.alpha, self.eps, self.momentum = alpha, eps, momentum
        self.centered, self.weight_decay = centered, weight_decay

    @property
    def rule(self) -> rules.Rule:
        return rules.rmsprop[self.centered, self.momentum > 0]

    @property
    def _arrays_each(self) -> int:  # type: ignore[override]
        return 1 + self.centered + (self.momentum > 0)

    def _entry(self, *arrays: Array) -> MeanSquare:
        given = iter(arrays)
        v = next(given)
        mean = next(given) if self.centered else None
        return MeanSquare(v, mean, next(given, None))

    @staticmethod
    def arrays_of(state: Any) -> tuple[Array, ...]:
        if not isinstance(state, MeanSquare):
            return (state,)
        return tuple(getattr(state, name) for name in state.names)

    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        gradient, lr = self.gradient_and_rate(param_name, param, param_grad, epoch)
        state = self.state(param_name, gradient)
        step, v = np.empty_like(gradient), state.v.reshape(-1)
        g, quotient = gradient.reshape(-1), step.reshape(-1)
        if state.mean is None:
            kernels.rmsprop(g, v, self.alpha, self.eps, quotient)
        else:
            kernels.rmsprop_centered(g, v, state.mean.reshape(-1), self.alpha, self.eps, quotient)
        if state.velocity is not None:
            kernels.sgd_momentum(quotient, state.velocity.reshape(-1), 1.0, self.momentum, quotient)
            state.velocity[...] = step
        with np.errstate(all="ignore"):
            step *= step.dtype.type(lr)
        return decayed(step, param, lr * self.weight_decay)

    def state(self, param_name: str, like: Array) -> MeanSquare:
        """Return a parameter's state with the arrays that the settings need; new ones are zeros."""
        kept = self.cache.get(param_name)
        if not isinstance(kept, MeanSquare) or kept.v.shape != like.shape:
            kept = MeanSquare(np.zeros(0))
        wanted = ("v", *["mean"] * self.centered, *["velocity"] * (self.momentum > 0))
        if kept.names != wanted or not self.owns(param_name, kept, like):
            own = MeanSquare(**{name: copied(getattr(kept, name), like) for name in wanted})
            kept = self.adopt(param_name, own)
        found: MeanSquare = kept
        return found

    def advance(self, states: Sequence[MeanSquare]) -> tuple[float, ...]:
        lr, alpha = self.next_rate(), self.alpha
        return lr, alpha, 1.0 - alpha, self.eps, self.momentum, lr * self.weight_decay

    def advance_by(self, count: int, states: Sequence[MeanSquare]) -> Array:
        numbers = np.empty(count, numbers_of(self.rule).dtype)
        numbers["lr"], numbers["momentum"] = self.next_rates(count), self.momentum
        numbers["alpha"], numbers["rest"], numbers["eps"] = self.alpha, 1.0 - self.alpha, self.eps
        numbers["decay"] = numbers["lr"] * self.weight_decay
        return numbers
