"""Whole steps: a plan's phases one after the other, and stretches of steps through a dataset.

What a plan is, and what its words mean, stands in :mod:`fastnn.kernels.layers.dense`.
"""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import inner, kernel
from fastnn.kernels.compiling.memory import numbers, words
from fastnn.kernels.layers.dense import (
    ACTIVATION,
    ANSWERS,
    BLOCK,
    CHANGED,
    CHANGED_COUNT,
    COUNT,
    JOB,
    LAYER_COUNT,
    ORDER,
    PASS_ROWS,
    PASSES,
    PHASE_COUNT,
    PHASE_WORDS,
    PHASES,
    RATES,
    RESULTS,
    ROW_WEIGHTS,
    SHARED,
    STATS,
    STRETCH_CONTROL,
    STRETCH_ORDER,
    STRETCH_PLAN,
    STRETCH_RATES,
    STRETCH_WEIGHTS,
    STRETCH_WORDS,
    A,
    N,
    X,
    Y,
    Z,
    _layer,
)
from fastnn.kernels.step.threads import parallel_for


@inner
def _run(control, plan, begin):
    for p in range(begin, plan[PHASE_COUNT]):
        at = plan[PHASES] + p * PHASE_WORDS * 8
        phase = words(at)
        parallel_for(control if phase[SHARED] != 0 else 0, phase[JOB], at, phase[COUNT])


@inner
def _means(plan):
    loss, error = 0.0, 0.0
    stats = numbers(plan[STATS])
    for i in range((plan[N] + plan[BLOCK] - 1) // plan[BLOCK]):
        loss += stats[2 * i]
        error += stats[2 * i + 1]
    return loss / plan[N], error / (plan[N] * plan[ANSWERS])


NOT_DONE = -1.0  # what `step` returns in place of an error


@inner
def _is_changed(plan, array):
    begin = np.int64(array.ctypes.data)
    end = begin + array.size * array.itemsize
    changed = words(plan[CHANGED])
    found = False
    for i in range(plan[CHANGED_COUNT]):
        found |= begin < changed[2 * i + 1] and end > changed[2 * i]
    return found


@kernel
def step(control: int, at: int, x: Array, y: Array) -> tuple[float, float]:
    """Do the step of the plan at an address on a batch; return the mean loss and error.

    ``control`` is a pool's, or 0 for no helpers. If x or y lies in memory that the step changes,
    nothing is done, and the error is ``NOT_DONE``.
    """
    plan = words(at)
    if _is_changed(plan, x) or _is_changed(plan, y):
        return 0.0, NOT_DONE
    plan[X], plan[Y] = x.ctypes.data, y.ctypes.data
    _run(control, plan, 1)
    return _means(plan)


@kernel
def infer(control: int, at: int, x: Array, out: Array) -> None:
    """Do the phases of a plan that has neither loss nor updates; write the last activations."""
    plan = words(at)
    last = _layer(plan, plan[LAYER_COUNT] - 1)
    plan[X] = x.ctypes.data
    if last[ACTIVATION] == 0:
        last[Z] = out.ctypes.data
    last[A] = out.ctypes.data
    _run(control, plan, 1)


def stretch(at: int, index: int) -> None:
    """Do a plan's step on one batch after the other of a dataset."""
    s = words(at + index * STRETCH_WORDS * 8)
    plan = words(s[STRETCH_PLAN])
    n, rows, rates = plan[N], s[PASS_ROWS], numbers(plan[RATES])
    batches = (rows + n - 1) // n  # of a pass
    for b in range(s[PASSES] * batches):
        begin = b % batches * n
        plan[N] = min(n, rows - begin)
        plan[ORDER] = s[STRETCH_ORDER] + (b // batches * rows + begin) * 8
        if s[STRETCH_WEIGHTS] != 0:
            plan[ROW_WEIGHTS] = s[STRETCH_WEIGHTS] + b * (1 + n) * 8
        for r in range(4):
            rates[r] = numbers(s[STRETCH_RATES])[4 * b + r]
        _run(s[STRETCH_CONTROL], plan, 0)
        loss, error = _means(plan)
        numbers(s[RESULTS])[2 * b], numbers(s[RESULTS])[2 * b + 1] = loss, error
    plan[N], plan[ROW_WEIGHTS] = n, 0


@kernel
def run_stretches(control: int, job: int, stretches: Array) -> None:
    """Run stretches ``(count, STRETCH_WORDS)``, each on a thread if a pool is given."""
    parallel_for(control, job, stretches.ctypes.data, stretches.shape[0])
