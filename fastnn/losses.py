"""Losses: ``forward(Y, Y_hat)`` is the mean over the batch, ``backward(Y, Y_hat)`` its gradient.

Both take targets and predictions of one shape, ``(n, ...)``. An empty batch has a NaN loss.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float_pair, choose, restore
from fastnn.kernels import losses as kernels


class Loss(ABC):
    """Base class; calling a loss is :meth:`forward`. ``name`` is what models go by."""

    name: str

    def __call__(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        return self.forward(Y, Y_hat)

    @abstractmethod
    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        """Return the mean loss of the predictions ``Y_hat`` given the targets ``Y``."""

    @abstractmethod
    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        """Return the gradient of the mean loss with respect to ``Y_hat``, in its shape."""


def _batch(Y: ArrayLike, Y_hat: ArrayLike) -> tuple[Array, Array, int]:
    y, y_hat = as_float_pair(Y, Y_hat, ("Y", "Y_hat"))
    if y.ndim == 0:
        raise ValueError("Y and Y_hat need a batch axis, got two numbers")
    return y, y_hat, y.shape[0]


class CrossEntropy(Loss):
    """``-sum(Y log(Y_hat + eps)) / n`` for rows ``Y`` of class weights and probabilities ``Y_hat``.

    ``eps`` is ``np.finfo(float).eps``, so one probability of 0 costs 36.04. The gradient is
    ``-Y / (n Y_hat)``; where a weight and its probability are both 0 it is 0. A model that ends in a
    softmax takes loss and gradient from the logits instead, exactly:
    :meth:`fastnn.models.NeuralNetwork.backward`.
    """

    def __init__(self, name: str = "cross_entropy") -> None:
        self.name = name

    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        y, y_hat, n = _batch(Y, Y_hat)
        return float(kernels.cross_entropy(y.reshape(-1), y_hat.reshape(-1))) / n if n else np.nan

    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        y, y_hat, n = _batch(Y, Y_hat)
        out = np.empty_like(y)
        kernels.cross_entropy_backward(y.reshape(-1), y_hat.reshape(-1), n, out.reshape(-1))
        return restore(out, Y, Y_hat)


class L2(Loss):
    """``sum((Y - Y_hat)**2) / (2 n)``, with gradient ``(Y_hat - Y) / n``."""

    def __init__(self, name: str = "l2") -> None:
        self.name = name

    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        y, y_hat, n = _batch(Y, Y_hat)
        return float(kernels.l2(y.reshape(-1), y_hat.reshape(-1))) / (2 * n) if n else np.nan

    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        y, y_hat, n = _batch(Y, Y_hat)
        out = np.empty_like(y)
        kernels.l2_backward(y.reshape(-1), y_hat.reshape(-1), n, out.reshape(-1))
        return restore(out, Y, Y_hat)


LOSSES: dict[str, type[CrossEntropy] | type[L2]] = {"cross_entropy": CrossEntropy, "l2": L2}


def initialize_loss(name: Any) -> Loss:
    """Return the loss called ``name``.

    Raises
    ------
    NotImplementedError
        If no loss has that name; the message lists those there are.
    """
    return choose("loss", name, LOSSES)(name=name)
