"""The global average pooling layer."""

from collections import OrderedDict

import numpy as np

from fastnn._typing import Array
from fastnn.reference.layers.base import Layer


class GlobalAveragePool2D(Layer):
    """``Y = mean(X)`` over the pixels; X ``(n, height, width, channels)``, Y ``(n, channels)``."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = OrderedDict(shape=[])

    def forward(self, X: Array) -> Array:
        self.n_in = self.n_out = X.shape[3]
        self.cache["shape"] = X.shape
        return np.asarray(X.mean(axis=(1, 2)))

    def backward(self, dLdY: Array) -> Array:
        n, height, width, channels = self.cache["shape"]
        share = dLdY.reshape(n, 1, 1, channels) / (height * width)
        return np.broadcast_to(share, (n, height, width, channels)).copy()
