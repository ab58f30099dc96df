"""Optimisers: ``update`` returns what to subtract from a parameter; state is kept by its name."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn._validation import choose
from fastnn.schedulers import initialize_scheduler


class Optimizer(ABC):
    """Base class: a learning-rate schedule, and clipping of each gradient array's norm."""

    def __init__(
        self,
        lr: float = 0.01,
        lr_scheduler: str = "constant",
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
    ) -> None:
        self.lr_scheduler = initialize_scheduler(lr_scheduler, lr, lr_decay, stage_length, staircase)
        self.clip_norm = clip_norm
        self.cache: dict[str, Any] = {}

    def clip(self, gradient: Array) -> Array:
        """Scale a gradient whose norm exceeds ``clip_norm`` down to it."""
        norm = np.linalg.norm(gradient)
        if self.clip_norm is not None and norm > self.clip_norm:
            return np.asarray(gradient * (self.clip_norm / norm))
        return gradient

    @abstractmethod
    def update(self, param_name: str, param: Array, param_grad: Array, epoch: int = 0) -> Array:
        """Return the array to subtract from ``param``."""


class SGD(Optimizer):
    """``cache = momentum * cache + lr(epoch) * gradient``; ``delta`` is it, or one step ahead of it."""

    def __init__(
        self, lr: float = 0.01, momentum: float = 0.0, nesterov: bool = False, **options: Any
    ) -> None:
        super().__init__(lr, **options)
        self.momentum, self.nesterov = momentum, nesterov

    def update(self, param_name: str, param: Array, param_grad: Array, epoch: int = 0) -> Array:
        previous = self.cache.get(param_name, np.zeros_like(param))
        step = self.lr_scheduler(epoch) * self.clip(param_grad)
        self.cache[param_name] = velocity = self.momentum * previous + step
        return np.asarray(self.momentum * velocity + step if self.nesterov else velocity)


class Adam(Optimizer):
    """``delta = lr(epoch) m_hat / (sqrt(v_hat) + eps)``, the moments corrected for their start."""

    def __init__(
        self,
        lr: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        **options: Any,
    ) -> None:
        options.pop("momentum", None)
        super().__init__(lr, **options)
        self.beta_1, self.beta_2, self.eps = beta_1, beta_2, eps

    def update(self, param_name: str, param: Array, param_grad: Array, epoch: int = 0) -> Array:
        zero = np.zeros_like(param)
        m, v, t = self.cache.get(param_name, (zero, zero, 0))
        gradient, t = self.clip(param_grad), t + 1
        m = self.beta_1 * m + (1 - self.beta_1) * gradient
        v = self.beta_2 * v + (1 - self.beta_2) * gradient**2
        self.cache[param_name] = (m, v, t)
        m_hat, v_hat = m / (1 - self.beta_1**t), v / (1 - self.beta_2**t)
        return np.asarray(self.lr_scheduler(epoch) * m_hat / (np.sqrt(v_hat) + self.eps))


OPTIMIZERS: dict[str, type[SGD] | type[Adam]] = {"SGD": SGD, "Adam": Adam}


def initialize_optimizer(name: str, **options: Any) -> Optimizer:
    """Return a new optimiser of that name; ``NotImplementedError`` if there is none."""
    return choose("optimizer", name, OPTIMIZERS)(**options)
