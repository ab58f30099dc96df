"""What stands between two layers of a compiled step: an array, and the activation that made it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property


@dataclass
class Port:
    """An array ``(n, *shape)`` between two layers: one writes it, the next reads it.

    Attributes
    ----------
    address : int
        Of the array; 0 for the network's input, whose address each call gives.
    shape : tuple of int
        The shape of one row, without n.
    blocks : int
        Number of blocks of columns of ``(n, width)`` that threads share.
    gradient : int
        Where the array's gradient is written; 0 if nobody needs it.
    gate : Gate, optional
        The activation that made the array.
    fields : list of int
        Addresses of the records' fields that hold the array's address.
    """

    address: int
    shape: tuple[int, ...]
    blocks: int = 1
    gradient: int = 0
    gate: Gate | None = None
    fields: list[int] = field(default_factory=list)

    @cached_property
    def width(self) -> int:
        """Number of elements in a row."""
        return math.prod(self.shape)


class Gate:
    """An activation's gradient.

    The layer that computes the gradient of the activation's output may apply it at once; it then sets
    ``honoured``. Otherwise the blueprint adds a phase.

    Parameters
    ----------
    row : function without arguments
        Returns the address of a :class:`fastnn.kernels.step.phases.Activation`.
    rowwise : bool
        Whether the gradient takes whole rows.
    relu : Port, optional
        Where the output lies, if the gradient can be applied on a product's tile.
    """

    def __init__(self, row: Callable[[], int], rowwise: bool = False, relu: Port | None = None) -> None:
        self._make, self.rowwise, self.relu = row, rowwise, relu
        self.honoured = False

    @cached_property
    def row(self) -> int:
        """The activation's record, written when it is first needed."""
        return self._make()
