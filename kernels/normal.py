"""The normal distribution and GELU, for a set of constants ``c``: see :mod:`fastnn.kernels.math`."""

import math
from typing import Any

from fastnn.kernels._jit import inlined
from fastnn.kernels.exponential import expm1_product
from fastnn.kernels.floats import Constants
from fastnn.kernels.polynomials import polynomial


@inlined
def _quotient(y, c):
    # Of exp(-y**2 / 2) / Phi(-y) = sqrt(2 pi) y + p(y) / q(y) = bottom / q(y), p(0) = 2 and q(0) = 1:
    # (q - 1) / y, y q, bottom. For large y p / q is small, and errors of q do not matter. The smaller
    # terms are added first: so 2 is, for large y
    rest = polynomial(y, c.normal_bottom)
    product = y + (y * y) * rest
    first = c.two if y > c.one else c.zero
    bottom = c.root_two_pi * product + (first + y * polynomial(y, c.normal_top))
    return rest, product, bottom + (c.two - first)


@inlined
def erf(x: Any, c: Constants) -> Any:
    """Return erf(x): a polynomial near 0, ``1 - 2 Phi(-sqrt(2) |x|)`` elsewhere."""
    y = abs(x)
    y = c.erf_one if y > c.erf_one else y
    near = x + x * polynomial(x * x, c.erf)
    q, a = expm1_product(-y, y, c.zero, c.magic_level, c)
    z = c.root_two * y
    rest, _, bottom = _quotient(z, c)
    far = c.one - c.two * ((a * q + a) * (c.one + z * rest) / bottom)
    return near if y < c.one else math.copysign(far, x)


@inlined
def gelu(x: Any, c: Constants) -> Any:
    """Return x Phi(x): ``max(x, 0)`` less ``|x| Phi(-|x|)``."""
    y = abs(x)
    y = c.normal_zero if y > c.normal_zero else y
    q, a = expm1_product(-c.half * y, y, c.zero, c.magic_up, c)
    _, product, bottom = _quotient(y, c)
    return (x if x > c.zero else c.zero) - (product + product * q) * a / bottom * c.scale


@inlined
def gelu_slope(x: Any, c: Constants) -> Any:
    """Return ``Phi(x) + x phi(x)``: ``k = Phi(-y) - y phi(y)`` at ``x = -y``, ``1 - k`` at y."""
    y = abs(x)
    y = c.normal_zero if y > c.normal_zero else y
    q, a = expm1_product(-c.half * y, y, c.zero, c.magic_up, c)
    rest, _, bottom = _quotient(y, c)
    top = c.one + y * (rest - c.density * bottom)
    k = (top + top * q) * a / bottom
    return c.one - k * c.scale if x > c.zero else k * c.scale
