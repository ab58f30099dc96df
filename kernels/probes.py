"""Loops that show what the machine can do: the bounds other kernels are held against.

a, b, z, out: ``(m,)``. Each loop runs so many times over, arithmetic on arrays that stay in the
first-level cache.
"""

from fastnn._typing import Array
from fastnn.kernels._jit import exact, kernel


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
                a, b, c, d = a * x + one, b * x + one, c * x + one, d * x + one
                e, f, g, h = e * x + one, f * x + one, g * x + one, h * x + one
            out[i] = (a + b + c + d) + (e + f + g + h)


@exact
def divide(times: int, z: Array, out: Array) -> None:
    """``out = 1 / z``."""
    one = z.dtype.type(1)
    for _ in range(times):
        for i in range(z.size):
            out[i] = one / z[i]
