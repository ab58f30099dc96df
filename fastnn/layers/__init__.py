"""Layers. One file a layer; a new one gets a row in the table below."""

from typing import Any

from fastnn._own import call
from fastnn._validation import choose
from fastnn.layers.base import Layer
from fastnn.layers.dense import FullyConnected
from fastnn.layers.dropout import Dropout
from fastnn.layers.elman import Elman
from fastnn.layers.layer_norm import LayerNorm

__all__ = ["Dropout", "Elman", "FullyConnected", "Layer", "LayerNorm", "initialize_layer"]

LAYERS: dict[str, type[Layer]] = {
    "fully_connected": FullyConnected,
    "layer_norm": LayerNorm,
    "dropout": Dropout,
    "elman": Elman,
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
    eps: float = 1e-5,
    rate: float = 0.5,
    return_sequences: bool = False,
    mask_value: float | None = None,
) -> Layer:
    """Return a new layer of that name; each takes the arguments it knows and ignores the others.

    Raises
    ------
    NotImplementedError
        If no layer has that name; the message lists those there are.
    """
    kind = choose("layer", name, LAYERS)
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
        eps=eps,
        rate=rate,
        return_sequences=return_sequences,
        mask_value=mask_value,
    )
    return layer
