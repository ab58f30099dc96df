"""The Elman layer, and the twins of its kernels."""

from collections import OrderedDict
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.reference.activations import initialize_activation
from fastnn.reference.arguments import Twin, flat, row, rows
from fastnn.reference.layers.base import Layer
from fastnn.weights import initialize_weights


def find_masked(x: Array, value: float) -> Array:
    """Return 1 for columns of x ``(d, m)`` whose elements are all ``value``, else 0; ``(1, m)``."""
    return np.asarray((x == value).all(axis=0, keepdims=True) * 1.0)


def keep_masked(masks: Array, factor: float, source: Array, target: Array) -> Array:
    """``factor target + source`` in the rows whose mask ``(n, 1)`` is not 0, else ``target``."""
    kept = source if factor == 0 else factor * target + source
    return np.asarray(np.where(masks != 0, kept, target))


def clear_masked(masks: Array, target: Array) -> Array:
    """0 in the rows whose mask ``(n, 1)`` is not 0, else ``target``."""
    return np.asarray(np.where(masks != 0, 0.0, target))


def assign_gradient(z: Array, dy: Array) -> Array:
    """``dy``."""
    return dy


class Elman(Layer):
    """``s_t = f(X_t W + s_{t-1} U + b)``, ``s_0 = 0``; X ``(n, d, t)``, W ``(d, k)``, U ``(k, k)``.

    The output is the last state ``(n, k)`` or, with ``return_sequences``, all states ``(n, k, t)``. A
    time step of a row whose inputs all are ``mask_value`` leaves the state as it is.
    """

    def __init__(
        self,
        n_out: int,
        activation: str = "tanh",
        weight_init: Any = "xavier_uniform",
        return_sequences: bool = False,
        mask_value: float | None = None,
    ) -> None:
        super().__init__()
        self.n_out = n_out
        self.activation = initialize_activation(activation)
        self.init_weights = (
            weight_init if callable(weight_init) else initialize_weights(weight_init, activation)
        )
        self.return_sequences, self.mask_value = return_sequences, mask_value

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        self.n_in, k = X_shape[1], self.n_out
        assert k is not None
        W, U = self.init_weights((self.n_in, k)), self.init_weights((k, k))
        self.parameters = OrderedDict(W=W, U=U, b=np.zeros((1, k)))
        self.cache = OrderedDict(s=[], X=[], Z=[])
        self.gradients = OrderedDict((n, np.zeros_like(p)) for n, p in self.parameters.items())

    def _init_cache(self, X_shape: tuple[int, ...]) -> None:
        self.cache["s"] = [np.zeros((X_shape[0], self.n_out or 0))]
        self.cache["X"], self.cache["Z"] = [], []

    def _masked(self, X_t: Array) -> Array:
        """Return which rows skip a time step, ``(n, 1)``."""
        return np.asarray((X_t == self.mask_value).all(axis=1, keepdims=True))

    def forward_step(self, X_t: Array) -> Array:
        before = self.cache["s"][-1]
        W, U, b = self.parameters.values()
        Z = X_t @ W + before @ U + b
        s = np.where(self._masked(X_t), before, self.activation(Z))
        for name, value in (("X", X_t), ("Z", Z), ("s", s)):
            self.cache[name].append(value)
        return np.asarray(s)

    def forward(self, X: Array) -> Array:
        if self.n_in is None:
            self._init_parameters(X.shape)
        self._init_cache(X.shape)
        states = [self.forward_step(X[:, :, time]) for time in range(X.shape[2])]
        return np.stack(states, axis=2) if self.return_sequences else states[-1]

    def backward(self, dLdY: Array) -> Array:
        """Return the gradient of the input, ``(n, d, t)``; add to the parameters' gradients."""
        W, U, _ = self.parameters.values()
        X, Z, s = (self.cache[name] for name in ("X", "Z", "s"))
        ds, dX = np.zeros_like(s[0]), []
        for time in reversed(range(len(Z))):
            if self.return_sequences:
                ds = ds + dLdY[:, :, time]
            elif time == len(Z) - 1:
                ds = dLdY
            masked = self._masked(X[time])
            dZ = np.where(masked, 0.0, self.activation.backward(Z[time], ds))
            self.gradients["W"] = self.gradients["W"] + X[time].T @ dZ
            self.gradients["U"] = self.gradients["U"] + s[time].T @ dZ
            self.gradients["b"] = self.gradients["b"] + dZ.sum(axis=0, keepdims=True)
            dX.append(dZ @ W.T)
            ds = np.where(masked, ds, 0.0) + dZ @ U.T
        return np.stack(dX[::-1], axis=2)


def _masks(rng: np.random.Generator, n: int, k: int) -> Array:
    return rng.integers(0, 2, (n, 1)).astype(float)


def _mostly_masked(rng: np.random.Generator, n: int, k: int) -> Array:
    return np.where(rng.random((n, k)) < 0.3, rng.normal(size=(n, k)), 0.5)


TWINS = {
    "elman.find_masked": Twin(find_masked, (_mostly_masked, 0.5), outputs=(row,)),
    "elman.keep_masked": Twin(keep_masked, (_masks, 1.0, rows, rows), updated=(3,)),
    "elman.clear_masked": Twin(clear_masked, (_masks, rows), updated=(1,)),
    "elman.assign_gradient": Twin(assign_gradient, (flat, flat)),
}
