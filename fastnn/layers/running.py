"""The cache of a layer with running statistics."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from fastnn._validation import as_float
from fastnn.layers.base import Layer

RUNNING = ("running_mu", "running_var")


class RunningCache(OrderedDict[str, Any]):
    """A layer's cache, whose running statistics are copies of the layer's buffers.

    Assigning a running statistic writes the buffer. A value may also be computed when it is first
    read. A copy or pickle is an ordinary dict, from which the layer makes a ``RunningCache`` again.
    """

    def __init__(self, values: Mapping[str, Any], layer: Layer) -> None:
        self.layer = layer
        self._makers: dict[str, Callable[[], Any]] = {}
        super().__init__()
        for name in values:
            OrderedDict.__setitem__(self, name, [] if name in RUNNING else values[name])

    def __getitem__(self, name: str) -> Any:
        if name in RUNNING and name in self and name in self.layer.buffers:
            return self.layer.buffers[name].copy()
        if name in self._makers:
            super().__setitem__(name, self._makers.pop(name)())
        return super().__getitem__(name)

    def make(self, name: str, maker: Callable[[], Any]) -> None:
        """Set a value that ``maker()`` computes when it is first read."""
        super().__setitem__(name, [])
        self._makers[name] = maker

    def __setitem__(self, name: str, value: Any) -> None:
        if name in RUNNING and name in self.layer.buffers:
            buffer = self.layer.buffers[name]
            array = as_float(value, f"cache[{name!r}]", buffer.dtype)
            if array.size != buffer.size:
                raise ValueError(f"cache[{name!r}] has shape {buffer.shape}, got {array.shape}")
            buffer[...] = array.reshape(buffer.shape)
            value = []
        self._makers.pop(name, None)
        super().__setitem__(name, value)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401  this is what it would call

    def values(self) -> Any:
        return [self[name] for name in self]

    def items(self) -> Any:
        return [(name, self[name]) for name in self]

    def __reduce__(self) -> Any:
        plain = [(name, [] if name in RUNNING else self[name]) for name in self]
        return OrderedDict, (plain,)
