"""A record as a table that reads across: a row a case, a column a contestant."""

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fastnn.bench.bounds import Bounds
from fastnn.bench.cases import by_key
from fastnn.bench.contestants import PEERS
from fastnn.bench.machine import busy
from fastnn.bench.record import ABSENT, Change, Record, Result

_WIDTH = 150  # of tables that go to a file


def show(run: Record, console: Console) -> None:
    """Print a record: the machine, a table for each number of threads, who was absent, what failed."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    about = run.machine
    console.print(
        f"{about['processor']}, {about['cores']} cores, {about['system']}; Python {about['python']}, "
        f"NumPy {about['numpy']}; commit {run.commit}, {run.date}, load average {about['load']}",
        style="dim", highlight=False,
    )  # fmt: skip
    for threads in dict.fromkeys(result.threads for result in run.results):
        console.print(_table(run, threads))
        bounds = run.bounds_for(threads)
        if bounds:
            console.print(_rates(bounds), style="dim", highlight=False)
    for line in notes(run):
        console.print(line, style="yellow", markup=False, highlight=False)


def notes(run: Record) -> list[str]:
    """Return who was absent, what failed, and whether the machine was busy."""
    lines = [
        f"absent: {name} is not installed (pip install 'fastnn-cpu[peers]')"
        for name, version in run.contestants.items()
        if version == ABSENT
    ]
    for result in run.results:
        lines += [f"failed: {name}, {result.case}: {why}" for name, why in result.failed.items()]
    warning = busy(run.machine.get("load"))
    return lines + ([f"warning: {warning}"] if warning else [])


def _table(run: Record, threads: int) -> Table:
    results = [result for result in run.results if result.threads == threads]
    columns = [name for name, version in run.contestants.items() if version != ABSENT]
    plural = "s" if threads > 1 else ""
    table = Table(title=f"Microseconds a call, {threads} thread{plural}", title_justify="left")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right", style="bold" if name == "fastnn" else "")
    for heading in ("baseline\n/ fastnn", "best peer\n/ fastnn", "bound\n/ fastnn"):
        table.add_column(heading, justify="right")
    bounds = run.bounds_for(threads)
    kernel = ""
    for result in results:
        case = by_key().get(result.case)
        if case is not None and case.kernel != kernel and kernel:
            table.add_section()
        kernel = case.kernel if case is not None else kernel
        cells: list[RenderableType] = [_microseconds(result, name) for name in columns]
        table.add_row(result.case, *cells, *_ratios(result), _share(result, bounds))
    return table


def _microseconds(result: Result, name: str) -> Text:
    if name in result.failed:
        return Text("failed", style="red")
    us = result.median(name)
    return Text("-" if us is None else f"{us:,.0f}" if us >= 100 else f"{us:.3g}")


def _ratios(result: Result) -> tuple[str, Text]:
    """Return how many times longer the baseline takes, and the fastest peer, with its name."""
    own, name = result.median("fastnn"), result.baseline()
    base = result.median(name) if name else None
    times = {peer: us for peer in PEERS if (us := result.median(peer)) is not None}
    best = min(times, key=lambda peer: times[peer], default=None)
    first = "-" if own is None or base is None else f"{base / own:,.3g}"
    if own is None or best is None:
        return first, Text("-")
    ratio = times[best] / own
    return first, Text(f"{ratio:.2f} {best}", style="green" if ratio >= 1 else "red")


def _share(result: Result, bounds: Bounds | None) -> str:
    own, case = result.median("fastnn"), by_key().get(result.case)
    if own is None or case is None or bounds is None:
        return "-"
    seconds, resource = bounds.of(case)
    return f"{1e6 * seconds / own:.0%} {resource}"


def _rates(bounds: Bounds) -> str:
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in bounds.flops.items())
    first, last = (bounds.bandwidth["1"][i] / 1e9 for i in (0, -1))
    return f"bounds: {rates}; a copy {first:.0f} GB/s in the first cache, {last:.0f} in memory"


def changes(rows: list[Change], console: Console) -> None:
    """Print what became of each benchmark, the lost ones marked."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    table = Table(title="fastnn's time in units of the baseline's", title_justify="left")
    for heading in ("", "threads", "baseline", "before", "after", "change", ""):
        table.add_column(heading, justify="left" if heading in ("", "baseline") else "right")
    for row in rows:
        change = row.after / row.before - 1
        mark = Text("lost", style="bold red") if row.lost else Text("")
        table.add_row(
            row.case, str(row.threads), row.baseline, f"{row.before:.3g}", f"{row.after:.3g}",
            f"{change:+.0%}", mark,
        )  # fmt: skip
    console.print(table)
