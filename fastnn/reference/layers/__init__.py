"""Layers in plain NumPy."""

from fastnn.reference.layers.base import FullyConnected, Layer, initialize_layer

__all__ = ["FullyConnected", "Layer", "initialize_layer"]
