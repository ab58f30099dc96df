"""The flatten layer."""

import math
from collections import OrderedDict
from typing import Any

import numpy as np

from fastnn._changes import Changes, watched
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, restore
from fastnn.blueprint import Blueprint
from fastnn.layers.base import Layer
from fastnn.layers.state import Parameters


class Flatten(Layer):
    """Reshape ``X`` to a matrix, for fully connected layers after convolutions.

    Parameters
    ----------
    keep_dim : {"first", -1} or anything else, default="first"
        ``"first"`` keeps the batch axis: ``(n, height, width, channels)`` becomes
        ``(n, height * width * channels)``. -1 gives one row ``(1, size)``. Any other value keeps the
        last axis and joins all others. A network needs ``"first"``; compiled steps take no other value.

    Attributes
    ----------
    cache : ordered dict
        ``in_dims``, the shape of the last input.

    Examples
    --------
    >>> fastnn.Flatten().forward(np.ones((2, 3, 3, 5))).shape
    (2, 45)
    """

    cached = ("in_dims",)
    keep_dim: Any = watched()

    def __init__(self, keep_dim: str | int = "first") -> None:
        super().__init__()
        self.keep_dim = keep_dim
        self.cache = OrderedDict(in_dims=[])

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the matrix; ``ValueError`` if ``X`` is a number or has no features."""
        if not X_shape:
            raise ValueError(f"X must have a batch axis, got shape {X_shape}")
        if 0 in X_shape[1:]:
            raise ValueError(f"X needs at least one feature, got {X_shape}")
        if isinstance(self.keep_dim, str) and self.keep_dim == "first":
            shape = X_shape[0], math.prod(X_shape[1:])
        elif self.keep_dim == -1:
            shape = 1, math.prod(X_shape)
        else:
            shape = math.prod(X_shape[:-1]), X_shape[-1]
        if self.n_out not in (None, shape[1]):  # as the last layer of a network
            raise ValueError(f"X of shape {X_shape} gives {shape[1]} columns, n_out is {self.n_out}")
        return shape

    def adopt(self, parameters: Parameters, n_in: int, dtype: np.dtype[Any]) -> None:
        n_out = self.n_out
        super().adopt(parameters, n_in, dtype)
        self.n_out = n_out  # which is not known from the input's last axis

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        self.adopt(Parameters(), X_shape[-1], self.dtype or np.dtype(np.float64))

    def obstacle(self) -> str | None:
        if self.keep_dim != "first":
            return f"is a Flatten(keep_dim={self.keep_dim!r}), which does not keep the batch's rows"
        return super().obstacle()

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step, which does no work: its output is a view of its input."""
        to.output = to.reshaped((to.input.width,))

    def forward(self, X: ArrayLike, retain_derived: bool = True) -> Array:
        """Return ``X`` as a matrix, a new array.

        Parameters
        ----------
        X : array_like, shape (n, ...)
        retain_derived : bool
            Whether to cache the shape of ``X`` for ``backward``.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If ``X`` is a number, or has no features.
        """
        x = as_float(X, "X", self.dtype)
        shape = self.check_input(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        if retain_derived:
            self.cache["in_dims"] = x.shape
            Changes.count += 1
        return restore(x.copy().reshape(shape), X)

    def backward(self, dLdY: ArrayLike) -> Array:
        """Return ``dLdY`` in the shape of the last input, a new array.

        Raises
        ------
        RuntimeError
            If no ``forward`` has cached a shape since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        in_dims = self.cache.get("in_dims", [])
        if isinstance(in_dims, list):
            raise RuntimeError("backward needs a forward pass first: the layer's cache is empty")
        dy = as_float(dLdY, "dLdY", self.dtype)
        if dy.shape != (shape := self.check_input(in_dims)):
            raise ValueError(f"dLdY must have the output's shape {shape}, got {dy.shape}")
        return restore(dy.copy().reshape(in_dims), dLdY)
