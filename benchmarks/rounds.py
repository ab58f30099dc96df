"""Run the suite by pytest: each contestant in processes of its own, which alternate over rounds.

``make bench`` takes the contestants that are always there, ``make bench-full`` slow cases, peers and
whole runs too, at one thread and at all. What follows ``--`` goes to pytest, ``-- -k softmax``; then
there are no whole runs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import runs
from rich.console import Console

from fastnn.bench import cases, contestants, machine, record, report, runner
from fastnn.bench.isa import VARIABLES

HERE = Path(__file__).parent
HOME = ("naive", "numpy", "scipy", "blas", "fastnn")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="slow cases, peers, one and all threads")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, action="append", help="default: all cores")
    parser.add_argument("--contestants", help="by commas")
    parser.add_argument("--isa", choices=VARIABLES, default="", help="hold contestants to it")
    parser.add_argument("--json", type=Path, help="write the merged record here")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    parser.add_argument("--title", default="Benchmarks", help="of the tables")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --")
    options = parser.parse_args()
    names = list(contestants.TABLE) if options.full else HOME
    if options.contestants:
        names = options.contestants.split(",")
    threads = options.threads or ([1, machine.cores()] if options.full else [machine.cores()])
    chosen = ["-m", "" if options.full else "not slow", *options.pytest]
    run = record.begin(list(names), options.isa)
    with tempfile.TemporaryDirectory() as folder:
        for count in threads:
            run.bounds.append(runner.measure_bounds(count, run.isa))
            run.results += rounds(run, count, options.rounds, chosen, Path(folder))
            if options.full and not options.pytest and not run.isa:  # whole runs cannot be held
                runs.measure(run, count, options.rounds)
    report.show(run, Console())
    report.save(run, options.json, options.markdown, options.title)


def rounds(run, threads, count, chosen, folder):
    """Return the merged results of so many rounds."""
    present = [name for name, version in run.contestants.items() if version != record.ABSENT]
    results = []
    for number in range(count):
        for name in present:
            out = folder / "out.json"
            out.unlink(missing_ok=True)
            print(f"round {number + 1} of {count}, {threads} threads: {name}", flush=True)
            command = [
                sys.executable, "-m", "pytest", HERE, "-q", "--benchmark-enable", "--benchmark-only",
                "-p", "no:warnings", "--benchmark-quiet", f"--benchmark-json={out}",
                f"--contestant={name}", f"--threads={threads}", *chosen,
            ]  # fmt: skip
            done = subprocess.run(
                command, env=runner.environment(threads, run.isa), capture_output=True, text=True
            )
            results += read(out, done, name, threads)
        timed = [cases.by_key()[result.case] for result in record.merge(results)]
        results += runner.measure_bound_of(timed, threads, run.isa)
    return record.merge(results)


def read(out, done, name, threads):
    """Return the results of one process; what failed in it, by pytest's summary."""
    if done.returncode > 1 and done.returncode != 5:  # not passed, not failed, not empty
        raise SystemExit(f"pytest failed for {name}:\n{done.stdout}{done.stderr}")
    if done.returncode < 0:  # killed by a signal
        lost = f"{name} ended with code {done.returncode}, and what it timed in this round is lost"
        print(f"{done.stdout}{done.stderr}\n{lost}", file=sys.stderr)
        return []
    results = []
    # Neither is written where nothing was timed.
    timed = out.read_text(encoding="utf-8") if out.exists() else ""
    for entry in json.loads(timed)["benchmarks"] if timed else ():
        case = entry["extra_info"]["case"]
        us = 1e6 * entry["stats"]["median"] / cases.by_key()[case].at_once
        results.append(record.Result(case, threads, {name: [us]}))
    for line in done.stdout.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            case = line.partition("[")[2].partition("]")[0]
            why = line.partition("] - ")[2] or "see pytest"
            results.append(record.Result(case, threads, {}, {name: why}))
    return results


if __name__ == "__main__":
    main()
