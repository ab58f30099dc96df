"""Phases by a plan whose addresses are relative to arrays, so that it can be used with any arrays."""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import kernel
from fastnn.kernels.compiling.memory import stack, words
from fastnn.kernels.step.steps import run

MOST_WORDS, PLAN_HEAD = 128, 6
PLAN, FRESH, KEPT, W_AT, U_AT, B_AT, GIVEN, OUT = range(8)  # what addresses are relative to
_plan_space, _base_space = stack(8 * MOST_WORDS), stack(8 * 8)


@kernel
def run_relative(
    control: int,
    plan: Array,
    fresh: Array,
    kept: Array,
    begin: int,
    W: Array,
    U: Array,
    b: Array,
    given: Array,
    out: Array,
) -> int:
    """Do a recurrent layer's pass by a plan whose addresses are relative to the arrays.

    plan: ``PLAN_HEAD`` integers: how many words the records have, how many of them hold addresses, how
    many phases there are, a range of fresh that is set to zeros, and where in fresh a copy of it begins
    that goes to out, or -1; the words, of which the phases come first; for each address its word, and
    the number of the array it is relative to. fresh: new memory ``(m,)``; the function returns how many
    of its elements come before the first cache line, where addresses in it begin. kept: memory
    ``(m,)``, in which addresses begin at the element ``begin``. given, out: ``(m,)``.
    """
    at, base_at = _plan_space(), _base_space()
    own, bases = words(at), words(base_at)
    count = plan[0]
    for i in range(count):
        own[i] = plan[PLAN_HEAD + i]
    begins = np.int64(fresh.ctypes.data)
    skipped = -begins & 63
    bases[0], bases[1] = at, begins + skipped
    bases[2] = np.int64(kept.ctypes.data) + begin * kept.itemsize
    bases[3], bases[4], bases[5] = W.ctypes.data, U.ctypes.data, b.ctypes.data
    bases[6], bases[7] = given.ctypes.data, out.ctypes.data
    for i in range(plan[1]):
        link = PLAN_HEAD + count + 2 * i
        own[plan[link]] += bases[plan[link + 1]]
    skipped //= fresh.itemsize
    for i in range(skipped + plan[3], skipped + plan[4]):
        fresh[i] = 0
    run(control, at, plan[2])
    if plan[5] >= 0:
        for i in range(out.size):
            out[i] = fresh[skipped + plan[5] + i]
    return skipped
