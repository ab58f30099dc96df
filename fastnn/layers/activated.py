"""The activation at the end of a layer's compiled step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastnn._own import says
from fastnn.activations import Activation
from fastnn.blueprint import Blueprint
from fastnn.kernels.emitted.tile import PLAIN
from fastnn.kernels.step import parts, phases
from fastnn.ports import Gate, Port


@dataclass
class Activated:
    """Where a layer's product ``(n, width)`` goes, and what is done to it.

    ``z``, ``dz``: the product and its gradient; ``tile``: what the product's tiles do; ``row``: the
    address of the activation's record, 0 where the tile does it; ``rowwise``: whether it takes rows.
    """

    z: int | Port
    dz: int
    tile: int = PLAIN
    row: int = 0
    rowwise: bool = False


def obstacle(activation: Any) -> str | None:
    """Return why a compiled step does not take an activation, or None."""
    if says(activation, "tile") is None and says(activation, "kernel") is None:
        return f"has the activation {type(activation).__name__}"
    return None


def activated(activation: Any, to: Blueprint, shape: int | tuple[int, ...], blocks: int) -> Activated:
    """Set ``to.output`` to an activation's output, of rows of a shape, in so many blocks of columns."""
    port = to.output = to.port(shape, blocks)
    width = port.width
    if to.leaves_activation:
        return Activated(port, port.gradient)
    if says(activation, "tile") is not None:
        return _on_tile(activation, to, port)
    z, dz = to.array(to.n, width), to.array(to.n, width) if to.learning else 0
    row = to.record(
        phases.Activation,
        z=z,
        output=port,
        d_output=port.gradient,
        dz=dz,
        width=width,
        forward=_part(activation, to, gradient=False),
        backward=_part(activation, to, gradient=True) if to.learning else 0,
        rowwise=activation.rowwise,
        parameter=activation.parameter or 0.0,
    )
    port.gate = Gate(lambda: row, activation.rowwise)
    return Activated(z, dz, PLAIN, row, activation.rowwise)


def _on_tile(activation: Any, to: Blueprint, port: Port) -> Activated:
    """Return an activation that the tile does: its output lies where the product does."""
    if activation.tile_gradient is not None:

        def row() -> int:
            part = parts.activation(activation.tile_gradient, False, True, False)
            return to.record(
                phases.Activation,
                z=port,
                d_output=port.gradient,
                dz=port.gradient,
                width=port.width,
                backward=part.address(to.dtype),
            )

        port.gate = Gate(row, relu=port)
    return Activated(port, port.gradient, activation.tile)


def _part(activation: Activation, to: Blueprint, gradient: bool) -> int:
    own: Any = activation
    kernel = own.gradient_kernel if gradient else own.kernel
    part = parts.activation(kernel, own.rowwise, gradient, own.parameter is not None)
    return part.address(to.dtype)
