"""Losses: means over a batch of ``n`` rows, and their gradients with respect to ``Y_hat``."""

from abc import ABC, abstractmethod

import numpy as np

from fastnn._typing import Array
from fastnn._validation import choose


class Loss(ABC):
    """Base class; calling a loss is :meth:`forward`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, Y: Array, Y_hat: Array) -> float:
        return self.forward(Y, Y_hat)

    @abstractmethod
    def forward(self, Y: Array, Y_hat: Array) -> float:
        """Return the mean loss."""

    @abstractmethod
    def backward(self, Y: Array, Y_hat: Array) -> Array:
        """Return the gradient with respect to ``Y_hat``."""


class CrossEntropy(Loss):
    """``-sum(Y log(Y_hat + eps)) / n``; gradient ``-Y / (n Y_hat)``.

    ``eps`` keeps the logarithm finite, at the price of a wrong loss where a probability is below
    about 1e-6; the gradient is not finite where one is 0.
    """

    def forward(self, Y: Array, Y_hat: Array) -> float:
        return float(-np.sum(Y * np.log(Y_hat + np.finfo(float).eps)) / Y.shape[0])

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        return np.asarray(-(1 / Y.shape[0]) * Y / Y_hat)


class L2(Loss):
    """``sum((Y - Y_hat)**2) / (2 n)``; gradient ``(Y_hat - Y) / n``."""

    def forward(self, Y: Array, Y_hat: Array) -> float:
        return float(np.sum((Y - Y_hat) ** 2) / (2 * Y.shape[0]))

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        return np.asarray((Y_hat - Y) / Y.shape[0])


_LOSSES: dict[str, type[Loss]] = {"cross_entropy": CrossEntropy, "l2": L2}


def initialize_loss(name: str) -> Loss:
    """Return a new loss of that name; ``NotImplementedError`` if there is none."""
    return choose("loss", name, _LOSSES)(name)
