"""Networks of every size by the micro-kernel and by BLAS: ``make products`` writes docs/products.md.

Whole training steps and predictions, in processes of their own that alternate over rounds; times are
medians of the rounds. ``FASTNN_PRODUCTS=blas`` is what sends a network over its layers, and BLAS. Rows
of the page that are not measured again stay.
"""

import argparse
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import fastnn
from fastnn import engine
from fastnn.bench import machine, record

WIDTHS = [64, 256, 512, 1000, 1024, 2048, 4096]
BATCHES = [32, 128, 512, 2048, 4096]
SECONDS = 0.1  # of each case in each round, or one call
SLOWEST = 2e11  # operations of a step
HEAD = """# The micro-kernel and BLAS

Written by `make products`: {machine}.

Whole training steps (SGD with momentum) and predictions of networks k-k-10, relu and softmax, on the
road they take by themselves and with `FASTNN_PRODUCTS=blas`, in milliseconds: medians of rounds in
which processes for either take turns. "Ratio" is BLAS's time over the micro-kernel's: above 1 the
micro-kernel is faster. Left out are steps of more than {slowest:.0e} operations.

BLAS always copies blocks of both matrices to where they lie well. The micro-kernel reads them where
they are, and takes a detour only from sizes on where that was measured to pay: panels whose rows lie
far apart are copied (`kernels/emitted/gemm.py`), a large X is transposed before `X^T dZ`
(`fastnn/layers/dense.py`), and a prediction goes through large layers one after the other
(`fastnn/engine/plans.py`). Detours change no bit of a result.

{verdict}

| dtype | threads | batch | k | step | by BLAS | ratio | predict | by BLAS | ratio |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def cases(batches, widths):
    """Return pairs of a batch and a width whose step does not take seconds."""
    return [(n, k) for n, k in itertools.product(batches, widths) if 6 * n * k * k < SLOWEST]


def median(call):
    """Return the median seconds of a call."""
    call()
    times = []
    while sum(times) < SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(dtype, batches, widths):
    """Print the seconds of each case's step and prediction, for this process's products and threads."""
    found = []
    rng = np.random.default_rng(0)
    for n, width in cases(batches, widths):
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


def times(dtype, threads, batches, widths, products):
    """Return what :func:`measure` finds in a process of its own."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")},
        "FASTNN_PRODUCTS": products,
        "FASTNN_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
    }
    command = [sys.executable, __file__, "--measure", "--dtype", dtype]
    command += [f"--width={width}" for width in widths] + [f"--batch={n}" for n in batches]
    return json.loads(
        subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
    )


def rows(dtype, threads, batches, widths, count):
    """Return the page's rows by what they are of, medians of so many rounds."""
    sides = [
        [times(dtype, threads, batches, widths, products) for products in ("", "blas")]
        for _ in range(count)
    ]
    found = {}
    for case, own, blas in zip(cases(batches, widths), *np.median(sides, axis=0) * 1e3, strict=True):
        found[dtype, threads, *case] = [
            cell
            for ours, theirs in zip(own, blas, strict=True)
            for cell in (f"{ours:.3g}", f"{theirs:.3g}", f"{theirs / ours:.2f}")
        ]
    return found


def read(page):
    """Return the rows of a page that was written before."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    split = [re.split(r" *\| *", line.strip("| ")) for line in lines if line.startswith("| float")]
    return {(cells[0], *map(int, cells[1:4])): cells[4:] for cells in split}


def write(page, found, about):
    """Write the page."""
    below = [
        f"{what} of {dtype}, {threads} threads, batch {n}, k = {k}: {cells[at]}"
        for (dtype, threads, n, k), cells in sorted(found.items())
        for what, at in (("step", 2), ("prediction", 5))
        if float(cells[at]) < 0.95
    ]
    ratios = [float(cells[at]) for cells in found.values() for at in (2, 5)]
    verdict = (
        f"Of {len(ratios)} ratios {sum(r >= 1 for r in ratios)} are 1 or more, the median is "
        f"{statistics.median(ratios):.2f}. Below 0.95: {'; '.join(below) or 'none'}."
    )
    system = (
        f"{about['processor']} ({about['kernels for']}), {about['cores']} cores, Python "
        f"{about['python']}, NumPy {np.__version__}, numba {about['numba']}"
    )
    lines = [f"| {' | '.join(map(str, [*key, *cells]))} |" for key, cells in sorted(found.items())]
    head = HEAD.format(machine=system, slowest=SLOWEST, verdict=verdict)
    page.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "float64"], action="append")
    parser.add_argument("--threads", type=int, action="append", help="default: one, and all cores")
    parser.add_argument("--width", type=int, action="append", help=f"default: {WIDTHS}")
    parser.add_argument("--batch", type=int, action="append", help=f"default: {BATCHES}")
    parser.add_argument("--page", type=Path, default=Path("docs/products.md"))
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = options.batch or BATCHES, options.width or WIDTHS
    if options.measure:
        measure(options.dtype[0], *sizes)
        return
    found = read(options.page)
    for dtype in options.dtype or ["float32", "float64"]:
        for threads in options.threads or sorted({1, machine.cores()}):
            found |= rows(dtype, threads, *sizes, options.rounds)
            write(options.page, found, record.begin([]).machine)
    print(f"wrote {options.page}")


if __name__ == "__main__":
    main()
