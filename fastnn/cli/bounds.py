"""The least time that the machine allows for a kernel's bytes and arithmetic, on one core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn.bench.timing import measure
from fastnn.cli import inspection
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
            probe = (probes.multiply_add, probes.divide)[i]
            amount = per_element[i] * elements
            found.append(Bound(what, amount, _rate(probe, i, dtype), unit, "in the main loop"))
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


def _rate(probe: Any, which: int, dtype: str) -> float:
    """Return how many FLOPs (0) or divisions (1) a second a probe does, as counted in its own code."""
    source = np.full(4096, 0.5, dtype)
    target = np.empty_like(source)
    probe(1, source, target)  # compiles
    loop = inspection.main_loop(inspection.inspect(probe, 1, source, target))
    amount = loop.per_element()[which] if loop else 1.0
    return amount * source.size / measure(lambda: probe(1, source, target), 0.1)
