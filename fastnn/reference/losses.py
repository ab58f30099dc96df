"""Losses: means over a batch of ``n`` rows, and their gradients with respect to ``Y_hat``."""

from abc import ABC, abstractmethod
from typing import Any

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
    """``-sum(b Y log(Y_hat + eps) + a (1 - Y) log(1 - Y_hat + eps)) / n``, entry by entry.

    ``a, b`` is ``class_weight``, of no and yes. The gradient is
    ``(a (1 - Y) / (1 - Y_hat) - b Y / Y_hat) / n``.
    """

    def __init__(self, name: str, class_weight: Any = (1.0, 1.0)) -> None:
        super().__init__(name)
        self.class_weight = class_weight

    def forward(self, Y: Array, Y_hat: Array) -> float:
        eps, (a, b) = np.finfo(float).eps, self.class_weight
        yes, no = b * Y * np.log(Y_hat + eps), a * (1 - Y) * np.log(1 - Y_hat + eps)
        return float(-np.sum(yes + no) / Y.shape[0])

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        a, b = self.class_weight
        return np.asarray((a * (1 - Y) / (1 - Y_hat) - b * Y / Y_hat) / Y.shape[0])


class L2(Loss):
    """``sum((Y - Y_hat)**2) / (2 n)``; gradient ``(Y_hat - Y) / n``."""

    def forward(self, Y: Array, Y_hat: Array) -> float:
        return float(np.sum((Y - Y_hat) ** 2) / (2 * Y.shape[0]))

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        return np.asarray((Y_hat - Y) / Y.shape[0])


class MSE(Loss):
    """The mean of ``(Y - Y_hat)**2``."""

    def forward(self, Y: Array, Y_hat: Array) -> float:
        return float(np.mean((Y - Y_hat) ** 2))

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        return np.asarray(2 * (Y_hat - Y) / Y.size)


class MAE(Loss):
    """The mean of ``|Y - Y_hat|``."""

    def forward(self, Y: Array, Y_hat: Array) -> float:
        return float(np.mean(np.abs(Y - Y_hat)))

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        return np.asarray(np.sign(Y_hat - Y) / Y.size)


class Huber(Loss):
    """The mean of ``d**2 / 2`` where ``|d| <= delta``, else of ``delta (|d| - delta / 2)``."""

    def __init__(self, name: str = "huber", delta: float = 1.0) -> None:
        super().__init__(name)
        self.delta = delta

    def forward(self, Y: Array, Y_hat: Array) -> float:
        d = np.abs(Y_hat - Y)
        return float(np.mean(np.where(d <= self.delta, d**2 / 2, self.delta * (d - self.delta / 2))))

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        return np.asarray(np.clip(Y_hat - Y, -self.delta, self.delta) / Y.size)


class Poisson(Loss):
    """The mean of ``exp(Y_hat) - Y Y_hat``, or of ``Y_hat - Y log(Y_hat + eps)`` of rates."""

    eps = 1e-8

    def __init__(self, name: str = "poisson", log_input: bool = True) -> None:
        super().__init__(name)
        self.log_input = log_input

    def forward(self, Y: Array, Y_hat: Array) -> float:
        if self.log_input:
            return float(np.mean(np.exp(Y_hat) - Y * Y_hat))
        return float(np.mean(Y_hat - Y * np.log(Y_hat + self.eps)))

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        slope = np.exp(Y_hat) - Y if self.log_input else 1 - Y / (Y_hat + self.eps)
        return np.asarray(slope / Y.size)


class Quantile(Loss):
    """The mean of ``max(q d, (q - 1) d)``, ``d = Y - Y_hat``; the columns have each q in turn."""

    def __init__(self, name: str = "quantile", quantiles: Any = (0.5,)) -> None:
        super().__init__(name)
        self.quantiles = np.atleast_1d(quantiles)

    def forward(self, Y: Array, Y_hat: Array) -> float:
        q, d = self._levels(Y), Y - Y_hat
        return float(np.mean(np.maximum(q * d, (q - 1) * d)))

    def backward(self, Y: Array, Y_hat: Array) -> Array:
        q, d = self._levels(Y), Y - Y_hat
        return np.asarray(np.where(d > 0, -q, np.where(d < 0, 1 - q, d)) / Y.size)

    def _levels(self, Y: Array) -> Array:
        return np.resize(self.quantiles, Y.shape[-1])


LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "l2": L2,
    "mse": MSE,
    "mae": MAE,
    "huber": Huber,
    "poisson": Poisson,
    "quantile": Quantile,
}


def initialize_loss(name: str) -> Loss:
    """Return a new loss of that name; ``NotImplementedError`` if there is none."""
    return choose("loss", name, LOSSES)(name)
