"""The residual layer, and the twins of its kernels."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.reference.arguments import Twin, flat
from fastnn.reference.layers.base import Layer


def add(x: Array, y: Array) -> Array:
    """``x + y``."""
    return np.asarray(x + y)


def assign(x: Array) -> Array:
    """``x``."""
    return x.copy()


class Residual(Layer):
    """``Y = X + F(X)``, where F is a block of layers; their arrays have names such as ``0.W``."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = layers

    def _all(self, kind: str) -> dict[str, Any]:
        dicts = [getattr(layer, kind) for layer in self.layers]
        return {f"{i}.{name}": value for i, own in enumerate(dicts) for name, value in own.items()}

    def forward(self, X: Array) -> Array:
        A = X
        for layer in self.layers:
            A = layer.forward(A)
        self.parameters.update(self._all("parameters"))
        return add(X, A)

    def backward(self, dLdY: Array) -> Array:
        dA = dLdY
        for layer in reversed(self.layers):
            dA = layer.backward(dA)
        self.gradients.update(self._all("gradients"))
        return add(dLdY, dA)

    def clear_gradients(self) -> None:
        """Empty the block's caches and zero its gradients."""
        for layer in self.layers:
            layer.clear_gradients()


TWINS = {
    "residual.add": Twin(add, (flat, flat)),
    "residual.assign": Twin(assign, (flat,)),
}
