"""Layers in plain NumPy."""

from fastnn.reference.layers.base import FullyConnected, Layer, initialize_layer
from fastnn.reference.layers.dropout import Dropout
from fastnn.reference.layers.layer_norm import LayerNorm

__all__ = ["Dropout", "FullyConnected", "Layer", "LayerNorm", "initialize_layer"]
