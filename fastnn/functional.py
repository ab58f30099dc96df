"""Losses from logits: ``(loss, gradient)`` in one pass, where a class would only be in the way."""

import numpy as np

from fastnn._arrays import unlocked
from fastnn._typing import Array, ArrayLike
from fastnn._validation import (
    ONE_CLASS,
    are_labels,
    as_float,
    as_float_pair,
    as_real,
    as_rows,
    class_numbers,
    require_number,
    restore,
)
from fastnn.kernels import cross_entropy, losses
from fastnn.kernels.parallel import sum_by_labels, sum_by_rows, sum_elementwise
from fastnn.losses import target_rows

_ONES = np.ones(4096)
_LABELS = np.dtype(np.int64)


def softmax_cross_entropy(
    Z: ArrayLike,
    Y: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> tuple[float, Array]:
    """Return the cross-entropy of ``softmax(Z)`` with targets, and its gradient with respect to Z.

    ``loss = sum(T * (logsumexp(Z) - Z)) / n`` and ``dZ = (softmax(Z) sum(T) - T) / n`` by rows, exact
    where a probability underflows or is 1. The target rows are
    ``T = s c ((1 - label_smoothing) Y + label_smoothing sum(Y) / k)``, with the weights s of the
    samples and c of the classes.

    Parameters
    ----------
    Z : array_like (n, k)
        Logits.
    Y : array_like
        Rows ``(n, k)``, one-hot or soft, or class numbers ``(n,)`` or ``(n, 1)`` of an integer dtype.
    label_smoothing : float
        Between 0 and 1 (C. Szegedy et al., "Rethinking the Inception architecture", CVPR 2016).
    class_weight : array_like (k,), optional
    sample_weight : array_like (n,), optional

    Raises
    ------
    TypeError, ValueError
        For data that are not real numbers, or shapes that do not fit.
    IndexError
        For a class number outside ``0 .. k - 1``.
    """
    z = as_rows(Z, "Z")
    if z.ndim != 2:
        raise ValueError(f"Z must have shape (n, classes), got {z.shape}")
    n, k = z.shape
    if k == 1:
        raise ValueError(f"Z has one column; {ONE_CLASS}")
    smoothing = require_number("label_smoothing", label_smoothing, low=0.0, high=1.0)
    classes = _weights(class_weight, "class_weight", k)
    samples = _weights(sample_weight, "sample_weight", n)
    targets = as_real(Y, "Y")
    if targets.ndim == 1 or are_labels(targets):
        labels = _labels(targets, n, k)
        dZ = np.empty_like(z)
        total = sum_by_labels(
            cross_entropy.softmax_cross_entropy_labels, z, labels, samples, classes, smoothing, dZ
        )
        return _mean(total, n), restore(dZ, Z)
    z, y = as_float_pair(z, Y, ("Z", "Y"))
    if class_weight is not None or sample_weight is not None or smoothing:
        y = target_rows(y, smoothing, classes * samples[:, None])
    dZ = np.empty_like(z)
    total = sum_by_rows(cross_entropy.softmax_cross_entropy, z, y, dZ)
    return _mean(total, n), restore(dZ, Z)


def binary_cross_entropy(Z: ArrayLike, Y: ArrayLike) -> tuple[float, Array]:
    """Return the binary cross-entropy of ``sigmoid(Z)`` with targets, and its gradient.

    ``loss = sum(Y softplus(-Z) + (1 - Y) softplus(Z)) / n`` and ``dZ = (sigmoid(Z) - Y) / n``, with n
    the number of rows; several columns are several questions, each with its own answer.

    Parameters
    ----------
    Z : array_like (n, ...)
        Logits.
    Y : array_like, shape of Z
        Targets between 0 and 1.

    Raises
    ------
    TypeError, ValueError
        For data that are not real numbers, or shapes that do not fit.
    """
    z, y = as_float_pair(Z, Y, ("Z", "Y"))
    if z.ndim == 0:
        raise ValueError("Z and Y need a batch axis, got two numbers")
    dZ = np.empty_like(z)
    total = sum_elementwise(losses.binary_cross_entropy, z, y, dZ)
    return _mean(total, len(z)), restore(dZ, Z)


def _mean(total: float, n: int) -> float:
    return total / n if n else float("nan")


def _weights(values: ArrayLike | None, name: str, size: int) -> Array:
    if values is None:
        return _ONES[:size] if size <= _ONES.size else np.ones(size)
    weights = as_float(values, name, np.dtype(np.float64), unlock=True)
    if weights.shape != (size,):
        raise ValueError(f"{name} must have shape ({size},), got {weights.shape}")
    return weights


def _labels(targets: Array, n: int, k: int) -> Array:
    if targets.dtype.kind not in "iub":
        raise TypeError(f"Y of one axis must hold class numbers, got dtype {targets.dtype}")
    if len(targets) != n:
        raise ValueError(f"Z has {n} rows, Y has shape {targets.shape}")
    if targets.dtype is not _LABELS or targets.ndim != 1:
        targets, _ = class_numbers(targets, k, "Y")
    labels = unlocked(np.require(targets, _LABELS, ["C", "A"]))
    if cross_entropy.strangers(labels, k):
        class_numbers(labels, k, "Y")  # which names the first one
    return labels
