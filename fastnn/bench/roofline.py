"""The roofline picture: what kernels reach, under what the machine can do.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52(4), 2009. A kernel's operations for each byte that it moves
put it left or right; what it reaches puts it below a slope, bytes a second, or a ceiling, operations a
second. Both are counted as ``cases`` says, for the naive and the fast version alike, so that an arrow
from one to the other goes straight up.
"""

from pathlib import Path
from typing import Any

import numpy as np

from fastnn.bench.bounds import SIZES, Bounds
from fastnn.bench.cases import QUICK, Case
from fastnn.bench.record import Record

_GIGA = 1e9
_INK, _GRAY = "#222222", "#8a8a8a"


def draw(run: Record, path: Path) -> None:
    """Draw the quick cases of a record, as far as it has them, to a PNG."""
    from matplotlib.figure import Figure

    bounds = run.bounds[-1]
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log", xlabel="operations for each byte moved (FLOP/byte)")
    axes.set_ylabel("performance (GFLOP/s)")
    points = _points(run, bounds.threads)
    _roofs(axes, bounds, run.machine["caches"])
    for colour, (case, naive, fast) in enumerate(points):
        _arrow(axes, case, naive, fast, f"C{colour % 10}")
    plural = "s" if bounds.threads > 1 else ""
    axes.set_title(
        f"Plain NumPy (○) to fastnn (●): {run.machine['processor']}, {bounds.threads} thread{plural}",
        loc="left", fontsize=11,
    )  # fmt: skip
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    axes.grid(which="major", color="#e6e6e6", linewidth=0.6)
    figure.savefig(path, dpi=110)


def _points(run: Record, threads: int) -> list[tuple[Case, float | None, float]]:
    """Return the cases with the seconds of their baseline, if any, and of fastnn."""
    results = {result.case: result for result in run.results if result.threads == threads}
    points = []
    for case in QUICK:
        result = results.get(case.key)
        fast = result.median("fastnn") if result else None
        if result is None or fast is None:
            continue
        baseline = result.baseline()
        naive = result.median(baseline) if baseline else None
        points.append((case, naive and naive / 1e6, fast / 1e6))
    return points


def _roofs(axes: Any, bounds: Bounds, caches: dict[str, int]) -> None:
    low, high = 0.05, 200.0
    axes.set_xlim(low, high)
    peak = max(bounds.flops.values()) / _GIGA
    axes.set_ylim(peak / 3e4, peak * 1.8)
    for dtype, rate in bounds.flops.items():
        axes.plot([low, high], [rate / _GIGA] * 2, color=_INK, linewidth=1.4)
        axes.annotate(
            f"matrix product, {dtype}: {rate / _GIGA:.0f} GFLOP/s", (high, rate / _GIGA),
            xytext=(-4, 3), textcoords="offset points", ha="right", fontsize=8, color=_INK,
        )  # fmt: skip
    for name, rate in _levels(bounds, caches).items():
        x = np.array([low, peak * _GIGA / rate])
        axes.plot(x, x * rate / _GIGA, color=_GRAY, linewidth=1.1)
        axes.annotate(
            f"{name} {rate / _GIGA:.0f} GB/s", (low, low * rate / _GIGA), xytext=(3, 2),
            textcoords="offset points", rotation=_slope(axes), rotation_mode="anchor",
            transform_rotates_text=True, fontsize=8, color=_GRAY,
        )  # fmt: skip


def _slope(axes: Any) -> float:
    return 45.0


def _levels(bounds: Bounds, caches: dict[str, int]) -> dict[str, float]:
    """Return the bandwidth of a copy within half of each cache, and in memory."""
    rates = {}
    for level, size in caches.items():
        shared = level == "L3"
        rates[level] = bounds.bytes_per_second(size / 2 * (1 if shared else bounds.threads), reads=1)
    return rates | {"memory": bounds.bytes_per_second(SIZES[-1] * bounds.threads, reads=1)}


def _arrow(axes: Any, case: Case, naive: float | None, fast: float, colour: str) -> None:
    x = case.flops / case.bytes
    reached = case.flops / fast / _GIGA
    label = f"{case.key}: {naive / fast:,.3g}x" if naive else case.key
    axes.plot(x, reached, "o", color=colour, markersize=7, label=label, zorder=3)
    if naive:
        before = case.flops / naive / _GIGA
        axes.plot(x, before, "o", color=colour, markerfacecolor="white", markersize=7, zorder=3)
        axes.annotate(
            "", (x, reached), (x, before),
            arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 4, "shrinkB": 4},
        )  # fmt: skip
