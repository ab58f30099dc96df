"""Layers: ``forward(X)``, and ``backward(dLdY)``, which returns the gradient of the input."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn._validation import choose
from fastnn.reference.activations import initialize_activation
from fastnn.weights import initialize_weights


class Layer(ABC):
    """Base class: parameters, their gradients, and the cache between forward and backward."""

    def __init__(self) -> None:
        self.n_in: int | None = None
        self.n_out: int | None = None
        self.parameters: OrderedDict[str, Array] = OrderedDict()
        self.cache: OrderedDict[str, Any] = OrderedDict()
        self.gradients: OrderedDict[str, Array] = OrderedDict()

    @abstractmethod
    def forward(self, X: Array) -> Array:
        """Return the output and cache what ``backward`` needs."""

    @abstractmethod
    def backward(self, dLdY: Array) -> Array:
        """Store the parameters' gradients and return the input's."""

    def clear_gradients(self) -> None:
        """Empty the cache and zero the gradients."""
        self.cache = OrderedDict((name, []) for name in self.cache)
        self.gradients = OrderedDict((n, np.zeros_like(g)) for n, g in self.gradients.items())

    def forward_with_param(self, name: str, X: Array) -> Callable[[Array], Array]:
        """Return ``forward(X)`` as a function of the parameter ``name``."""

        def forward(value: Array) -> Array:
            current = self.parameters[name]
            self.parameters[name] = value
            out = self.forward(X)
            self.parameters[name] = current
            return out

        return forward


class FullyConnected(Layer):
    """``Z = X W + b``, ``Y = f(Z)``; X ``(n, d)``, W ``(d, k)``, b ``(1, k)``.

    ``l2 / (2 n) sum(W**2)`` is added to what is minimised.
    """

    def __init__(
        self,
        n_out: int | None,
        activation: str,
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


LAYERS: dict[str, type[FullyConnected]] = {"fully_connected": FullyConnected}


def initialize_layer(
    name: str,
    activation: str = "linear",
    weight_init: str = "xavier_uniform",
    n_out: int | None = None,
    l2: float = 0.0,
) -> Layer:
    """Return a new layer of that name; ``NotImplementedError`` if there is none."""
    return choose("layer", name, LAYERS)(n_out, activation, weight_init, l2)
