"""Loops that show what the machine can do, and where a step's time goes.

a, b, z, out: ``(m,)``. Each loop runs so many times over, arithmetic on arrays that stay in the
first-level cache: the bounds other kernels are held against.
"""

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import call_job, exact, kernel, muladd
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


@exact
def multiply_add(times: int, z: Array, out: Array) -> None:
    """Iterate ``a = a z + 1`` in eight chains, as many as it takes to keep all units busy."""
    one = z.dtype.type(1)
    for _ in range(times):
        for i in range(z.size):
            x = z[i]
            a = x
            b = a + one
            c = b + one
            d = c + one
            e = d + one
            f = e + one
            g = f + one
            h = g + one
            for _ in range(16):
                a, b, c, d = muladd(a, x, one), muladd(b, x, one), muladd(c, x, one), muladd(d, x, one)
                e, f, g, h = muladd(e, x, one), muladd(f, x, one), muladd(g, x, one), muladd(h, x, one)
            out[i] = (a + b + c + d) + (e + f + g + h)


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
