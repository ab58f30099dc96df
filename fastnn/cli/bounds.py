"""The least time that the machine allows for a kernel's bytes and arithmetic, on one core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.bench.timing import measure
from fastnn.kernels.compiling.jit import VECTOR_BYTES
from fastnn.kernels.step import probes


@dataclass(frozen=True)
class Bound:
    """An amount of work, in units, and the rate measured for it on one core, in units a second."""

    what: str
    amount: float
    rate: float
    unit: str
    where: str

    @property
    def seconds(self) -> float:
        """The least time the work takes."""
        return self.amount / self.rate


def bounds(moved: int, elements: int, per_element: tuple[float, float], dtype: str) -> list[Bound]:
    """Return what bounds a kernel that moves so many bytes and whose main loop does so much."""
    found = [Bound("bytes", moved, _copy_rate(moved), "B", "read and written")]
    for i, (what, unit) in enumerate((("FLOPs", "FLOP"), ("divisions", "div"))):
        if per_element[i]:
            rate = (_flop_rate, _division_rate)[i](dtype)
            found.append(Bound(what, per_element[i] * elements, rate, unit, "in the main loop"))
    return found


def _copy_rate(moved: int) -> float:
    """Return the rate of a copy that reads and writes so many bytes, by the faster of two ways."""
    source = np.ones(max(moved // 16, 1))
    target = np.zeros_like(source)
    probes.copy(1, source, target)  # compiles
    ways: list[Callable[[], Any]] = [
        lambda: np.copyto(target, source),
        lambda: probes.copy(1, source, target),
    ]
    return 2 * source.nbytes / min(measure(way, 0.1) for way in ways)


def _flop_rate(dtype: str) -> float:
    """Return how many FLOPs a second one core does."""
    out = np.full(VECTOR_BYTES, 0.5, dtype)
    probes.multiply_add(1, out)  # compiles
    return probes.flops_of_a_turn(out.itemsize) / measure(lambda: probes.multiply_add(1, out), 0.1)


def _division_rate(dtype: str) -> float:
    """Return how many divisions a second one core does."""
    source = np.full(4096, 0.5, dtype)
    target = np.empty_like(source)
    probes.divide(1, source, target)  # compiles
    return source.size / measure(lambda: probes.divide(1, source, target), 0.1)
