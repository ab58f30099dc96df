"""The error of results in units in the last place of the exact result.

The exact result is a :class:`DD` number ``v``, not its rounding, so a correctly rounded result has an
error of up to 0.5. A unit is the distance of neighbouring numbers in the binade of ``v``, that of
subnormal numbers if ``v`` is one. Infinity counts as the power of two that comes after the largest
number. NaN is right where ``v`` is NaN, and there only.
"""

from functools import reduce

import numpy as np

from fastnn.kernels.compiling.jit import exact

from .double_double import DD

_MAX_EXPONENT = 2000


@exact
def _exponents(hi, lo, out):
    # floor(log2 |hi + lo|): one less where lo leads below the power of two that hi is
    patterns = hi.view(np.int64)
    for i in range(hi.size):
        bits = patterns[i] & 0x7FFFFFFFFFFFFFFF
        below = (bits & 0xFFFFFFFFFFFFF) == 0 and hi[i] * lo[i] < 0.0
        out[i] = (bits >> 52) - 1023 - (1 if below else 0)


@exact
def _times_power(x, n):
    half = n >> 1
    a = np.int64((half + 1023) << 52).view(np.float64)
    b = np.int64((n - half + 1023) << 52).view(np.float64)
    return x * a * b


@exact
def _errors(got, hi, lo, e, exponent, unit, max_exponent, out):
    # All numbers by half, so that infinity's stand-in is one. Exact but for d's last place.
    beyond = _times_power(1.0, max_exponent)
    for i in range(got.size):
        g = np.float64(got[i])
        if g != g or hi[i] != hi[i]:
            out[i] = 0.0 if g != g and hi[i] != hi[i] else np.inf
        elif np.isinf(hi[i]) or (np.isinf(g) and exponent[i] > max_exponent):
            out[i] = 0.0 if np.isinf(g) and g * hi[i] > 0.0 else np.inf
        else:
            a = _times_power(beyond, -e[i]) if np.isinf(g) else _times_power(abs(g), -e[i] - 1)
            d = (np.copysign(a, g) - 0.5 * hi[i]) - 0.5 * lo[i]
            out[i] = _times_power(abs(d), max(-2000, min(2000, e[i] + 1 - unit[i])))


def _normal(value):
    """Return the number with an exponent for each that keeps both parts from being subnormal."""
    hi, lo, e = (np.ravel(v) for v in value.spread())
    small = (abs(hi) < 2.0**-200) & (hi != 0)
    if small.any():
        shift = np.where(small, np.frexp(hi)[1], 0)
        with np.errstate(invalid="ignore"):  # of NaN beside them
            hi, lo, e = np.ldexp(hi, -shift), np.ldexp(lo, -shift), e + shift
    far = abs(e) > _MAX_EXPONENT
    if far.any():
        hi = np.where(far, np.where(e > 0, np.copysign(np.inf, hi), 0.0), hi)
        lo, e = np.where(far, 0.0, lo), np.where(far, 0, e)
    return DD(np.ascontiguousarray(hi), np.ascontiguousarray(lo), np.ascontiguousarray(e, np.int64))


def _exponent(value):
    out = np.empty(value.hi.size, np.int64)
    _exponents(value.hi, value.lo, out)
    return out + value.e


@exact
def _single_errors(got, value, largest, out):
    patterns = largest.view(np.int64)
    for i in range(got.size):
        g, v = np.float64(got[i]), value[i]
        exponent = ((patterns[i] >> 52) & 0x7FF) - 1023
        unit = np.int64((1023 - max(exponent - 23, -149)) << 52).view(np.float64)
        bounded = np.copysign(min(abs(g), 2.0**128), g)
        beyond = abs(g) == np.inf and abs(v) >= 2.0**128
        right = g != g or (beyond and g * v > 0.0)
        wrong = (g != g) != (v != v) or (beyond and g * v < 0.0)
        out[i] = np.inf if wrong else (0.0 if right else abs(bounded - v) * unit)


def errors(got, value, terms=()):
    """Return the errors of float32 or float64 results, flat; of the exact values and their terms.

    With terms, a unit is that of the largest of the value and the terms: it is what a sum can be held
    to where it cancels. Of float32 results the exact values may be float64 arrays.
    """
    if not isinstance(value, DD):
        out = np.empty(value.size)
        largest = reduce(np.maximum, (abs(t) for t in terms), abs(value))
        _single_errors(got, value, largest, out)
        return out
    info = np.finfo(got.dtype)
    value = _normal(value)
    exponent = _exponent(value)
    unit = reduce(np.maximum, (_exponent(_normal(t)) for t in terms), exponent) - info.nmant
    unit = np.maximum(unit, info.minexp - info.nmant)
    out = np.empty(value.hi.size)
    _errors(got.reshape(-1), *value, exponent, unit, info.maxexp - 1, out)
    return out


def relative_errors(got, value, scale):
    """Return the errors in units of ``eps * scale``, eps the distance from 1 to the next number."""
    difference = abs((DD.of(got) - value).flat().hi)
    found = np.where(difference == 0, 0.0, difference / (np.finfo(got.dtype).eps * scale))
    return np.where(np.isnan(found), np.inf, found).reshape(-1)
