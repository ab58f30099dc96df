"""Base class of layers with weights and an activation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastnn._own import as_part
from fastnn._repr import as_call
from fastnn._typing import Array
from fastnn._validation import as_float
from fastnn.activations import Activation, initialize_activation
from fastnn.layers.base import Layer
from fastnn.weights import WeightInitializer, XavierUniform, gain, initialize_weights

WeightInit = str | WeightInitializer | Callable[[Sequence[int]], Array]


class Weighted(Layer):
    """A layer whose weights are drawn by an initialiser that suits its activation.

    Parameters
    ----------
    activation : str or Activation
        A name for ``initialize_activation``, or an object with its ``forward`` and ``backward``.
    weight_init : str or WeightInitializer
        A name for ``initialize_weights``, or an initialiser: a function of a shape.
    """

    def __init__(self, activation: str | Activation, weight_init: WeightInit) -> None:
        super().__init__()
        name: str = activation if isinstance(activation, str) else type(activation).__name__.lower()
        self.activation = as_part(activation, initialize_activation, "forward", "backward")
        self.init_weights = (
            weight_init if callable(weight_init) else initialize_weights(weight_init, activation=name)
        )

    def __repr__(self) -> str:
        init, activation = self.init_weights, type(self.activation).__name__.lower()
        usual = type(init) is XavierUniform and gain(init.activation) == gain(activation)
        default = inspect.signature(type(self)).parameters["activation"].default
        return as_call(
            self,
            activation=activation if activation == default else self.activation,
            weight_init="xavier_uniform" if usual else init,
        )

    @property
    def is_initialized(self) -> bool:
        return bool(self._parameters)

    def draw(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Return new weights of a shape; ``ValueError`` if the initialiser gives another shape."""
        W = as_float(self.init_weights(shape), "weight_init", dtype)
        if W.shape != shape:
            raise ValueError(f"weight_init gave {W.shape}, the layer needs {shape}")
        return W
