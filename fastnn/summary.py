"""A network as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.engine import obstacle

if TYPE_CHECKING:
    from fastnn.models import NeuralNetwork

_HEADER = ("layer", "activation", "in", "out", "parameters")


def table(model: NeuralNetwork) -> str:
    """Return the layers with their activation, widths and number of parameters, and the road taken."""
    rows = [_HEADER]
    total = 0
    for i, layer in enumerate(model.layers):
        count = sum(parameter.size for parameter in layer.parameters.values())
        total += count
        activation = getattr(layer, "activation", None)
        rows.append(
            (
                f"{i} {type(layer).__name__}",
                type(activation).__name__ if activation is not None else "-",
                str(layer.n_in or "?"),
                str(layer.n_out or "?"),
                f"{count:,}" if layer.parameters else "?",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    dtype = next((str(layer.dtype) for layer in model.layers if layer.dtype), "dtype of the data")
    footer = f"{total:,} parameters, {dtype}; loss {model.loss.name}, {model.optimizer!r}"
    reason = obstacle(model)
    road = "one compiled call" if reason is None else f"layer by layer ({reason})"
    return "\n".join([lines[0], rule, *lines[1:], rule, footer, f"a training step is {road}"])
