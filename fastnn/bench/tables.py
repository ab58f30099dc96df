"""A record as tables that read across: a row a case, a column a contestant, then the ratios."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from rich.text import Text

from fastnn.bench.cases import by_key
from fastnn.bench.contestants import PEERS, TABLE
from fastnn.bench.record import BOUND, Record, Result


class Kind(NamedTuple):
    """A sort of benchmark: its table's title, the unit in microseconds, and which ratios it has."""

    title: str
    unit: float
    ratios: tuple[str, ...]


KERNELS = Kind(
    "Kernels, microseconds", 1, ("baseline / fastnn", "best peer / fastnn", "share of bound")
)
_OF_LAYERS = ("best peer / fastnn", "GFLOP/s", "share of bound")
KINDS = {
    "training_step": Kind(
        "Training step, microseconds", 1, ("best peer / fastnn", "fastnn / BLAS", "share of bound")
    ),
    "epoch": Kind("Epoch, microseconds", 1, ("best peer / fastnn", "share of bound")),
    "inference": Kind("Inference, microseconds", 1, ("best peer / fastnn", "share of bound")),
    "layer": Kind("Layers, forward and backward, microseconds", 1, _OF_LAYERS),
    "stack_step": Kind(
        "Training step of convolutional and recurrent networks, microseconds", 1, _OF_LAYERS
    ),
    "stack_inference": Kind("Inference of convolutional networks, microseconds", 1, _OF_LAYERS),
    "whole_run": Kind("Whole runs, seconds", 1e6, ("best peer / fastnn",)),
    "startup": Kind("Start-up, seconds", 1e6, ("best peer / fastnn", "fastnn / numba")),
}


@dataclass
class Table:
    """Headings, rows grouped into sections, and a line that sums it up."""

    title: str
    headings: list[str]
    sections: list[list[list[Text]]]
    summary: str

    def markdown(self) -> str:
        """Return it as a Markdown table under its title."""
        rows = [row for section in self.sections for row in section]
        lines = [self.headings, ["---", *["---:"] * (len(self.headings) - 1)]]
        lines += [[cell.plain for cell in row] for row in rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"**{self.title}**\n\n{body}\n\n{self.summary}".rstrip() + "\n"


_PLACES = {name: i for i, name in enumerate(TABLE)}


def tables(run: Record) -> list[Table]:
    """Return a record's tables: by threads, a table for each kind of benchmark."""
    groups: dict[tuple[int, Kind], list[Result]] = {}
    for result in run.results:
        kind = KINDS.get(result.case.split()[0], KERNELS)
        groups.setdefault((result.threads, kind), []).append(result)
    return [_table(kind, threads, results, run.isa) for (threads, kind), results in groups.items()]


def _table(kind: Kind, threads: int, results: list[Result], isa: str) -> Table:
    entered = {name for result in results for name in (*result.us, *result.failed)}
    columns = sorted(entered, key=lambda name: _PLACES.get(name, len(_PLACES)))
    sections: dict[str, list[list[Text]]] = {}
    for result in results:
        name, _, sizes = result.case.partition(" ")
        row = [Text(sizes if name in KINDS else result.case)]
        row += [_time(result, column, kind.unit) for column in columns]
        row += [_cell(ratio, result) for ratio in kind.ratios]
        sections.setdefault(name, []).append(row)
    title = f"{kind.title}, {threads} thread{'s' if threads > 1 else ''}"
    title += f", {isa.upper()}" if isa else ""
    return Table(title, ["", *columns, *kind.ratios], list(sections.values()), _summary(kind, results))


def _time(result: Result, name: str, unit: float) -> Text:
    if name in result.failed:
        return Text("failed", style="red")
    us = result.median(name)
    style = "bold" if name == "fastnn" else ""
    return Text("-" if us is None else _number(us / unit), style=style)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cell(ratio: str, result: Result) -> Text:
    if ratio == "share of bound":
        share = _ratio(result, BOUND, "fastnn")
        return Text("-" if share is None else f"{share:.0%} {result.bound_by}")
    if ratio == "GFLOP/s":
        return Text(_rate(result))
    value = RATIOS[ratio](result)
    if value is None:
        return Text("-")
    if ratio != "best peer / fastnn":
        return Text(_number(value))
    return Text(f"{value:.2f} {best_peer(result)}", style="green" if value >= 1 else "red")


def _rate(result: Result) -> str:
    """Return fastnn's rate: the case's operation count per second."""
    us, case = result.median("fastnn"), by_key().get(result.case)
    return "-" if us is None or case is None else _number(case.flops / us / 1e3)


def best_peer(result: Result) -> str | None:
    """Return the fastest of those that one would use instead of fastnn."""
    times = {peer: us for peer in PEERS if (us := result.median(peer)) is not None}
    return min(times, key=lambda peer: times[peer], default=None)


def _ratio(result: Result, above: str | None, below: str | None) -> float | None:
    a, b = (result.median(name) if name else None for name in (above, below))
    return None if a is None or b is None else a / b


RATIOS: dict[str, Callable[[Result], float | None]] = {
    "baseline / fastnn": lambda result: _ratio(result, result.baseline(), "fastnn"),
    "best peer / fastnn": lambda result: _ratio(result, best_peer(result), "fastnn"),
    "fastnn / BLAS": lambda result: _ratio(result, "fastnn", "blas"),
    "fastnn / numba": lambda result: _ratio(result, "fastnn", "numba"),
}


def _summary(kind: Kind, results: list[Result]) -> str:
    """Return the geometric mean of each ratio, and its worst row."""
    parts = []
    for name in kind.ratios:
        if name not in RATIOS:
            continue
        values = {r.case: value for r in results if (value := RATIOS[name](r)) is not None}
        if len(values) > 1:
            worst = (min if name.endswith("/ fastnn") else max)(values, key=lambda case: values[case])
            mean = statistics.geometric_mean(values.values())
            parts.append(f"{name}: mean {mean:.2f}, worst {values[worst]:.2f} ({worst})")
    return "; ".join(parts)
