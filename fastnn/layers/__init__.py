"""Layers. One file a layer; a new one gets a row in the table below."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastnn._own import call
from fastnn._validation import choose
from fastnn.layers.base import Layer
from fastnn.layers.batch_norm import BatchNorm1D, BatchNorm2D
from fastnn.layers.dense import FullyConnected
from fastnn.layers.dropout import Dropout
from fastnn.layers.layer_norm import LayerNorm
from fastnn.layers.residual import Residual

__all__ = [
    "BatchNorm1D",
    "BatchNorm2D",
    "Dropout",
    "FullyConnected",
    "Layer",
    "LayerNorm",
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
}


def initialize_layer(
    name: str,
    activation: Any = None,
    weight_init: Any = "xavier_uniform",
    n_out: int | None = None,
    kernel_shape: tuple[int, int] | None = None,
    stride: int | None = None,
    pad: str | int | None = None,
    mode: str | None = None,
    keep_dim: str = "first",
    l2: float = 0.0,
    eps: float | None = None,
    rate: float = 0.5,
    momentum: float | None = 0.95,
    layers: Sequence[Layer | Mapping[str, Any]] = (),
) -> Layer:
    """Return a new layer of that name; each takes the arguments it knows and ignores the others.

    None, for ``eps`` and ``momentum``, stands for the default of the layer's constructor. ``layers``
    may hold mappings of arguments of this function in the place of layers.

    Raises
    ------
    NotImplementedError
        If no layer has that name; the message lists those there are.
    """
    kind = choose("layer", name, LAYERS)
    chosen = {"eps": eps, "momentum": momentum}
    layer: Layer = call(
        kind,
        activation=activation,
        weight_init="xavier_uniform" if weight_init is None else weight_init,
        n_out=n_out,
        kernel_shape=kernel_shape,
        stride=stride,
        pad=pad,
        mode=mode,
        keep_dim=keep_dim,
        l2=l2,
        rate=rate,
        layers=[initialize_layer(**x) if isinstance(x, Mapping) else x for x in layers],
        **{argument: value for argument, value in chosen.items() if value is not None},
    )
    return layer
