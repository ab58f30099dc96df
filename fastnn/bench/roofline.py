"""The roofline picture: what kernels reach, under what the machine can do.

S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52(4), 2009. A kernel's operations for each byte that it moves
put it left or right; what it reaches puts it below a slope, bytes a second, or a ceiling, operations a
second. Both are counted as ``cases`` says, for the naive and the fast version alike, so that an arrow
from one to the other goes straight up.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastnn.bench.bounds import SIZES, Bounds
from fastnn.bench.cases import QUICK, Case
from fastnn.bench.record import Record

_GIGA = 1e9
_LOW, _HIGH = 0.05, 100.0  # operations for each byte
_INK, _GRAY = "#222222", "#7a7a7a"


class _Point(NamedTuple):
    case: Case
    naive: float  # seconds
    fast: float

    @property
    def intensity(self) -> float:
        return self.case.flops / self.case.bytes

    def reached(self, seconds: float) -> float:
        return self.case.flops / seconds / _GIGA

    @property
    def label(self) -> str:
        ratio = self.naive / self.fast
        return f"{self.case.key}: {ratio:,.0f}x" if ratio >= 10 else f"{self.case.key}: {ratio:.1f}x"


def draw(run: Record, path: Path) -> None:
    """Draw the quick cases of a record, as far as it has them, to a PNG."""
    from matplotlib.figure import Figure

    bounds = run.bounds[-1]
    figure = Figure(figsize=(10, 7), layout="constrained")
    axes = figure.subplots()
    points = _points(run, bounds.threads)
    _axes(axes, bounds, points)
    _roofs(axes, bounds, run.machine["caches"])
    for number, point in enumerate(points, 1):
        _arrow(axes, number, point)
    plural = "s" if bounds.threads > 1 else ""
    axes.set_title(
        f"From plain NumPy (hollow) to fastnn (filled); {run.machine['processor']}, "
        f"{bounds.threads} thread{plural}",
        loc="left", fontsize=11,
    )  # fmt: skip
    axes.legend(loc="lower left", fontsize=8.5, markerscale=0.6, framealpha=1, edgecolor="none")
    figure.savefig(path, dpi=100)


def _points(run: Record, threads: int) -> list[_Point]:
    results = {result.case: result for result in run.results if result.threads == threads}
    points = []
    for case in QUICK:
        result = results.get(case.key)
        baseline = result.baseline() if result else None
        naive = result.median(baseline) if result and baseline else None
        fast = result.median("fastnn") if result else None
        if naive and fast:
            points.append(_Point(case, naive / 1e6, fast / 1e6))
    return sorted(points, key=lambda point: point.intensity)


def _axes(axes: Any, bounds: Bounds, points: list[_Point]) -> None:
    peak = max(bounds.flops.values()) / _GIGA
    lowest = min((point.reached(point.naive) for point in points), default=peak / 1e3)
    axes.set(xscale="log", yscale="log", xlim=(_LOW, _HIGH), ylim=(lowest / 2, peak * 2))
    axes.set_xlabel("operations for each byte moved (FLOP/byte)")
    axes.set_ylabel("performance (GFLOP/s)")
    axes.grid(which="major", color="#e9e9e9", linewidth=0.6)
    axes.set_axisbelow(True)
    plain = "{x:g}".format
    axes.xaxis.set_major_formatter(lambda x, _: plain(x=x))
    axes.yaxis.set_major_formatter(lambda x, _: plain(x=x))


def _roofs(axes: Any, bounds: Bounds, caches: dict[str, int]) -> None:
    peak = max(bounds.flops.values())
    levels = _levels(bounds, caches)
    for dtype, rate in bounds.flops.items():
        start = rate / max(levels.values())
        axes.plot([start, _HIGH], [rate / _GIGA] * 2, color=_INK, linewidth=1.3)
        axes.annotate(
            f"multiply-adds in {dtype}, {rate / _GIGA:.0f} GFLOP/s", (_HIGH, rate / _GIGA),
            xytext=(-5, 4), textcoords="offset points", ha="right", fontsize=9, color=_INK,
        )  # fmt: skip
    for place, (name, rate) in enumerate(levels.items()):
        x = np.array([_LOW, peak / rate])
        axes.plot(x, x * rate / _GIGA, color=_GRAY, linewidth=1.1)
        below = place >= len(levels) - 2  # where the next slope is close above
        at = _LOW * 1.1
        axes.text(
            at, at * rate / _GIGA * (0.93 if below else 1.05), f"{name}, {rate / _GIGA:.0f} GB/s",
            rotation=np.degrees(np.arctan(rate / _GIGA)), transform_rotates_text=True,
            rotation_mode="anchor", va="top" if below else "bottom", fontsize=9, color=_GRAY,
        )  # fmt: skip


def _levels(bounds: Bounds, caches: dict[str, int]) -> dict[str, float]:
    """Return the bandwidth of a copy in half of each cache, of which L3 is shared, and in memory."""
    rates = {}
    for level, size in caches.items():
        cores = 1 if level == "L3" else bounds.threads
        rates[f"copy in {level}"] = bounds.bytes_per_second(size / 2 * cores, reads=1)
    return rates | {"copy in memory": bounds.bytes_per_second(SIZES[-1] * bounds.threads, reads=1)}


def _arrow(axes: Any, number: int, point: _Point) -> None:
    x, before, after = point.intensity, point.reached(point.naive), point.reached(point.fast)
    colour = f"C{(number - 1) % 10}"
    axes.annotate(
        "", (x, after), (x, before), zorder=2,
        arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 7},
    )  # fmt: skip
    axes.plot(x, before, "o", color=colour, markerfacecolor="white", markersize=6, zorder=3)
    axes.plot(x, after, "o", color=colour, markersize=13, zorder=4, label=f"{number}  {point.label}")
    axes.text(
        x, after, str(number), color="white", fontsize=8, fontweight="bold", zorder=5,
        ha="center", va="center_baseline",
    )  # fmt: skip
