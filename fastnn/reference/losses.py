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
    """``-sum(T log(Y_hat + eps)) / n``; gradient ``-T / (n Y_hat)``.

    The targets are smoothed by rows, then weighted by class: ``T = class_weight ((1 - label_smoothing)
    Y + label_smoothing sum(Y) / k)``. ``eps`` keeps the logarithm finite, at the price of a wrong loss
    where a probability is below about 1e-6; the gradient is not finite where one is 0.
    """

    def __init__(
        self, name: str, label_smoothing: float = 0.0, class_weight: Array | None = None
    ) -> None:
        super().__init__(name)
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight

    def forward(self, Y: Array, Y_hat: Array) -> float:
        T = self._targets(Y)
        return float(-np.sum(T * np.log(Y_hat + np.finfo(float).eps)) / Y.shape[0])

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        return np.asarray(-(1 / Y.shape[0]) * self._targets(Y) / Y_hat)

    def _targets(self, Y: Array) -> Array:
        if self.label_smoothing:
            even = np.sum(Y, axis=-1, keepdims=True) / Y.shape[-1]
            Y = (1 - self.label_smoothing) * Y + self.label_smoothing * even
        return Y if self.class_weight is None else Y * self.class_weight


class BinaryCrossEntropy(Loss):
    """``-sum(Y log(Y_hat + eps) + (1 - Y) log(1 - Y_hat + eps)) / n``, entry by entry.

    The gradient is ``((1 - Y) / (1 - Y_hat) - Y / Y_hat) / n``.
    """

    def forward(self, Y: Array, Y_hat: Array) -> float:
        eps = np.finfo(float).eps
        yes, no = Y * np.log(Y_hat + eps), (1 - Y) * np.log(1 - Y_hat + eps)
        return float(-np.sum(yes + no) / Y.shape[0])

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        return np.asarray(((1 - Y) / (1 - Y_hat) - Y / Y_hat) / Y.shape[0])


class L2(Loss):
    """``sum((Y - Y_hat)**2) / (2 n)``; gradient ``(Y_hat - Y) / n``."""

    def forward(self, Y: Array, Y_hat: Array) -> float:
        return float(np.sum((Y - Y_hat) ** 2) / (2 * Y.shape[0]))

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        return np.asarray((Y_hat - Y) / Y.shape[0])


LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "l2": L2,
}


def initialize_loss(name: str) -> Loss:
    """Return a new loss of that name; ``NotImplementedError`` if there is none."""
    return choose("loss", name, LOSSES)(name)
