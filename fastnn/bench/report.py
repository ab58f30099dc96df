"""A record for the eye: on a console, or as Markdown."""

from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from fastnn._writing import write_atomically
from fastnn.bench.bounds import Bounds
from fastnn.bench.contestants import COMPILING
from fastnn.bench.isa import WITHOUT_SWITCH
from fastnn.bench.machine import busy
from fastnn.bench.networks import PUBLISHED
from fastnn.bench.record import ABSENT, BOUND, Change, Record
from fastnn.bench.tables import Table, tables

_WIDTH = 190  # of tables that go to a file
_NOISE = 0.9  # if a kernel takes less than this part of its bound, the bound is wrong


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
    for table in tables(run):
        console.print(_rich(table))
        if table.summary:
            console.print(table.summary, highlight=False)
    for bounds in run.bounds:
        console.print(_rates(bounds), style="dim", highlight=False)
    for line in notes(run):
        console.print(line, style="yellow", markup=False, highlight=False)


def notes(run: Record) -> list[str]:
    """Return notes: contestants absent or not restricted, failures, published figures, busy machine."""
    lines = [
        f"absent: {name} is not installed"
        + (" or has no C++ compiler" if name in COMPILING else "")
        + " (pip install 'fastnn-cpu[peers]')"
        for name, version in run.contestants.items()
        if version == ABSENT
    ]
    present = [name for name, version in run.contestants.items() if version != ABSENT]
    if run.isa:
        lines += [
            f"not held to {run.isa.upper()}: {name}; {why}"
            for name, why in WITHOUT_SWITCH.items()
            if name in present
        ]
    for result in run.results:
        lines += [f"failed: {name}, {result.case}: {why}" for name, why in result.failed.items()]
    for result in run.results:
        ours, bound = result.median("fastnn"), result.median(BOUND)
        if ours and bound and ours < _NOISE * bound:
            lines.append(f"faster than its bound: {result.case}, in {ours / bound:.0%} of that time")
    timed = dict.fromkeys(result.case for result in run.results)
    lines += [
        f"published, not measured here: {case}: {PUBLISHED[case]}"
        for case in timed
        if case in PUBLISHED
    ]
    lines += run.notes
    warning = busy(run.machine.get("load"))
    return lines + ([f"warning: {warning}"] if warning else [])


def _rich(table: Table) -> RichTable:
    drawn = RichTable(title=table.title, title_justify="left")
    for i, heading in enumerate(table.headings):
        drawn.add_column(heading.replace(" /", "\n/"), justify="right" if i else "left")
    for section in table.sections:
        for row in section:
            drawn.add_row(*row)
        drawn.add_section()
    return drawn


def markdown(run: Record, title: str = "Benchmarks") -> str:
    """Return the tables in Markdown, with the machine they are of."""
    about = run.machine
    head = f"{about['processor']}, {about['cores']} cores; commit {run.commit}, {run.date}."
    versions = ", ".join(f"{name} {version}" for name, version in run.contestants.items())
    return "\n".join(
        [
            f"# {title}\n",
            f"{head} {versions}.\n",
            *(table.markdown() for table in tables(run)),
            *(f"- {note}" for note in notes(run)),
            "",
        ]
    )


def save(run: Record, json: Path | None, markdown_file: Path | None, title: str = "Benchmarks") -> None:
    """Write the files asked for."""
    if json is not None:
        run.save(json)
    if markdown_file is not None:
        write_atomically(markdown_file, markdown(run, title).encode())


def _rates(bounds: Bounds) -> str:
    rates = ", ".join(f"{rate / 1e9:.0f} GFLOP/s in {dtype}" for dtype, rate in bounds.flops.items())
    threads = f"{bounds.threads} thread{'s' if bounds.threads > 1 else ''}"
    first, last = (bounds.bandwidth["1"][i] / 1e9 for i in (0, -1))
    return (
        f"bounds, {threads}: {rates}; a copy {first:.0f} GB/s in the first cache, {last:.0f} in memory"
    )


def changes(rows: list[Change], console: Console) -> None:
    """Print what became of each benchmark, the lost ones marked."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    table = RichTable(title="fastnn's time in units of the baseline's", title_justify="left")
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
