"""exp and what is made of it, for a set of constants ``c``.

See :mod:`fastnn.kernels.elementary.math`.
"""

import math
from typing import Any

from fastnn.kernels.compiling.jit import fma, inlined, muladd, polynomial
from fastnn.kernels.elementary import polynomials as p
from fastnn.kernels.elementary.floats import DOUBLE, SINGLE, Constants, halves, power, times_power
from fastnn.kernels.elementary.polynomials import long_polynomial


@inlined
def reduce(x: Any, c: Constants) -> tuple[Any, Any, Any]:
    """Return a, n, ``n + magic``, with ``x - n ln 2 = a - n c.ln2_low``, for x of a moderate size."""
    t = muladd(x, c.log2_e, c.magic)
    n = t - c.magic
    return muladd(-n, c.ln2_high, x), n, t


@inlined
def exp_rest(r: Any, coefficients: tuple[Any, ...]) -> Any:
    """Return p(r) of ``exp(r) = 1 + r + r**2 p(r)``, in two chains that do not wait for each other."""
    return long_polynomial(r, coefficients[::2], coefficients[1::2])


@inlined
def _expm1_rest(high, n, coefficients, c):
    low = -(n * c.ln2_low)
    r = high + low
    return high + muladd(r * r, exp_rest(r, coefficients), low)


@inlined
def _expm1_reduced(x, c):
    high, n, t = reduce(x, c)
    return _expm1_rest(high, n, c.exp, c), t


@inlined
def expm1_parts(x: Any, magic: Any, c: Constants) -> tuple[Any, Any]:
    """Return q and a power of two a, with ``exp(x) = a + a q``, q good to 1.5 units.

    ``magic`` is one of ``c.magic_...``. With ``c.magic_up`` a is larger by a factor ``1 / c.scale``,
    with ``c.magic_down`` smaller.
    """
    t = muladd(x, c.log2_e, magic)
    n = t - magic
    return _expm1_rest(muladd(-n, c.ln2_high, x), n, c.exp_short, c), power(t)


@inlined
def expm1_product(x: Any, y: Any, magic: Any, c: Constants) -> tuple[Any, Any]:
    """As :func:`expm1_parts`, of ``x y``. The product is not rounded: ``x y - n ln 2`` is."""
    t = muladd(x * y, c.log2_e, magic)
    n = t - magic
    return _expm1_rest(fma(x, y, -(n * c.ln2_high)), n, c.exp_short, c), power(t)


@inlined
def exp_lifted(x: Any, c: Constants) -> Any:
    """Return ``exp(x) / c.scale``, good to 1.5 units, for x <= 0."""
    t = muladd(x, c.log2_e, c.magic_lift)
    n = t - c.magic_lift
    r = muladd(-n, c.ln2_low, muladd(-n, c.ln2_high, x))
    return times_power(c.one + muladd(r * r, exp_rest(r, c.exp_short), r), t)


@inlined
def exp_product(x: Any, y: Any, less: Any, c: Constants) -> Any:
    """As :func:`exp_lifted`, of ``x y - less``, for a product <= 0 that is not rounded."""
    t = muladd(x * y, c.log2_e, c.magic_lift)
    n = t - c.magic_lift
    r = muladd(-n, c.ln2_low, fma(x, y, -(n * c.ln2_high))) - less
    return times_power(c.one + muladd(r * r, exp_rest(r, c.exp_short), r), t)


@inlined
def exp_(x: Any, c: Constants) -> Any:
    """Return exp(x)."""
    x = c.low if x < c.low else x
    x = c.high if x > c.high else x
    q, t = _expm1_reduced(x, c)
    a, b = halves(t)
    return muladd(q, a, a) * b


@inlined
def exp_nonpositive(x: Any, c: Constants) -> Any:
    """Return exp(x) for x <= 0."""
    # 2**n may be subnormal: over c.scale it is not, and c.scale is the one factor that may round
    x = c.low if x < c.low else x
    q, a = expm1_parts(x, c.magic_up, c)
    return muladd(a, q, a) * c.scale


@inlined
def expm1(x: Any, c: Constants) -> Any:
    """Return exp(x) - 1."""
    # s / 2 (expm1(r) + 1) - 1 / 2, times 2, with s = 2**n: half of it, so that n = 1024 has a power
    x = c.minus_one_below if x < c.minus_one_below else x
    x = c.high if x > c.high else x
    high, n, t = reduce(x, c)
    low = -(n * c.ln2_low)
    r = high + low
    low = (high - r) + low
    a = power(t + (c.bias - c.one))
    constant = a - c.half
    linear = a * r
    top = constant + linear
    rest = linear - (top - constant) + ((a - constant) - c.half)
    square = r * r
    low += muladd(r * square, polynomial(r, c.exp[1:]), c.half * fma(r, r, -square))
    y = c.two * (top + muladd(a, muladd(c.half, square, low), rest))
    return x if abs(x) < c.negligible else y


@inlined
def expm1_nonpositive(x: Any, c: Constants) -> Any:
    """Return exp(x) - 1 for x <= 0, good to 1.5 units."""
    x = c.minus_one_below if x < c.minus_one_below else x
    q, t = _expm1_reduced(x, c)
    a = power(t + c.bias)
    return muladd(a, q, a - c.one)


@inlined
def tanh_32(x: Any) -> Any:
    """Return tanh(x): a polynomial near 0; ``1 - 2 / (exp(2 |x|) + 1)`` elsewhere."""
    c = SINGLE
    y = abs(x)
    y = c.tanh_one if y > c.tanh_one else y
    z = x * x
    near = muladd(y, z * polynomial(z, p.TANH_32), y)
    q, a = expm1_parts(c.two * y, c.magic_level, c)
    far = c.one - c.two / muladd(a, q, a + c.one)
    return math.copysign(near if y < c.one else far, x)


@inlined
def tanh_64(x: Any) -> Any:
    """Return tanh(x): ``m / (m + 2)``, ``m = expm1(2 |x|)``, near 0; ``1 - 2 / (m + 2)`` elsewhere."""
    c = DOUBLE
    y = abs(x)
    y = c.tanh_one if y > c.tanh_one else y
    y += y
    t = muladd(y, c.log2_e, c.magic_level)
    n = t - c.magic_level
    high, rest = muladd(-n, c.ln2_high, y), -(n * c.ln2_low)
    r = high + rest
    a = power(t)
    rest = muladd(r * r, exp_rest(r, c.exp_short), rest)
    q = high + rest
    constant = a - c.one
    top, bottom = muladd(a, q, constant), muladd(a, q, a + c.one)
    # What top lacks, and the quotient times its bottom
    low = muladd(a, rest - (q - high), muladd(a, q, constant - top))
    inverse = c.one / bottom
    quotient = top * inverse
    error = muladd(low, c.one - quotient, fma(-quotient, bottom, top))
    # For large x the quotient's own rounding would be an error of more than a unit
    near, far = muladd(inverse, error, quotient), c.one - c.two * inverse
    return math.copysign(far if a > c.two else near, x)


@inlined
def sigmoid(x: Any, c: Constants) -> Any:
    """Return ``s / (s + s exp(-x))``; with s, ``exp(-x)`` is finite where the result is subnormal."""
    y = -x
    y = -c.sigmoid_one if y < -c.sigmoid_one else y
    y = -c.low if y > -c.low else y
    q, a = expm1_parts(y, c.magic_down, c)
    top = a + c.scale
    return c.scale / (top + muladd(a, q, c.scale - (top - a)))  # with what is lost of the first sum


# x sigmoid(v), for an odd v(x) that grows: with e = exp(-|v|) it is max(x, 0) - |x| e / (1 + e). Its
# derivative, with y = |x|, is k = e (1 + e - y v') / (1 + e)**2 at x < 0, and 1 - k elsewhere.
# Both sides of the bar stand times c.lift: only the quotient may be subnormal, and rounds once.


@inlined
def _gate(x, y, e, c):
    return (x if x > c.zero else c.zero) - y * e / (c.lift + e)


@inlined
def _gate_slope(x, y, slope, e, c):
    rest = e * c.scale
    k = e * muladd(-y, slope, c.one + rest) / muladd(e, c.two + rest, c.lift)
    return c.one - k if x > c.zero else k


@inlined
def silu(x: Any, c: Constants) -> Any:
    """Return x sigmoid(x)."""
    y = abs(x)
    y = -c.low_product if y > -c.low_product else y
    return _gate(x, y, exp_lifted(-y, c), c)


@inlined
def silu_slope(x: Any, c: Constants) -> Any:
    """Return the derivative of silu."""
    y = abs(x)
    y = -c.low_product if y > -c.low_product else y
    return _gate_slope(x, y, c.one, exp_lifted(-y, c), c)


@inlined
def _cubic(x, c):
    # 2 u(x) / x and its rounding error. `high - linear` is exact, for linear has few bits
    square = x * x
    error = fma(x, x, -square)
    high = fma(c.cubic, square, c.linear)
    rest = fma(c.cubic, square, -(high - c.linear))
    return high, rest + muladd(c.cubic, error, muladd(c.cubic_low, square, c.linear_low))


@inlined
def gelu_tanh(x: Any, c: Constants) -> Any:
    """Return x sigmoid(2 u(x)), ``2 u(x) = x (linear + cubic x**2)``."""
    y = abs(x)
    y = c.cubic_zero if y > c.cubic_zero else y
    high, low = _cubic(y, c)
    return _gate(x, y, exp_product(-y, high, y * low, c), c)


@inlined
def gelu_tanh_slope(x: Any, c: Constants) -> Any:
    """Return the derivative of GELU's tanh form."""
    y = abs(x)
    y = c.cubic_zero if y > c.cubic_zero else y
    high, low = _cubic(y, c)
    e = exp_product(-y, high, y * low, c)
    more = muladd(c.two, high - c.linear, muladd(c.two, low - c.linear_low, low))  # 2 cubic y**2
    return _gate_slope(x, y, high + more, e, c)
