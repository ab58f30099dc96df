"""Layers. One file a layer; a new one gets a row in the table below."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from fastnn._own import call
from fastnn._validation import choose
from fastnn.layers.base import Layer
from fastnn.layers.batch_norm import BatchNorm1D, BatchNorm2D
from fastnn.layers.conv2d import Conv2D
from fastnn.layers.dense import FullyConnected
from fastnn.layers.dropout import Dropout
from fastnn.layers.elman import Elman
from fastnn.layers.embedding import Embedding
from fastnn.layers.flatten import Flatten
from fastnn.layers.global_average_pool2d import GlobalAveragePool2D
from fastnn.layers.layer_norm import LayerNorm
from fastnn.layers.pool2d import Pool2D
from fastnn.layers.residual import Residual

__all__ = [
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


def initialize_layer(
    name: str,
    activation: Any = None,
    weight_init: Any = None,
    n_out: int | None = None,
    kernel_shape: int | tuple[int, int] | None = None,
    stride: int | None = None,
    pad: str | int | tuple[int, int] | None = None,
    mode: str | None = None,
    keep_dim: Any = None,
    l2: float | None = None,
    eps: float | None = None,
    rate: float | None = None,
    n_in: int | None = None,
    axis: int | None = None,
    padding_index: int | None = None,
    momentum: float | None = 0.95,
    layers: Sequence[Layer | Mapping[str, Any]] = (),
    return_sequences: bool | None = None,
    mask_value: float | None = None,
) -> Layer:
    """Return a new layer of that name; each takes the arguments it knows and ignores the others.

    None stands for the default of the layer's class. ``layers`` may hold mappings of arguments of this
    function in the place of layers.

    Raises
    ------
    NotImplementedError
        If no layer has that name; the message lists those there are.
    """
    kind = choose("layer", name, LAYERS)
    given: dict[str, Any] = {
        "activation": activation,
        "weight_init": weight_init,
        "n_out": n_out,
        "kernel_shape": kernel_shape,
        "stride": stride,
        "pad": pad,
        "mode": mode,
        "keep_dim": keep_dim,
        "l2": l2,
        "eps": eps,
        "rate": rate,
        "n_in": n_in,
        "axis": axis,
        "padding_index": padding_index,
        "momentum": momentum,
        "layers": [initialize_layer(**x) if isinstance(x, Mapping) else x for x in layers],
        "return_sequences": return_sequences,
        "mask_value": mask_value,
    }
    required = {n for n, p in inspect.signature(kind).parameters.items() if p.default is p.empty}
    layer: Layer = call(
        kind, **{name: x for name, x in given.items() if x is not None or name in required}
    )
    return layer
