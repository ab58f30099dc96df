"""Exponentials of a row's differences from its largest entry, and their sums.

``exp(z - top)`` would carry the rounding error of that difference, amplified by its size. So the error
is found exactly and added to the remainder that the exponential is taken of: by two-sum, or, for rows
that do not reach far down, by fast two-sum (D. Knuth, "The Art of Computer Programming", vol. 2, 4.2.2;
T. Dekker, "A floating-point technique for extending the available precision", Numer. Math. 18, 1971).
That needs a shift no smaller than any entry, which ``top + m ln 2`` is for some integer m; the factor
``2**m`` is added to the exponent. Where only quotients count, and entries are moderate, such a factor
is all that is needed: ``exp(z)`` has no difference in it. A common factor, ``SCALE``, keeps terms
normal whose share of the sum is subnormal, and cancels in the quotient.

Sums are taken without rounding where it matters. Adding a large number and subtracting it again cuts a
term in two; the sum of the high parts, multiples of one power of two, is exact, and that of the low
parts so small that its roundings do not count (S. Rump, T. Ogita, S. Oishi, "Accurate floating-point
summation", SIAM J. Sci. Comput. 31, 2008). So a row's largest term, which is SCALE, can be taken out of
its sum again, and what is left is as accurate as the terms.
"""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.constants import constants
from fastnn.kernels.compiling.jit import by_dtype, fma, inlined, inner, muladd
from fastnn.kernels.elementary.math import DOUBLE, SINGLE, Constants, reduce
from fastnn.kernels.elementary.polynomials import long_polynomial
from fastnn.kernels.emitted.sums import sum_of, sum_of_halves, sums_apart


@constants
class _Range:
    functions: Constants
    scale: float  # SCALE, a power of two
    cut: float  # what cuts terms: sums of up to 2**26 multiples of SCALE / 2**26 are exact in float64
    depth: Any  # how far below the largest an entry counts for nothing
    near: Any  # how far below it terms are surely normal numbers


_RANGE_32 = _Range(SINGLE, 2.0**40, 1.5 * 2.0 ** (52 - 26 + 40), np.float32(-110), np.float32(100))
_RANGE_64 = _Range(DOUBLE, 2.0**80, 1.5 * 2.0 ** (52 - 26 + 80), np.float64(-760), np.float64(700))
_MAGIC_32, _MAGIC_64 = int(SINGLE.magic.view(np.int32)), int(DOUBLE.magic.view(np.int64))


_SMALL_REST = 2.0**-12  # of SCALE


@inlined
def _range_32(like):
    return _RANGE_32


@inlined
def _range_64(like):
    return _RANGE_64


_range = by_dtype(_range_32, _range_64)


@inlined
def _power_32(t, m):
    bias = np.int32(np.int32(m) + np.int32(127 + 40 - _MAGIC_32))
    return np.int32(np.int32(np.float32(t).view(np.int32) + bias) << np.int32(23)).view(np.float32)


@inlined
def _power_64(t, m):
    bias = np.int64(m) + np.int64(1023 + 80 - _MAGIC_64)
    return np.int64((np.float64(t).view(np.int64) + bias) << np.int64(52)).view(np.float64)


_scaled_power = by_dtype(_power_32, _power_64)  # SCALE 2**(n + m) from n + magic and m


@inlined
def _times_exp_32(a, high, rest):
    return muladd(a, high + rest, a)


@inlined
def _times_exp_64(a, high, rest):
    top = DOUBLE.one + high
    return a * (top + ((high - (top - DOUBLE.one)) + rest))


_times_exp = by_dtype(_times_exp_32, _times_exp_64)  # a (1 + high + rest), in float64 rounded once


@inlined
def _scaled_exp(x, error, m, excess):
    # SCALE 2**m exp(x + error - excess)
    c = _range(x).functions
    high, n, t = reduce(x, c)
    low = muladd(-n, c.ln2_low, error) - excess
    r = high + low
    low = muladd(r * r, long_polynomial(r, c.exp[::2], c.exp[1::2]), low)
    return _times_exp(_scaled_power(t, m), high, low)


@inlined
def scaled_exp(z: Any, top: Any) -> Any:
    """Return ``SCALE exp(z - top)``, exactly SCALE for z = top; NaN for z = NaN and z = top = ±inf."""
    depth, zero = _range(z).depth, _range(z).functions.zero
    x = z - top
    back = x - z
    error = (z - (x - back)) - (top + back)
    deep = x < depth
    e = _scaled_exp(depth if deep else x, zero if deep else error, 0, zero)
    return zero if deep else e


@inlined
def _near_exp(z, shift, m, excess):
    # |z| <= |shift|
    x = z - shift
    return _scaled_exp(x, z - (x + shift), m, excess)


@inlined
def scale_of(like: Any) -> Any:
    """Return SCALE for an array's dtype."""
    return _range(like).scale


@inlined
def cut_of(like: Any) -> Any:
    """Return what cuts the terms of an array's dtype."""
    return _range(like).cut


@inlined
def halves(term: Any, cut: float) -> tuple[float, float]:
    """Return a term's high and low part."""
    high = (np.float64(term) + cut) - cut
    return high, np.float64(term) - high


@inlined
def _reciprocal_32(like, total, lost):
    inverse = 1.0 / total
    high = np.float32(inverse)
    return high, np.float32(inverse - np.float64(high))


@inlined
def _reciprocal_64(like, total, lost):
    high = 1.0 / total
    return high, high * muladd(-high, lost, fma(-high, total, 1.0))


# (array, total, lost): 1 / (total + lost) in two parts of an array's dtype; p high + p low rounds once.
reciprocal = by_dtype(_reciprocal_32, _reciprocal_64)


# A row's least and largest entry; with a NaN in it, one of them is NaN. LLVM vectorises a maximum of
# integers but not of floats that may be NaN. A float's bits, all but the sign flipped where it is
# negative, order as integers the way the floats do.


@inlined
def _key_32(bits):
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(2**31 - 1)))


@inlined
def _key_64(bits):
    return np.int64(bits ^ ((bits >> np.int64(63)) & np.int64(2**63 - 1)))


@inner
def _extremes_32(row):
    bits = row.view(np.int32)
    top, bottom = np.int32(-(2**31)), np.int32(2**31 - 1)
    for j in range(bits.size):
        key = _key_32(bits[j])
        top, bottom = max(top, key), min(bottom, key)
    return np.int32(_key_32(bottom)).view(np.float32), np.int32(_key_32(top)).view(np.float32)


@inner
def _extremes_64(row):
    bits = row.view(np.int64)
    top, bottom = np.int64(-(2**63)), np.int64(2**63 - 1)
    for j in range(bits.size):
        key = _key_64(bits[j])
        top, bottom = max(top, key), min(bottom, key)
    return np.int64(_key_64(bottom)).view(np.float64), np.int64(_key_64(top)).view(np.float64)


extremes = by_dtype(_extremes_32, _extremes_64)


@inner
def _terms(z, top, out):
    for j in range(z.size):
        out[j] = scaled_exp(z[j], top)


@inner
def _near_terms_from_top(z, shift, m, excess, out):
    for j in range(z.size):
        out[j] = _near_exp(z[j], shift, m, excess)


@inner
def _shift(top, reach, c):
    # top + m ln 2 of at least reach, m, and the shift's excess over that sum
    m = np.ceil((reach - top) * c.log2_e + c.half) if reach > top else c.zero
    step = m * c.ln2_high
    shift = top + step
    back = shift - top
    return shift, m, m * c.ln2_low - ((back - step) + ((shift - back) - top))


@inner
def _sum_32(p):
    return sum_of(p)  # float64 has bits to spare, so that blocks are not needed


@inner
def _rest_32(p):
    # ... for the sum, but not once the largest terms are most of it
    rest = _sum_32(p) - scale_of(p)
    if rest > _SMALL_REST * scale_of(p):
        return rest
    largest, rest = sums_apart(p, p.dtype.type(scale_of(p)))
    return rest + (largest / scale_of(p) - 1.0) * scale_of(p)


@inner
def _sum_64(p):
    high, low = sum_of_halves(p, cut_of(p))
    return high + low


@inner
def _rest_64(p):
    high, low = sum_of_halves(p, cut_of(p))
    return (high - scale_of(p)) + low


_sum, _rest = by_dtype(_sum_32, _sum_64), by_dtype(_rest_32, _rest_64)


@inner
def _near_terms(z, m, out):
    zero = _range(z).functions.zero
    for j in range(z.size):
        out[j] = _scaled_exp(z[j], zero, m, zero)


@inner
def exp_row(z: Array, out: Array) -> Any:
    """``out = exp(z)`` times a factor that suits the row; return the sum.

    A row with NaN, with +inf or of nothing but -inf gets a NaN, and so does its sum.
    """
    bottom, top = extremes(z)
    near, c = _range(z).near, _range(z).functions
    if max(abs(bottom), abs(top), top - bottom) <= near:
        _near_terms(z, -np.rint(top * c.log2_e), out)
    else:
        _terms(z, top, out)
    return _sum(out)


@inner
def exp_row_from_top(z: Array, out: Array) -> tuple[Any, Any]:
    """``out = SCALE exp(z - top)``; return top, and the sum of all terms but one of the largest.

    The largest terms are exactly SCALE. NaN as in :func:`exp_row`.
    """
    bottom, top = extremes(z)
    reach = max(abs(bottom), abs(top))
    if reach - bottom <= _range(z).near:
        shift, m, excess = _shift(top, reach, _range(z).functions)
        _near_terms_from_top(z, shift, m, excess, out)
    else:
        _terms(z, top, out)
    return top, _rest(out)
