"""The global average pooling layer."""

import math
from typing import Any

import numpy as np

from fastnn._changes import Changes
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, restore
from fastnn.blueprint import Blueprint
from fastnn.layers.base import Layer
from fastnn.layers.pooling import Windows
from fastnn.layers.state import Parameters


class GlobalAveragePool2D(Layer):
    """``Y[n, c] = mean(X[n, :, :, c])``: the average of each channel over all pixels of an image.

    The input is ``X (n, height, width, channels)`` with images of any size, the output
    ``Y (n, channels)``. ``torch.nn.AdaptiveAvgPool2d(1)`` followed by ``Flatten`` computes the same for
    images with channels first.

    References
    ----------
    M. Lin, Q. Chen, S. Yan, "Network in network", ICLR 2014.

    Examples
    --------
    >>> fastnn.GlobalAveragePool2D().forward(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[3., 4.]])
    """

    keeps_width, cached = True, ("shape",)

    def __init__(self) -> None:
        super().__init__()

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n, channels)`` for images, or raise ``ValueError``."""
        if len(X_shape) != 4:
            raise ValueError(f"X must have shape (batch, height, width, channels), got {X_shape}")
        if 0 in X_shape[1:]:
            raise ValueError(f"X needs at least one pixel and one channel, got {X_shape}")
        return X_shape[0], X_shape[3]

    @staticmethod
    def _windows(X_shape: tuple[int, ...]) -> Windows:
        """Return windows with a single window, the whole image."""
        height, width, channels = X_shape[1:]
        return Windows((height, width, channels), (height, width), max(height, width))

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        self.adopt(Parameters(), X_shape[-1], self.dtype or np.dtype(np.float64))

    def cost(self, X_shape: tuple[int, ...]) -> int:
        return math.prod(X_shape)

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step."""
        self._windows((to.n, *to.input.shape)).compile(to, "average")
        to.output.shape = to.output.shape[-1:]

    def forward(self, X: ArrayLike) -> Array:
        """Return the averages ``(n, channels)`` of images ``X (n, height, width, channels)``.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If ``X`` does not have four axes, or its images have no pixels.
        """
        x = as_float(X, "X", self.dtype)
        shape = self.check_input(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        Y = self._windows(x.shape).forward("average", x).reshape(shape)
        self.cache["shape"] = x.shape
        Changes.count += 1
        return restore(Y, X)

    def backward(self, dLdY: ArrayLike) -> Array:
        """Return ``dX``: each pixel gets an equal share of its channel's gradient.

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        shape: Any = self.cache.get("shape", [])
        if isinstance(shape, list):
            raise RuntimeError("backward needs a forward pass first: the layer's cache is empty")
        dy = as_float(dLdY, "dLdY", self.dtype)
        if dy.shape != (shape[0], shape[3]):
            raise ValueError(
                f"dLdY must have the output's shape {(shape[0], shape[3])}, got {dy.shape}"
            )
        return restore(self._windows(shape).backward("average", None, dy), dLdY)
