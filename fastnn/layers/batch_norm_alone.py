"""Batch normalisation of large batches outside a network's step, on all cores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.layers import batch_norm_gradient as kernels
from fastnn.kernels.layers import batch_norm_jobs as jobs
from fastnn.layers.alone import Alone

_SMALL = 2**22  # bytes of a batch below which one call is faster than a loop of several threads


def is_large(x: Array) -> bool:
    """Return whether several threads are to normalise a batch."""
    return COMPILED and x.nbytes >= _SMALL


@dataclass
class Batch:
    """A C-contiguous batch ``x (n, ..., d)`` and float64 statistics ``(1, d)`` to normalise it with.

    ``rest`` is the rounding error of ``mean``; ``eps`` is added to ``var``.
    """

    x: Array
    mean: Array
    rest: Array
    var: Array
    eps: float

    def __post_init__(self) -> None:
        self.to, self.d = Alone(self.x, 4 * self.x.size), self.mean.size
        arrays = {"input": self.x, "mean": self.mean, "rest": self.rest, "var": self.var}
        self._fields = {name: array.ctypes.data for name, array in arrays.items()}
        self._fields |= {
            "each": self.x[0].size // self.d,
            "width": self.d,
            "blocks": self.to.row_blocks,
        }

    def _row(self, **values: float) -> int:
        return self.to.record(jobs.BatchNorm, eps=self.eps, **self._fields, **values)

    def _sums(self) -> Array:
        return np.empty((self.to.row_blocks, self.d))

    def measure(self, running: tuple[Array, Array], momentum: float, unbiased: bool) -> None:
        """Write the batch's statistics, and move the running ones towards them."""
        parts = {name: self._sums() for name in ("means", "rests", "squares")}
        row = self._row(
            running_mean=running[0].ctypes.data,
            running_var=running[1].ctypes.data,
            momentum=momentum,
            unbiased=unbiased,
            **{name: array.ctypes.data for name, array in parts.items()},
        )
        self.to.run(jobs.moments, row)
        self.to.run_once(jobs.merge, row)

    def normalise(self, gamma: Array, beta: Array, out: Array) -> None:
        """Write ``(x - mean) / sqrt(var + eps) * gamma + beta``."""
        arrays = {"gamma": gamma, "beta": beta, "output": out}
        row = self._row(**{name: array.ctypes.data for name, array in arrays.items()})
        self.to.run(jobs.normalise, row)

    def backward(
        self, gamma: Array, dy: Array, constant: bool, d_gamma: Array, d_beta: Array, dx: Array
    ) -> None:
        """Write the gradients; ``constant``: whether the statistics do not depend on x."""
        totals, dots, total, dot = (
            self._sums(),
            self._sums(),
            np.empty((1, self.d)),
            np.empty((1, self.d)),
        )
        arrays = {"gamma": gamma, "d_output": dy, "d_input": dx, "total": total, "dot": dot}
        arrays |= {"totals": totals, "dots": dots}
        addresses = {name: array.ctypes.data for name, array in arrays.items()}
        row = self._row(constant=constant, **addresses)
        self.to.run(jobs.gradient_sums, row)
        kernels.parameter_gradients(totals, dots, self.var, self.eps, total, dot, d_gamma, d_beta)
        self.to.run(jobs.input_gradient, row)
