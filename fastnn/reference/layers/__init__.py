"""Layers in plain NumPy. One file a kind; a new one gets a row in the table below."""

from typing import Any

from fastnn._validation import choose
from fastnn.reference.layers.base import Layer
from fastnn.reference.layers.dense import FullyConnected

__all__ = ["LAYERS", "FullyConnected", "Layer", "initialize_layer"]

LAYERS: dict[str, type[Layer]] = {"fully_connected": FullyConnected}


def initialize_layer(name: str, **arguments: Any) -> Layer:
    """Return a new layer of that name; ``NotImplementedError`` if there is none."""
    return choose("layer", name, LAYERS)(**arguments)
