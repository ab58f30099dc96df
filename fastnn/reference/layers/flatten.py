"""The flatten layer."""

from collections import OrderedDict

from fastnn._typing import Array
from fastnn.reference.layers.base import Layer


class Flatten(Layer):
    """Reshape ``X (n, ...)`` to ``(n, size of a row)``, for ``keep_dim="first"``."""

    def __init__(self, keep_dim: str | int = "first") -> None:
        super().__init__()
        self.keep_dim = keep_dim
        self.cache = OrderedDict(in_dims=[])

    def forward(self, X: Array, retain_derived: bool = True) -> Array:
        self.n_in = X.shape[-1]
        if retain_derived:
            self.cache["in_dims"] = X.shape
        if self.keep_dim == "first":
            return X.reshape(len(X), -1)
        return X.reshape((1, -1) if self.keep_dim == -1 else (-1, X.shape[-1]))

    def backward(self, dLdY: Array) -> Array:
        return dLdY.reshape(self.cache["in_dims"])
