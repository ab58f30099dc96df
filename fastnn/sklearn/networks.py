"""The network behind an estimator, whose parameters are ``coefs_`` and ``intercepts_`` themselves."""

from __future__ import annotations

from collections.abc import Sequence
from operator import is_
from typing import Any

import numpy as np
from scipy.special import xlogy

from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float
from fastnn.activations import ACTIVATIONS
from fastnn.engine import obstacle
from fastnn.layers import FullyConnected
from fastnn.losses import Loss
from fastnn.models import NeuralNetwork
from fastnn.optimizers import SGD
from fastnn.sklearn.rows import as_rows, blocks, is_sparse


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

    Any number of threads may call :meth:`predict`. There is no lock, as a forked child could inherit it
    locked.

    Parameters
    ----------
    coefs, intercepts : sequences of arrays, ``(d, k)`` and ``(k,)``
    hidden : sequence of str
        The hidden layers' activations, by scikit-learn's names or fastnn's.
    output : str
        The output's, by scikit-learn's name.

    Raises
    ------
    TypeError, ValueError
        For an array that does not hold real numbers, or does not fit the others; the message names it.
    """

    def __init__(
        self, coefs: Sequence[Array], intercepts: Sequence[Array], hidden: Sequence[str], output: str
    ) -> None:
        require_fitting(coefs, intercepts, len(hidden) + 1)
        last, loss = _OUTPUTS[output]
        single = all(np.asarray(W).dtype == np.float32 for W in coefs)
        dtype = np.dtype(np.float32 if single else np.float64)
        layers = []
        for i, activation in enumerate([*hidden, last]):
            W = as_float(coefs[i], f"coefs_[{i}]", dtype)
            b = as_float(intercepts[i], f"intercepts_[{i}]", dtype)[None]
            layers.append(FullyConnected.of(W, b, _NAMES.get(activation, activation)))
        self.net = NeuralNetwork(loss, layers, SGD(), dtype=dtype)
        self.net.gather_parameters()
        # Whether outputs, whatever loss they go to, are computed in one compiled call.
        self._compiled = obstacle(NeuralNetwork("l2", layers, SGD(), dtype=dtype)) is None
        self.trains_compiled = obstacle(self.net) is None
        self.dtype = dtype
        self._activations = [*hidden], output
        self._link = np.exp if output == "exp" else np.asarray
        self.coefs = tuple(layer.parameters["W"] for layer in layers)
        self.intercepts = tuple(layer.parameters["b"].reshape(-1) for layer in layers)

    def holds(
        self, coefs: Sequence[Array], intercepts: Sequence[Array], hidden: list[str], output: str
    ) -> bool:
        """Return whether these are the very arrays of this network, and its activations."""
        own, given = (*self.coefs, *self.intercepts), (*coefs, *intercepts)
        same = len(coefs) == len(self.coefs) and len(own) == len(given) and all(map(is_, own, given))
        return same and self._activations == (hidden, output)

    def predict(self, X: Any) -> Array:
        """Return the outputs ``(n, k)`` for a matrix, dense or sparse."""
        X = as_rows(X, self.dtype)
        parts = [self._predict(rows) for _, rows in blocks(X)]
        out: Array = self._link(parts[0] if len(parts) == 1 else np.concatenate(parts))
        return out

    def _predict(self, X: Any) -> Array:
        if self._compiled and not is_sparse(X):
            out: Array = self.net.predict(X)
            return out
        A = X
        for layer in self.net.layers:  # not their `forward`, which caches
            A = layer.activation.forward(A @ layer.parameters["W"] + layer.parameters["b"])
        return np.asarray(A)

    def penalise(self, l2: float) -> None:
        """Set every layer's penalty."""
        for layer in self.net.layers:
            if layer.l2 != l2:
                layer.l2 = l2

    def weight_squares(self) -> float:
        """Return the sum of all weights' squares."""
        return float(sum(np.vdot(W, W) for W in self.coefs))

    def gradients(self, X: Any, y: Array, weights: Array | None, l2: float) -> Array:
        """Return the outputs; leave in the layers the gradients of the mean loss with its penalty.

        Every output activation is the one that belongs to its loss, so that the gradient of what goes
        into it is ``weights (out - y) / sum(weights)``, whatever the two are. Rows whose weights sum up
        to 0 have no gradient.

        Parameters
        ----------
        X : array or CSR matrix ``(n, d)``
        y : array ``(n, k)``
        weights : array ``(n,)`` or None
        l2 : float
        """
        total = float(len(y) if weights is None else weights.sum())
        outputs, sums = [], list[dict[str, Array]]()
        for part, rows in blocks(X):
            out = self._forward(rows)
            dZ = out - y[part]
            if weights is not None:
                dZ *= weights[part, None]
            # Penalties are what a mean over the block's rows would have; they add up to that of all.
            self.penalise(l2 * len(dZ) * len(dZ) / (len(y) * total) if total else 0.0)
            self._backward(np.ascontiguousarray(dZ / (total or 1.0), self.dtype))
            outputs.append(out)
            self._add_gradients(sums)
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def _add_gradients(self, sums: list[dict[str, Array]]) -> None:
        """Add the layers' gradients to the sums so far, and put these in their place."""
        for i, layer in enumerate(self.net.layers):
            if i == len(sums):
                sums.append(dict(layer.gradients))
                continue
            for name, gradient in layer.gradients.items():
                sums[i][name] += gradient
            layer.gradients.update(sums[i])

    def _forward(self, X: Any) -> Array:
        if not is_sparse(X):
            return np.asarray(self._link(self.net.forward(X)))
        A = X
        for layer in self.net.layers:
            if is_sparse(A):
                Z = A @ layer.parameters["W"] + layer.parameters["b"]
                layer.cache["Z"], layer.cache["X"] = Z, A
                A = layer.activation.forward(Z)
            else:
                A = layer.forward(A)
        return np.asarray(self._link(A))

    def _backward(self, dZ: Array) -> None:
        """Backpropagate from the gradient of what goes into the output's activation."""
        layers: Sequence[FullyConnected] = self.net.layers  # type: ignore[assignment]
        for i in reversed(range(len(layers))):
            layer = layers[i]
            if is_sparse(layer.cache["X"]):
                X, W = layer.cache["X"], layer.parameters["W"]
                dW = X.T @ dZ
                dW += dW.dtype.type(layer.l2 / X.shape[0]) * W
                layer.gradients["W"], layer.gradients["b"] = dW, dZ.sum(axis=0, keepdims=True)
            else:
                layer.parameter_gradients(dZ)
            if i:
                dZ = layers[i - 1].preactivation_gradient(layer.input_gradient(dZ))


def require_fitting(coefs: Sequence[Array], intercepts: Sequence[Array], n_layers: int) -> None:
    """Raise ``ValueError``, naming the array, unless these are the parameters of a network."""
    for name, arrays in (("coefs_", coefs), ("intercepts_", intercepts)):
        if len(arrays) != n_layers:
            raise ValueError(f"{name} must hold {n_layers} arrays, one a layer; it holds {len(arrays)}")
    d = None
    for i, (W, b) in enumerate(zip(coefs, intercepts, strict=True)):
        shape = np.shape(W)
        if len(shape) != 2 or 0 in shape or (d is not None and shape[0] != d):
            needed = (
                "(inputs, outputs)" if d is None else f"({d}, outputs), as coefs_[{i - 1}] gives {d}"
            )
            raise ValueError(f"coefs_[{i}] must have shape {needed}; it has {shape}")
        d = shape[1]
        if np.shape(b) != (d,):
            raise ValueError(
                f"intercepts_[{i}] must have shape ({d},), as coefs_[{i}] has {d} columns; "
                f"it has {np.shape(b)}"
            )
