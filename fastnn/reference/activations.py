"""Activations: ``forward(Z)``, and ``backward(Z, dY)``, the gradient with respect to ``Z``."""

from abc import ABC, abstractmethod

import numpy as np

from fastnn._typing import Array
from fastnn._validation import choose


class Activation(ABC):
    """Base class; calling an activation is :meth:`forward`."""

    def __call__(self, Z: Array) -> Array:
        return self.forward(Z)

    @abstractmethod
    def forward(self, Z: Array) -> Array:
        """Return the activation of ``Z``."""

    @abstractmethod
    def backward(self, Z: Array, dY: Array) -> Array:
        """Return the gradient with respect to ``Z``, given that with respect to the output."""


class Linear(Activation):
    """``f(z) = z``; ``dZ = dY``."""

    def forward(self, Z: Array) -> Array:
        return Z

    def backward(self, Z: Array, dY: Array) -> Array:
        return dY


Identity = Linear


class Sigmoid(Activation):
    """``f(z) = 1 / (1 + exp(-z))``; ``dZ = dY f(z) (1 - f(z))``."""

    def forward(self, Z: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-Z)))

    def backward(self, Z: Array, dY: Array) -> Array:
        Y = self.forward(Z)
        return np.asarray(dY * Y * (1 - Y))


class TanH(Activation):
    """``f(z) = tanh(z)``; ``dZ = dY (1 - f(z)**2)``."""

    def forward(self, Z: Array) -> Array:
        return np.tanh(Z)

    def backward(self, Z: Array, dY: Array) -> Array:
        return np.asarray(dY * (1 - np.tanh(Z) ** 2))


class ReLU(Activation):
    """``f(z) = max(z, 0)``; ``dZ = dY (z >= 0)``: the gradient at 0 is 1."""

    def forward(self, Z: Array) -> Array:
        return np.maximum(Z, 0)

    def backward(self, Z: Array, dY: Array) -> Array:
        return dY * (Z >= 0)


class ArcTan(Activation):
    """``f(z) = arctan(z)``; ``dZ = dY / (1 + z**2)``."""

    def forward(self, Z: Array) -> Array:
        return np.arctan(Z)

    def backward(self, Z: Array, dY: Array) -> Array:
        return np.asarray(dY / (1 + Z**2))


class SoftMax(Activation):
    """``f(z)_i = exp(z_i) / sum_j exp(z_j)`` over the last axis.

    For one sample with output ``p`` the Jacobian is the ``k x k`` matrix ``J = diag(p) - p p^T``, and
    ``dz = dy J``. Here it is done just so, sample by sample: ``n`` matrices of which only one vector
    each is wanted.
    """

    def forward(self, Z: Array) -> Array:
        shifted = Z - np.max(Z, axis=-1, keepdims=True)  # or exp overflows
        exponentials = np.exp(shifted)
        return np.asarray(exponentials / np.sum(exponentials, axis=-1, keepdims=True))

    def backward(self, Z: Array, dY: Array) -> Array:
        k = Z.shape[-1]
        rows = []
        for p, dy in zip(self.forward(Z).reshape(-1, k), dY.reshape(-1, k), strict=True):
            column = p.reshape(-1, 1)
            jacobian = np.diagflat(p) - np.dot(column, column.T)
            rows.append(dy @ jacobian)
        return np.array(rows).reshape(Z.shape)


_ACTIVATIONS: dict[str, type[Activation]] = {
    "linear": Linear,
    "identity": Linear,
    "sigmoid": Sigmoid,
    "tanh": TanH,
    "relu": ReLU,
    "softmax": SoftMax,
    "arctan": ArcTan,
}


def initialize_activation(name: str) -> Activation:
    """Return a new activation of that name; ``NotImplementedError`` if there is none."""
    return choose("activation", name, _ACTIVATIONS)()
