"""Activations: ``forward(Z)``, and ``backward(Z, dY)``, the gradient with respect to ``Z``."""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from scipy.special import ndtr

from fastnn._typing import Array
from fastnn._validation import choose

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "ArcTan",
    "GELUTanh",
    "HardSwish",
    "LeakyReLU",
    "Linear",
    "LogSoftMax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "SoftMax",
    "Softplus",
    "TanH",
    "initialize_activation",
]


class Activation(ABC):
    """Base class; calling an activation is :meth:`forward`. Models know it by ``name``."""

    name: ClassVar[str]

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

    name = "linear"

    def forward(self, Z: Array) -> Array:
        return Z

    def backward(self, Z: Array, dY: Array) -> Array:
        return dY


Identity = Linear


class Sigmoid(Activation):
    """``f(z) = 1 / (1 + exp(-z))``; ``dZ = dY f(z) (1 - f(z))``."""

    name = "sigmoid"

    def forward(self, Z: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-Z)))

    def backward(self, Z: Array, dY: Array) -> Array:
        Y = self.forward(Z)
        return np.asarray(dY * Y * (1 - Y))


class TanH(Activation):
    """``f(z) = tanh(z)``; ``dZ = dY (1 - f(z)**2)``."""

    name = "tanh"

    def forward(self, Z: Array) -> Array:
        return np.tanh(Z)

    def backward(self, Z: Array, dY: Array) -> Array:
        return np.asarray(dY * (1 - np.tanh(Z) ** 2))


class ReLU(Activation):
    """``f(z) = max(z, 0)``; ``dZ = dY (z >= 0)``: the gradient at 0 is 1."""

    name = "relu"

    def forward(self, Z: Array) -> Array:
        return np.maximum(Z, 0)

    def backward(self, Z: Array, dY: Array) -> Array:
        return dY * (Z >= 0)


class LeakyReLU(Activation):
    """``f(z) = z``, times a slope where it is negative; ``dZ = dY (1 or slope)``."""

    name = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, Z: Array) -> Array:
        return np.where(Z >= 0, Z, self.negative_slope * Z)

    def backward(self, Z: Array, dY: Array) -> Array:
        return np.where(Z >= 0, dY, self.negative_slope * dY)


class ELU(Activation):
    """``f(z) = z if z > 0 else alpha (exp(z) - 1)``; ``dZ = dY (1 or alpha exp(z))``."""

    name = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, Z: Array) -> Array:
        return np.where(Z > 0, Z, self.alpha * np.expm1(np.minimum(Z, 0)))

    def backward(self, Z: Array, dY: Array) -> Array:
        return np.where(Z > 0, dY, dY * self.alpha * np.exp(np.minimum(Z, 0)))


class GELU(Activation):
    """``f(z) = z Phi(z)``; ``dZ = dY (Phi(z) + z phi(z))``, the normal distribution and its density."""

    name = "gelu"

    def forward(self, Z: Array) -> Array:
        return np.asarray(Z * ndtr(Z))

    def backward(self, Z: Array, dY: Array) -> Array:
        return np.asarray(dY * (ndtr(Z) + Z * np.exp(-(Z**2) / 2) / np.sqrt(2 * np.pi)))


class GELUTanh(Activation):
    """``f(z) = z (1 + tanh(u)) / 2`` with ``u = sqrt(2 / pi) (z + 0.044715 z**3)``."""

    name = "gelu_tanh"

    def forward(self, Z: Array) -> Array:
        return np.asarray(Z * (1 + np.tanh(self._inner(Z))) / 2)

    def backward(self, Z: Array, dY: Array) -> Array:
        t = np.tanh(self._inner(Z))
        slope = np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * Z**2)
        return np.asarray(dY * ((1 + t) / 2 + Z * (1 - t**2) / 2 * slope))

    def _inner(self, Z: Array) -> Array:
        return np.asarray(np.sqrt(2 / np.pi) * (Z + 0.044715 * Z**3))


class SiLU(Activation):
    """``f(z) = z s(z)`` with the sigmoid s; ``dZ = dY (s + z s (1 - s))``."""

    name = "silu"

    def forward(self, Z: Array) -> Array:
        return np.asarray(Z / (1 + np.exp(-Z)))

    def backward(self, Z: Array, dY: Array) -> Array:
        s = 1 / (1 + np.exp(-Z))
        return np.asarray(dY * (s + Z * s * (1 - s)))


class HardSwish(Activation):
    """``f(z) = z min(max(z + 3, 0), 6) / 6``; ``dZ = dY (2 z + 3) / 6`` inside, 0 and dY outside."""

    name = "hard_swish"

    def forward(self, Z: Array) -> Array:
        return np.asarray(Z * np.clip(Z + 3, 0, 6) / 6)

    def backward(self, Z: Array, dY: Array) -> Array:
        inside = dY * (2 * Z + 3) / 6
        return np.where(Z <= -3, 0 * dY, np.where(Z >= 3, dY, inside))


class Softplus(Activation):
    """``f(z) = log(1 + exp(z))``; ``dZ = dY s(z)`` with the sigmoid s."""

    name = "softplus"

    def forward(self, Z: Array) -> Array:
        return np.logaddexp(0, Z)

    def backward(self, Z: Array, dY: Array) -> Array:
        return np.asarray(dY / (1 + np.exp(-Z)))


class ArcTan(Activation):
    """``f(z) = arctan(z)``; ``dZ = dY / (1 + z**2)``."""

    name = "arctan"

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

    name = "softmax"

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


class LogSoftMax(Activation):
    """``f(z)_i = z_i - log(sum_j exp(z_j))`` over the last axis; ``dZ = dY - softmax(Z) sum(dY)``."""

    name = "log_softmax"

    def forward(self, Z: Array) -> Array:
        shifted = Z - np.max(Z, axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True)))

    def backward(self, Z: Array, dY: Array) -> Array:
        return np.asarray(dY - SoftMax().forward(Z) * np.sum(dY, axis=-1, keepdims=True))


# Every class of this file, by its name.
ACTIVATIONS: dict[str, type[Activation]] = {kind.name: kind for kind in Activation.__subclasses__()}
ACTIVATIONS["identity"] = Linear


def initialize_activation(name: str) -> Activation:
    """Return a new activation of that name; ``NotImplementedError`` if there is none."""
    return choose("activation", name, ACTIVATIONS)()
