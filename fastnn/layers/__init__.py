"""Layers. One file a layer; a new one gets a row in the table below."""

from typing import Any

from fastnn._own import call
from fastnn._validation import choose
from fastnn.layers.base import Layer
from fastnn.layers.dense import FullyConnected
from fastnn.layers.dropout import Dropout
from fastnn.layers.embedding import Embedding
from fastnn.layers.flatten import Flatten
from fastnn.layers.global_average_pool2d import GlobalAveragePool2D
from fastnn.layers.layer_norm import LayerNorm
from fastnn.layers.pool2d import Pool2D

__all__ = [
    "Dropout",
    "Embedding",
    "Flatten",
    "FullyConnected",
    "GlobalAveragePool2D",
    "Layer",
    "LayerNorm",
    "Pool2D",
    "initialize_layer",
]

LAYERS: dict[str, type[Layer]] = {
    "fully_connected": FullyConnected,
    "layer_norm": LayerNorm,
    "dropout": Dropout,
    "pool2d": Pool2D,
    "flatten": Flatten,
    "global_average_pool2d": GlobalAveragePool2D,
    "embedding": Embedding,
}


def initialize_layer(
    name: str,
    activation: Any = None,
    weight_init: Any = None,
    n_out: int | None = None,
    kernel_shape: int | tuple[int, int] | None = None,
    stride: int | None = None,
    pad: str | int | tuple[int, int] | None = None,
    mode: str | None = None,
    keep_dim: str | int | None = None,
    l2: float = 0.0,
    eps: float = 1e-5,
    rate: float = 0.5,
    n_in: int | None = None,
    axis: int | None = None,
    padding_index: int | None = None,
) -> Layer:
    """Return a new layer of that name; each takes the arguments it knows and ignores the others.

    None stands for the constructor's default.

    Raises
    ------
    NotImplementedError
        If no layer has that name; the message lists those there are.
    """
    kind = choose("layer", name, LAYERS)
    optional = {
        "weight_init": weight_init,
        "stride": stride,
        "pad": pad,
        "mode": mode,
        "keep_dim": keep_dim,
        "axis": axis,
    }
    layer: Layer = call(
        kind,
        activation=activation,
        n_out=n_out,
        kernel_shape=kernel_shape,
        l2=l2,
        eps=eps,
        rate=rate,
        n_in=n_in,
        padding_index=padding_index,
        **{argument: value for argument, value in optional.items() if value is not None},
    )
    return layer
