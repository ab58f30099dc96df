"""Checks at the API's edge: everything past here may trust its input.

Arrays leave these functions as C-contiguous, aligned, native float32 or float64, which is the only
form the kernels are compiled for. float32 stays float32; float16 is computed in float32 and
returned as float16 (:func:`restore`); other real numbers become float64.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from fastnn._arrays import unlocked
from fastnn._typing import Array, DTypeLike

_T = TypeVar("_T")
_SINGLE, _DOUBLE = _FLOATS = np.dtype(np.float32), np.dtype(np.float64)
MAX_DIMENSION = 2**31 - 1  # BLAS takes 32-bit sizes and would wrap silently


def choose(kind: str, name: Any, table: Mapping[str, _T]) -> _T:
    """Return the table's entry for ``name``, in upper or lower case; see :func:`canonical`."""
    return table[canonical(kind, name, table)]


def canonical(kind: str, name: Any, table: Mapping[str, Any]) -> str:
    """Return the table's key that equals ``name`` except for upper and lower case.

    Raises ``NotImplementedError``, whose message lists the known names, if there is none.
    """
    if isinstance(name, str):
        if name in table:
            return name
        found = next((key for key in table if key.casefold() == name.casefold()), None)
        if found is not None:
            return found
    known = ", ".join(repr(key) for key in table)
    raise NotImplementedError(f"unknown {kind} {name!r}; known: {known}")


def require_number(
    name: str, value: Any, *, low: float, high: float = math.inf, strict: bool = False
) -> float:
    """Return ``value`` as a finite float of at least ``low`` (above it if ``strict``)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    too_low = number <= low if strict else number < low
    if not math.isfinite(number) or too_low or number > high:
        bounds = f"{'above' if strict else 'at least'} {low:g}"
        bounds += "" if high == math.inf else f" and at most {high:g}"
        raise ValueError(f"{name} must be finite, {bounds}, got {value!r}")
    return number


def require_count(name: str, value: Any, low: int = 1) -> int:
    """Return ``value`` as an int of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < low:
        raise ValueError(f"{name} must be at least {low}, got {value}")
    return int(value)


def require_float_dtype(name: str, dtype: DTypeLike | None) -> np.dtype[Any] | None:
    """Return ``dtype`` as float32 or float64, or None for None."""
    if dtype is None:
        return None
    try:
        resolved = np.dtype(dtype)
    except TypeError:
        resolved = None
    if resolved is None or resolved not in _FLOATS:
        raise ValueError(f"{name} must be 'float32' or 'float64', got {dtype!r}")
    return resolved


def require_unmasked(value: Any, name: str) -> None:
    """Raise ``ValueError`` for a masked array some of whose entries are masked."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        count = np.ma.count_masked(value)  # type: ignore[no-untyped-call]
        raise ValueError(
            f"{name} is an array with {count:,} masked entries; fill them, by its method filled, or "
            "leave such rows out"
        )


def as_real(value: Any, name: str) -> Array:
    """Return ``value`` as an array of real numbers of whatever dtype they have.

    Raises as :func:`as_float`, and ``ValueError`` for a masked array some of whose entries are masked.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array: {error}") from None
    require_unmasked(value, name)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array


def as_float(
    value: Any, name: str, dtype: np.dtype[Any] | None = None, *, unlock: bool = False
) -> Array:
    """Return ``value`` in the form the kernels take, without a copy where it has it already.

    Parameters
    ----------
    value : array_like of real numbers, any layout
    name : str
        The argument's name, for the error.
    dtype : float32 or float64, optional
        By default float32 for float16 and float32 input, float64 for everything else.
    unlock : bool
        Return a read-only array as one that is not (:func:`fastnn._arrays.unlocked`): for arrays that
        are only passed to kernels.

    Raises
    ------
    TypeError
        For object, string or complex data.
    ValueError
        For ragged lists, masked entries, or a dimension beyond ``2**31 - 1``.
    """
    if (
        type(value) is np.ndarray
        and ((found := value.dtype) is _SINGLE or found is _DOUBLE)  # one object each, if native
        and (dtype is None or found == dtype)
        and value.flags.carray
        and value.size <= MAX_DIMENSION
    ):
        return value
    array = as_real(value, name)
    if dtype is None:
        single = array.dtype.kind == "f" and array.dtype.itemsize <= 4
        dtype = _SINGLE if single else _DOUBLE
    if max(array.shape, default=0) > MAX_DIMENSION:
        raise ValueError(f"{name} has shape {array.shape}; no dimension may exceed 2**31 - 1")
    array = np.require(array, dtype, ["C", "A"])
    return unlocked(array) if unlock else array


def require_finite(array: Array, name: str, otherwise: str = "check_finite=False") -> None:
    """Raise ``ValueError`` if a float array holds NaN or infinity, naming the first row and column."""
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum()):  # no NaN and no infinity then; one pass, and nothing is made
            return
    rows = max(1, 2**16 * len(array) // max(array.size, 1))
    for begin in range(0, len(array), rows):
        strange = np.argwhere(~np.isfinite(array[begin : begin + rows]))
        if len(strange):
            row, *column = (int(i) for i in strange[0])
            value = array[(begin + row, *column)]
            where = f", column {', '.join(map(str, column))}" if column else ""
            raise ValueError(
                f"{name} holds {value} in row {begin + row}{where} (counted from 0); remove or replace "
                f"such values, or pass {otherwise} to skip this check"
            )


def as_weights(value: Any, n: int) -> Array:
    """Return ``n`` rows' weights in float64, finite and not negative, or raise ``ValueError``."""
    weights = as_float(value, "sample_weight", np.dtype(np.float64))
    if weights.shape != (n,):
        raise ValueError(f"sample_weight must have shape ({n},), a weight a row, got {weights.shape}")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("sample_weight must be finite and not negative")
    return weights


def rows_before(validation_split: Any, n: int) -> int:
    """Return how many of ``n`` rows remain for training if the last part of them is held out.

    Raises ``ValueError`` if ``validation_split`` is not between 0 and 1 or leaves one part empty.
    """
    share = require_number("validation_split", validation_split, low=0.0, high=1.0)
    kept = math.floor(n * (1.0 - share) + 1e-9)
    if not 0 < kept < n:
        raise ValueError(
            f"validation_split={validation_split!r} of {n} rows leaves {kept} for training and "
            f"{n - kept} for validation; both need at least one row"
        )
    return kept


def as_float_pair(a: Any, b: Any, names: tuple[str, str]) -> tuple[Array, Array]:
    """Return two arrays of one shape in their common float dtype, for kernels; see :func:`as_float`."""
    first, second = as_float(a, names[0], unlock=True), as_float(b, names[1], unlock=True)
    if first.shape != second.shape:
        raise ValueError(
            f"{names[0]} and {names[1]} must have the same shape, got {first.shape} and {second.shape}"
        )
    if first.dtype is not second.dtype:
        first, second = as_float(first, names[0], _DOUBLE), as_float(second, names[1], _DOUBLE)
    return first, second


def restore(out: Array, *inputs: Any) -> Array:
    """Return a result in the form its input asks for: float16 if all were, a scalar if 0-d."""
    single = out.dtype is _SINGLE and getattr(inputs[0], "dtype", None) is not _SINGLE
    if single and all(getattr(value, "dtype", _DOUBLE).char == "e" for value in inputs):
        out = out.astype(np.float16)
    return out if out.ndim else out[()]


def require_classes(array: Array, name: str) -> None:
    """Raise ``ValueError`` unless the array has a last axis with at least one entry."""
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name} needs at least one class in its last axis, got {array.shape}")


def as_rows(value: Any, name: str) -> Array:
    """Return a float array with at least one entry in its last dimension, for kernels."""
    array = as_float(value, name, unlock=True)
    require_classes(array, name)
    return array


def are_labels(array: Array) -> bool:
    """Return whether targets of a classification are class numbers: integers ``(n,)`` or ``(n, 1)``."""
    return array.dtype.kind in "iub" and (array.ndim == 1 or array.shape[1:] == (1,))


def class_numbers(labels: Array, n_classes: int | None, name: str) -> tuple[Array, int]:
    """Return integer or boolean labels as ``(n,)`` int64, and the number of classes.

    ``n_classes=None`` infers their number from the largest label.

    Raises
    ------
    IndexError
        For a label that is negative, or not below the number of classes.
    ValueError
        For a label that is too large to be a class number.
    """
    flat = labels.reshape(-1)
    largest = int(flat.max(initial=0))
    count = largest + 1 if n_classes is None else n_classes
    if count > MAX_DIMENSION:
        raise ValueError(f"{name} holds the class {largest}; classes are numbered from 0 without gaps")
    if flat.size and (largest >= count or flat.min() < 0):
        bad = int(flat[(flat < 0) | (flat >= count)][0])
        raise IndexError(f"{name} holds the class {bad}; there are {count}: 0 to {count - 1}")
    return np.require(flat, np.int64, ["C", "A"]), count


def one_hot(labels: Array, n_classes: int | None, name: str, dtype: np.dtype[Any]) -> Array:
    """Return labels as rows ``(n, n_classes)``; see :func:`class_numbers`."""
    numbers, count = class_numbers(labels, n_classes, name)
    rows = np.zeros((len(numbers), count), dtype)
    rows[np.arange(len(numbers)), numbers] = 1
    return rows


ONE_CLASS = (
    "the softmax of one output is always 1, so that there is nothing to learn: give class numbers (n,) "
    "of two classes or more, or, for targets 0 and 1, the loss 'binary_cross_entropy' with a sigmoid"
)

ONE_COLUMN = (
    "cross-entropy of one output is least where the output is always 1, whatever the targets: give "
    "class numbers (n,) to a softmax of two outputs or more, or, for yes and no, use the loss "
    "'binary_cross_entropy' with a sigmoid"
)


def as_batch(value: Any, name: str, dtype: np.dtype[Any] | None) -> Array:
    """Return a float array with a batch axis; see :func:`as_float`."""
    array = as_float(value, name, dtype)
    if array.ndim == 0:
        raise ValueError(f"{name} needs a batch axis, got a number")
    return array


def as_targets(value: Any, n: int, names: tuple[str, str], n_out: int | None, classes: bool) -> Array:
    """Return targets for a batch of ``n`` as float rows ``(n, n_out)``.

    ``value`` may be such rows; if ``classes``, class numbers ``(n,)`` or ``(n, 1)`` of an integer
    dtype, else targets ``(n,)`` of one output. ``n_out=None`` infers the number of outputs.
    """
    features, name = names
    given = as_real(value, name)
    if classes and given.ndim == 1 and given.size and given.dtype.kind not in "iub":
        raise TypeError(
            f"{name} of one axis must hold class numbers of an integer dtype, "
            f"got {given.dtype}; class weights are rows (n, classes)"
        )
    if classes and are_labels(given) and (given.size or n_out is not None):
        rows = one_hot(given, n_out, name, _DOUBLE)
    else:
        rows = as_float(given, name)
        rows = rows.reshape(-1, 1) if rows.ndim == 1 else rows
    if rows.ndim == 0 or len(rows) != n:
        raise ValueError(f"{features} has {n} rows, {name} has shape {given.shape}")
    if rows.ndim != 2:
        raise ValueError(f"{name} must be rows (n, outputs), got shape {given.shape}")
    if n_out is not None and rows.shape[1] != n_out:
        raise ValueError(f"{name} has {rows.shape[1]} columns, the last layer {n_out} outputs")
    if rows.shape[1] == 0:
        raise ValueError(f"{name} has 0 columns; a network needs at least one output")
    return rows
