"""Find the polynomials of ``kernels/math.py`` anew: ``python docs/coefficients.py`` (needs mpmath).

Each is the near-minimax polynomial that interpolates a smooth function in the Chebyshev nodes of the
interval to which the elementary function was reduced, found with 60 digits and rounded coefficient by
coefficient. Printed with each: its largest error before rounding.
"""

from collections.abc import Callable

import numpy as np
from mpmath import atan, chebyfit, erf, erfc, exp, log, mp, mpf, pi, sqrt, tanh

mp.dps = 60
TINY = mpf(10) ** -16  # below this the functions are taken at their limits


def expm1_rest(r: mpf) -> mpf:
    """Return ``(exp(r) - 1 - r) / r**2``."""
    return (exp(r) - 1 - r) / r**2 if abs(r) > TINY else mpf(1) / 2 + r / 6


def tanh_rest(z: mpf) -> mpf:
    """Return ``(tanh(x) / x - 1) / x**2`` with ``z = x**2``."""
    return (tanh(sqrt(z)) / sqrt(z) - 1) / z if z > TINY else -mpf(1) / 3


def log1p_rest(f: mpf) -> mpf:
    """Return ``(log(1 + f) - f + f**2 / 2) / f**3``."""
    return (log(1 + f) - f + f**2 / 2) / f**3 if abs(f) > TINY else mpf(1) / 3 - f / 4


def atanh_rest(z: mpf) -> mpf:
    """Return ``(2 atanh(s) - 2 s) / s**3`` with ``z = s**2``."""
    s = sqrt(z)
    return (log((1 + s) / (1 - s)) - 2 * s) / s**3 if z > TINY else mpf(2) / 3


def atan_rest(z: mpf) -> mpf:
    """Return ``(atan(t) / t - 1) / t**2`` with ``z = t**2``."""
    return (atan(sqrt(z)) / sqrt(z) - 1) / z if z > TINY else -mpf(1) / 3


def erf_rest(z: mpf) -> mpf:
    """Return ``erf(x) / x - 1`` with ``z = x**2``."""
    return erf(sqrt(z)) / sqrt(z) - 1 if z > TINY else 2 / sqrt(pi) - 1


def erfc_scaled(y: mpf) -> mpf:
    """Return ``exp(x**2) erfc(x) / t`` with ``t = 1 / (1 + x / 3.75)`` and ``y = 1 - 2 t``."""
    t = (1 - y) / 2
    x = mpf("3.75") * (1 / t - 1)
    return exp(x * x) * erfc(x) / t


LN2, ROOT2 = log(mpf(2)), sqrt(mpf(2))
S2, T2 = ((ROOT2 - 1) / (ROOT2 + 1)) ** 2, (ROOT2 - 1) ** 2

# name: function, interval, degree in float32 and in float64 (None: not used there)
POLYNOMIALS: dict[str, tuple[Callable[[mpf], mpf], mpf, mpf, int | None, int | None]] = {
    "EXP": (expm1_rest, -LN2 / 2, LN2 / 2, 5, 10),
    "TANH": (tanh_rest, mpf(0), mpf(1), 8, None),
    "LOG1P": (log1p_rest, 1 / ROOT2 - 1, ROOT2 - 1, 8, None),
    "ATANH": (atanh_rest, mpf(0), S2, None, 6),
    "ATAN": (atan_rest, mpf(0), mpf(1), 9, None),
    "ATAN ": (atan_rest, mpf(0), T2, None, 10),
    "ERF": (erf_rest, mpf(0), mpf(1), 7, 12),
    "ERFC": (erfc_scaled, mpf(-1), mpf("0.47"), 11, None),
    "ERFC ": (erfc_scaled, mpf(-1), mpf("0.77"), None, 23),
}


def main() -> None:
    """Print every polynomial, the constant coefficient first, in hexadecimal."""
    for name, (function, low, high, *degrees) in POLYNOMIALS.items():
        for dtype, degree in zip((np.float32, np.float64), degrees, strict=True):
            if degree is None:
                continue
            found, error = chebyfit(function, [low, high], degree + 1, error=True)
            print(f"{name.strip()} {dtype.__name__}, error 2**{float(log(error, 2)):.1f}")
            for coefficient in reversed(found):
                print(f'    "{float(dtype(str(coefficient))).hex()}",')


if __name__ == "__main__":
    main()
