"""Where a training step's time goes: ``make step-profile`` writes docs/training-step.md.

A phase's time is read off the system's clock between the phases of whole steps, inside compiled code,
less what reading it takes. Python's is that of the same calls with a plan that has no phases, on one
thread, as helpers without work fall asleep. Both are compared with the step as it is called, and with
what its operations would take at the rate that the machine is measured to have in the same second.
Figures are medians, of many calls and of the rounds; every round makes its networks anew, for where
memory lies is luck.
"""

import argparse
import ctypes
import itertools
import statistics
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import steps_page

import fastnn
from fastnn.bench import machine, record, timing
from fastnn.bench.bounds import Meter
from fastnn.bench.networks import TrainingStep
from fastnn.kernels.layers import dense
from fastnn.kernels.step import probes, steps
from fastnn.kernels.step.phases import loss_rows
from fastnn.kernels.step.plan import each

CASES = [
    TrainingStep(25, (4, 25, 16, 3)),
    TrainingStep(32, (64, 128, 64, 10)),
    TrainingStep(32, (784, 256, 128, 10)),
    TrainingStep(128, (784, 256, 128, 10)),
    TrainingStep(512, (784, 512, 256, 10)),
    TrainingStep(128, (64, 128, 64, 10), "float64"),
]
SECONDS = 0.1  # of each figure in each round
_REST = 0.2  # seconds that BLAS's threads spin on after a network was made
_CLOCK = ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value
_NAMES = {
    dense.forward: "forward {}",
    dense.forward_rows: "forward {}",
    loss_rows: "loss",
    dense.backward: "backward {}",
    dense.transpose_input: "transposition {}",
    each: "update",
}

_PRODUCTS = (dense.forward, dense.forward_rows, dense.backward)


@dataclass
class Profile:
    """A step in seconds: its compiled phases, the Python around them; the whole, round by round.

    ``flops`` has each phase's operations, ``peak`` is how many a second the machine does.
    """

    case: TrainingStep
    threads: int
    shared: bool
    flops: dict[str, int]
    phases: dict[str, float]
    python: dict[str, float]
    steps: list[float]
    peak: float

    @property
    def step(self):
        return statistics.median(self.steps)

    @property
    def sum(self):
        return sum(self.phases.values()) + sum(self.python.values())

    @property
    def at_peak(self):
        return self.case.flops / self.peak


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path, default=Path("docs/training-step.md"))
    options = parser.parse_args()
    run, rounds = record.begin([]), []
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", flush=True)
        rounds.append([
            measure(case, threads)
            for case, threads in itertools.product(CASES, dict.fromkeys((1, machine.cores())))
        ])  # fmt: skip
    profiles = [merge(same) for same in zip(*rounds, strict=True)]
    steps_page.write(run, profiles, options.page)
    print(f"wrote {options.page} and {options.page.with_suffix('.png')}")


def measure(case, threads):
    """Return the profile of one network."""
    network, X, Y = case.network(fastnn), case.batch()[0], case.one_hot()
    with fastnn.set_num_threads(threads):
        plan = stepped(network, X, Y)
        time.sleep(_REST)
        step = timing.measure(partial(network.train_step, X, Y), SECONDS)
        peak = Meter(threads).flops(case.dtype)
        flops, shared = work(plan, case), plan.pool().control != 0
        took = dict(zip(flops, phases(plan, int(SECONDS / step) + 1), strict=True))
    with fastnn.set_num_threads(1):
        around = python(network, stepped(network, X, Y), X, Y)
    return Profile(case, threads, shared, flops, took, around, [step], peak)


def stepped(network, X, Y):
    """Return the plan of a step, which has been done."""
    network.train_step(X, Y)
    network.train_step(X, Y)
    return network.engine._training.get(X.shape)


def work(plan, case):
    """Return each phase's name and operations."""
    products = [2 * case.n * size for size in case.products]
    flops = {}
    for phase in plan.to.contents:
        names = [_NAMES[job].format(layer + 1) for job, layer in phase]
        count = sum(products[layer] for job, layer in phase if job in _PRODUCTS)
        flops[" and ".join(names)] = sum(products) if phase[0][0] is each else count
    assert sum(flops.values()) == case.flops
    return flops


def phases(plan, times):
    """Return the seconds of each phase."""

    def medians():
        out = np.empty((times, len(plan.to.phases) + 1, 2), np.int64)
        pool = plan.pool()
        probes.phases(pool.control, plan.address, _CLOCK, time.CLOCK_MONOTONIC, out)
        return np.median(np.diff(out @ [1e9, 1.0], axis=1), axis=0) / 1e9

    medians()
    whole, counts = medians(), plan.to.phases["count"].copy()
    plan.to.phases["count"] = 0
    reading = medians()
    plan.to.phases["count"] = counts
    return (whole - reading).tolist()


def python(network, plan, X, Y):
    """Return the seconds of the calls around the phases, each without the one inside it."""
    count = len(plan.to.phases)
    plan.step["phase_count"] = 0
    pool = plan.pool()
    calls = {
        "compiled call": partial(steps.step, pool.control, plan.address, X, Y),
        "threads, results": partial(plan.run, X, Y),
        "optimiser": partial(plan.train, network, X, Y, None),
        "checks": partial(network.train_step, X, Y),
    }
    whole = {name: timing.measure(call, SECONDS) for name, call in calls.items()}
    plan.step["phase_count"] = count
    inside = [0.0, *whole.values()]
    return {name: t - within for (name, t), within in zip(whole.items(), inside, strict=False)}


def merge(rounds):
    """Return the medians of profiles of one case."""

    def median(values):
        if isinstance(values[0], dict):
            return {name: median([value[name] for value in values]) for name in values[0]}
        return statistics.median(values)

    measured = {
        name: median([getattr(p, name) for p in rounds]) for name in ("phases", "python", "peak")
    }
    return replace(rounds[0], steps=[p.step for p in rounds], **measured)


if __name__ == "__main__":
    main()
