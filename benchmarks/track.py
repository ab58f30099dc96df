"""Speed over time: record a run, compare the working tree with the last record, draw all of them.

A comparison is of shares: fastnn's time in units of plain NumPy's in the same run, so that a slower or
busier machine does not look like slower code. What seems lost is measured a second time.
"""

import argparse
import sys
import time
from pathlib import Path

import runs
from rich.console import Console

from fastnn.bench import cases, machine, record, report, runner
from fastnn.bench.history import draw

RESULTS = Path(__file__).parent / "results"
CONTESTANTS = ["naive", "numpy", "blas", "fastnn"]
SECONDS = 0.03


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["record", "compare", "plot"])
    parser.add_argument("--quick", action="store_true", help="the quick cases only")
    options = parser.parse_args()
    chosen = cases.QUICK if options.quick else cases.ORDINARY
    {"record": make_record, "compare": compare, "plot": plot}[options.what](chosen, Console())


def measure(chosen, console):
    with console.status("") as status:
        return runner.run(
            list(chosen), CONTESTANTS, machine.cores(), seconds=SECONDS, show=status.update
        )


def make_record(chosen, console):
    run = measure(chosen, console)
    runs.measure(run, machine.cores(), rounds=3, names=["fastnn"])
    report.show(run, console)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{time.strftime('%Y-%m-%d-%H%M')}-{run.commit}.json"
    run.save(path)
    console.print(f"record: {path}")
    plot(chosen, console)


def compare(chosen, console):
    if not records():
        sys.exit("nothing to compare with: make bench-record writes the first record")
    old = record.load(records()[-1])
    known = {result.case for result in old.results}
    new = measure([case for case in chosen if case.key in known], console)
    rows = record.compare(old, new)
    doubtful = {row.case for row in rows if row.lost}
    if doubtful:
        again = measure([case for case in chosen if case.key in doubtful], console)
        kept = [row for row in rows if row.case not in doubtful]
        rows = kept + record.compare(old, again)
    report.changes(rows, console)
    lost = [row.case for row in rows if row.lost]
    console.print(f"against {old.commit} of {old.date}: {len(lost)} of {len(rows)} lost more than 10%")
    sys.exit(1 if lost else 0)


def records():
    """Return the files of all records, oldest first."""
    return sorted(RESULTS.glob("*.json"))


def plot(chosen, console):
    path = RESULTS / "throughput.png"
    draw([record.load(file) for file in records()], path)
    console.print(f"throughput over records: {path}")


if __name__ == "__main__":
    main()
