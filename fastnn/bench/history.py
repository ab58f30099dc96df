"""Throughput over records: how many times faster than plain NumPy fastnn was, commit by commit."""

from pathlib import Path

import numpy as np

from fastnn.bench.cases import by_key
from fastnn.bench.record import Record, shares


def draw(records: list[Record], path: Path) -> None:
    """Draw a line a kernel, the geometric mean over its cases, to a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.5), layout="constrained")
    axes = figure.subplots()
    places = range(len(records))
    speedups = [_speedups(run) for run in records]
    names = list(dict.fromkeys(name for run in speedups for name in run))
    for number, name in enumerate(names):
        axes.plot(
            places, [run.get(name, np.nan) for run in speedups], marker="o",
            linestyle=("-", "--", ":")[number // 10 % 3], label=name,
        )  # fmt: skip
    axes.set(yscale="log", ylabel="times as fast as plain NumPy", xlabel="record")
    axes.set_xticks(places, [f"{run.commit}\n{run.date[:10]}" for run in records], fontsize=8)
    axes.set_title("fastnn's throughput, mean over the cases of each kernel", loc="left", fontsize=11)
    axes.grid(axis="y", color="#e9e9e9")
    figure.legend(loc="outside right upper", fontsize=7.5, frameon=False)
    figure.savefig(path, dpi=100)


def _speedups(run: Record) -> dict[str, float]:
    """Return the geometric means by kernel."""
    found: dict[str, list[float]] = {}
    for result in run.results:
        case, own = by_key().get(result.case), shares(result, "fastnn")
        if case is not None and own:
            found.setdefault(case.kernel, []).append(-float(np.log(np.median(own))))
    return {kernel: float(np.exp(np.mean(logs))) for kernel, logs in found.items()}
