"""What a cell of a table is: a number, a truth value, missing, a date or text."""

from __future__ import annotations

import math
import re
from enum import Enum, auto

# Texts, in lower case, that stand for a value that is not known.
MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null"})
BOOLEANS = {"true": 1.0, "false": 0.0}
_DATE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]+\d{1,2}:\d{2}\S*.*)?|\d{1,2}:\d{2}(:\d{2}\S*)?", re.ASCII
)


class Kind(Enum):
    """The kinds of cells."""

    NUMBER = auto()
    INFINITE = auto()
    BOOLEAN = auto()
    MISSING = auto()
    DATE = auto()
    TEXT = auto()


def kind(cell: str, decimal: str = ".") -> Kind:
    """Return the kind of a cell; blanks around its text are ignored."""
    text = cell.strip()
    value = number(text, decimal)
    if value is not None and not math.isnan(value):
        return Kind.NUMBER if math.isfinite(value) else Kind.INFINITE
    lower = text.lower()
    if value is not None or lower in MISSING:
        return Kind.MISSING
    if lower in BOOLEANS:
        return Kind.BOOLEAN
    return Kind.DATE if _DATE.fullmatch(text) else Kind.TEXT


def number(text: str, decimal: str = ".") -> float | None:
    """Return the number that a text is, or None."""
    if "_" in text or not text.isascii():  # Python reads 1_1 as 11
        return None
    if decimal != ".":
        if "." in text:
            return None
        text = text.replace(decimal, ".")
    try:
        return float(text)
    except ValueError:
        return None


def quoted(cell: str, width: int = 40) -> str:
    """Return a cell's text in quotes, cut if it is long."""
    text = cell.strip()
    return repr(text if len(text) <= width else f"{text[: width - 3]}...")
