"""Whole steps: a plan's phases one after the other, and stretches of steps through a dataset."""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import inner, kernel
from fastnn.kernels.compiling.memory import numbers, words
from fastnn.kernels.step.plan import PHASE_BYTES, STRETCH_BYTES, Phase, Step, Stretch
from fastnn.kernels.step.threads import parallel_for


@inner
def _run(control, phases, count):
    for p in range(count):
        at = phases + p * PHASE_BYTES
        phase = Phase(at)
        parallel_for(control if phase.shared != 0 else 0, phase.job, at, phase.count)


@inner
def _connect(fields, address):
    """Write an array's address into the fields that hold it."""
    listed = words(fields)
    for i in range(listed[0]):
        words(listed[1 + i])[0] = address


@inner
def _means(step):
    loss, error = 0.0, 0.0
    stats = numbers(step.stats)
    for i in range((step.n + step.block_rows - 1) // step.block_rows):
        loss += stats[2 * i]
        error += stats[2 * i + 1]
    return loss / step.n, error / (step.n * step.answers)


NOT_DONE = -1.0  # what `train` returns in place of an error


@inner
def _is_changed(step, array):
    begin = np.int64(array.ctypes.data)
    end = begin + array.size * array.itemsize
    changed = words(step.changed)
    found = False
    for i in range(step.changed_count):
        found |= begin < changed[2 * i + 1] and end > changed[2 * i]
    return found


@kernel
def step(control: int, at: int, x: Array, y: Array) -> tuple[float, float]:
    """Do the step of the plan at an address on a batch; return the mean loss and error.

    ``control`` is a pool's, or 0 for no helpers. If x or y lies in memory that the step changes,
    nothing is done, and the error is ``NOT_DONE``.
    """
    plan = Step(at)
    if _is_changed(plan, x) or _is_changed(plan, y):
        return 0.0, NOT_DONE
    _connect(plan.inputs, x.ctypes.data)
    _connect(plan.targets, y.ctypes.data)
    _run(control, plan.phases, plan.phase_count)
    return _means(plan)


@kernel
def infer(control: int, at: int, x: Array, out: Array) -> None:
    """Do the phases of a plan that has neither loss nor updates; write the network's output."""
    plan = Step(at)
    _connect(plan.inputs, x.ctypes.data)
    _connect(plan.outputs, out.ctypes.data)
    _run(control, plan.phases, plan.phase_count)


@kernel
def run(control: int, phases: int, count: int) -> None:
    """Do ``count`` phases, whose records are at an address."""
    _run(control, phases, count)


def stretch(at: int, index: int) -> None:
    """Do a plan's step on one batch after the other of a dataset."""
    s = Stretch(at + index * STRETCH_BYTES)
    plan = Step(s.step)
    n, rows, given = plan.n, s.rows, numbers(plan.numbers)
    batches = (rows + n - 1) // n  # of a pass
    for b in range(s.passes * batches):
        begin = b % batches * n
        plan.n = min(n, rows - begin)
        plan.order = s.order + (b // batches * rows + begin) * 8
        if s.weights != 0:
            plan.row_weights = s.weights + b * (1 + n) * 8
        for i in range(s.number_count):
            given[i] = numbers(s.numbers)[s.number_count * b + i]
        _run(s.control, plan.picking, 1)
        _run(s.control, plan.phases, plan.phase_count)
        loss, error = _means(plan)
        numbers(s.results)[2 * b], numbers(s.results)[2 * b + 1] = loss, error
    plan.n, plan.row_weights = n, 0


@kernel
def run_stretches(control: int, job: int, stretches: Array) -> None:
    """Do stretches ``(count,)``, side by side, each on a thread of its own if a pool is given.

    ``stretches``: their records as integers, ``(count, fields)``; ``job``: of :func:`stretch`.
    """
    parallel_for(control, job, stretches.ctypes.data, stretches.shape[0])
