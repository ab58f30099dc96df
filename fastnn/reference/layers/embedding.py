"""The embedding layer, and the twins of its kernels."""

from collections import OrderedDict

import numpy as np

from fastnn._typing import Array
from fastnn.reference.arguments import Twin
from fastnn.reference.layers.base import Layer
from fastnn.weights import initialize_weights


def rows_of(x: Array, rows: int) -> Array:
    """Return indices as integers, clamped to the table; NaN becomes 0."""
    return np.asarray(np.clip(np.nan_to_num(x, nan=0.0), 0, rows - 1), int)


def embed(x: Array, table: Array, last: bool) -> Array:
    """``table[x]``, features last or before time."""
    out = table[rows_of(x, len(table))]
    return (out if last else out.transpose(0, 2, 1)).reshape(len(x), -1)


def embed_backward(x: Array, rows: int, first: int, padding: int, last: bool, dy: Array) -> Array:
    """Sum the gradients of each row's occurrences, for rows of a table of five from ``first`` on."""
    numbers = rows_of(x, rows)
    n, t = x.shape
    dy = dy.reshape(n, t, -1) if last else dy.reshape(n, -1, t).transpose(0, 2, 1)
    dtable = np.zeros((rows, dy.shape[2]), dy.dtype)
    np.add.at(dtable, numbers, dy)
    if padding >= 0:
        dtable[padding] = 0
    return dtable[first:]


class Embedding(Layer):
    """``Y = W[X]``; indices X ``(n, t)``, W ``(n_in, n_out)``."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        weight_init: str = "normal",
        axis: int = -1,
        padding_index: int | None = None,
    ) -> None:
        super().__init__()
        self.n_in, self.n_out = n_in, n_out
        self.axis, self.padding_index = axis, padding_index
        self.init_weights = initialize_weights(weight_init)
        self.cache = OrderedDict(X=[])

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        W = self.init_weights((self.n_in, self.n_out))  # type: ignore[arg-type]
        if self.padding_index is not None:
            W[self.padding_index] = 0
        self.parameters = OrderedDict(W=W)
        self.gradients = OrderedDict(W=np.zeros_like(W))

    def forward(self, X: Array) -> Array:
        if not self.parameters:
            self._init_parameters(X.shape)
        self.cache["X"] = X
        Y = self.parameters["W"][np.asarray(X).astype(int)]
        return np.asarray(Y.swapaxes(1, -1) if self.axis == 1 else Y)

    def backward(self, dLdY: Array) -> Array:
        W, X = self.parameters["W"], np.asarray(self.cache["X"])
        dW = np.zeros_like(W)
        np.add.at(dW, X.astype(int), dLdY.swapaxes(1, -1) if self.axis == 1 else dLdY)
        if self.padding_index is not None:
            dW[self.padding_index] = 0
        self.gradients["W"] = dW
        return np.zeros(X.shape)


_ROWS = 5


def numbers(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``(n, k)`` numbers of rows, as floats."""
    return rng.integers(_ROWS, size=(n, k)).astype(float)


def table(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw a table of five rows of three."""
    return rng.normal(size=(_ROWS, 3))


def gradients(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw gradients of what :func:`embed` returns."""
    return rng.normal(size=(n, 3 * k))


TWINS = {
    "embedding.embed": Twin(embed, (numbers, table, True), (rows_of,), outputs=(gradients,)),
    "embedding.embed_backward": Twin(
        embed_backward, (numbers, _ROWS, 0, 1, False, gradients), (rows_of,), outputs=(table,)
    ),
}
