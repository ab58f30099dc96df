"""Layers in plain NumPy. One file a kind; a new one gets a row in the table below."""

from typing import Any

from fastnn._validation import choose
from fastnn.reference.layers.base import Layer
from fastnn.reference.layers.batch_norm import BatchNorm1D, BatchNorm2D
from fastnn.reference.layers.conv2d import Conv2D
from fastnn.reference.layers.dense import FullyConnected
from fastnn.reference.layers.dropout import Dropout
from fastnn.reference.layers.elman import Elman
from fastnn.reference.layers.embedding import Embedding
from fastnn.reference.layers.flatten import Flatten
from fastnn.reference.layers.global_average_pool2d import GlobalAveragePool2D
from fastnn.reference.layers.layer_norm import LayerNorm
from fastnn.reference.layers.pool2d import Pool2D
from fastnn.reference.layers.residual import Residual

__all__ = [
    "LAYERS",
    "BatchNorm1D",
    "BatchNorm2D",
    "Conv2D",
    "Dropout",
    "Elman",
    "Embedding",
    "Flatten",
    "FullyConnected",
    "GlobalAveragePool2D",
    "Layer",
    "LayerNorm",
    "Pool2D",
    "Residual",
    "initialize_layer",
]

LAYERS: dict[str, type[Layer]] = {
    "fully_connected": FullyConnected,
    "layer_norm": LayerNorm,
    "dropout": Dropout,
    "batchnorm1d": BatchNorm1D,
    "batchnorm2d": BatchNorm2D,
    "residual": Residual,
    "conv2d": Conv2D,
    "pool2d": Pool2D,
    "flatten": Flatten,
    "global_average_pool2d": GlobalAveragePool2D,
    "embedding": Embedding,
    "elman": Elman,
}


def initialize_layer(name: str, **arguments: Any) -> Layer:
    """Return a new layer of that name; ``NotImplementedError`` if there is none."""
    return choose("layer", name, LAYERS)(**arguments)
