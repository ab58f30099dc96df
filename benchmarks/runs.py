"""Whole runs: MNIST from process start to finish, and start-up.

The dense network trains for one epoch, and until it has 97% test accuracy. LeNet-5 trains for ten
epochs.

Each library's script in ``mnist/`` runs as a process. The scripts run in turn. A first run of one epoch
each fills caches and is not counted. The files are expected in ``$FASTNN_DATA/mnist/``.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from rich.console import Console

from fastnn.bench import machine, record, report, startup
from fastnn.bench.contestants import version
from fastnn.bench.record import Result

SCRIPTS = Path(__file__).parent / "mnist"
NAMES = ("fastnn", "torch", "jax", "sklearn")

_DENSE = "MNIST 784-256-128-10 batch 128"
# title: the script's name for a library, its options, and the test accuracy that it must reach
PROGRAMS = {
    f"{_DENSE}, one epoch": ("with_{}.py", [], 0.9),
    f"{_DENSE}, to 97% test accuracy": ("with_{}.py", ["--goal=0.97"], 0.97),
    "MNIST LeNet-5 batch 128, 10 epochs": ("lenet_with_{}.py", ["--epochs=10"], 0.98),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and all cores")
    parser.add_argument("--json", type=Path, help="write the record here")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    options = parser.parse_args()
    run = record.begin(list(NAMES))
    for threads in options.threads or dict.fromkeys((1, machine.cores())):
        measure(run, threads, options.rounds)
    report.show(run, Console())
    report.save(run, options.json, options.markdown, "Whole runs and start-up")


def measure(run, threads, rounds, names=NAMES):
    """Add the rows of start-up and of whole runs to a record."""
    folder = Path(os.environ.get("FASTNN_DATA", ""), "mnist")
    run.results += startup.measure(threads, rounds, show=print)
    if not (folder / "train-images-idx3-ubyte.gz").is_file():
        print("skipped: whole runs, which need the MNIST files in $FASTNN_DATA/mnist")
        return
    present = [name for name in names if version(name) is not None]
    results, reached = [], defaultdict(list)
    with tempfile.TemporaryDirectory() as cache:
        for number in range(-1, rounds):  # the first fills caches and is not counted
            for what, (script, options, least) in PROGRAMS.items():
                result = Result(f"whole_run {what}", threads)
                for name in present:
                    path = SCRIPTS / script.format(name)
                    if not path.is_file():
                        continue
                    given = [] if number < 0 else [f"--seed={number}", *options]
                    seconds, accuracy, wrong = once(path, folder, threads, given, Path(cache))
                    if number < 0:
                        continue
                    if wrong is None and accuracy < least:
                        wrong = f"only {accuracy:.2%} accuracy"
                    if wrong:
                        result.failed[name] = wrong
                    else:
                        result.us[name] = [1e6 * seconds]
                        reached[what, name].append(accuracy)
                results.append(result)
    run.results += record.merge(results)
    run.notes += [
        f"test accuracy, {what}, {threads} thread{'s' * (threads > 1)}, {name}: "
        + ", ".join(f"{accuracy:.2%}" for accuracy in found)
        for (what, name), found in reached.items()
        if "LeNet" in what
    ]


def once(script, folder, threads, options, cache):
    """Return a script's seconds, the accuracy it reached, and what is wrong with it or None."""
    command = [sys.executable, str(script), str(folder), f"--threads={threads}", *options]
    seconds, done = startup.run_process(command, threads, cache)
    if done.returncode:
        return seconds, 0.0, startup.last_line(done.stderr)
    said = json.loads(done.stdout)
    accuracy = f"{said['accuracy']:.2%}"
    print(f"{threads} threads, {script.stem}: {seconds:.2f} s, {said['epochs']} epochs, {accuracy}")
    return seconds, said["accuracy"], None


if __name__ == "__main__":
    main()
