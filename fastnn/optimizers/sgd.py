"""Gradient descent, with momentum or Nesterov's."""

from collections.abc import Callable, Sequence

import numpy as np

from fastnn._changes import watched
from fastnn._typing import Array, ArrayLike
from fastnn._validation import require_number
from fastnn.kernels import optimizers as kernels
from fastnn.kernels.emitted import rules
from fastnn.kernels.emitted.rules import numbers_of
from fastnn.optimizers.base import Optimizer, copied, decay_rate, decayed
from fastnn.schedulers import Scheduler


class SGD(Optimizer):
    """Gradient descent with momentum: ``cache = momentum * cache + lr(epoch) * grad``.

    ``delta`` is the cache, or with ``nesterov`` one step ahead of it:
    ``momentum * cache + lr(epoch) * grad``.
    Without momentum ``train_step`` does not write the cache, which costs as much as the weights
    themselves; ``fit`` and ``train`` write it at the end. If momentum is raised later, the velocity
    begins at the last step, after ``train_step`` at zero.
    With ``weight_decay``, ``lr(epoch) * weight_decay * param`` is added to ``delta``, for all
    parameters including biases. The decay is decoupled from the gradient: the cache and clipping do not
    include it.
    Sources: B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013;
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    nesterov: bool = watched()
    weight_decay: float = watched(decay_rate)
    _arrays_each = 1

    @staticmethod
    def _entry(*arrays: Array) -> Array:
        return arrays[0]

    def __init__(
        self,
        lr: float = 0.01,
        lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
        momentum: float = 0.0,
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
        nesterov: bool = False,
        global_clip_norm: float | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            lr, lr_scheduler, clip_norm, lr_decay, stage_length, staircase, global_clip_norm
        )
        self._unwritten = False  # whether there were steps later than what the cache holds
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay

    @property
    def momentum(self) -> float:
        """What of the last step is added to the next; 0 to 1."""
        return self._momentum

    @momentum.setter
    def momentum(self, value: float) -> None:
        self._momentum = require_number("momentum", value, low=0.0, high=1.0)
        if self._unwritten and value:
            for velocity in self.cache.values():
                velocity[...] = 0
            self._unwritten = False

    @property
    def rule(self) -> rules.Rule:
        if self.weight_decay:
            return rules.decayed_nesterov if self.nesterov else rules.decayed_sgd
        return rules.nesterov if self.nesterov else rules.sgd

    @property
    def is_descent(self) -> bool:
        return not (self.nesterov or self.weight_decay)

    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        gradient, lr = self.gradient_and_rate(param_name, param, param_grad, epoch)
        delta = self._delta(gradient, self.state(param_name, gradient), lr)
        self.adopt(param_name, delta)
        # A copy, as the engine updates the cache in place.
        step = self._delta(gradient, delta, lr) if self.nesterov else delta.copy()
        return decayed(step, param, lr * self.weight_decay)

    def _delta(self, gradient: Array, velocity: Array, lr: float) -> Array:
        delta = np.empty_like(gradient)
        kernels.sgd_momentum(
            gradient.reshape(-1), velocity.reshape(-1), lr, self.momentum, delta.reshape(-1)
        )
        return delta

    def state(self, param_name: str, like: Array) -> Array:
        """Return the last step of that parameter."""
        kept = self.cache.get(param_name)
        if not self.owns(param_name, kept, like):
            kept = self.adopt(param_name, copied(kept, like))
        return np.asarray(kept)

    def advance(self, states: Sequence[Array]) -> tuple[float, ...]:
        lr, momentum = self.next_rate(), self._momentum
        self._unwritten = momentum == 0
        numbers = lr, momentum, 1.0 if momentum else 0.0
        return (*numbers, lr * self.weight_decay) if self.weight_decay else numbers

    def advance_by(self, count: int, states: Sequence[Array]) -> Array:
        numbers = np.empty(count, numbers_of(self.rule).dtype)
        numbers["lr"], numbers["momentum"] = self.next_rates(count), self._momentum
        numbers["keeps"] = 1.0 if self._momentum else 0.0
        numbers["keeps"][-1:] = 1.0  # the cache is written
        if self.weight_decay:
            numbers["decay"] = numbers["lr"] * self.weight_decay
        self._unwritten = False
        return numbers
