"""A run's results: kept as JSON, a line a benchmark; merged from rounds; compared with another's."""

import json
import math
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fastnn._writing import to_json, write_atomically
from fastnn.bench import machine
from fastnn.bench.bounds import Bounds
from fastnn.bench.contestants import TABLE, version
from fastnn.bench.isa import require

ABSENT = "absent"
BOUND = "bound"  # who stands among the contestants for what the machine can do
STEADY = ("numpy", "naive")  # baselines over time: the loop's page faults come and go
_LOST = 1.10  # times the share of the baseline's time that it took before


@dataclass
class Result:
    """One benchmark: the microseconds of each contestant, one number a round.

    ``failed`` says of the others that tried what went wrong; ``bound_by`` what the bound's time is
    needed for.
    """

    case: str
    threads: int
    us: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    bound_by: str = ""

    def median(self, contestant: str) -> float | None:
        """Return the median of a contestant's rounds, or None if it has none."""
        rounds = self.us.get(contestant)
        return statistics.median(rounds) if rounds else None

    def baseline(self) -> str | None:
        """Return the contestant that fastnn improves on: the reference, or plain NumPy."""
        return next((name for name in ("naive", "numpy") if name in self.us), None)


@dataclass
class Record:
    """A run: where, when and of what; who took part, by version or as absent; bounds; results.

    ``isa``: the instruction set that contestants were restricted to, or ""; ``notes``: further remarks.
    """

    machine: dict[str, Any]
    commit: str
    date: str
    contestants: dict[str, str]
    bounds: list[Bounds] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    isa: str = ""
    notes: list[str] = field(default_factory=list)

    def bounds_for(self, threads: int) -> Bounds | None:
        """Return the bounds measured with so many threads."""
        return next((b for b in self.bounds if b.threads == threads), None)

    def save(self, path: Path) -> None:
        """Write JSON, with a line for each result."""
        head = {key: value for key, value in asdict(self).items() if key != "results"}
        lines = ",\n".join("  " + to_json(_brief(result)) for result in self.results)
        text = to_json(head, indent=1)
        write_atomically(path, f'{text[:-2]},\n "results": [\n{lines}\n ]\n}}\n'.encode())


def _brief(result: Result) -> dict[str, Any]:
    """Return a result as a dict, times to four digits, nothing empty."""
    us = {name: [float(f"{t:.4g}") for t in rounds] for name, rounds in result.us.items()}
    brief = {"case": result.case, "threads": result.threads, "us": us}
    rest = {"failed": result.failed, "bound_by": result.bound_by}
    return brief | {name: value for name, value in rest.items() if value}


def load(path: Path) -> Record:
    """Read what :meth:`Record.save` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    data["bounds"] = [Bounds(**bounds) for bounds in data["bounds"]]
    data["results"] = [Result(**result) for result in data["results"]]
    for result in data["results"]:  # what was not finite is null
        result.us = {name: [math.nan if t is None else t for t in us] for name, us in result.us.items()}
    return Record(**data)


def begin(contestants: list[str], isa: str = "") -> Record:
    """Return an empty record of a run that starts now, with those contestants that are there.

    Raises
    ------
    ValueError
        If contestants cannot be held to the instruction set ``isa`` here.
    """
    about = machine.describe()
    if isa:
        require(isa)
        about["kernels for"] = isa
    found = {name: version(name) or ABSENT for name in contestants}
    date = time.strftime("%Y-%m-%d %H:%M")
    return Record(about, _commit(), date, found, isa=isa)


def _commit() -> str:
    """Return the commit that this file's checkout is at, with a mark if it was edited since."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],
            cwd=Path(__file__).parent, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "none"


def merge(results: list[Result]) -> list[Result]:
    """Join results of the same case and threads, of other contestants or further rounds."""
    merged: dict[tuple[str, int], Result] = {}
    for result in results:
        whole = merged.setdefault((result.case, result.threads), Result(result.case, result.threads))
        for name, rounds in result.us.items():
            whole.us.setdefault(name, []).extend(rounds)
        whole.failed |= result.failed
        whole.bound_by = result.bound_by or whole.bound_by
    order = {name: i for i, name in enumerate(TABLE)}
    for whole in merged.values():
        whole.us = dict(sorted(whole.us.items(), key=lambda item: order.get(item[0], len(order))))
    return list(merged.values())


class Change(NamedTuple):
    """How a contestant's time, in units of the baseline's, moved from one record to another."""

    case: str
    threads: int
    baseline: str
    before: float
    after: float
    lost: bool


def compare(old: Record, new: Record, contestant: str = "fastnn") -> list[Change]:
    """Return what became of each benchmark that both records have.

    A benchmark is lost if its share of the baseline's time, the median over the rounds, grew by more
    than a tenth, and if even its best round is above the worst of the old ones: what overlaps is noise.
    """
    known = {(result.case, result.threads): result for result in old.results}
    changes = []
    for result in new.results:
        earlier = known.get((result.case, result.threads))
        if earlier is None:
            continue
        baseline = next((name for name in STEADY if name in result.us and name in earlier.us), None)
        if baseline is None:
            continue
        before, after = (shares(r, contestant, baseline) for r in (earlier, result))
        if before and after:
            was, now = statistics.median(before), statistics.median(after)
            lost = now > _LOST * was and min(after) > max(before)
            changes.append(Change(result.case, result.threads, baseline, was, now, lost))
    return changes


def shares(result: Result, contestant: str, baseline: str | None = None) -> list[float]:
    """Return a contestant's time in units of a baseline's, the steadiest there is, round by round."""
    baseline = baseline or next((name for name in STEADY if name in result.us), "")
    pairs = zip(result.us.get(contestant, []), result.us.get(baseline, []), strict=False)
    return [own / base for own, base in pairs]
