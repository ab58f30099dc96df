"""Attribute dictionaries and one-hot rows."""

from typing import Any

import numpy as np

from fastnn._typing import Array, ArrayLike
from fastnn._validation import one_hot, require_unmasked


class AttrDict(dict[str, Any]):
    """A dictionary whose entries are also attributes: ``args.lr`` is ``args["lr"]``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.__dict__ = self

    def __reduce__(self) -> Any:
        return type(self), (), None, None, iter(self.items())


def integers_to_one_hot(v: ArrayLike, max_val: int | None = None) -> Array:
    """Return float64 rows ``(n, max_val + 1)`` with a 1 at each integer of ``v (n,)``.

    ``max_val`` is the largest integer by default. ``(n, 1)`` columns are taken as ``(n,)``.

    Raises
    ------
    TypeError
        If ``v`` does not hold integers.
    ValueError
        If ``v`` is empty and ``max_val`` is not given, or has more than one axis of length above 1.
    IndexError
        If an integer is negative or above ``max_val``.
    """
    require_unmasked(v, "v")
    labels = np.atleast_1d(np.squeeze(np.asarray(v)))
    if labels.dtype.kind == "f" and np.all((labels == np.floor(labels)) & (abs(labels) < 2**63)):
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iu" and labels.size:
        raise TypeError(f"v must hold integers, got dtype {labels.dtype}")
    if labels.ndim != 1:
        raise ValueError(f"v must have one axis, got shape {np.shape(v)}")
    if max_val is None and not labels.size:
        raise ValueError("v is empty: give max_val")
    count = None if max_val is None else int(max_val) + 1
    return one_hot(labels, count, "v", np.dtype(np.float64))
