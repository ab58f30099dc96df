"""The target of a table: classes or numbers."""

from __future__ import annotations

import itertools
import operator
import re
from collections import Counter
from typing import Any

import numpy as np

from fastnn._csv.cells import BOOLEANS, MISSING, Kind, kind
from fastnn._csv.faults import find_fault, is_like_a_number
from fastnn._csv.layout import Layout
from fastnn._csv.reading import as_numbers
from fastnn._csv.records import Source
from fastnn._typing import Array

_NOT_A_NUMBER = frozenset(Kind) - {Kind.NUMBER}


def find_column(source: Source, layout: Layout, target: Any) -> int:
    """Return the target's column, counted without row labels."""
    names = layout.names
    if isinstance(target, str):
        if target in names and layout.header:
            return names.index(target)
        if re.fullmatch(r"-?\d+", target, re.ASCII):
            return find_column(source, layout, int(target))
        known = ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")
        has = (
            f"its columns are {known}" if layout.header else "it has no header; give the column's index"
        )
        raise ValueError(f"{source.name} has no column {target!r}; {has}")
    try:
        index = None if isinstance(target, bool) else operator.index(target)
    except TypeError:
        index = None
    if index is None:
        raise TypeError(f"target must be a column's name or index, got {target!r}")
    if not -len(names) <= index < len(names):
        raise ValueError(
            f"target must be from {-len(names)} to {len(names) - 1}, as {source.name} has "
            f"{len(names)} columns, got {target}"
        )
    return index % len(names)


def are_classes(values: Array) -> bool:
    """Return whether numbers are class numbers by the rule of :func:`load_csv`."""
    if not (values == np.floor(values)).all():
        return False
    distinct, counts = np.unique(values, return_counts=True)
    k = len(distinct)
    if _are_few(k, len(values)):
        return True
    return bool(
        k <= 100
        and distinct[0] in (0, 1)
        and distinct[-1] - distinct[0] == k - 1
        and counts.min() >= 20
    )


def find_target(
    source: Source, layout: Layout, column: int, cells: Array, task: str
) -> tuple[Array, Array | None]:
    """Return the target, given as numbers or as texts, and its classes, or None for numbers."""
    values = as_numbers(cells, layout.decimal) if cells.dtype == object else cells
    if values is not None and np.isfinite(values).all():
        if task == "auto":
            task = "class" if are_classes(values) else "number"
        if task == "number":
            return values, None
    if cells.dtype != object:
        raise _fault(source, layout, column, _NOT_A_NUMBER)
    codes, labels = _labels(cells)
    if any(label.lower() in MISSING for label in labels):
        raise _fault(source, layout, column, frozenset({Kind.MISSING}))
    if task == "number" or (task == "auto" and values is not None):
        raise _fault(source, layout, column, _NOT_A_NUMBER)
    if task == "auto":
        _refuse_odd_texts(source, layout, column, codes, labels)
    what = f"{source.name}: the target, {layout.label(column)},"
    if len(labels) > 20 and 2 * len(labels) > len(cells):
        raise ValueError(
            f"{what} has {len(labels):,} different values in {len(cells):,} rows; these are no classes"
        )
    return _classes(codes, labels, as_numbers(labels, layout.decimal), what)


def _refuse_odd_texts(source: Source, layout: Layout, column: int, codes: Array, labels: Array) -> None:
    """Raise ``ValueError`` for dates, for numbers with a few texts among them, or with odd marks."""
    of: Counter[Kind] = Counter()
    marked = 0  # numbers to people, such as 1,500
    for label, count in zip(labels, np.bincount(codes), strict=True):
        found = kind(label, layout.decimal)
        of[found] += count
        marked += count * (found is Kind.TEXT and is_like_a_number(label, units=False))
    if 2 * of[Kind.DATE] > len(codes):
        raise _fault(source, layout, column, frozenset({Kind.DATE}))
    if 2 * marked > len(codes):
        fault = _fault(source, layout, column, _NOT_A_NUMBER)
        raise ValueError(f"{fault}; task='class' makes classes of texts")
    if 2 * of[Kind.NUMBER] > len(codes) and not _are_few(len(labels), len(codes)):
        fault = _fault(source, layout, column, _NOT_A_NUMBER)
        raise ValueError(f"{fault}, as most targets are; task='class' makes classes of texts")


def _are_few(classes: int, rows: int) -> bool:
    return classes <= 20 and 2 * classes <= rows


def _fault(source: Source, layout: Layout, column: int, faults: frozenset[Kind]) -> ValueError:
    found = find_fault(source, layout, column, faults)
    return found or ValueError(f"{source.name}: the target cannot be read")


def _labels(cells: Array) -> tuple[Array, Array]:
    """Return the different texts, without blanks around them, and the number of each cell's."""
    import pandas

    codes, texts = pandas.factorize(cells)
    numbers: dict[str, int] = {}
    places = np.array([numbers.setdefault(text.strip(), len(numbers)) for text in texts])
    return places[codes], np.array([*numbers], object)


def _classes(codes: Array, labels: Array, values: Array | None, what: str) -> tuple[Array, Array]:
    """Return class numbers and labels in sorted order."""
    truths = [label for label in sorted(labels) if label.lower() in BOOLEANS]
    for a, b in itertools.pairwise(sorted(truths, key=str.lower)):
        if a.lower() == b.lower():
            raise ValueError(
                f"{what} has the labels {a!r} and {b!r}, which are one truth value; write it alike"
            )
    order = np.argsort(labels if values is None else values, kind="stable")
    if values is not None:
        same = np.flatnonzero(np.diff(values[order]) == 0)
        if len(same):
            a, b = labels[order][same[0] : same[0] + 2]
            raise ValueError(
                f"{what} has the labels {a!r} and {b!r}, which are one number; write them the same way"
            )
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks[codes], labels[order].astype(np.str_)
