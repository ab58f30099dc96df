"""The elementary functions on :class:`DD` numbers, to a relative error below 2**-90.

By reduction of the argument and series. The coefficients are computed here, from mpmath.
"""

import mpmath
import numpy as np

from .double_double import DD, chebyshev, constant, polynomial, where

_TINY = 2.0**-200  # below this x, the first term of a series is all there is
_FAR = 1e5  # past this, exp is 0 or infinity by any standard

with mpmath.workdps(50):
    LN2 = constant(mpmath.ln2)
    HALF_PI = constant(mpmath.pi / 2)
    SQRT_HALF = constant(mpmath.sqrt(0.5))
    SQRT_2_OVER_PI = constant(mpmath.sqrt(2 / mpmath.pi))
    SQRT_1_OVER_2PI = constant(mpmath.sqrt(1 / (2 * mpmath.pi)))
    CUBIC = constant(mpmath.mpf("0.044715"))
    _TWO_OVER_SQRT_PI = constant(2 / mpmath.sqrt(mpmath.pi))
    _ARCTAN_OF_HALVES = constant([mpmath.atan(mpmath.mpf(i) / 2) for i in range(3)])
    _EXPM1 = constant([1 / mpmath.factorial(k + 1) for k in range(22)])
    _ARTANH = constant([mpmath.mpf(1) / (2 * k + 1) for k in range(21)])
    _ARCTAN = constant([(-1) ** k / mpmath.mpf(2 * k + 1) for k in range(25)])
    _ERF = constant([(-1) ** k / (mpmath.factorial(k) * (2 * k + 1)) for k in range(28)])

_CENTRE = 3.75  # of erfc's argument in Chebyshev's variable, (y - centre) / (y + centre)


@mpmath.workdps(50)
def _erfc_coefficients(n):
    """Return Chebyshev coefficients of ``(1 + 2 y) exp(y**2) erfc(y)``, interpolated in n nodes.

    M. M. Shepherd, J. G. Laframboise, "Chebyshev approximation of (1 + 2x) exp(x**2) erfc x in
    0 <= x < infinity", 1981.
    """
    angles = [mpmath.pi * (i + mpmath.mpf(1) / 2) / n for i in range(n)]
    values = []
    for angle in angles:
        t = mpmath.cos(angle)
        y = _CENTRE * (1 + t) / (1 - t)
        values.append((1 + 2 * y) * mpmath.exp(y * y) * mpmath.erfc(y))
    sums = [
        mpmath.fsum(v * mpmath.cos(k * angle) for v, angle in zip(values, angles, strict=True))
        for k in range(n)
    ]
    return constant([s * (1 if k == 0 else 2) / n for k, s in enumerate(sums)])


_ERFC = _erfc_coefficients(52)


def _reduced(x):
    """Return ``expm1(r)`` and ``n`` with ``x = n ln 2 + r``."""
    x = x.flat()
    inside = ~(abs(x.hi) > _FAR)
    x = DD(np.clip(x.hi, -_FAR, _FAR), np.where(inside, x.lo, 0.0))
    n = np.rint(x.hi / np.log(2))
    r = x - n * LN2
    return r * polynomial(_EXPM1, r), np.where(np.isnan(n), 0, n)


def exp(x):
    q, n = _reduced(x)
    return (1 + q).scaled(n)


def expm1(x):
    q, n = _reduced(x)
    return where(abs(x) < _TINY, x, where(n == 0, q, (1 + q).scaled(n) - 1))


def _log(f, n):
    """Return ``log((1 + f) 2**n)``: ``log(1 + f) = 2 artanh(f / (2 + f))``."""
    s = f / (2 + f)
    return n * LN2 + 2 * s * polynomial(_ARTANH, s * s)


def _exponent(m):
    """Return n such that ``m / 2**n`` is within a factor sqrt(2) of 1."""
    fraction, n = np.frexp(m)
    return n - (fraction < np.sqrt(0.5))


def log(x):
    """Return NaN for x that are not above 0 and finite."""
    n = _exponent(x.hi)
    f = DD(np.ldexp(x.hi, -n), np.ldexp(x.lo, -n)) - 1
    return where((x.hi > 0) & (x.hi < np.inf), _log(f, n + x.e), np.nan)


def log1p(x):
    """Return NaN for x that are not above -1 and finite."""
    m = (1 + x).flat()
    n = _exponent(m.hi)
    f = where(n == 0, x.flat(), DD(np.ldexp(m.hi, -n), np.ldexp(m.lo, -n)) - 1)
    value = where(abs(x) < _TINY, x, _log(f, n))
    return where((m.hi > 0) & (m.hi < np.inf), value, np.nan)


def tanh(x):
    a = abs(x)
    m = expm1(2 * where(a > 50, 50.0, a))
    return where(abs(x) < _TINY, x, _signed(m / (m + 2), x))


def sigmoid(x):
    t = exp(-abs(x))
    return where(x < 0, t, 1.0) / (1 + t)


def arctan(x):
    # arctan(b) = arctan(c) + arctan((b - c) / (1 + b c)) with c the nearest of 0, 1/2 and 1
    a = abs(x.flat())
    beyond = a > 1
    b = where(beyond, 1 / where(a > 1e290, 1e290, a), a)
    i = np.nan_to_num(np.rint(2 * b.hi)).astype(int)
    t = (b - i / 2) / (1 + b * (i / 2))
    y = DD(_ARCTAN_OF_HALVES.hi[i], _ARCTAN_OF_HALVES.lo[i]) + t * polynomial(_ARCTAN, t * t)
    return where(abs(x) < _TINY, x, _signed(where(beyond, HALF_PI - y, y), x))


def erfc(x):
    a = abs(x)
    y = where(a > 1e100, 1e100, a).flat()
    value = exp(-y * y) * chebyshev(_ERFC, (y - _CENTRE) / (y + _CENTRE)) / (1 + 2 * y)
    return where(x < 0, 2 - value, value)


def erf(x):
    a = abs(x)
    small = where(a > 1, 1.0, a)
    series = small * polynomial(_ERF, small * small) * _TWO_OVER_SQRT_PI
    return _signed(where(a > 1, 1 - erfc(a), series), x)


def _signed(magnitude, x):
    return where(np.signbit(x.hi), -magnitude, magnitude)
