"""The compiled passes behind ``LayerNorm.forward`` and ``LayerNorm.backward``, for large batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.layers import layer_norm as kernels
from fastnn.layers.alone import Alone, Passes


class _Pass(Alone):
    """A pass over a batch ``(n, ..., d)``."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], work: int) -> None:
        size, d = int(np.prod(shape)), shape[-1]
        super().__init__(shape, dtype, work * size)
        self.layer = kernels.LayerNorm.make(width=d, rows=size // shape[0] // d)

    def _run(self, **arrays: Array) -> None:
        for name, array in arrays.items():
            self.layer[name] = array.ctypes.data
        self.run()


class Forward(_Pass):
    """``Y = (X - mean) / sqrt(var + eps) * gain + shift``."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(shape, dtype, 4)
        self.add(kernels.forward, self.layer)

    def __call__(self, x: Array, gain: Array, shift: Array, eps: float, kept: Array, Y: Array) -> None:
        """Write Y and the rows' statistics; all arrays are C-contiguous."""
        self.layer["eps"] = eps
        self._run(input=x, gain=gain, shift=shift, kept=kept, output=Y)


class Backward(_Pass):
    """The gradients."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(shape, dtype, 8)
        d, blocks = shape[-1], self.row_blocks
        self._gain, self._shift = self.gradient(d), self.gradient(d)
        self.layer["d_gain"], self.layer["d_shift"] = self.array(blocks, d), self.array(blocks, d)
        self.layer["blocks"] = blocks
        self.layer["gain_row"], self.layer["shift_row"] = (
            row.ctypes.data for row in (self._gain, self._shift)
        )
        self.add(kernels.backward, self.layer)
        self.add(kernels.update_parameters, self.layer, 1)

    def __call__(
        self, x: Array, gain: Array, kept: Array, dy: Array, dX: Array, d_gain: Array, d_shift: Array
    ) -> None:
        """Write dX, d_gain and d_shift; all arrays are C-contiguous."""
        self._gain["gradient"], self._shift["gradient"] = d_gain.ctypes.data, d_shift.ctypes.data
        self._run(input=x, gain=gain, kept=kept, d_output=dy, d_input=dX)


forward, backward = Passes(Forward), Passes(Backward)
