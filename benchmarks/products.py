"""Networks of every size by the micro-kernel and by BLAS: ``make products``.

Whole training steps and predictions, in processes of their own that alternate over rounds; times are
medians of the rounds. ``FASTNN_PRODUCTS=blas`` is what sends a network over its layers, and BLAS.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from rich.console import Console
from rich.table import Table

import fastnn
from fastnn import engine
from fastnn.bench import machine

WIDTHS = [256, 512, 1000, 1024, 2048, 4096]
BATCHES = [32, 128, 512, 2048]
SECONDS = 0.5  # of each case
SLOWEST = 2e11  # operations of a step


def cases(widths):
    """Return pairs of a batch and a width whose step does not take seconds."""
    return [(n, k) for k in widths for n in BATCHES if 6 * n * k * k < SLOWEST]


def median(call):
    """Return the median seconds of a call."""
    call()
    times = []
    while sum(times) < SECONDS or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(dtype, widths):
    """Print the seconds of each case's step and prediction, for this process's products and threads."""
    found = []
    rng = np.random.default_rng(0)
    for n, width in cases(widths):
        X = rng.normal(size=(n, width)).astype(dtype)
        Y = np.eye(10, dtype=dtype)[rng.integers(0, 10, n)]
        layers = [
            {"name": "fully_connected", "n_out": width, "activation": "relu"},
            {"name": "fully_connected", "n_out": None, "activation": "softmax"},
        ]
        rule = {"name": "SGD", "lr": 1e-3, "momentum": 0.9}
        net = fastnn.NeuralNetwork("cross_entropy", layers, rule, seed=0, dtype=dtype)
        assert (engine.obstacle(net) is None) == (not os.environ["FASTNN_PRODUCTS"])
        found.append([median(lambda: net.train_step(X, Y)), median(lambda: net.predict(X))])  # noqa: B023
    print(json.dumps(found))


def times(dtype, threads, widths, products):
    """Return what :func:`measure` finds in a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")},
        "FASTNN_PRODUCTS": products,
        "FASTNN_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
    }
    command = [sys.executable, __file__, "--measure", "--dtype", dtype]
    command += [f"--width={width}" for width in widths]
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)


def table(dtype, threads, widths, rounds):
    """Return the medians of both and BLAS's time over the micro-kernel's."""
    found = Table("batch; layers", title=f"{dtype}, {threads} threads, ms")
    for what in ("step", "predict"):
        for column in (f"{what}, micro-kernel", "BLAS", "ratio"):
            found.add_column(column, justify="right")
    own, blas = (np.median([r[side] for r in rounds], axis=0) * 1e3 for side in (0, 1))
    for (n, width), ours, theirs in zip(cases(widths), own, blas, strict=True):
        cells = [f"{x:.3g}" for a, b in zip(ours, theirs, strict=True) for x in (a, b, b / a)]
        found.add_row(f"{n}; {width}-{width}-10", *cells)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "float64"], action="append")
    parser.add_argument("--threads", type=int, action="append", help="default: one, and all cores")
    parser.add_argument("--width", type=int, action="append", help=f"default: {WIDTHS}")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.dtype[0], options.width)
        return
    widths = options.width or WIDTHS
    for dtype in options.dtype or ["float32", "float64"]:
        for threads in options.threads or sorted({1, machine.cores()}):
            rounds = [
                [times(dtype, threads, widths, products) for products in ("", "blas")]
                for _ in range(options.rounds)
            ]
            Console(width=120).print(table(dtype, threads, widths, rounds))


if __name__ == "__main__":
    main()
