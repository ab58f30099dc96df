"""The network behind an estimator, whose parameters are ``coefs_`` and ``intercepts_`` themselves."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from operator import is_
from typing import Any

import numpy as np
from scipy.special import xlogy

from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float
from fastnn.activations import ACTIVATIONS
from fastnn.layers import FullyConnected
from fastnn.layers.base import Parameters
from fastnn.losses import Loss
from fastnn.models import NeuralNetwork
from fastnn.optimizers import SGD


class Poisson(Loss):
    """Half of Poisson's deviance for predictions ``exp(Z)``, from ``Z``: its gradient cancels nothing.

    ``sum(Y log(Y) - Y - Y Z + exp(Z)) / n``, with gradient ``(exp(Z) - Y) / n``.
    """

    name = "poisson"

    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        y, z = np.asarray(Y), np.asarray(Y_hat)
        return float(np.sum(xlogy(y, y) - y - y * z + np.exp(z)) / len(y))

    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        z = np.asarray(Y_hat)
        return np.asarray((np.exp(z) - Y) / z.dtype.type(len(z)))


# scikit-learn's names that are not fastnn's
_NAMES: dict[str, str] = {"logistic": "sigmoid"}
ACTIVATION_NAMES = frozenset((*ACTIVATIONS, *_NAMES))
# For each output activation of scikit-learn's: the layer's, and the loss.
_OUTPUTS: dict[str, tuple[str, str | Loss]] = {
    "softmax": ("softmax", "cross_entropy"),
    "logistic": ("sigmoid", "binary_cross_entropy"),
    "identity": ("linear", "l2"),
    "exp": ("linear", Poisson()),
}


class Network:
    """A fastnn network made of an estimator's arrays, and the arrays it put in their place.

    Parameters
    ----------
    coefs, intercepts : sequences of arrays, ``(d, k)`` and ``(k,)``
    hidden : sequence of str
        The hidden layers' activations, by scikit-learn's names or fastnn's.
    output : str
        The output's, by scikit-learn's name.
    """

    def __init__(
        self, coefs: Sequence[Array], intercepts: Sequence[Array], hidden: Sequence[str], output: str
    ) -> None:
        last, loss = _OUTPUTS[output]
        dtype = np.dtype(np.float32 if all(W.dtype == np.float32 for W in coefs) else np.float64)
        layers = []
        for W, b, activation in zip(coefs, intercepts, [*hidden, last], strict=True):
            layer = FullyConnected(W.shape[1], _NAMES.get(activation, activation))
            layer.adopt(Parameters(W=as_float(W, "coefs_", dtype), b=as_float(b, "b", dtype)[None]))
            layers.append(layer)
        self.net = NeuralNetwork(loss, layers, SGD(), dtype=dtype)
        self.net._flatten()
        self.dtype = dtype
        self._link = np.exp if output == "exp" else np.asarray
        self.coefs = tuple(layer.parameters["W"] for layer in layers)
        self.intercepts = tuple(layer.parameters["b"].reshape(-1) for layer in layers)
        self._lock = threading.Lock()  # the net's scratch arrays are for one call at a time

    def holds(self, coefs: Sequence[Array], intercepts: Sequence[Array]) -> bool:
        """Return whether these are the very arrays of this network."""
        own, given = (*self.coefs, *self.intercepts), (*coefs, *intercepts)
        return len(own) == len(given) and all(map(is_, own, given))

    def rows(self, X: Any) -> Array:
        """Return a matrix, dense or sparse, in the form the network takes."""
        return np.require(X.toarray() if hasattr(X, "toarray") else X, self.dtype, ["C", "A"])

    def predict(self, X: Any) -> Array:
        """Return the outputs ``(n, k)``; from any number of threads."""
        rows = self.rows(X)
        with self._lock:
            out: Array = self._link(self.net.predict(rows))
        return out

    def penalise(self, l2: float) -> None:
        """Set every layer's penalty."""
        for layer in self.net.layers:
            if layer.l2 != l2:
                layer.l2 = l2

    def weight_squares(self) -> float:
        """Return the sum of all weights' squares."""
        return float(sum(np.vdot(W, W) for W in self.coefs))

    def gradients(self, X: Array, y: Array, weights: Array | None, l2: float) -> Array:
        """Return the outputs; leave in the layers the gradients of the mean loss with its penalty.

        Every output activation is the one that belongs to its loss, so that the gradient of what goes
        into it is ``weights (out - y) / sum(weights)``, whatever the two are.
        """
        out: Array = self._link(self.net.forward(X))
        dZ, total = out - y, float(len(X))
        if weights is not None:
            dZ, total = dZ * weights[:, None], float(weights.sum())
        self.penalise(l2 * len(X) / total)
        self.net._backward_from(np.ascontiguousarray(dZ / total, self.dtype))
        return out
