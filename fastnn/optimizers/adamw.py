"""AdamW: Adam with decoupled weight decay."""

from collections.abc import Callable, Sequence

import numpy as np

from fastnn._changes import checked
from fastnn._typing import Array, ArrayLike
from fastnn.kernels.emitted import rules
from fastnn.optimizers.adam import Adam
from fastnn.optimizers.base import decay_rate, decayed
from fastnn.schedulers import Scheduler


class AdamW(Adam):
    """Adam with decoupled weight decay: ``delta = adam_delta + lr(epoch) * weight_decay * param``.

    The decay is not part of the gradient, so moments and clipping do not include it. All parameters
    decay, including biases. Update rule and defaults are those of ``torch.optim.AdamW``. (The ``l2`` of
    a fully connected layer is a penalty on its weights only, and part of the gradient.)
    Source: I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Example
    -------
    >>> fastnn.NeuralNetwork("cross_entropy", layers, fastnn.AdamW(0.001, weight_decay=0.05))
    """

    weight_decay: float = checked(decay_rate)

    def __init__(
        self,
        lr: float = 0.001,
        lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
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
        self.weight_decay = weight_decay

    @property
    def rule(self) -> rules.Rule:
        return rules.adamw

    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        step, lr = self._step(param_name, param, param_grad, epoch)
        return decayed(step, param, lr * self.weight_decay)

    def _numbers(self, lr: float, t: int) -> tuple[float, ...]:
        return (*super()._numbers(lr, t), lr * self.weight_decay)

    def _fill(self, numbers: Array, rates: Sequence[float], t: int) -> None:
        super()._fill(numbers, rates, t)
        numbers["decay"] = np.multiply(rates, self.weight_decay)
