"""Fully connected layers."""

from collections import OrderedDict

import numpy as np

from fastnn._typing import Array
from fastnn.reference.activations import initialize_activation
from fastnn.reference.layers.base import Layer
from fastnn.weights import initialize_weights


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
        Z = X @ self.parameters["W"] + self.parameters["b"]
        self.cache["Z"], self.cache["X"] = Z, X
        return self.activation(Z)

    def backward(self, dLdY: Array) -> Array:
        dZ = self.activation.backward(self.cache["Z"], dLdY)
        self.gradients["W"] = self.cache["X"].T @ dZ + self.l2 / len(dZ) * self.parameters["W"]
        self.gradients["b"] = dZ.sum(axis=0, keepdims=True)
        return np.asarray(dZ @ self.parameters["W"].T)
