"""Loops that show what the machine can do: the bounds other kernels are held against.

z, out: ``(m,)``. Run them over arrays that stay in the first-level cache, but for :func:`copy`.
"""

from fastnn._typing import Array
from fastnn.kernels._jit import exact, kernel


@kernel
def copy(z: Array, out: Array) -> None:
    """``out = z``."""
    for i in range(z.size):
        out[i] = z[i]


@exact
def multiply_add(z: Array, out: Array) -> None:
    """Iterate ``a = a z + 1`` in eight chains, as many as it takes to keep all units busy."""
    one = z.dtype.type(1)
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


@kernel
def divide(z: Array, out: Array) -> None:
    """``out = 1 / z``."""
    one = z.dtype.type(1)
    for i in range(z.size):
        out[i] = one / z[i]
