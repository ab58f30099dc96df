"""Whole runs: MNIST from process start to finish, one epoch and as far as 97% test accuracy; start-up.

Each library's script in ``mnist/`` runs as a process; they take turns, after one uncounted run each
that fills caches. The files are expected in ``$FASTNN_DATA/mnist/``.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from fastnn.bench import machine, record, report, startup
from fastnn.bench.contestants import version
from fastnn.bench.record import Result

SCRIPTS = Path(__file__).parent / "mnist"
NAMES = ("fastnn", "torch", "jax", "sklearn")
GOALS = {"one epoch": 0.0, "to 97% test accuracy": 0.97}
_LEARNED = 0.9  # what an epoch that worked reaches at least


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and all cores")
    parser.add_argument("--json", type=Path, help="write the record here")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    options = parser.parse_args()
    run = record.begin(list(NAMES))
    for threads in options.threads or dict.fromkeys((1, machine.cores())):
        run.results += measure(threads, options.rounds)
    report.show(run, Console())
    report.save(run, options.json, options.markdown, "Whole runs and start-up")


def measure(threads, rounds, names=NAMES):
    """Return the rows of whole runs and of start-up."""
    folder = Path(os.environ.get("FASTNN_DATA", ""), "mnist")
    results = startup.measure(threads, rounds, show=print)
    if not (folder / "train-images-idx3-ubyte.gz").is_file():
        print("skipped: whole runs, which need the MNIST files in $FASTNN_DATA/mnist")
        return results
    present = [name for name in names if version(name) is not None]
    with tempfile.TemporaryDirectory() as cache:
        for name in present:
            once(name, folder, 0.0, threads, 0, Path(cache))
        for number in range(rounds):
            for what, goal in GOALS.items():
                result = Result(f"whole_run MNIST 784-256-128-10 batch 128, {what}", threads)
                for name in present:
                    seconds, wrong = once(name, folder, goal, threads, number, Path(cache))
                    if wrong:
                        result.failed[name] = wrong
                    else:
                        result.us[name] = [1e6 * seconds]
                results.append(result)
    return record.merge(results)


def once(name, folder, goal, threads, seed, cache):
    """Return a script's seconds, and what is wrong with it or None."""
    command = [
        sys.executable, str(SCRIPTS / f"with_{name}.py"), str(folder), f"--goal={goal}",
        f"--threads={threads}", f"--seed={seed}",
    ]  # fmt: skip
    seconds, done = startup.run_process(command, threads, cache)
    if done.returncode:
        return seconds, startup.last_line(done.stderr)
    said = json.loads(done.stdout)
    print(
        f"{threads} threads, {name}: {seconds:.2f} s, {said['epochs']} epochs, {said['accuracy']:.2%}"
    )
    wrong = said["accuracy"] < max(goal, _LEARNED)
    return seconds, f"only {said['accuracy']:.2%} accuracy" if wrong else None


if __name__ == "__main__":
    main()
