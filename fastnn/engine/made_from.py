"""What of a network plans are made from: plans are good as long as it is the very same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import is_
from typing import Any

import numpy as np

from fastnn._changes import watched_names
from fastnn.layers import Layer
from fastnn.stack import LayerStack

Parts = list[tuple[Any, str, Any]]  # entries of mappings: (mapping, key, value)


def unchanged(mappings: Sequence[Any], keys: Sequence[str], values: Sequence[Any]) -> bool:
    """Return whether mappings hold the very same values under these keys."""
    return all(map(is_, map(dict.get, mappings, keys), values))


def parts_of(model: LayerStack) -> Parts:
    """Return what of a network's layers plans are made from."""
    parts: Parts = []
    for layer in _all(model.layers):
        parts += _watched(layer)
        for arrays in (layer.parameters, layer.buffers):
            parts += [(arrays, name, value) for name, value in arrays.items()]
    return parts


def _all(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Yield layers, including the layers inside composite layers."""
    for layer in layers:
        yield layer
        yield from _all(layer.nested)


def _watched(thing: Any) -> Parts:
    """Return the watched attributes of an object, which is of one of fastnn's classes."""
    own = vars(thing)
    return [(own, name, own[name]) for name in watched_names(thing.__class__) if name in own]


def counts(model: LayerStack) -> list[int]:
    """Return how many parameters each layer has."""
    return [len(layer.parameters) for layer in model.layers]


def trained_parts(model: LayerStack) -> Parts:
    """Return what plans of training are made from besides the layers."""
    optimizer = model.optimizer
    parts: Parts = [(vars(model), name, getattr(model, name)) for name in ("loss", "optimizer")]
    parts += _watched(optimizer)
    names = [f"{name}{i}" for i, layer in enumerate(model.layers) for name in layer.parameters]
    arrays = [p for layer in model.layers for p in layer.parameters.values()]
    for name, state in zip(names, optimizer.states(names, arrays), strict=True):
        parts.append((optimizer.cache, name, state))
        if not isinstance(state, np.ndarray):
            parts += _watched(state)
    return parts
