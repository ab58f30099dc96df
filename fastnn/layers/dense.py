"""The fully connected layer."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._arrays import unlocked
from fastnn._changes import Changes
from fastnn._own import as_part, offers
from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_count, restore
from fastnn.activations import Activation, initialize_activation
from fastnn.kernels.layers import products
from fastnn.layers.base import Layer, Parameters
from fastnn.weights import WeightInitializer, XavierUniform, gain, initialize_weights


class FullyConnected(Layer):
    """``Y = f(X W + b)``: an affine map, then an activation.

    ``W (d, k)`` and ``b (1, k)``, which begins as zeros, are made at the first ``forward`` in the dtype
    of its input (float32 or float64). Later inputs are computed in that dtype. The cache keeps ``Z``
    and ``X``.

    Parameters
    ----------
    n_out : int or None
        Number of outputs; a model infers None for its last layer.
    activation : str or Activation
        A name for ``initialize_activation``, or an object with its ``forward`` and ``backward``.
    weight_init : str or WeightInitializer
        A name for ``initialize_weights``, or an initialiser: a function of a shape.
    l2 : float
        Adds ``l2 / (2 n) * sum(W**2)`` to what a batch of n rows is trained to minimise, and so
        ``l2 / n * W`` to ``W``'s gradient; for rows with weights n is their sum. The loss that is
        reported is without it.
    """

    def __init__(
        self,
        n_out: int | None,
        activation: str | Activation,
        weight_init: str | WeightInitializer | Callable[[Sequence[int]], Array] = "xavier_uniform",
        l2: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_out = None if n_out is None else require_count("n_out", n_out)
        name: str = activation if isinstance(activation, str) else type(activation).__name__.lower()
        self.activation = as_part(activation, initialize_activation, "forward", "backward")
        self.l2 = l2
        self.init_weights = (
            weight_init if callable(weight_init) else initialize_weights(weight_init, activation=name)
        )

    def __repr__(self) -> str:
        init, activation = self.init_weights, type(self.activation).__name__.lower()
        usual = type(init) is XavierUniform and gain(init.activation) == gain(activation)
        return as_call(self, weight_init="xavier_uniform" if usual else init)

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        self.adopt(self.initial_parameters(X_shape, self.dtype or np.dtype(np.float64)))

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return parameters for inputs ``(n, d)``, newly drawn; the layer does not change."""
        _, n_out = self.check_input(X_shape)
        W = as_float(self.init_weights((X_shape[1], n_out)), "weight_init", dtype)
        if W.shape != (X_shape[1], n_out):
            raise ValueError(f"weight_init gave {W.shape}, the layer needs {(X_shape[1], n_out)}")
        return Parameters(W=W, b=np.zeros((1, n_out), dtype))

    def adopt(self, parameters: Parameters) -> None:
        """Take over the parameters that :meth:`initial_parameters` returned."""
        self.n_in, self.dtype = parameters["W"].shape[0], parameters["W"].dtype
        self._parameters = parameters
        self.cache = OrderedDict(Z=[], X=[])
        self.gradients = OrderedDict((n, np.zeros_like(p)) for n, p in self.parameters.items())

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n, k)`` for inputs ``(n, d)``, or raise ``ValueError``."""
        if self.n_out is None:
            raise ValueError("n_out is None: give the layer a width, or train it as a model's last")
        if len(X_shape) != 2:
            raise ValueError(f"X must have shape (batch, features), got {X_shape}")
        if X_shape[1] == 0:
            raise ValueError(f"X needs at least one feature, got {X_shape}")
        if self.n_in is not None:
            self.checked_parameters(X_shape[1])
        elif offers(self.init_weights, "check"):
            self.init_weights.check((X_shape[1], self.n_out))
        return (X_shape[0], self.n_out)

    def checked_parameters(self, n_features: int | None = None) -> tuple[Array, Array]:
        """Return ``W (d, k)`` and ``b (1, k)``, having checked that they fit.

        Raises
        ------
        ValueError
            If ``parameters`` does not hold these two arrays and no others, of the layer's dtype and of
            shapes that fit one another, ``n_out``, and inputs of ``n_features`` columns.
        """
        parameters = self._parameters
        if parameters.keys() != {"W", "b"}:
            names = ", ".join(map(repr, parameters)) or "nothing"
            raise ValueError(f"parameters must hold 'W' and 'b'; it holds {names}")
        W, b = parameters["W"], parameters["b"]
        if W.ndim != 2 or W.size == 0 or W.shape[1] != self.n_out or b.shape != (1, W.shape[1]):
            raise ValueError(
                f"the parameters have shapes W {W.shape} and b {b.shape}; "
                f"{self.n_out} outputs need W (inputs, {self.n_out}) and b (1, {self.n_out})"
            )
        if n_features is not None and W.shape[0] != n_features:
            raise ValueError(f"X has {n_features} features, the layer needs {W.shape[0]}")
        if not W.dtype == b.dtype == (self.dtype or W.dtype):
            raise ValueError(
                f"the layer computes in {self.dtype or W.dtype}, but W is {W.dtype} and b is {b.dtype}"
            )
        return W, b

    def forward(self, X: ArrayLike) -> Array:
        """Return ``f(X W + b)``, shape ``(n, k)``, for ``X (n, d)``.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If ``X`` is not ``(n, d)`` with the ``d`` the layer was made for.
        """
        return restore(self.activation.forward(self.preactivation(X)), X)

    def preactivation(self, X: ArrayLike) -> Array:
        """Return ``Z = X W + b`` and cache it with ``X``: ``forward`` without the activation."""
        x = as_float(X, "X", self.dtype)
        out_shape = self.check_input(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        W, b = self.checked_parameters()
        x = as_float(x, "X", W.dtype)
        Z = np.empty(out_shape, W.dtype)
        products.affine(unlocked(x), unlocked(W), unlocked(b), Z)
        self.cache["Z"], self.cache["X"] = Z, x
        Changes.count += 1  # a step of the engine finds that there is a cache to clear
        return Z

    def backward(self, dLdY: ArrayLike) -> Array:
        """Store ``gradients["W"]``, ``gradients["b"]``, sums over the batch; return ``dX (n, d)``.

        ``dZ = f'(Z; dLdY)``, ``dW = X^T dZ``, ``db = sum(dZ)``, ``dX = dZ W^T``.

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        dZ = self.preactivation_gradient(dLdY)
        self.parameter_gradients(dZ)
        return restore(self.input_gradient(dZ), dLdY)

    # The three steps of `backward`, for a model that knows dZ already or has no use for dX.

    def preactivation_gradient(self, dLdY: ArrayLike) -> Array:
        """Return ``dZ = f'(Z; dLdY)``, shape ``(n, k)``."""
        Z = as_float(self._cached("Z"), "Z", self.dtype)
        dy = as_float(dLdY, "dLdY", Z.dtype)
        if dy.shape != Z.shape:
            raise ValueError(f"dLdY must have the output's shape {Z.shape}, got {dy.shape}")
        return as_float(self.activation.backward(Z, dy), "dZ", Z.dtype)

    def parameter_gradients(self, dZ: Array) -> None:
        """Store the parameters' gradients for the gradient ``dZ (n, k)`` of ``Z``."""
        W, b = self.checked_parameters()
        X, dZ = as_float(self._cached("X"), "X", W.dtype), as_float(dZ, "dZ", W.dtype)
        if dZ.shape != (len(X), W.shape[1]) or X.shape[1:] != W.shape[:1]:
            raise ValueError(
                f"dZ has shape {dZ.shape} and the cached X {X.shape}; the layer needs "
                f"(n, {W.shape[1]}) and (n, {W.shape[0]})"
            )
        dW, db = np.empty_like(W), np.empty_like(b)
        products.weight_gradient(unlocked(X), unlocked(dZ), dW, db)
        if self.l2:
            dW += dW.dtype.type(self.l2 / max(len(X), 1)) * W
        self.gradients["W"], self.gradients["b"] = dW, db

    def input_gradient(self, dZ: Array) -> Array:
        """Return ``dX = dZ W^T``, shape ``(n, d)``."""
        W, _ = self.checked_parameters()
        dZ = as_float(dZ, "dZ", W.dtype)
        if dZ.ndim != 2 or dZ.shape[1] != W.shape[1]:
            raise ValueError(f"dZ has shape {dZ.shape}; the layer needs (n, {W.shape[1]})")
        dX = np.empty((dZ.shape[0], W.shape[0]), W.dtype)
        products.input_gradient(unlocked(dZ), unlocked(W), dX)
        return dX

    def _cached(self, name: str) -> Array:
        value: Array | list[Any] = self.cache.get(name, [])
        if isinstance(value, list):
            raise RuntimeError("backward needs a forward pass first: the layer's cache is empty")
        return value
