"""Layer normalisation, and the twins of its kernels."""

from collections import OrderedDict

import numpy as np

from fastnn._typing import Array
from fastnn.reference.arguments import Twin, row, rows
from fastnn.reference.layers.base import Layer


def layer_norm(x: Array, gain: Array, shift: Array, eps: float) -> Array:
    """``(x - mean) / sqrt(var + eps) * gain + shift`` over the last axis."""
    mean = x.mean(axis=-1, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return np.asarray((x - mean) / np.sqrt(var + eps) * gain + shift)


def layer_norm_backward(x: Array, gain: Array, eps: float, dy: Array) -> tuple[Array, Array, Array]:
    """Return ``dx``, and ``dgain`` and ``dshift`` ``(1, d)``, for x and dy ``(n, ..., d)``."""
    mean = x.mean(axis=-1, keepdims=True)
    var = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    h = (x - mean) / np.sqrt(var + eps)
    g = dy * gain
    dx = g - g.mean(axis=-1, keepdims=True) - h * (g * h).mean(axis=-1, keepdims=True)
    d = x.shape[-1]
    dgain, dshift = (a.reshape(-1, d).sum(axis=0, keepdims=True) for a in (dy * h, dy))
    return dx / np.sqrt(var + eps), dgain, dshift


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
        dX, dgain, dshift = layer_norm_backward(
            self.cache["X"], self.parameters["gain"], self.eps, dLdY
        )
        self.gradients["gain"], self.gradients["shift"] = dgain, dshift
        return dX


TWINS = {
    "layer_norm.layer_norm": Twin(layer_norm, (rows, row, row, 1e-5)),
    "layer_norm.layer_norm_backward": Twin(
        layer_norm_backward, (rows, row, 1e-5, rows), outputs=(rows, row, row)
    ),
    "layer_norm.add_blocks": Twin(add_blocks, (rows,), outputs=(row,)),
}
