"""A network as a table."""

from __future__ import annotations

from html import escape

from fastnn._own import flag, name_of
from fastnn.engine import obstacle
from fastnn.stack import LayerStack

_HEADER = ("layer", "activation", "in", "out", "parameters")
_WORDS = 2  # columns of words, to the left; numbers go to the right


class Table(str):
    """Text that the prompt prints as it is, and that a notebook shows as HTML."""

    html: str

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return self.html


def table(model: LayerStack) -> Table:
    """Return the layers with their activation, widths and number of parameters, and the road taken."""
    rows, notes = [_HEADER, *_rows(model)], _notes(model)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < _WORDS else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    text = Table("\n".join([lines[0], rule, *lines[1:], rule, *notes]))
    head, *body = (_html_row(row, "th" if row is _HEADER else "td") for row in rows)
    text.html = (
        f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"
        f"<p>{'<br>'.join(map(escape, notes))}</p>"
    )
    return text


def _rows(model: LayerStack) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for i, layer in enumerate(model.layers):
        activation = getattr(layer, "activation", None)
        count = sum(p.size for p in layer.parameters.values())
        rows.append(
            (
                f"{i} {type(layer).__name__}",
                type(activation).__name__ if activation is not None else "-",
                str(layer.n_in or "?"),
                str(layer.n_out or "?"),
                f"{count:,}" if count or flag(layer, "is_initialized") else "?",
            )
        )
    return rows


def _notes(model: LayerStack) -> tuple[str, str]:
    total = sum(p.size for layer in model.layers for p in layer.parameters.values())
    parameters = f"{total:,} parameters" if total else "parameters are drawn with the first batch"
    dtype = next((str(layer.dtype) for layer in model.layers if layer.dtype), "dtype of the data")
    reason = obstacle(model)
    road = "one compiled call" if reason is None else f"layer by layer ({reason})"
    return (
        f"{parameters}, {dtype}; loss {name_of(model.loss)}, {model.optimizer!r}",
        f"a training step is {road}",
    )


def _html_row(row: tuple[str, ...], tag: str) -> str:
    cells = (
        f'<{tag} style="text-align: {"left" if i < _WORDS else "right"}">{escape(cell)}</{tag}>'
        for i, cell in enumerate(row)
    )
    return f"<tr>{''.join(cells)}</tr>"
