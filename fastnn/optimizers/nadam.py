"""Nadam: Adam with Nesterov's momentum."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from fastnn._changes import checked
from fastnn._typing import Array, ArrayLike
from fastnn._validation import require_number
from fastnn.kernels import optimizers as kernels
from fastnn.kernels.emitted import rules
from fastnn.optimizers.adam import Adam
from fastnn.optimizers.base import decay_rate, decayed
from fastnn.schedulers import Scheduler


class Nadam(Adam):
    """Adam with Nesterov's momentum.

    With ``m`` and ``v`` as in :class:`Adam` and ``mu(t) = beta_1 (1 - 0.96**(t momentum_decay) / 2)``
    the ``t``-th step is ``lr(epoch) / (sqrt(v_hat) + eps)`` times ``(1 - mu(t)) / (1 - M(t)) grad +
    mu(t+1) / (1 - M(t+1)) m``, where ``M(t) = mu(1) ... mu(t)``, plus ``lr(epoch) * weight_decay *
    param``. Update rule and defaults are those of ``torch.optim.NAdam`` with
    ``decoupled_weight_decay=True``. All parameters decay, including biases.
    Source: T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop.
    """

    momentum_decay: float = checked(lambda value: require_number("momentum_decay", value, low=0.0))
    weight_decay: float = checked(decay_rate)

    def __init__(
        self,
        lr: float = 0.002,
        lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        momentum_decay: float = 0.004,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
        global_clip_norm: float | None = None,
    ) -> None:
        super().__init__(
            lr, lr_scheduler, beta_1, beta_2, eps, clip_norm, lr_decay, stage_length, staircase,
            global_clip_norm=global_clip_norm,
        )  # fmt: skip
        self.momentum_decay, self.weight_decay = momentum_decay, weight_decay
        self._product: tuple[float, float, int, float] = (0.0, 0.0, 0, 1.0)

    @property
    def rule(self) -> rules.Rule:
        return rules.nadam

    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        gradient, lr = self.gradient_and_rate(param_name, param, param_grad, epoch)
        moments = self.state(param_name, gradient)
        moments.t += 1
        gradient_size, step_size, beta_1, beta_2, eps, *_ = self._numbers(lr, moments.t)
        step, m, v = np.empty_like(gradient), moments.m.reshape(-1), moments.v.reshape(-1)
        kernels.nadam(
            gradient.reshape(-1), m, v, gradient_size, step_size, beta_1, beta_2, eps,
            step.reshape(-1),
        )  # fmt: skip
        return decayed(step, param, lr * self.weight_decay)

    def _momentum(self, t: int) -> float:
        return self.beta_1 * (1.0 - 0.5 * math.pow(0.96, t * self.momentum_decay))

    def _momenta(self, t: int) -> float:
        """Return the product of the momenta of updates 1 to ``t``, multiplied in this order."""
        beta_1, decay, done, product = self._product
        if (beta_1, decay) != (self.beta_1, self.momentum_decay) or done > t:
            done, product = 0, 1.0
        while done < t and product:
            done += 1
            product *= self._momentum(done)
        self._product = self.beta_1, self.momentum_decay, t, product
        return product

    def _numbers(self, lr: float, t: int) -> tuple[float, ...]:
        momentum, following, product = self._momentum(t), self._momentum(t + 1), self._momenta(t)
        correction = math.sqrt(1.0 - self.beta_2**t)
        size, beta_1, beta_2 = lr * correction, self.beta_1, self.beta_2
        return (
            size * (1.0 - momentum) / (1.0 - product),
            size * following / (1.0 - product * following),
            beta_1, beta_2, self.eps * correction, 1.0 - beta_1, 1.0 - beta_2,
            lr * self.weight_decay,
        )  # fmt: skip

    def _fill(self, numbers: Array, rates: Sequence[float], t: int) -> None:
        for i, lr in enumerate(rates):
            numbers[i] = self._numbers(lr, t + 1 + i)
