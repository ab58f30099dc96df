"""log and its kin, for a set of constants ``c``: see :mod:`fastnn.kernels.elementary.math`."""

from typing import Any

from fastnn.kernels.compiling.jit import by_dtype, inlined, muladd, polynomial
from fastnn.kernels.elementary import polynomials as p
from fastnn.kernels.elementary.exponential import exp_nonpositive
from fastnn.kernels.elementary.floats import DOUBLE, SINGLE, Constants, split


@inlined
def _log_parts_32(m, k, correction):
    # log((1 + f) 2**k) + correction
    c = SINGLE
    f = m - c.one
    z = f * f
    rest = muladd(z * f, polynomial(f, p.LOG1P_32), -(c.half * z))
    return muladd(k, c.ln2_high, f + (rest + muladd(k, c.ln2_low, correction)))


@inlined
def _log_parts_64(m, k, correction):
    c = DOUBLE
    f = m - c.one
    s = f / (c.two + f)
    z = s * s
    half_square = c.half * f * f
    rest = s * muladd(z, polynomial(z, p.ATANH_64), half_square)
    low = rest + muladd(k, c.ln2_low, correction)
    return muladd(k, c.ln2_high, -((half_square - low) - f))


_log_parts = by_dtype(_log_parts_32, _log_parts_64)


@inlined
def log(x: Any, c: Constants) -> Any:
    """Return log(x)."""
    subnormal = x < c.tiny
    m, k = split(x * c.up if subnormal else x)
    y = _log_parts(m, k - c.up_exponent if subnormal else k, c.zero)
    y = x if x == c.inf else y
    y = -c.inf if x == c.zero else y
    return y if x >= c.zero else c.nan


@inlined
def log1p(x: Any, c: Constants) -> Any:
    """Return log(1 + x): ``log(u)`` and u's rounding error over u, with ``u = 1 + x``."""
    u = c.one + x
    larger, smaller = (c.one, x) if x < c.one else (x, c.one)
    error = smaller - (u - larger)
    m, k = split(u)
    y = _log_parts(m, k, error / u)
    y = x if x == c.inf or abs(x) < c.tiny else y
    y = -c.inf if x == -c.one else y
    return y if x >= -c.one else c.nan


@inlined
def log1p_exp(x: Any, c: Constants) -> Any:
    """Return log(1 + exp(x)) for x <= 0: ``e p(e)`` with ``e = exp(x)``."""
    e = exp_nonpositive(x, c)
    return e * polynomial(e, c.log1p_exp)
