"""The arrays that a layer keeps by name: parameters and buffers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn._arrays import aligned_copy
from fastnn._changes import WatchedDict
from fastnn._typing import Array
from fastnn._validation import as_float


class Parameters(WatchedDict):
    """A layer's parameters by name, open to assignment.

    An assigned array is copied, in the dtype and shape of the one it replaces, so that training
    never writes to an array of the caller's. Raises ``TypeError`` or ``ValueError`` if it cannot be,
    before anything changes.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        current = self.get(name)
        if value is current:  # layer.parameters["W"] -= step
            return
        label = f"parameters[{name!r}]"
        array = as_float(value, label, None if current is None else current.dtype)
        if current is not None and array.shape != current.shape:
            if array.shape != current.shape[-1:] or current.shape[0] != 1:
                raise ValueError(f"{label} has shape {current.shape}, got {array.shape}")
            array = array.reshape(current.shape)
        super().__setitem__(name, aligned_copy(array))

    def adopt(self, arrays: Mapping[str, Array]) -> None:
        """Take arrays over as they are, without a copy."""
        for name, array in arrays.items():
            super().__setitem__(name, array)


class Buffers(WatchedDict):
    """A layer's buffers by name, open to assignment.

    An assigned array is copied, in the dtype and shape of the one it replaces. Raises ``ValueError`` if
    it cannot be, before anything changes.
    """

    def __setitem__(self, name: str, value: Any) -> None:
        current = self.get(name)
        if value is current:  # layer.buffers["step"] += 1
            return
        array = np.asarray(value)
        if current is not None:
            if array.shape != current.shape or not np.can_cast(array.dtype, current.dtype, "same_kind"):
                raise ValueError(
                    f"buffers[{name!r}] is {current.dtype} {current.shape}, "
                    f"got {array.dtype} {array.shape}"
                )
            array = array.astype(current.dtype)
        super().__setitem__(name, aligned_copy(array))
