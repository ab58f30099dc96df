"""Tables in files: :func:`load_csv` returns features and a target as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

from fastnn._csv.loading import load_columns
from fastnn._typing import Array


class Table(NamedTuple):
    """What :func:`load_csv` returns.

    Attributes
    ----------
    X : array (n, d) of float64
        The features.
    y : array (n,)
        The target: class numbers (int64), or numbers (float64).
    feature_names : tuple of str
        The ``d`` columns' names; ``"column 1"``, ... where they have none.
    classes : array of str, or None
        The classes' labels, ``classes[y]``; None for numbers.
    """

    X: Array
    y: Array
    feature_names: tuple[str, ...]
    classes: Array | None


def load_csv(
    path: str | Path | IO[str],
    *,
    target: int | str = -1,
    task: str = "auto",
    sep: str | None = None,
    header: bool | None = None,
    encoding: str = "utf-8",
) -> Table:
    r"""Return the features and the target of a CSV file.

    Needs pandas: ``pip install 'fastnn-cpu[demo]'``.

    Parameters
    ----------
    path : path or text stream
        Files ending in ``.gz``, ``.bz2`` and ``.xz`` are decompressed.
    target : int or str
        The target's column, by index or by name; all others are features. A text that is no name may
        be an index.
    task : {"auto", "class", "number"}
        What the target is. ``"auto"``: text and truth values are classes. Whole numbers are classes
        if there are at most 20 different ones, each of them twice or more on average, or if they are
        0 to k - 1 or 1 to k, at most 100, each of them 20 times or more. All others are numbers.
    sep : str, optional
        The character between cells. By default that of comma, semicolon, tab and bar which cuts the
        first lines into rows of one length; a first line ``sep=;``, which Excel writes, also names it.
    header : bool, optional
        Whether the first line names the columns. By default it does if, in columns of numbers, it has
        text and no number; a missing cell is neither. It also does if its numbers are 0, 1, 2, ..., as
        pandas names columns: three of them or more, or two with numbers below that all have a decimal
        point.
    encoding : str
        Of a file; a byte order mark is skipped.

    Returns
    -------
    Table
        The named tuple ``(X, y, feature_names, classes)``.

    Notes
    -----
    Columns of ``true`` and ``false`` are features of 1 and 0. Where cells are not separated by commas,
    a comma is the decimal mark, unless numbers have a point. Missing cells, which are empty or one of
    ``?``, ``NA``, ``N/A``, ``NaN``, ``null``, ``#N/A`` and ``<NA>``, are errors.

    Class labels are compared as text, without blanks around it; labels that are all numbers are sorted
    as numbers.

    A first column that has no name in a header and, in the first 200 rows, no cell twice and no number
    with a fraction holds row labels, as pandas and R write them, and is left out. A last column without
    name and content, which separators at the ends of all lines make, is left out too. Indices of
    columns do not count them.

    Raises
    ------
    ValueError
        For a file that is no such table; the message names line, column and cell, and a remedy.
        Lines are counted as in an editor.
    FileNotFoundError, IsADirectoryError
        If there is no such file, or it is a folder.
    ImportError
        If pandas is not installed; the message says how to install it.

    Examples
    --------
    >>> import io
    >>> text = "width,height,tree\n1.5,2,ash\n3,1,fir\n2.5,4,ash\n"
    >>> X, y, feature_names, classes = fastnn.load_csv(io.StringIO(text), target="tree")
    >>> y.tolist(), feature_names, classes.tolist()
    ([0, 1, 0], ('width', 'height'), ['ash', 'fir'])
    """
    return Table(*load_columns(path, target, task, sep, header, encoding)[:4])
