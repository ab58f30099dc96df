"""Fully connected layers, and the twins of their kernels."""

from collections import OrderedDict

import numpy as np

from fastnn._typing import Array
from fastnn.reference.activations import initialize_activation
from fastnn.reference.arguments import Twin, row, rows, square
from fastnn.reference.layers.base import Layer
from fastnn.weights import initialize_weights


def affine(x: Array, w: Array, b: Array) -> Array:
    """``x w + b``."""
    return np.asarray(x @ w + b)


def weight_gradient(x: Array, dz: Array) -> tuple[Array, Array]:
    """``x^T dz``, and the sum of its rows."""
    return x.T @ dz, dz.sum(axis=0, keepdims=True)


def input_gradient(dz: Array, w: Array) -> Array:
    """``dz w^T``."""
    return np.asarray(dz @ w.T)


class FullyConnected(Layer):
    """``Z = X W + b``, ``Y = f(Z)``; X ``(n, d)``, W ``(d, k)``, b ``(1, k)``.

    ``l2 / (2 n) sum(W**2)`` is added to what is minimised.
    """

    def __init__(
        self,
        n_out: int | None = None,
        activation: str = "linear",
        weight_init: str = "xavier_uniform",
        l2: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_out, self.l2 = n_out, l2
        self.activation = initialize_activation(activation)
        self.init_weights = initialize_weights(weight_init, activation=activation)

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        self.n_in = X_shape[1]
        W = self.init_weights((X_shape[1], self.n_out))  # type: ignore[arg-type]
        self.parameters = OrderedDict(W=W, b=np.zeros((1, W.shape[1])))
        self.cache = OrderedDict(Z=[], X=[])
        self.gradients = OrderedDict((n, np.zeros_like(p)) for n, p in self.parameters.items())

    def forward(self, X: Array) -> Array:
        if self.n_in is None:
            self._init_parameters(X.shape)
        Z = affine(X, self.parameters["W"], self.parameters["b"])
        self.cache["Z"], self.cache["X"] = Z, X
        return self.activation(Z)

    def backward(self, dLdY: Array) -> Array:
        dZ = self.activation.backward(self.cache["Z"], dLdY)
        W = self.parameters["W"]
        dW, self.gradients["b"] = weight_gradient(self.cache["X"], dZ)
        self.gradients["W"] = dW + self.l2 / len(dZ) * W
        return input_gradient(dZ, W)


TWINS = {
    "products.affine": Twin(affine, (rows, square, row), outputs=(rows,)),
    "products.weight_gradient": Twin(weight_gradient, (rows, rows), outputs=(square, row)),
    "products.input_gradient": Twin(input_gradient, (rows, square), outputs=(rows,)),
}
