"""Adam."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._changes import checked, watched
from fastnn._typing import Array, ArrayLike
from fastnn._validation import require_number
from fastnn.kernels import optimizers as kernels
from fastnn.kernels.emitted import rules
from fastnn.kernels.emitted.rules import numbers_of
from fastnn.optimizers.base import Optimizer, copied
from fastnn.schedulers import Scheduler


class Moments:
    """What Adam keeps of a parameter: the running means, and how many updates they have seen."""

    names = ("m", "v")  # of the arrays
    m: Array = watched()
    v: Array = watched()

    def __init__(self, m: Array, v: Array, t: int = 0) -> None:
        self.m, self.v, self.t = m, v, t


class Adam(Optimizer):
    """Adam: ``delta = lr(epoch) m_hat / (sqrt(v_hat) + eps)``.

    ``m`` and ``v`` are running means, of rates ``beta_1`` and ``beta_2``, of the gradient and its
    square; ``m_hat = m / (1 - beta_1**t)``, ``v_hat = v / (1 - beta_2**t)`` at the ``t``-th update.
    With ``eps_hat`` it is ``lr(epoch) sqrt(1 - beta_2**t) / (1 - beta_1**t) m / (sqrt(v) + eps)``, the
    shorter form at the end of the paper's section 2, which scikit-learn computes.
    Source: D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    _arrays_each = 2
    eps_hat = False  # for optimisers that were pickled by earlier versions
    beta_1: float = checked(lambda value: require_number("beta_1", value, low=0.0, high=1.0 - 1e-9))
    beta_2: float = checked(lambda value: require_number("beta_2", value, low=0.0, high=1.0 - 1e-9))
    eps: float = checked(lambda value: require_number("eps", value, low=0.0, strict=True))

    @property
    def rule(self) -> rules.Rule:
        return rules.adam

    @staticmethod
    def _entry(*arrays: Array) -> Moments:
        return Moments(arrays[0], arrays[1])

    @staticmethod
    def arrays_of(state: Any) -> tuple[Array, ...]:
        return (state.m, state.v) if isinstance(state, Moments) else (state,)

    def __init__(
        self,
        lr: float = 0.001,
        lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
        eps_hat: bool = False,
        global_clip_norm: float | None = None,
    ) -> None:
        super().__init__(
            lr, lr_scheduler, clip_norm, lr_decay, stage_length, staircase, global_clip_norm
        )
        self.beta_1, self.beta_2, self.eps = beta_1, beta_2, eps
        self.eps_hat = eps_hat

    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        return self._step(param_name, param, param_grad, epoch)[0]

    def _step(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None
    ) -> tuple[Array, float]:
        """Return Adam's step and the learning rate."""
        gradient, lr = self.gradient_and_rate(param_name, param, param_grad, epoch)
        moments = self.state(param_name, gradient)
        moments.t += 1
        step_size, eps = self._corrected(lr, moments.t)
        delta = np.empty_like(gradient)
        kernels.adam(
            gradient.reshape(-1),
            moments.m.reshape(-1),
            moments.v.reshape(-1),
            step_size,
            self.beta_1,
            self.beta_2,
            eps,
            delta.reshape(-1),
        )
        return delta, lr

    def state(self, param_name: str, like: Array) -> Moments:
        """Return the moments of that parameter."""
        kept = self.cache.get(param_name)
        if not isinstance(kept, Moments) or kept.m.shape != like.shape:
            kept = Moments(np.zeros(0), np.zeros(0))
        if not self.owns(param_name, kept, like):
            own = Moments(copied(kept.m, like), copied(kept.v, like), kept.t)
            kept = self.adopt(param_name, own)
        moments: Moments = kept
        return moments

    def advance(self, states: Sequence[Moments]) -> tuple[float, ...]:
        lr = self.next_rate()  # which may raise an error, before anything changes
        for moments in states:
            moments.t += 1
        return self._numbers(lr, states[0].t)

    def advance_by(self, count: int, states: Sequence[Moments]) -> Array:
        rates, t = self.next_rates(count), states[0].t
        for moments in states:
            moments.t += count
        numbers = np.empty(count, numbers_of(self.rule).dtype)
        self._fill(numbers, rates, t)
        return numbers

    def _numbers(self, lr: float, t: int) -> tuple[float, ...]:
        """Return the rule's numbers for the ``t``-th update, in the order of their record."""
        step_size, eps = self._corrected(lr, t)
        beta_1, beta_2 = self.beta_1, self.beta_2
        return step_size, beta_1, beta_2, eps, 1.0 - beta_1, 1.0 - beta_2

    def _fill(self, numbers: Array, rates: Sequence[float], t: int) -> None:
        """Write the rule's numbers for the updates after the ``t``-th, given their rates."""
        numbers["beta_1"], numbers["beta_2"] = self.beta_1, self.beta_2
        numbers["rest_1"], numbers["rest_2"] = 1.0 - self.beta_1, 1.0 - self.beta_2
        corrected = [self._corrected(lr, t + 1 + i) for i, lr in enumerate(rates)]
        numbers["step_size"], numbers["eps"] = zip(*corrected, strict=True)

    def _corrected(self, lr: float, t: int) -> tuple[float, float]:
        """Return ``lr`` and ``eps`` with the corrections of the ``t``-th update's moments in them."""
        correction = math.sqrt(1.0 - self.beta_2**t)
        eps = self.eps if self.eps_hat else self.eps * correction
        return lr * correction / (1.0 - self.beta_1**t), eps
