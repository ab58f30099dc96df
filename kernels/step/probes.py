"""Loops that show what the machine can do, and where a step's time goes.

a, b, z, out: ``(m,)``. Each loop runs so many times over, arithmetic on arrays that stay in the
first-level cache: the bounds other kernels are held against.
"""

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import VECTOR_BYTES, call_job, exact, kernel
from fastnn.kernels.emitted.chains import CHAINS, multiply_add_chains
from fastnn.kernels.step.plan import PHASE_BYTES, Phase, Step
from fastnn.kernels.step.threads import parallel_for


@kernel
def total(times: int, z: Array, out: Array) -> None:
    """``out[0] = sum(z)``: nothing but reads."""
    for _ in range(times):
        s = z.dtype.type(0)
        for i in range(z.size):
            s += z[i]
        out[0] = s


@exact
def copy(times: int, z: Array, out: Array) -> None:
    """``out = z``."""
    for _ in range(times):
        for i in range(z.size):
            out[i] = z[i]


@exact
def add(times: int, a: Array, b: Array, out: Array) -> None:
    """``out = a + b``."""
    for _ in range(times):
        for i in range(a.size):
            out[i] = a[i] + b[i]


_STEPS = 1000


def flops_of_a_turn(itemsize: int) -> int:
    """Return the operations of one turn of :func:`multiply_add`."""
    return 2 * CHAINS * _STEPS * (VECTOR_BYTES // itemsize)


@exact
def multiply_add(times: int, out: Array) -> None:
    """Do fused multiply-adds that depend on no memory, on whole registers, as matrix products do.

    out: two vectors' elements at least. The first holds finite numbers below 1, the second is written.
    """
    for _ in range(times):
        multiply_add_chains(_STEPS, out.ctypes.data, out[0])


@exact
def divide(times: int, z: Array, out: Array) -> None:
    """``out = 1 / z``."""
    one = z.dtype.type(1)
    for _ in range(times):
        for i in range(z.size):
            out[i] = one / z[i]


@kernel
def phases(control: int, plan: int, clock: int, which: int, out: Array) -> None:
    """Do a plan's step on the batch of the last one, over and over, with the time after each phase.

    ``plan``: the address of its step; ``clock``: that of C's ``clock_gettime(which, timespec)``, which
    is called as a job is. out ``(times, 1 + phases, 2)``: seconds and nanoseconds, before the first
    phase and after each.
    """
    row = out.shape[1] * 16
    for i in range(out.shape[0]):
        at = out.ctypes.data + i * row
        call_job(clock, which, at)
        for p in range(1, out.shape[1]):
            phase = Phase(Step(plan).phases + (p - 1) * PHASE_BYTES)
            pool = control if phase.shared != 0 else 0
            parallel_for(pool, phase.job, phase.address, phase.count)
            call_job(clock, which, at + 16 * p)
