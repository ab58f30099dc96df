"""The normal distribution and GELU, for a set of constants ``c``.

See :mod:`fastnn.kernels.elementary.math`.
"""

import math
from typing import Any

from fastnn.kernels.compiling.jit import fma, inlined, muladd, polynomial
from fastnn.kernels.elementary.exponential import exp_product, expm1_product
from fastnn.kernels.elementary.floats import DOUBLE, SINGLE, Constants, times_power

# exp(-y**2 / 2) / Phi(-y) = sqrt(2 pi) y + p(y) / q(y) = bottom / q(y), p(0) = 2 and q(0) = 1. Both
# sides of the bar stand times c.lift: only the quotient may be subnormal, and rounds once.


@inlined
def _quotient(y, square, c):
    # (q - 1) / y and bottom c.lift. For large y p / q is small, and errors of q do not matter. The
    # smaller terms are added first: so 2 is, for large y
    rest = polynomial(y, c.normal_bottom)
    product = muladd(square, rest, y)
    two = c.two * c.lift
    first = two if y > c.one else c.zero
    smaller = muladd(y, polynomial(y, c.normal_top), first)
    return rest, fma(c.root_two_pi * c.lift, product, smaller) + (two - first)


@inlined
def _density(y, square, c):
    # exp(-y**2 / 2) c.lift: of y**2 before it is rounded
    t = muladd(square, -c.half * c.log2_e, c.magic_lift)
    n = t - c.magic_lift
    r = muladd(n, c.two * c.ln2_low, fma(y, y, n * (c.two * c.ln2_high)))
    return times_power(polynomial(r, c.exp_half), t)


@inlined
def erf(x: Any, c: Constants) -> Any:
    """Return erf(x): a polynomial near 0, ``1 - 2 Phi(-sqrt(2) |x|)`` elsewhere."""
    y = abs(x)
    y = c.erf_one if y > c.erf_one else y
    near = muladd(x, polynomial(x * x, c.erf), x)
    z = c.root_two * y
    rest, bottom = _quotient(z, z * z, c)
    far = c.one - c.two * (exp_product(-y, y, c.zero, c) * muladd(z, rest, c.one) / bottom)
    return near if y < c.one else math.copysign(far, x)


@inlined
def _tail(y, square, c):
    # y q and bottom c.lift, as in _quotient; but 2 is added last: near 0 it is the larger term
    product = muladd(square, polynomial(y, c.normal_bottom), y)
    smaller = fma(c.root_two_pi * c.lift, product, y * polynomial(y, c.normal_top))
    return product, smaller + c.two * c.lift


@inlined
def gelu_32(x: Any) -> Any:
    """Return x Phi(x): ``max(x, 0)`` less ``|x| Phi(-|x|)``."""
    c = SINGLE
    y = abs(x)
    y = c.normal_zero if y > c.normal_zero else y
    square = y * y
    product, bottom = _tail(y, square, c)
    return (x if x > c.zero else c.zero) - product * _density(y, square, c) / bottom


@inlined
def gelu_64(x: Any) -> Any:
    """As :func:`gelu_32`, with one rounding less in the exponential."""
    c = DOUBLE
    y = abs(x)
    y = c.normal_zero if y > c.normal_zero else y
    product, bottom = _tail(y, y * y, c)
    q, a = expm1_product(-c.half * y, y, c.magic_up, c)
    return (x if x > c.zero else c.zero) - muladd(product, q, product) * a / bottom


@inlined
def gelu_slope(x: Any, c: Constants) -> Any:
    """Return ``Phi(x) + x phi(x)``: ``k = Phi(-y) - y phi(y)`` at ``x = -y``, ``1 - k`` at y."""
    y = abs(x)
    y = c.normal_zero if y > c.normal_zero else y
    rest, bottom = _quotient(y, y * y, c)
    top = muladd(y, muladd(-c.density * c.scale, bottom, rest), c.one)
    q, a = expm1_product(-c.half * y, y, c.magic_up, c)  # one rounding less than in _density
    k = muladd(top, q, top) * a / bottom
    return c.one - k if x > c.zero else k
