"""Convolutions, pixel by pixel."""

from collections import OrderedDict
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.reference.activations import initialize_activation
from fastnn.reference.arguments import Twin
from fastnn.reference.layers.base import Layer
from fastnn.weights import initialize_weights


class Conv2D(Layer):
    """``Z[i, r, c] = sum(X[i, window of r, c] * W) + b``, ``Y = f(Z)``.

    Images are ``(n, rows, columns, channels)``, W ``(kernel rows, kernel columns, channels, k)``, b
    ``(1, k)``. ``l2 / (2 n) sum(W**2)`` is added to the loss.
    """

    def __init__(
        self,
        n_out: int,
        kernel_shape: Any,
        activation: str = "linear",
        stride: int = 1,
        pad: Any = "same",
        weight_init: Any = "xavier_uniform",
        l2: float = 0.0,
    ) -> None:
        super().__init__()
        self.n_out, self.stride, self.pad, self.l2 = n_out, stride, pad, l2
        both = isinstance(kernel_shape, int)
        self.kernel_shape = (kernel_shape,) * 2 if both else tuple(kernel_shape)
        self.activation = initialize_activation(activation)
        self.init_weights = (
            weight_init if callable(weight_init) else initialize_weights(weight_init, activation)
        )

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        self.n_in = X_shape[3]
        kh, kw = self.kernel_shape
        pads = {"same": ((kh - 1) // 2, (kw - 1) // 2), "valid": (0, 0)}
        given = pads.get(self.pad, self.pad) if isinstance(self.pad, str) else self.pad
        self.pad = (given,) * 2 if isinstance(given, int) else tuple(given)
        W = self.init_weights((kh, kw, self.n_in, self.n_out))  # type: ignore[arg-type]
        self.parameters = OrderedDict(W=W, b=np.zeros((1, W.shape[3])))
        self.cache = OrderedDict(Z=[], X=[])
        self.gradients = OrderedDict((n, np.zeros_like(p)) for n, p in self.parameters.items())

    def _windows(self, X: Array) -> tuple[Array, list[tuple[int, int, Any]]]:
        """Return the images with their border, and each output pixel with its window."""
        (ph, pw), (kh, kw), s = self.pad, self.kernel_shape, self.stride
        padded = np.pad(X, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
        n_rows, n_columns = (padded.shape[1] - kh) // s + 1, (padded.shape[2] - kw) // s + 1
        return padded, [
            (r, c, np.s_[:, r * s : r * s + kh, c * s : c * s + kw])
            for r in range(n_rows)
            for c in range(n_columns)
        ]

    def forward(self, X: Array) -> Array:
        if self.n_in is None:
            self._init_parameters(X.shape)
        W, b = self.parameters["W"], self.parameters["b"]
        padded, windows = self._windows(X)
        r, c, _ = windows[-1]
        Z = np.empty((len(X), r + 1, c + 1, W.shape[3]), padded.dtype)
        for r, c, window in windows:
            Z[:, r, c] = np.tensordot(padded[window], W, 3) + b
        self.cache["Z"], self.cache["X"] = Z, X
        return self.activation(Z)

    def backward(self, dLdY: Array) -> Array:
        dZ = self.activation.backward(self.cache["Z"], dLdY)
        X, W = self.cache["X"], self.parameters["W"]
        padded, windows = self._windows(X)
        d_padded, dW = np.zeros_like(padded), self.l2 / len(X) * W
        for r, c, window in windows:
            dW = dW + np.tensordot(padded[window], dZ[:, r, c], ([0], [0]))
            d_padded[window] += np.tensordot(dZ[:, r, c], W, ([1], [3]))
        self.gradients["W"] = dW
        self.gradients["b"] = dZ.sum(axis=(0, 1, 2))[np.newaxis]
        ph, pw = self.pad
        return d_padded[:, ph : ph + X.shape[1], pw : pw + X.shape[2]]


TWINS: dict[str, Twin] = {}  # tests/layers/test_conv2d.py compares whole layers instead
