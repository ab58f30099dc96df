"""Layer normalisation, and the twins of its kernels."""

from collections import OrderedDict

import numpy as np

from fastnn._typing import Array
from fastnn.reference.arguments import Twin, row, rows
from fastnn.reference.layers.base import Layer


def statistics(x: Array, eps: float) -> Array:
    """Return ``(n, ..., 3)``: the mean of each row, in two numbers, and ``1 / sqrt(var + eps)``."""
    mean = x.mean(axis=-1)
    var = ((x - mean[..., None]) ** 2).mean(axis=-1)
    return np.stack([mean, mean - mean, 1 / np.sqrt(var + eps)], axis=-1)


def layer_norm(x: Array, gain: Array, shift: Array, eps: float) -> Array:
    """``(x - mean) / sqrt(var + eps) * gain + shift`` over the last axis."""
    mean, rest, scale = np.moveaxis(statistics(x, eps), -1, 0)[..., None]
    return np.asarray((x - mean - rest) * scale * gain + shift)


def layer_norm_keeping(x: Array, gain: Array, shift: Array, eps: float) -> tuple[Array, Array]:
    """Return :func:`statistics` and :func:`layer_norm`."""
    return statistics(x, eps), layer_norm(x, gain, shift, eps)


def layer_norm_backward(x: Array, gain: Array, kept: Array, dy: Array) -> tuple[Array, Array, Array]:
    """Return ``dx``, and ``dgain`` and ``dshift`` ``(1, d)``, for x and dy ``(n, ..., d)``.

    kept: :func:`statistics`.
    """
    mean, rest, scale = np.moveaxis(kept, -1, 0)[..., None]
    h = (x - mean - rest) * scale
    g = dy * gain
    dx = g - g.mean(axis=-1, keepdims=True) - h * (g * h).mean(axis=-1, keepdims=True)
    d = x.shape[-1]
    dgain, dshift = (a.reshape(-1, d).sum(axis=0, keepdims=True) for a in (dy * h, dy))
    return dx * scale, dgain, dshift


def add_blocks(parts: Array) -> Array:
    """``parts[0] + parts[1] + ...``."""
    return np.asarray(parts.sum(axis=0, keepdims=True))


class LayerNorm(Layer):
    """``Y = (X - mean) / sqrt(var + eps) * gain + shift``.

    X ``(n, ..., d)``; gain, shift ``(1, d)``.
    """

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        self.n_in = self.n_out = X_shape[-1]
        self.parameters = OrderedDict(gain=np.ones((1, self.n_in)), shift=np.zeros((1, self.n_in)))
        self.cache = OrderedDict(X=[])
        self.gradients = OrderedDict((n, np.zeros_like(p)) for n, p in self.parameters.items())

    def forward(self, X: Array) -> Array:
        if self.n_in is None:
            self._init_parameters(X.shape)
        self.cache["X"] = X
        return layer_norm(X, self.parameters["gain"], self.parameters["shift"], self.eps)

    def backward(self, dLdY: Array) -> Array:
        X = self.cache["X"]
        kept = statistics(X, self.eps)
        dX, dgain, dshift = layer_norm_backward(X, self.parameters["gain"], kept, dLdY)
        self.gradients["gain"], self.gradients["shift"] = dgain, dshift
        return dX


def _kept(rng: np.random.Generator, n: int, k: int) -> Array:
    return statistics(rows(rng, n, k), 1e-5)


TWINS = {
    "layer_norm.layer_norm": Twin(
        layer_norm_keeping, (rows, row, row, 1e-5), (layer_norm, statistics), outputs=(_kept, rows)
    ),
    "layer_norm.layer_norm_backward": Twin(
        layer_norm_backward, (rows, row, _kept, rows), outputs=(rows, row, row)
    ),
    "layer_norm.add_blocks": Twin(add_blocks, (rows,), outputs=(row,)),
}
