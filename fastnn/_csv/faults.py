"""Errors of CSV files that could not be read: a slow pass finds the line, column and cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastnn._csv.cells import Kind, kind, quoted
from fastnn._csv.layout import Layout
from fastnn._csv.records import Record, Source, read_records

_REMEDY_MISSING = (
    "drop or fill such rows, for instance with pandas' dropna or fillna or scikit-learn's SimpleImputer"
)
_REMEDY_TEXT = (
    "encode text as numbers, for instance with scikit-learn's OneHotEncoder in a pipeline, "
    "or leave such columns out"
)
_REMEDY_NUMBERS = "write numbers with a decimal point, no marks between thousands and no units"
_LIKE_A_NUMBER = re.compile(r"[+\u2212-]?[$€£]?\d[\d., '\u00a0\u2009\u202f]*[%$€£]?")
_REMEDY_DATES = "replace dates by numbers, such as days since the first one, or leave such columns out"


def is_like_a_number(cell: str, units: bool = True) -> bool:
    """Return whether people read a text as a number: ``1,500``, or with units ``$20`` or ``3 %``."""
    text = cell.strip()
    bare = text[-1:].isdigit() and text.lstrip("+-\u2212")[:1].isdigit()
    return (units or bare) and _LIKE_A_NUMBER.fullmatch(text) is not None


@dataclass
class _Column:
    """The kinds of a column's cells: how many of each, and where the first is."""

    counts: Counter[Kind] = field(default_factory=Counter)
    places: dict[Kind, tuple[int, str]] = field(default_factory=dict)

    def is_mostly(self, *kinds: Kind) -> bool:
        known = self.counts.total() - self.counts[Kind.MISSING]
        return sum(self.counts[k] for k in kinds) > known / 2

    def add(self, found: Kind, line: int, cell: str) -> None:
        self.counts[found] += 1
        self.places.setdefault(found, (line, cell))


def find_fault(
    source: Source, layout: Layout, target: int, target_faults: frozenset[Kind]
) -> ValueError | None:
    """Return the error for the first thing that is wrong, or None.

    Rows of other lengths and open quotes come first, then columns that hold text or dates, then the
    first cell that is missing or not a finite number.

    Parameters
    ----------
    target : int
        The target's column, counted without row labels.
    target_faults : set of Kind
        The kinds that are errors in the target's column.
    """
    try:
        columns = _survey(source, layout)
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        return error
    features = [i for i in range(len(columns)) if i != target]
    dated = range(len(columns)) if Kind.DATE in target_faults else features
    return (
        _columns_of(source, layout, columns, dated, (Kind.DATE,))
        or _columns_of(source, layout, columns, features, (Kind.TEXT, Kind.DATE))
        or _first_cell(source, layout, columns, target, target_faults)
    )


def _survey(source: Source, layout: Layout) -> list[_Column]:
    columns = [_Column() for _ in layout.names]
    with source.open() as handle:
        for _ in range(layout.lines):
            handle.readline()
        for line, cells in read_records(handle, layout.sep, source.name, layout.lines):
            if len(cells) != layout.width or (layout.trailing and cells[-1].strip()):
                raise ValueError(_wrong_length(source, layout, line, cells))
            for i, column in enumerate(columns, layout.first):
                found = kind(cells[i], layout.decimal)
                if found is Kind.NUMBER:
                    column.counts[found] += 1
                else:
                    column.add(found, _line_of(cells, i, line), cells[i])
    return columns


def _wrong_length(source: Source, layout: Layout, line: int, cells: Record) -> str:
    width = layout.width
    lines = _line_of(cells, len(cells), line) - line
    hint = f"; it goes on to line {line + lines}: is a quote not closed?" if lines else ""
    if len(cells) == width:
        return (
            f"{source.name}, line {line}: {quoted(cells[-1])} stands in a last column that has no name "
            "and is empty in the first rows"
        )
    return f"{source.name}, line {line}: the row has {len(cells)} cells, the others have {width}{hint}"


def _line_of(cells: Record, index: int, start: int) -> int:
    """Return the line in which a record's cell begins, as cells may have several lines."""
    return start + sum(len(re.findall(r"\r\n|\r|\n", cell)) for cell in cells[:index])


def _columns_of(
    source: Source,
    layout: Layout,
    columns: list[_Column],
    places: Sequence[int],
    kinds: tuple[Kind, ...],
) -> ValueError | None:
    """Return the error that names all columns that hold these kinds for the most part."""
    found = [i for i in places if columns[i].is_mostly(*kinds)]
    if not found:
        return None
    line, cell = min(columns[found[0]].places[k] for k in kinds if k in columns[found[0]].places)
    what, remedy = ("dates", _REMEDY_DATES) if kinds == (Kind.DATE,) else ("text", _REMEDY_TEXT)
    remedy = _REMEDY_NUMBERS if what == "text" and is_like_a_number(cell) else remedy
    labels = [layout.label(i) for i in found[:10]] + ["others"] * (len(found) > 10)
    names = " and ".join([", ".join(labels[:-1]), labels[-1]]) if len(labels) > 1 else labels[0]
    verb = "holds" if len(found) == 1 else "hold"
    return ValueError(
        f"{source.name}: {names} {verb} {what} (line {line}: {quoted(cell)}), not numbers; {remedy}"
    )


def _first_cell(
    source: Source, layout: Layout, columns: list[_Column], target: int, target_faults: frozenset[Kind]
) -> ValueError | None:
    """Return the error for the first cell of the file that is not what its column needs."""
    faults: list[tuple[int, int, Kind, str]] = []
    for i, column in enumerate(columns):
        wrong = {*Kind} - {Kind.NUMBER}
        if i == target:
            wrong &= target_faults
        elif not column.counts[Kind.NUMBER]:
            wrong -= {Kind.BOOLEAN}
        places = column.places.items()
        faults += [(line, i, k, cell) for k, (line, cell) in places if k in wrong]
    if not faults:
        return None
    line, i, k, cell = min(faults, key=lambda fault: fault[:2])
    where = f"{source.name}, line {line}, {layout.label(i)}"
    if k is Kind.MISSING:
        count = sum(column.counts[k] for column in columns)
        others = f"; {count:,} cells of the file are" if count > 1 else ""
        return ValueError(f"{where}: the cell is missing ({quoted(cell)}{others}); {_REMEDY_MISSING}")
    if k is Kind.INFINITE:
        return ValueError(f"{where}: {quoted(cell)} is not a finite number")
    remedy = f"; {_REMEDY_NUMBERS}" if is_like_a_number(cell) else ""
    return ValueError(f"{where}: {quoted(cell)} is not a number{remedy}")
