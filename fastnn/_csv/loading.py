"""A CSV file, from its first line to arrays."""

from __future__ import annotations

from typing import Any

from fastnn._csv.layout import find_layout
from fastnn._csv.reading import read_cells
from fastnn._csv.records import DAMAGED, Source
from fastnn._csv.target import find_column, find_target
from fastnn._typing import Array

TASKS = ("auto", "class", "number")


def load_columns(
    path: Any, target: Any, task: str, sep: str | None, header: bool | None, encoding: str
) -> tuple[Array, Array, tuple[str, ...], Array | None, str | None]:
    """Return features, target, the features' names, the classes or None, the target's name or None.

    See :func:`fastnn.load_csv`.
    """
    _check(task, sep, encoding)
    source = Source(path, encoding)
    try:
        layout = find_layout(source, sep, header)
        column = find_column(source, layout, target)
        X, cells, layout = read_cells(source, layout, column, task)
        if len(X) < 2:
            raise ValueError(f"{source.name} has 1 row; a table to learn from has 2 or more")
        y, classes = find_target(source, layout, column, cells, task)
    except UnicodeDecodeError as error:
        raise source.undecodable(error) from None
    except UnicodeError as error:
        raise ValueError(f"{source.name} is not text in {encoding} ({error})") from None
    except DAMAGED as error:
        if getattr(error, "errno", None) is not None:  # of the system, not of what decompresses
            raise
        raise ValueError(f"{source.name} is damaged: {error}") from None
    names = tuple(name for i, name in enumerate(layout.names) if i != column)
    return X, y, names, classes, layout.names[column] if layout.header else None


def _check(task: Any, sep: Any, encoding: Any) -> None:
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise ImportError("load_csv needs pandas: pip install 'fastnn-cpu[demo]'") from None
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(map(repr, TASKS))}, got {task!r}")
    if sep is not None and (
        not isinstance(sep, str) or len(sep) != 1 or not sep.isascii() or sep in '"\r\n'
    ):
        raise ValueError(f"sep must be one ASCII character and not a quote, got {sep!r}")
    try:
        "".encode(encoding)
    except (LookupError, TypeError):
        raise ValueError(f"encoding must name a text encoding, got {encoding!r}") from None
