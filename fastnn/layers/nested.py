"""The arrays of a layer's own layers, under names such as ``0.W``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from fastnn.layers.base import Layer


def split(arrays: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Split a mapping into one dict per layer, with the layer's own names.

    Raises ``KeyError`` for a name that belongs to none of the ``count`` layers.
    """
    parts: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, value in arrays.items():
        i, own = place_of(name, count)
        parts[i][own] = value
    return parts


def place_of(name: str, count: int) -> tuple[int, str]:
    """Return the number of the layer that a name belongs to, and the layer's own name."""
    number, dot, own = name.partition(".")
    if not (dot and own and number.isdecimal() and int(number) < count and str(int(number)) == number):
        raise KeyError(f"{name!r}: names are like '0.W', the first of {count} layers' W")
    return int(number), own


class Nested(OrderedDict[str, Any]):
    """The dicts ``kind`` of several layers (such as ``parameters``) as a single dict.

    An assignment also changes the layer's dict.
    """

    def __init__(self, layers: Sequence[Layer] = (), kind: str = "") -> None:
        super().__init__()
        self._layers, self._kind = layers, kind
        for i, layer in enumerate(layers):
            for name, value in getattr(layer, kind).items():
                super().__setitem__(f"{i}.{name}", value)

    def __setitem__(self, name: str, value: Any) -> None:
        i, own = place_of(name, len(self._layers))
        held = getattr(self._layers[i], self._kind)
        held[own] = value
        super().__setitem__(name, held[own])

    def __delitem__(self, name: str) -> None:
        i, own = place_of(name, len(self._layers))
        del getattr(self._layers[i], self._kind)[own]
        super().__delitem__(name)

    def __reduce__(self) -> Any:
        return OrderedDict, ([*self.items()],)
