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
    """``cache = momentum * cache + lr(epoch) * gradient``; ``delta`` is it, or one step ahead of it.

    ``lr(epoch) * weight_decay * param`` is added.
    """

    def __init__(
        self,
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(lr, **options)
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay

    def update(self, param_name: str, param: Array, param_grad: Array, epoch: int = 0) -> Array:
        previous = self.cache.get(param_name, np.zeros_like(param))
        lr = self.lr_scheduler(epoch)
        step = lr * self.clip(param_grad)
        self.cache[param_name] = velocity = self.momentum * previous + step
        delta = self.momentum * velocity + step if self.nesterov else velocity
        return np.asarray(delta + lr * self.weight_decay * param)


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


class AdamW(Adam):
    """Adam's ``delta`` plus ``lr(epoch) * weight_decay * param``."""

    def __init__(self, lr: float = 0.001, weight_decay: float = 0.01, **options: Any) -> None:
        super().__init__(lr, **options)
        self.weight_decay = weight_decay

    def update(self, param_name: str, param: Array, param_grad: Array, epoch: int = 0) -> Array:
        delta = super().update(param_name, param, param_grad, epoch)
        return delta + self.lr_scheduler(epoch) * self.weight_decay * param


class Nadam(AdamW):
    """Adam with Nesterov's momentum, ``mu(t) = beta_1 (1 - 0.96**(t momentum_decay) / 2)``.

    ``delta = lr(epoch) / (sqrt(v_hat) + eps)`` times ``(1 - mu(t)) / (1 - M(t)) gradient + mu(t+1) /
    (1 - M(t+1)) m``, where ``M(t) = mu(1) ... mu(t)``.
    """

    def __init__(
        self,
        lr: float = 0.002,
        weight_decay: float = 0.0,
        momentum_decay: float = 0.004,
        **options: Any,
    ) -> None:
        super().__init__(lr, weight_decay, **options)
        self.momentum_decay = momentum_decay

    def update(self, param_name: str, param: Array, param_grad: Array, epoch: int = 0) -> Array:
        lr = self.lr_scheduler(epoch)
        Adam.update(self, param_name, param, param_grad, epoch)  # the moments
        m, v, t = self.cache[param_name]
        mu = self.beta_1 * (1 - 0.5 * 0.96 ** (np.arange(1, t + 2) * self.momentum_decay))
        g_hat = self.clip(param_grad) * (1 - mu[-2]) / (1 - np.prod(mu[:-1]))
        m_hat = m * mu[-1] / (1 - np.prod(mu))
        v_hat = v / (1 - self.beta_2**t)
        delta = lr * (g_hat + m_hat) / (np.sqrt(v_hat) + self.eps)
        return np.asarray(delta + lr * self.weight_decay * param)


class RMSProp(Optimizer):
    """``delta = lr(epoch) * gradient / (sqrt(v) + eps)``; options: centered, momentum, weight_decay."""

    def __init__(
        self,
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(lr, **options)
        self.alpha, self.eps, self.momentum = alpha, eps, momentum
        self.centered, self.weight_decay = centered, weight_decay

    def update(self, param_name: str, param: Array, param_grad: Array, epoch: int = 0) -> Array:
        zero = np.zeros_like(param)
        v, mean, velocity = self.cache.get(param_name, (zero, zero, zero))
        gradient = self.clip(param_grad)
        v = self.alpha * v + (1 - self.alpha) * gradient**2
        mean = self.alpha * mean + (1 - self.alpha) * gradient
        square = np.abs(v - mean**2) if self.centered else v
        velocity = self.momentum * velocity + gradient / (np.sqrt(square) + self.eps)
        self.cache[param_name] = v, mean, velocity
        return np.asarray(self.lr_scheduler(epoch) * (velocity + self.weight_decay * param))


OPTIMIZERS: dict[str, type[SGD] | type[Adam] | type[RMSProp]] = {
    "SGD": SGD,
    "Adam": Adam,
    "AdamW": AdamW,
    "Nadam": Nadam,
    "RMSProp": RMSProp,
}


def initialize_optimizer(name: str, **options: Any) -> Optimizer:
    """Return a new optimiser of that name; ``NotImplementedError`` if there is none."""
    return choose("optimizer", name, OPTIMIZERS)(**options)
