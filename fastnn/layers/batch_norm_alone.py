"""The compiled passes of batch normalisation's own methods, for large batches.

A batch is ``x (n, ..., d)``; statistics are float64 numbers ``(1, d)``; ``rest`` is the rounding error
of ``mean``. All arrays are C-contiguous.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.layers import batch_norm_jobs as jobs
from fastnn.layers.alone import Alone, Passes

_SMALL = 2**18  # bytes of a batch below which one call is faster than a loop of several threads


def is_large(x: Array) -> bool:
    """Return whether these passes are to be used for a batch."""
    return COMPILED and x.nbytes >= _SMALL


class _Pass(Alone):
    """A pass, whose record is ``layer``."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(shape, dtype, 4 * math.prod(shape))
        each, d = math.prod(shape[1:-1]), shape[-1]
        self.layer = jobs.BatchNorm.make(each=each, width=d, blocks=self.row_blocks)

    def sums(self, *names: str) -> None:
        """Give fields arrays of sums, a row for each block of the batch."""
        for name in names:
            self.layer[name] = self.array(self.row_blocks, self.layer["width"][0], dtype=np.float64)

    def run_with(self, arrays: dict[str, Array], **values: float) -> None:
        """Run with these arrays and numbers in the record."""
        for name, array in arrays.items():
            self.layer[name] = array.ctypes.data
        for name, value in values.items():
            self.layer[name] = value
        self.run()


class Training(_Pass):
    """Measure a batch, move the running statistics towards it, and normalise it."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(shape, dtype)
        self.sums("means", "rests", "squares")
        self.add(jobs.moments, self.layer)
        self.add(jobs.merge, self.layer, 1)
        self.add(jobs.normalise, self.layer)


class Constants(_Pass):
    """Normalise a batch by given statistics."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(shape, dtype)
        self.add(jobs.normalise, self.layer)


class Backward(_Pass):
    """The gradients."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        super().__init__(shape, dtype)
        self.sums("totals", "dots")
        self.sums("total", "dot")
        d = shape[-1]
        self._gamma, self._beta = self.gradient(d), self.gradient(d)
        self.layer["gamma_row"], self.layer["beta_row"] = (
            row.ctypes.data for row in (self._gamma, self._beta)
        )
        self.add(jobs.gradient_sums, self.layer)
        self.add(jobs.gradients, self.layer, 1)
        self.add(jobs.input_gradient, self.layer)

    def write(self, d_gamma: Array, d_beta: Array) -> None:
        """Let the parameters' gradients go into these arrays."""
        self._gamma["gradient"], self._beta["gradient"] = d_gamma.ctypes.data, d_beta.ctypes.data


training, constants, backward = Passes(Training), Passes(Constants), Passes(Backward)
