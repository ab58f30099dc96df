"""``fit`` of MLPClassifier, fastnn's against scikit-learn's, at equal settings.

Float32, 100 hidden units, batches of 200, the default, and of 32; on scikit-learn's digits, on
synthetic data of the letter set's size (20,000 x 16, 26 classes), and on MNIST ($FASTNN_DATA/mnist/,
else synthetic data of its size). Each contestant fits in a process of its own, after one uncounted
epoch that compiles or fills caches; they take turns over the rounds. A quarter of the rows is held
out for the accuracy. The ratio is scikit-learn's time to fastnn's.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from fastnn.bench import machine, runner
from fastnn.bench.startup import last_line

MODULES = {"scikit-learn": "sklearn.neural_network", "fastnn": "fastnn.sklearn"}
EPOCHS = {"digits": 50, "letter": 20, "mnist": 5}
SETTINGS = {
    "adam": {},
    "adam, batch 32": {"batch_size": 32},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "sgd, batch 32": {"solver": "sgd", "learning_rate_init": 0.01, "batch_size": 32},
}
_ALIKE = 0.02  # by how much accuracies may differ


def digits():
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    return X / 16, y


def letter():
    from sklearn.datasets import make_classification

    return make_classification(
        20_000, 16, n_informative=14, n_redundant=2, n_classes=26, n_clusters_per_class=1,
        class_sep=2.0, random_state=0,
    )  # fmt: skip


def mnist():
    import fastnn

    folder = Path(os.environ.get("FASTNN_DATA", ""), "mnist")
    if (folder / "train-images-idx3-ubyte.gz").is_file():
        data = fastnn.load_mnist(folder, validation_size=0)
        return data.train.data_, data.train.labels.argmax(axis=1)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 60_000)
    return rng.normal(size=(10, 784))[y] * 0.1 + rng.normal(size=(60_000, 784)), y


DATA = {"digits": digits, "letter": letter, "mnist": mnist}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=list(DATA), action="append", help="default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and all cores")
    parser.add_argument("--contestant", choices=list(MODULES), help="fit here, print JSON")
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(fit(MODULES[options.contestant], options.data[0])))
        return
    console = Console(width=100)
    about = machine.describe()
    console.print(f"{about['processor']}, {about['cores']} cores; load average {about['load']}")
    for threads in options.threads or dict.fromkeys((1, machine.cores())):
        table = Table(
            "", "scikit-learn s", "fastnn s", "ratio", "accuracies", title=f"{threads} threads"
        )
        for name in options.data or DATA:
            add_rows(table, name, race(name, threads, options.rounds))
        console.print(table)


def fit(module, name):
    """Return for each of the settings the seconds of a fit and the accuracy on the rows held out."""
    from sklearn.model_selection import train_test_split

    make = importlib.import_module(module).MLPClassifier
    X, y = DATA[name]()
    X, X_test, y, y_test = train_test_split(X.astype(np.float32), y, stratify=y, random_state=0)
    warnings.simplefilter("ignore")  # that it has not converged
    found = {}
    for what, settings in SETTINGS.items():
        make(max_iter=1, random_state=0, **settings).fit(X, y)
        epochs = EPOCHS[name]
        model = make(max_iter=epochs, n_iter_no_change=epochs, random_state=0, **settings)
        start = time.perf_counter()
        model.fit(X, y)
        seconds = time.perf_counter() - start
        assert model.n_iter_ == epochs
        found[what] = {"seconds": seconds, "accuracy": model.score(X_test, y_test)}
    return found


def race(name, threads, rounds):
    """Return each contestant's results, one a round."""
    found = {contestant: [] for contestant in MODULES}
    for _ in range(rounds):
        for contestant, results in found.items():
            command = [sys.executable, __file__, f"--contestant={contestant}", f"--data={name}"]
            done = subprocess.run(
                command, env=runner.environment(threads), capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(f"{contestant} on {name}: {last_line(done.stderr)}")
            results.append(json.loads(done.stdout))
    return found


def add_rows(table, name, found):
    """Add a row for each of the settings; one whose accuracies differ is marked."""
    for what in SETTINGS:
        seconds, accuracy = (
            {who: statistics.median(r[what][figure] for r in results) for who, results in found.items()}
            for figure in ("seconds", "accuracy")
        )
        theirs, ours = accuracy.values()
        table.add_row(
            f"{name}, {what}, {EPOCHS[name]} epochs",
            *(f"{s:.3f}" for s in seconds.values()),
            f"{seconds['scikit-learn'] / seconds['fastnn']:.2f}",
            f"{theirs:.2%}, {ours:.2%}" + ("" if abs(theirs - ours) < _ALIKE else " (not alike)"),
        )


if __name__ == "__main__":
    main()
