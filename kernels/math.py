"""Elementary functions written so that loops over them vectorise: no table, no branch, no call.

``math.exp`` inside a compiled loop is one scalar call per element. Here each function is arithmetic and
selects only, which LLVM turns into vector instructions of whatever width the host has. Each is written
once, for a set of constants ``c`` of float32 or float64; the polynomials come from
``docs/coefficients.py``, the measured errors from ``make accuracy``.

Three reductions carry them all:

- exp: with ``n = round(x / ln 2)`` and ``r = x - n ln 2``, ``exp(x) = 2**n exp(r)``. ``n`` is found by
  adding 1.5 * 2**(mantissa bits), which rounds to an integer in the low bits; ``r`` by subtracting
  ``n ln 2`` in two parts, the first exact (W. J. Cody, W. Waite, "Software Manual for the Elementary
  Functions", 1980). ``exp(r) = 1 + r + r**2 p(r)``.
- log: ``x = 2**k (1 + f)`` with ``1 + f`` between ``sqrt(1/2)`` and ``sqrt(2)``, by integer arithmetic
  on the bits; ``log(1 + f)`` as a polynomial in f (float32) or in ``s = f / (2 + f)``, as
  ``2 atanh(s)`` (float64; W. J. Cody, "Implementation and Testing of Function Software", 1982).
- erfc: ``exp(x**2) erfc(x) / t`` is a polynomial in ``t = 1 / (1 + x / 3.75)``, or in ``1 - 2 t``,
  which is better conditioned (the variable is that of M. Shepherd, J. Laframboise, "Chebyshev
  approximation of (1 + 2x) exp(x^2) erfc x", Math. Comp. 36, 1981); ``exp(-x**2)`` is taken with the
  rounding error of ``x**2`` carried along.

What is lost in a rounding and matters is kept in a second number: ``r`` as ``high + low``.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from fastnn.kernels import polynomials as p
from fastnn.kernels._jit import by_dtype, elementary, fma, inlined
from fastnn.kernels.polynomials import long_polynomial, polynomial

_QUARTER_PI_LOW = 3.061616997868383e-17  # pi / 4 less its float64


class Constants(NamedTuple):
    """What the functions need to know of a dtype."""

    zero: Any
    half: Any
    one: Any
    two: Any
    inf: Any
    nan: Any
    log2_e: Any
    ln2_high: Any  # few bits, so that its product with any n is exact
    ln2_low: Any
    magic: Any  # 1.5 * 2**(mantissa bits)
    low: Any  # exp is 0 below
    high: Any  # and infinite above
    minus_one_below: Any  # expm1 is -1 below
    unshift: Any  # 2**-shift, for subnormal results
    sigmoid_one: Any  # sigmoid(-x) is 1 below
    scale: Any  # a power of two, for sigmoid
    tiny: Any  # the smallest normal number
    negligible: Any  # 1 + x rounds to 1 below, and expm1(x) to x
    up: Any  # a power of two that makes subnormal numbers normal,
    up_exponent: Any  # and its exponent
    quarter_pi: Any
    quarter_pi_low: Any  # what its rounding left out
    tan_eighth: Any  # tan(pi / 8)
    tan_three_eighths: Any  # tan(3 pi / 8)
    erfc_slope: Any  # 1 / 3.75, of erfc's variable
    root_half: Any
    erfc_zero: Any  # erfc(x) is 0 above,
    normal_zero: Any  # and the normal distribution function of -x
    exp: tuple[Any, ...]
    erf: tuple[Any, ...]
    erfc_even: tuple[Any, ...]
    erfc_odd: tuple[Any, ...]


def _constants(dtype: Any, ln2_high: str, ln2_low: str, **polynomials: Any) -> Constants:
    info = np.finfo(dtype)
    bits = info.nmant
    numbers = {
        "zero": 0, "half": 0.5, "one": 1, "two": 2, "inf": np.inf, "nan": np.nan,
        "log2_e": 1 / math.log(2), "magic": 1.5 * 2.0**bits,
        "ln2_high": float.fromhex(ln2_high), "ln2_low": float.fromhex(ln2_low),
        "low": -104 if bits == 23 else -746, "high": 89 if bits == 23 else 710,
        "minus_one_below": -20 if bits == 23 else -40,
        "unshift": 2.0 ** -(24 if bits == 23 else 60),
        "sigmoid_one": -30 if bits == 23 else -60, "scale": 2.0 ** -(64 if bits == 23 else 512),
        "tiny": info.tiny, "negligible": 2.0 ** -(bits + 3),
        "up": 2.0 ** (bits + 2), "up_exponent": bits + 2,
        "quarter_pi": math.pi / 4, "tan_eighth": math.tan(math.pi / 8),
        "quarter_pi_low": _QUARTER_PI_LOW if bits == 52 else math.pi / 4 - float(dtype(math.pi / 4)),
        "tan_three_eighths": math.tan(3 * math.pi / 8), "erfc_slope": 1 / 3.75,
        "root_half": math.sqrt(0.5),
        "erfc_zero": 10.1 if bits == 23 else 27.3, "normal_zero": 14.5 if bits == 23 else 39,
    }  # fmt: skip
    return Constants(**{name: dtype(value) for name, value in numbers.items()}, **polynomials)


SINGLE = _constants(
    np.float32, "0x1.63p-1", "-0x1.bd0106p-13",
    exp=p.EXP_32, erf=p.ERF_32, erfc_even=p.ERFC_32[::2], erfc_odd=p.ERFC_32[1::2],
)  # fmt: skip
DOUBLE = _constants(
    np.float64, "0x1.62e42fee00000p-1", "0x1.a39ef35793c76p-33",
    exp=p.EXP_64, erf=p.ERF_64, erfc_even=p.ERFC_64[::2], erfc_odd=p.ERFC_64[1::2],
)  # fmt: skip

# The bits of floats. Numba's integers grow to 64 bits in arithmetic, which would halve the vectors of
# float32, so that every step says what it is.

_MAGIC_32, _MAGIC_64 = SINGLE.magic.view(np.int32), DOUBLE.magic.view(np.int64)
_SHIFT_32, _SHIFT_64 = np.int32(127 + 24), np.int64(1023 + 60)
_ROOT_32 = np.float32(math.sqrt(0.5)).view(np.int32)
_ROOT_64 = np.float64(math.sqrt(0.5)).view(np.int64)


@inlined
def _integer_32(t):
    return np.int32(np.float32(t).view(np.int32) - _MAGIC_32)


@inlined
def _integer_64(t):
    return np.float64(t).view(np.int64) - _MAGIC_64


@inlined
def _power_32(n):
    return np.int32(np.int32(n + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def _power_64(n):
    return np.int64((n + np.int64(1023)) << np.int64(52)).view(np.float64)


@inlined
def _halves_32(n):
    half = np.int32(n >> np.int32(1))
    return _power_32(half), _power_32(np.int32(n - half))


@inlined
def _halves_64(n):
    half = n >> np.int64(1)
    return _power_64(half), _power_64(n - half)


@inlined
def _shifted_power_32(n):
    return np.int32(np.int32(n + _SHIFT_32) << np.int32(23)).view(np.float32)


@inlined
def _shifted_power_64(n):
    return np.int64((n + _SHIFT_64) << np.int64(52)).view(np.float64)


@inlined
def _scaled_power_32(n):
    return _power_32(np.int32(n - np.int32(64)))


@inlined
def _scaled_power_64(n):
    return _power_64(n - np.int64(512))


@inlined
def _split_32(x):
    bits = np.float32(x).view(np.int32)
    k = np.int32(np.int32(bits - _ROOT_32) >> np.int32(23))
    return np.int32(bits - np.int32(k << np.int32(23))).view(np.float32), np.float32(k)


@inlined
def _split_64(x):
    bits = np.float64(x).view(np.int64)
    k = np.int64((bits - _ROOT_64) >> np.int64(52))
    return np.int64(bits - (k << np.int64(52))).view(np.float64), np.float64(k)


_integer = by_dtype(_integer_32, _integer_64)  # n from n + magic
_power = by_dtype(_power_32, _power_64)  # 2**n, a normal number
_halves = by_dtype(_halves_32, _halves_64)  # two numbers whose product is 2**n
_shifted_power = by_dtype(_shifted_power_32, _shifted_power_64)  # 2**n / unshift
_scaled_power = by_dtype(_scaled_power_32, _scaled_power_64)  # 2**n * scale
_split = by_dtype(_split_32, _split_64)  # 1 + f and k, of a positive normal number


@inlined
def reduce(x: Any, c: Constants) -> tuple[Any, Any, Any]:
    """Return ``r = x - n ln 2`` in two parts, and ``n + magic``, for x that does not overflow n."""
    t = x * c.log2_e + c.magic
    n = t - c.magic
    return x - n * c.ln2_high, -(n * c.ln2_low), t


@inlined
def _expm1_reduced(x, c):
    high, low, t = reduce(x, c)
    r = high + low
    return high + (low + (r * r) * polynomial(r, c.exp)), t


@inlined
def _exp(x, c):
    x = c.low if x < c.low else x
    x = c.high if x > c.high else x
    q, t = _expm1_reduced(x, c)
    a, b = _halves(_integer(t))
    return (q * a + a) * b


@inlined
def _exp_nonpositive(x, c):
    # 2**n may be subnormal: times 2**shift it is not, and 2**-shift is the one factor that may round
    x = c.low if x < c.low else x
    q, t = _expm1_reduced(x, c)
    a = _shifted_power(_integer(t))
    return (q * a + a) * c.unshift


@inlined
def _expm1(x, c):
    # s / 2 (expm1(r) + 1) - 1 / 2, times 2, with s = 2**n: half of it, so that n = 1024 has a power
    x = c.minus_one_below if x < c.minus_one_below else x
    x = c.high if x > c.high else x
    high, low, t = reduce(x, c)
    r = high + low
    low = (high - r) + low
    a = _power(_integer(t - c.one))
    constant = a - c.half
    linear = a * r
    top = constant + linear
    rest = linear - (top - constant) + ((a - constant) - c.half)
    y = c.two * (top + (rest + a * (low + (r * r) * polynomial(r, c.exp))))
    return x if abs(x) < c.negligible else y


@inlined
def _tanh_32(x):
    # a polynomial near 0; 1 - 2 / (exp(2 y) + 1) elsewhere, y = |x|; past 10 it is 1 in float32
    c = SINGLE
    y = abs(x)
    y = np.float32(10) if y > np.float32(10) else y
    z = x * x
    near = y + y * (z * polynomial(z, p.TANH_32))
    q, t = _expm1_reduced(y + y, c)
    a = _power(_integer(t))
    below = (a + c.one) + a * q
    low = a * q - (below - (a + c.one))  # what its rounding left out
    rest = c.two / below
    far = c.one - (rest - c.half * rest * rest * low)
    return math.copysign(near if y < c.one else far, x)


@inlined
def _tanh_64(x):
    # m / (m + 2) with m = expm1(2 |x|); past 22 it is 1 in float64
    c = DOUBLE
    y = abs(x)
    y = np.float64(22) if y > np.float64(22) else y
    m = _expm1(y + y, c)
    return math.copysign(m / (m + c.two), x)


@inlined
def _sigmoid(x, c):
    # s / (s + s exp(-x)): with the power of two s, exp(-x) does not overflow where the result is
    # subnormal. s exp(-x) = a + a q is added in its parts, and what is lost of s + a too, for one
    # rounding in place of three
    y = -x
    y = c.sigmoid_one if y < c.sigmoid_one else y
    y = -c.low if y > -c.low else y
    q, t = _expm1_reduced(y, c)
    a = _scaled_power(_integer(t))
    top = c.scale + a
    more, less = (a, c.scale) if a > c.scale else (c.scale, a)
    return c.scale / (top + (a * q + (less - (top - more))))


@inlined
def _log_parts_32(m, k, correction):
    # log((1 + f) 2**k) + correction
    c = SINGLE
    f = m - c.one
    z = f * f
    rest = z * f * polynomial(f, p.LOG1P_32) - c.half * z
    return k * c.ln2_high + (f + (rest + (k * c.ln2_low + correction)))


@inlined
def _log_parts_64(m, k, correction):
    c = DOUBLE
    f = m - c.one
    s = f / (c.two + f)
    z = s * s
    half_square = c.half * f * f
    rest = s * (half_square + z * polynomial(z, p.ATANH_64))
    low = rest + (k * c.ln2_low + correction)
    return k * c.ln2_high - ((half_square - low) - f)


_log_parts = by_dtype(_log_parts_32, _log_parts_64)


@inlined
def _log(x, c):
    subnormal = x < c.tiny
    m, k = _split(x * c.up if subnormal else x)
    y = _log_parts(m, k - c.up_exponent if subnormal else k, c.zero)
    y = x if x == c.inf else y
    y = -c.inf if x == c.zero else y
    return y if x >= c.zero else c.nan


@inlined
def _log1p(x, c):
    # log(u) + (rounding error of u) / u, u = 1 + x
    u = c.one + x
    error = x - (u - c.one) if x < c.one else c.one - (u - x)
    m, k = _split(u)
    y = _log_parts(m, k, error / u)
    y = x if x == c.inf or abs(x) < c.tiny else y
    y = -c.inf if x == -c.one else y
    return y if x >= -c.one else c.nan


@inlined
def _arctan_32(x):
    # atan(y), or pi / 2 - atan(1 / y) for y = |x| above 1
    c = SINGLE
    y = abs(x)
    large = y > c.one
    t = (-c.one if large else y) / (y if large else c.one)
    z = t * t
    right = c.two if large else c.zero
    low = right * c.quarter_pi_low + t * (z * polynomial(z, p.ATAN_32))
    return math.copysign(right * c.quarter_pi + (t + low), x)


@inlined
def _arctan_64(x):
    # as in float32, and pi / 4 + atan((y - 1) / (y + 1)) in between, for a shorter polynomial
    c = DOUBLE
    y = abs(x)
    small, large = y < c.tan_eighth, y > c.tan_three_eighths
    above = -c.one if large else y - c.one
    below = y if large else y + c.one
    t = (y if small else above) / (c.one if small else below)
    turns = c.zero if small else (c.two if large else c.one)
    z = t * t
    low = turns * c.quarter_pi_low + t * (z * polynomial(z, p.ATAN_64))
    return math.copysign(turns * c.quarter_pi + (t + low), x)


@inlined
def _exp_minus_square(x, scale, c):
    # exp(-scale x**2) for scale 1 or 1 / 2
    square = x * x
    error = fma(x, x, -square)
    y = -scale * square
    y = c.low if y < c.low else y
    high, low, t = reduce(y, c)
    low -= scale * error
    r = high + low
    q = high + (low + (r * r) * polynomial(r, c.exp))
    a = _shifted_power(_integer(t))
    return (q * a + a) * c.unshift


@inlined
def _erfc_over_exp(x, slope, c):
    # exp(u**2) erfc(u) for u = x slope / erfc_slope >= 0
    t = c.one / (c.one + slope * x)
    y = c.one - c.two * t
    return t * long_polynomial(y, c.erfc_even, c.erfc_odd)


@inlined
def _erf(x, c):
    y = abs(x)
    y = c.erfc_zero if y > c.erfc_zero else y
    z = x * x
    near = x + x * polynomial(z, c.erf)
    far = c.one - _exp_minus_square(y, c.one, c) * _erfc_over_exp(y, c.erfc_slope, c)
    return near if y < c.one else math.copysign(far, x)


@inlined
def _normal(x, c):
    y = abs(x)
    y = c.normal_zero if y > c.normal_zero else y
    e = _exp_minus_square(y, c.half, c)
    tail = c.half * (e * _erfc_over_exp(y, c.erfc_slope * c.root_half, c))
    return (tail if x < c.zero else c.one - tail if x >= c.zero else x), e


exp = elementary(_exp, SINGLE, DOUBLE)
exp_nonpositive = elementary(_exp_nonpositive, SINGLE, DOUBLE)
expm1 = elementary(_expm1, SINGLE, DOUBLE)
tanh = by_dtype(_tanh_32, _tanh_64)
sigmoid = elementary(_sigmoid, SINGLE, DOUBLE)
log = elementary(_log, SINGLE, DOUBLE)
log1p = elementary(_log1p, SINGLE, DOUBLE)
arctan = by_dtype(_arctan_32, _arctan_64)
erf = elementary(_erf, SINGLE, DOUBLE)
normal = elementary(_normal, SINGLE, DOUBLE)  # the normal distribution function, and exp(-x**2 / 2)
