"""Find the polynomials of ``kernels/elementary/polynomials.py`` anew: ``python docs/coefficients.py``.

Each is the near-minimax one that interpolates a smooth function in the Chebyshev nodes of the
interval to which the elementary function was reduced, found with 60 digits and rounded coefficient by
coefficient. Where that rounding would show in results, the polynomial is fitted by least squares in
those nodes instead, and each coefficient rounded before the next are found. A quotient of two
polynomials interpolates on ``[0, high]``, in the Chebyshev nodes of ``(y - centre) / (y + centre)``.
Printed with each: its largest error before rounding; of the second kind, after it.
"""

from collections.abc import Callable

import numpy as np
from mpmath import (
    atan,
    chebyfit,
    cos,
    erf,
    erfc,
    exp,
    log,
    lu_solve,
    matrix,
    mp,
    mpf,
    pi,
    polyval,
    sqrt,
    tanh,
)

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


def log1p_ratio(e: mpf) -> mpf:
    """Return ``log(1 + e) / e``."""
    return log(1 + e) / e if e > TINY else mpf(1) - e / 2


def normal_rest(y: mpf) -> mpf:
    """Return ``exp(-y**2 / 2) / Phi(-y) - sqrt(2 pi) y``, Phi the normal distribution function."""
    return 2 * exp(-y * y / 2) / erfc(y / sqrt(mpf(2))) - sqrt(2 * pi) * y


LN2, ROOT2 = log(mpf(2)), sqrt(mpf(2))
S2, T2 = ((ROOT2 - 1) / (ROOT2 + 1)) ** 2, (ROOT2 - 1) ** 2

# name: function, interval, degree in float32 and in float64 (None: not used there)
POLYNOMIALS: dict[str, tuple[Callable[[mpf], mpf], mpf, mpf, int | None, int | None]] = {
    "EXP": (expm1_rest, -LN2 / 2, LN2 / 2, 5, 10),
    "EXP_SHORT": (expm1_rest, -LN2 / 2, LN2 / 2, 4, 9),
    "LOG1P": (log1p_rest, 1 / ROOT2 - 1, ROOT2 - 1, 8, None),
    "ATANH": (atanh_rest, mpf(0), S2, None, 6),
    "ATAN": (atan_rest, mpf(0), mpf(1), 9, None),
    "ATAN ": (atan_rest, mpf(0), T2, None, 10),
    "ERF": (erf_rest, mpf(0), mpf(1), 6, 11),
    "LOG1P_EXP": (log1p_ratio, mpf(0), mpf(1), 8, 19),
}

# The same, in float32; an error at x counts x times.
ROUNDED = {"TANH": (tanh_rest, mpf(0), mpf(1), 6)}

# name: function, and in float32 and in float64 the degrees of the top and the bottom, the centre, the
# end of the interval. An error of the quotient counts as one of its sum with `sqrt(2 pi) y`.
Quotient = tuple[int, int, mpf, mpf]
QUOTIENTS: dict[str, tuple[Callable[[mpf], mpf], Quotient, Quotient]] = {
    "NORMAL": (normal_rest, (4, 5, mpf("2.2"), mpf("14.5")), (9, 10, mpf(3), mpf("38.7"))),
}


def rounded(f: Callable[[mpf], mpf], low: mpf, high: mpf, degree: int) -> list[mpf]:
    """Return float32 coefficients, each rounded before the next are found."""
    n = 8 * (degree + 1)
    points = [low + (high - low) * (1 + cos(pi * (2 * i + 1) / (2 * n))) / 2 for i in range(n)]
    found: list[mpf] = []
    for k in range(degree + 1):
        rest = matrix([x * (f(x) - polyval(found[::-1], x)) for x in points])
        system = matrix([[x ** (j + 1) for j in range(k, degree + 1)] for x in points])
        found.append(mpf(float(np.float32(str(lu_solve(system, rest)[0])))))
    return found


def quotient(f: Callable[[mpf], mpf], top: int, bottom: int, centre: mpf, high: mpf) -> list[list[mpf]]:
    """Return the coefficients of the top and the bottom, whose constant one is 1."""
    n = top + bottom + 1
    edge = (high - centre) / (high + centre)
    system, values = matrix(n, n), matrix(n, 1)
    for i in range(n):
        u = (edge - 1) / 2 + (edge + 1) / 2 * cos(pi * (2 * i + 1) / (2 * n))
        y = centre * (1 + u) / (1 - u)
        values[i] = f(y)
        for j in range(n):
            system[i, j] = y**j if j <= top else -values[i] * y ** (j - top)
    found = list(lu_solve(system, values))
    return [found[: top + 1], [mpf(1), *found[top + 1 :]]]


def show(name: str, dtype: type[np.floating], error: mpf, coefficients: list[mpf]) -> None:
    """Print coefficients, the constant one first, in hexadecimal."""
    print(f"{name} {dtype.__name__}, error 2**{float(log(error, 2)):.1f}")
    for coefficient in coefficients:
        print(f'    "{float(dtype(str(coefficient))).hex()}",')


def main() -> None:
    """Print every polynomial and every quotient."""
    for name, (function, low, high, *degrees) in POLYNOMIALS.items():
        for dtype, degree in zip((np.float32, np.float64), degrees, strict=True):
            if degree is not None:
                found, error = chebyfit(function, [low, high], degree + 1, error=True)
                show(name.strip(), dtype, error, found[::-1])
    for name, (function, low, high, degree) in ROUNDED.items():
        found = rounded(function, low, high, degree)
        points = [low + (high - low) * mpf(i) / 1000 for i in range(1001)]
        error = max(abs(x * (polyval(found[::-1], x) - function(x))) for x in points)
        show(name, np.float32, error, found)
    for name, (function, *quotients) in QUOTIENTS.items():
        for dtype, (*degrees, centre, high) in zip((np.float32, np.float64), quotients, strict=True):
            top, bottom = quotient(function, *degrees, centre, high)
            points = [high * (mpf(i) / 1000) ** 2 for i in range(1001)]
            values = [polyval(top[::-1], y) / polyval(bottom[::-1], y) for y in points]
            pairs = zip(points, values, strict=True)
            error = max(abs((v - function(y)) / (sqrt(2 * pi) * y + function(y))) for y, v in pairs)
            show(f"{name}_TOP", dtype, error, top[1:])
            show(f"{name}_BOTTOM", dtype, error, bottom[1:])


if __name__ == "__main__":
    main()
