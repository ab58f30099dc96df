"""From what size on all cores are faster than one, kernel by kernel: ``make crossover``.

The constants in ``kernels/parallel.py`` are chosen by what this prints. Every size is timed in turns,
on one thread and on all, as the layers call the kernels; the time is the median of the rounds, and so
is the ratio. On a virtual machine whose cores are near at one time and far at another the rounds,
spread over time, see both: the last column has the ratio's lower and upper quartile.
"""

import argparse
import statistics
import time

import numpy as np
from rich.console import Console
from rich.table import Table

import fastnn
from fastnn.bench import machine, timing
from fastnn.kernels import activations, cross_entropy, parallel, softmax

SIZES = [2**i for i in range(10, 18)]
THRESHOLDS = [name for name in vars(parallel) if name.startswith("SMALL")]
SECONDS = 0.004  # of each turn


def elements(kernel):
    def prepare(size, dtype, rng):
        z, dy = rng.normal(size=(2, size)).astype(dtype)
        arrays = (z, dy) if kernel.__name__.endswith("_backward") else (z,)
        out = np.empty_like(z)
        return lambda: parallel.elementwise(kernel, *arrays, out)

    return prepare


def rows(kernel, k):
    def prepare(size, dtype, rng):
        z, dy = rng.normal(size=(2, -(-size // k), k)).astype(dtype)
        arrays = (z,) if kernel is softmax.softmax else (z, dy)
        out = np.empty_like(z)
        return lambda: parallel.by_rows(kernel, *arrays, out)

    return prepare


def loss(k):
    def prepare(size, dtype, rng):
        z = rng.normal(size=(-(-size // k), k)).astype(dtype)
        y = np.eye(k, dtype=dtype)[rng.integers(0, k, len(z))]
        out = np.empty_like(z)
        return lambda: parallel.sum_by_rows(cross_entropy.softmax_cross_entropy, z, y, out)

    return prepare


KERNELS = {
    "relu": elements(activations.relu),
    "relu_backward": elements(activations.relu_backward),
    "sigmoid": elements(activations.sigmoid),
    "tanh": elements(activations.tanh),
    "tanh_backward": elements(activations.tanh_backward),
    "arctan_backward": elements(activations.arctan_backward),
    "gelu": elements(activations.gelu),
    "softmax k=10": rows(softmax.softmax, 10),
    "softmax k=100": rows(softmax.softmax, 100),
    "softmax k=1000": rows(softmax.softmax, 1000),
    "softmax_backward k=10": rows(softmax.softmax_backward, 10),
    "softmax_jvp k=10": rows(softmax.softmax_jvp, 10),
    "softmax_jvp k=1000": rows(softmax.softmax_jvp, 1000),
    "cross-entropy k=10": loss(10),
    "cross-entropy k=1000": loss(1000),
}


def kilobytes(size, dtype):
    """Return the KB of an array, by which the constants count."""
    return size * np.dtype(dtype).itemsize // 1024


def turn(call, small):
    """Return the seconds of a call with that threshold, once its turn has begun."""
    for name in THRESHOLDS:
        setattr(parallel, name, small)
    time.sleep(0.001)  # helpers of the other turn fall asleep
    for _ in range(5):
        call()
    samples, calls = timing.plan(timing.sample(call, 5), SECONDS)
    return statistics.median(timing.sample(call, calls) for _ in range(samples))


def crossing(ratios):
    """Return the size from which on the median ratio stays above 1; None if it does not."""
    found = None
    for size, values in ratios.items():
        faster = statistics.median(values) > 1
        found = (found or size) if faster else None
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dtype", choices=["float32", "float64"], action="append")
    parser.add_argument("-k", default="", help="only kernels whose name has this in it")
    options = parser.parse_args()
    console = Console(width=120)
    console.print(f"{fastnn.get_num_threads()} threads, {machine.describe()['processor']}")
    for dtype in options.dtype or ["float32", "float64"]:
        cases = {
            (name, size): prepare(size, dtype, np.random.default_rng(0))
            for name, prepare in KERNELS.items()
            if options.k in name
            for size in SIZES
        }
        times = {case: [] for case in cases}
        for _ in range(options.rounds):
            for case, call in cases.items():
                times[case].append((turn(call, 2**62), turn(call, 0)))
        console.print(table(dtype, times))


def table(dtype, times):
    """Return what was measured, and for each kernel where all threads begin to win."""
    found = Table(
        "kernel", "elements", "KB", "one thread, us", "all, us", "ratio", "quartiles", title=dtype
    )
    for column in found.columns[1:]:
        column.justify = "right"
    for name in dict.fromkeys(name for name, _ in times):
        ratios = {
            size: [one / several for one, several in pairs]
            for (kernel, size), pairs in times.items()
            if kernel == name
        }
        for size, values in ratios.items():
            one, several = (
                1e6 * statistics.median(side) for side in zip(*times[name, size], strict=True)
            )
            low, middle, high = statistics.quantiles(values, n=4)
            found.add_row(
                name,
                str(size),
                str(kilobytes(size, dtype)),
                f"{one:.1f}",
                f"{several:.1f}",
                f"{middle:.2f}",
                f"{low:.2f} - {high:.2f}",
            )
        first = crossing(ratios)
        where = "at no size" if first is None else f"from {kilobytes(first, dtype)} KB"
        found.add_row(f"[bold]{name} {where}", end_section=True)
    return found


if __name__ == "__main__":
    main()
