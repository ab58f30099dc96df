"""The layout of a CSV file, inferred from its first lines: separator, decimal mark, header."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import dataclass
from itertools import islice

from fastnn._csv.cells import Kind, kind, number
from fastnn._csv.records import Record, Source, read_records

_SAMPLE = 2**20  # characters
_RECORDS = 200
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SEPARATOR_LINE = re.compile(r'"?sep=([^\r\n])"?[ ]*(\r\n|\n|\r|$)', re.IGNORECASE)  # of Excel
_NUMBERS = (Kind.NUMBER, Kind.INFINITE, Kind.BOOLEAN)


@dataclass(frozen=True)
class Layout:
    """The layout of a table.

    Attributes
    ----------
    sep, decimal : str
    lines : int
        How many lines of the file come before the data.
    header : bool
        Whether the last of them names the columns.
    row_labels : bool
        Whether the first column, which has no name, labels the rows.
    names : tuple of str
        Of the columns, without row labels and without an empty last column.
    width : int
        How many cells a row of the file has.
    """

    sep: str
    decimal: str
    lines: int
    header: bool
    row_labels: bool
    names: tuple[str, ...]
    width: int

    @property
    def first(self) -> int:
        """The first column that is not row labels."""
        return int(self.row_labels)

    @property
    def trailing(self) -> bool:
        """Whether every line ends with a separator, which makes an empty column."""
        return self.first + len(self.names) < self.width

    def label(self, column: int) -> str:
        """Return what messages call a column; columns are counted without row labels."""
        name = self.names[column]
        return f"column {name!r}" if name != unnamed(column) else name


def unnamed(column: int) -> str:
    """Return the name of a column without a name."""
    return f"column {column + 1}"


def find_layout(source: Source, sep: str | None, header: bool | None) -> Layout:
    """Return the layout of a table.

    Raises
    ------
    ValueError
        For a file without rows, of one column, whose names are not unique, or whose first line may be
        a header or not.
    """
    text, whole = _sample(source)
    lines = 0
    found = _SEPARATOR_LINE.match(text)
    if found:
        lines, text, sep = 1, text[found.end() :], sep or found[1]
    if not text.strip():
        raise ValueError(f"{source.name} is empty: a table has rows of features and a target")
    sep = sep or _guess_separator(text, whole)
    starts, records = _records(text, sep, source.name, lines, whole)
    if _most_common(records) < 2:
        tried = repr(sep) if sep not in _SEPARATORS else "comma, semicolon, tab and bar"
        raise ValueError(
            f"{source.name} has one column (separators: {tried}): a table has at least one feature "
            "and a target; name another separator with sep"
        )
    decimal = "," if sep != "," and _has_decimal_comma(records) else "."
    has_header = _has_header(source.name, records, decimal) if header is None else header
    names = [cell.strip() for cell in records[0]] if has_header else []
    data = records[has_header:]
    if not data:
        raise ValueError(f"{source.name} has a header, but no rows")
    ragged = len({len(record) for record in data}) > 1
    width = len(names) if has_header and ragged else _most_common(data)
    trailing = _ends_with_separator(names, data, width)
    if has_header and len(names) not in (width, width - trailing):
        raise ValueError(
            f"{source.name}: the header, line {starts[0]}, has {len(names)} cells, "
            f"line {starts[1]} has {len(data[0])}"
        )
    row_labels = has_header and _labels_rows(names, data)
    first, last = int(row_labels), width - trailing
    if last - first < 2:
        raise ValueError(
            f"{source.name} has one column besides row labels and empty cells: "
            "a table has at least one feature and a target"
        )
    used = names[first:last] if has_header else [""] * (last - first)
    named = tuple(name or unnamed(i) for i, name in enumerate(used))
    twice = [name for name, times in Counter(named).items() if times > 1]
    if twice:
        places = ", ".join(str(first + i + 1) for i, name in enumerate(named) if name == twice[0])
        raise ValueError(f"{source.name}: columns {places} have one name, {twice[0]!r}; rename them")
    lines = starts[1] - 1 if has_header else lines
    return Layout(sep, decimal, lines, has_header, row_labels, named, width)


def _sample(source: Source) -> tuple[str, bool]:
    """Return a file's first lines, and whether they are all of it."""
    with source.open() as handle:
        text = handle.read(_SAMPLE) + "".join(islice(handle, 3))  # a header may be longer
        whole = not handle.read(1)
    if "\0" in text:
        raise ValueError(
            f"{source.name} is not plain text: it holds NUL bytes; "
            "a file of 16-bit characters is read with encoding='utf-16'"
        )
    return text, whole


def _records(
    text: str, sep: str, name: str, before: int, whole: bool, limit: int = _RECORDS
) -> tuple[list[int], list[Record]]:
    """Return the first records, and the lines that they begin in."""
    found = read_records(io.StringIO(text, newline=""), sep, name, before, whole)
    pairs = list(islice(found, limit + 1))
    if len(pairs) > limit or (not whole and len(pairs) > 1):  # the last one may be cut in two
        pairs.pop()
    return [line for line, _ in pairs], [cells for _, cells in pairs]


def _most_common(records: list[Record]) -> int:
    return Counter(map(len, records)).most_common(1)[0][0]


def _guess_separator(text: str, whole: bool) -> str:
    """Return the separator that cuts the first lines into rows of one length, and of numbers."""
    scores: dict[str, tuple[float, float, int]] = {}
    for sep in _SEPARATORS:
        try:
            _, records = _records(text, sep, "", 0, whole, 20)
        except ValueError:
            continue
        width = _most_common(records)
        if width > 1:
            cells = [cell for record in records for cell in record]
            marks = "." if sep == "," else ".,"
            numbers = sum(any(kind(cell, mark) in _NUMBERS for mark in marks) for cell in cells)
            alike = sum(len(record) == width for record in records) / len(records)
            scores[sep] = (alike, numbers / len(cells), width)
    return max(scores, key=lambda sep: scores[sep], default=",")


def _has_decimal_comma(records: list[Record]) -> bool:
    cells = [cell for record in records for cell in record]
    commas = any("," in cell and kind(cell, ",") is Kind.NUMBER for cell in cells)
    return commas and not any("." in cell and kind(cell) is Kind.NUMBER for cell in cells)


def _has_header(name: str, records: list[Record], decimal: str) -> bool:
    """Return whether the first record names the columns; ``load_csv`` documents the rule."""
    first, below = records[0], records[1:]
    if not below:
        return not any(kind(cell, decimal) in _NUMBERS for cell in first)
    columns = [
        [kind(record[i], decimal) for record in below if i < len(record)] for i in range(len(first))
    ]
    numeric = [i for i, kinds in enumerate(columns) if _mostly_numbers(kinds)]
    kinds = [kind(cell, decimal) for cell in first]
    if not numeric:
        return Kind.MISSING not in kinds and not any(k in _NUMBERS for k in kinds)
    words = [i for i in numeric if kinds[i] in (Kind.TEXT, Kind.DATE)]
    numbers = [i for i in numeric if kinds[i] in _NUMBERS]
    if numbers:  # names do not come again below, as class labels do
        words = [i for i in words if not _comes_again(records, i)]
    if _counts_columns(records, kinds, columns, bool(words)):
        return True
    if words and numbers:
        if not all(first[i].strip().isdecimal() for i in numbers):
            return False
        raise ValueError(
            f"{name}: the first line may be a header or not: {first[words[0]].strip()!r} is not a "
            f"number, {first[numbers[0]].strip()!r} is one; say header=True or header=False"
        )
    return bool(words)


def _mostly_numbers(kinds: list[Kind]) -> bool:
    known = [k for k in kinds if k is not Kind.MISSING]
    return sum(k in _NUMBERS for k in known) > len(known) / 2


def _counts_columns(
    records: list[Record], kinds: list[Kind], columns: list[list[Kind]], words: bool
) -> bool:
    """Return whether the first record's numbers are 0, 1, 2 ..., as pandas names columns."""
    first, below = records[0], records[1:]
    counted = [cell.strip() for cell, k in zip(first, kinds, strict=True) if k in _NUMBERS]
    if not counted or counted != [str(i) for i in range(len(counted))]:
        return False
    if words:
        return True
    labels = kinds[0] is Kind.MISSING and _labels_rows(first, below)
    others = [i for i in range(labels, len(first)) if kinds[i] not in _NUMBERS]
    if others:
        fresh = all(kinds[i] is not Kind.MISSING and not _comes_again(records, i) for i in others)
        return fresh and (labels or len(counted) > 2)
    if labels or len(counted) > 2:
        return True
    return all(  # two numbers are a header if all below are written otherwise
        "." in record[i] or columns[i][0] not in _NUMBERS
        for record in below
        for i in range(min(len(first), len(record)))
    )


def _comes_again(records: list[Record], i: int) -> bool:
    """Return whether a cell of the first record also stands below."""
    cell = records[0][i].strip()
    return any(cell == record[i].strip() for record in records[1:] if i < len(record))


def _labels_rows(names: Record, data: list[Record]) -> bool:
    """Return whether the first column has no name, no cell twice, and no number with a fraction."""
    if names[0].strip() or not any(names[1:]):
        return False
    labels = [record[0] for record in data]
    values = [number(label.strip(), mark) for label in labels for mark in ".,"]
    whole = all(value is None or value.is_integer() for value in values)
    return whole and len(set(labels)) == len(labels)


def _ends_with_separator(names: Record, data: list[Record], width: int) -> bool:
    """Return whether the last column is empty and has no name."""
    named = len(names) >= width and names[width - 1]
    return not named and all(len(r) >= width and not r[width - 1].strip() for r in data)
