"""Class weights as weights of rows; a batch may lack some of the classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from fastnn._typing import Array


def class_counts(y: Array, exclusive: bool) -> Array:
    """Return how many rows have each class, ``(1, k)``; or lack and have each label, ``(k, 2)``.

    Parameters
    ----------
    y : array (n, k) of bool
    exclusive : bool
        Whether a row has exactly one of k classes, else any of k labels.
    """
    yes = np.asarray(np.count_nonzero(y, axis=0))
    return yes[np.newaxis] if exclusive else np.c_[len(y) - yes, yes]


def balanced_weights(y: Array, counts: Array, exclusive: bool) -> Array:
    """Return rows' weights by the frequencies of classes: ``n / (number of classes seen * count)``.

    With several labels to a row it is the product over them.
    """
    seen = np.count_nonzero(counts, axis=1)[:, np.newaxis]
    with np.errstate(divide="ignore"):  # no row has a class that was never seen
        table = counts.sum(axis=1, keepdims=True) / (seen * counts)
    if exclusive:
        return np.asarray(table[0, y.argmax(axis=1)])
    return np.asarray(np.where(y, table[:, 1], table[:, 0]).prod(axis=1))


def given_weights(y: Array, class_weight: Mapping[object, float], classes: Array) -> Array:
    """Return rows' weights by a dict of classes' weights, of which a batch may lack some.

    Raises ``ValueError`` for weights that are negative or not finite.
    """
    weights = compute_class_weight(dict(class_weight), classes=classes, y=classes)
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError(f"class_weight must be finite and not negative, got {class_weight!r}")
    index = y[:, 0].astype(int) if y.shape[1] == 1 else y.argmax(axis=1)
    return np.asarray(weights[index])
