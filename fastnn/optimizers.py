"""Optimisers: ``update(param_name, param, param_grad, epoch)`` returns what to subtract.

State is kept per parameter name in ``cache``.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, choose, require_number
from fastnn.kernels import optimizers as kernels
from fastnn.schedulers import Scheduler, initialize_scheduler


class Optimizer(ABC):
    """Base class. ``lr_scheduler(epoch)`` is the learning rate, ``cache`` the state by name.

    Parameters
    ----------
    lr : float
        Learning rate at epoch 0.
    lr_scheduler : str or Scheduler
        A name for ``initialize_scheduler``, or a scheduler (which then has its own ``lr``).
    clip_norm : float, optional
        A gradient array whose 2-norm exceeds this is scaled down to it first.
    lr_decay, stage_length, staircase
        For the scheduler.
    """

    def __init__(
        self,
        lr: float = 0.01,
        lr_scheduler: str | Scheduler = "constant",
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
    ) -> None:
        self.lr = require_number("lr", lr, low=0.0)
        self.lr_scheduler = (
            lr_scheduler
            if isinstance(lr_scheduler, Scheduler)
            else initialize_scheduler(lr_scheduler, lr, lr_decay, stage_length, staircase)
        )
        self.clip_norm = (
            None if clip_norm is None else require_number("clip_norm", clip_norm, low=0.0, strict=True)
        )
        self.cache: dict[str, Any] = {}
        self.epoch = 0

    @abstractmethod
    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        """Return the array to subtract from ``param``, in its shape, as a new array.

        Parameters
        ----------
        param_name : str
            Key of the optimiser's state.
        param, param_grad : array_like of one shape
        epoch : int, optional
            For the learning rate; by default that of the last call that named one, at first 0.
        """

    def _gradient_and_rate(
        self, param: ArrayLike, param_grad: ArrayLike, epoch: int | None
    ) -> tuple[Array, float]:
        if epoch is not None:
            self.epoch = epoch
        gradient = as_float(param_grad, "param_grad")
        if gradient.shape != np.shape(param):
            raise ValueError(f"param_grad has shape {gradient.shape}, param has {np.shape(param)}")
        if self.clip_norm is not None:
            norm = kernels.norm(gradient.reshape(-1))
            if norm > self.clip_norm:
                gradient = gradient * gradient.dtype.type(self.clip_norm / norm)
        return gradient, self.lr_scheduler(self.epoch)


class SGD(Optimizer):
    """Gradient descent with momentum: ``delta = momentum * cache + lr(epoch) * grad``.

    Source: B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    """

    def __init__(
        self,
        lr: float = 0.01,
        lr_scheduler: str | Scheduler = "constant",
        momentum: float = 0.0,
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
    ) -> None:
        super().__init__(lr, lr_scheduler, clip_norm, lr_decay, stage_length, staircase)
        self.momentum = require_number("momentum", momentum, low=0.0, high=1.0)

    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        gradient, lr = self._gradient_and_rate(param, param_grad, epoch)
        velocity = self.velocity(param_name, gradient)
        delta = np.empty_like(gradient)
        kernels.sgd_momentum(
            gradient.reshape(-1), velocity.reshape(-1), lr, self.momentum, delta.reshape(-1)
        )
        self.cache[param_name] = delta
        return delta.copy()  # the engine updates the cache in place

    def velocity(self, param_name: str, like: Array) -> Array:
        """Return the last step of that parameter, zeros if there is none that fits ``like``."""
        return _fitting(self.cache.get(param_name), like)


class Adam(Optimizer):
    """Adam: ``delta = lr(epoch) m_hat / (sqrt(v_hat) + eps)``.

    ``m`` and ``v`` are running means, of rates ``beta_1`` and ``beta_2``, of the gradient and its
    square; ``m_hat = m / (1 - beta_1**t)``, ``v_hat = v / (1 - beta_2**t)`` at the ``t``-th update.
    Source: D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    def __init__(
        self,
        lr: float = 0.001,
        lr_scheduler: str | Scheduler = "constant",
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
    ) -> None:
        super().__init__(lr, lr_scheduler, clip_norm, lr_decay, stage_length, staircase)
        self.beta_1 = require_number("beta_1", beta_1, low=0.0, high=1.0 - 1e-9)
        self.beta_2 = require_number("beta_2", beta_2, low=0.0, high=1.0 - 1e-9)
        self.eps = require_number("eps", eps, low=0.0, strict=True)

    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        gradient, lr = self._gradient_and_rate(param, param_grad, epoch)
        m, v, t = self.moments(param_name, gradient)
        step_size, eps = self.corrected(lr, t + 1)
        delta = np.empty_like(gradient)
        kernels.adam(
            gradient.reshape(-1),
            m.reshape(-1),
            v.reshape(-1),
            step_size,
            self.beta_1,
            self.beta_2,
            eps,
            delta.reshape(-1),
        )
        self.cache[param_name] = (m, v, t + 1)
        return delta

    def moments(self, param_name: str, like: Array) -> tuple[Array, Array, int]:
        """Return ``m, v, t`` of that parameter, zeros if there are none that fit ``like``."""
        m, v, t = self.cache.get(param_name, (None, None, 0))
        m, v = _fitting(m, like), _fitting(v, like)
        return m, v, t

    def corrected(self, lr: float, t: int) -> tuple[float, float]:
        """Return ``lr`` and ``eps`` with the corrections of the ``t``-th update's moments in them."""
        correction = math.sqrt(1.0 - self.beta_2**t)
        return lr * correction / (1.0 - self.beta_1**t), self.eps * correction


def _fitting(state: Array | None, like: Array) -> Array:
    """Return an optimiser's array in the form the kernels take: ``like``'s, zeros if it is not."""
    if state is None or state.shape != like.shape:
        return np.zeros_like(like)
    if state.dtype == like.dtype and state.flags.carray:
        return state
    return np.require(state, like.dtype, ["C", "A", "W"])


_OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "SGD": SGD,
    "Adam": lambda momentum=0.0, **arguments: Adam(**arguments),
}


def initialize_optimizer(
    name: str,
    lr: float = 0.01,
    lr_scheduler: str | Scheduler = "constant",
    momentum: float = 0.0,
    clip_norm: float | None = None,
    lr_decay: float | None = 0.9,
    staircase: bool | None = None,
    stage_length: float | None = None,
    **options: float,
) -> Optimizer:
    """Return the optimiser called ``name``: ``"SGD"`` or ``"Adam"``.

    ``momentum`` is SGD's; Adam also takes ``beta_1``, ``beta_2`` and ``eps``.

    Raises
    ------
    NotImplementedError
        If no optimiser has that name; the message lists those there are.
    """
    return choose("optimizer", name, _OPTIMIZERS)(
        lr=lr,
        lr_scheduler=lr_scheduler,
        momentum=momentum,
        clip_norm=clip_norm,
        lr_decay=lr_decay,
        staircase=staircase,
        stage_length=stage_length,
        **options,
    )
