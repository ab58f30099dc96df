"""The cells of a CSV file as arrays."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn._csv.cells import BOOLEANS, Kind, number
from fastnn._csv.faults import find_fault
from fastnn._csv.layout import Layout
from fastnn._csv.records import Source, read_records
from fastnn._typing import Array

if TYPE_CHECKING:
    import pandas

_CELLS_AT_ONCE = 400_000


def read_cells(source: Source, layout: Layout, target: int, task: str) -> tuple[Array, Array, Layout]:
    """Return the features, the target, and the layout with the right decimal mark.

    The target is numbers if it need not be classes, else the cells' texts.
    """
    if task != "class" and _has_fractions(source, layout, target):
        with contextlib.suppress(ValueError):  # the way below finds the reason
            return *_parse(source, layout, target, {}), layout
    texts = {target + layout.first: object}
    try:
        return *_parse(source, layout, target, texts), layout
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        reason = str(error)
    if layout.sep != "," and layout.decimal == ".":  # the first lines had whole numbers only
        layout = replace(layout, decimal=",")
        with contextlib.suppress(ValueError):
            return *_parse(source, layout, target, texts), layout
        layout = replace(layout, decimal=".")
    fault = find_fault(source, layout, target, frozenset({Kind.MISSING}))
    raise fault or ValueError(f"{source.name} cannot be read: {reason}")


def _has_fractions(source: Source, layout: Layout, target: int) -> bool:
    """Return whether one of the first targets is a number with a fraction."""
    with source.open() as handle:
        for _ in range(layout.lines):
            handle.readline()
        for _, cells in islice(read_records(handle, layout.sep, source.name), 100):
            value = number(cells[min(target + layout.first, len(cells) - 1)], layout.decimal)
            if value is not None and not value.is_integer():
                return True
    return False


def _parse(source: Source, layout: Layout, target: int, dtypes: dict[int, Any]) -> tuple[Array, Array]:
    """Return the features and the target.

    Raises ``ValueError`` if a cell or row is wrong; :func:`find_fault` says which.
    """
    target += layout.first
    columns = range(layout.first, layout.first + len(layout.names))
    features = [i for i in columns if i != target]
    dtypes = {i: object for i in range(layout.width) if i not in columns} | dtypes
    parts: list[Array] = []
    targets: list[Array] = []
    booleans: set[frozenset[int]] = set()
    for frame in _frames(source, layout, dtypes):
        X, found = _features(frame, features, layout.decimal)
        parts.append(X)
        booleans.add(found)
        column = frame[target]
        if target not in dtypes and column.dtype.kind not in "fiu":
            raise ValueError("targets that are no numbers")
        targets.append(column.to_numpy(dtypes.get(target, np.float64)))
    if len(booleans) > 1:
        raise ValueError("truth values among numbers")
    return np.concatenate(parts), np.concatenate(targets)


def _frames(source: Source, layout: Layout, dtypes: dict[int, Any]) -> Iterator[pandas.DataFrame]:
    """Yield the rows as pandas reads them, in parts that bound memory."""
    import pandas

    options: dict[str, Any] = {}
    if tuple(map(int, pandas.__version__.split(".")[:2])) < (3, 1):
        options["float_precision"] = "round_trip"  # later versions round correctly by themselves
    with source.open() as handle:
        for _ in range(layout.lines):
            handle.readline()
        with pandas.read_csv(
            handle,
            sep=layout.sep,
            decimal=layout.decimal,
            header=None,
            dtype=dtypes,
            na_filter=False,
            skipinitialspace=layout.sep != " ",
            low_memory=False,
            chunksize=max(_CELLS_AT_ONCE // layout.width, 1),
            **options,
        ) as frames:
            for frame in frames:
                if frame.shape[1] != layout.width:
                    raise ValueError(f"rows of {frame.shape[1]} cells")
                if layout.trailing and any(map(str.strip, frame[layout.width - 1])):
                    raise ValueError("cells in the last column")
                yield frame


def _features(
    frame: pandas.DataFrame, features: list[int], decimal: str
) -> tuple[Array, frozenset[int]]:
    """Return columns as an array of finite numbers, and which of them are truth values."""
    kinds = [frame[i].dtype.kind for i in features]
    if set(kinds) <= set("fiu"):
        X = np.ascontiguousarray(frame[features].to_numpy(np.float64))
        booleans: list[int] = []
    else:
        X = np.empty((len(frame), len(features)))
        booleans = [i for i, k in zip(features, kinds, strict=True) if k == "b"]
        for j, (i, k) in enumerate(zip(features, kinds, strict=True)):
            if k in "fiub":
                X[:, j] = frame[i].to_numpy(np.float64)
                continue
            texts = frame[i].to_numpy(object)
            values = as_numbers(texts, decimal)
            if values is None:  # truth values with blanks around them, or of other case
                found = [BOOLEANS.get(str(text).strip().lower()) for text in texts]
                if None in found:
                    raise ValueError("cells that are no numbers")
                values = np.array(found, np.float64)
                booleans.append(i)
            X[:, j] = values
    if not np.isfinite(X).all():
        raise ValueError("numbers that are not finite")
    return X, frozenset(booleans)


def as_numbers(texts: Array, decimal: str) -> Array | None:
    """Return texts as numbers, or None if one of them is no number."""
    try:
        joined = "".join(texts)
    except TypeError:  # pandas makes integers of those of more than 64 bits
        texts = np.array([*map(str, texts)], object)
        joined = "".join(texts)
    if decimal == "." and joined.isascii() and "_" not in joined:
        try:
            return texts.astype(np.float64)
        except ValueError:
            return None
    values = [number(text.strip(), decimal) for text in texts]
    return None if None in values else np.array(values, np.float64)
