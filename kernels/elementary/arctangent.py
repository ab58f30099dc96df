"""arctan, in float32 and float64: see :mod:`fastnn.kernels.elementary.math`."""

import math
from typing import Any

from fastnn.kernels.compiling.jit import inlined, muladd, polynomial
from fastnn.kernels.elementary import polynomials as p
from fastnn.kernels.elementary.floats import DOUBLE, SINGLE


@inlined
def arctan_32(x: Any) -> Any:
    """Return arctan(x): a polynomial in y = |x|, or in 1 / y, taken from pi / 2, for y above 1."""
    c = SINGLE
    y = abs(x)
    large = y > c.one
    t = (-c.one if large else y) / (y if large else c.one)
    z = t * t
    right = c.two if large else c.zero
    low = muladd(t, z * polynomial(z, p.ATAN_32), right * c.quarter_pi_low)
    return math.copysign(muladd(right, c.quarter_pi, t + low), x)


@inlined
def arctan_64(x: Any) -> Any:
    """Return arctan(x): as in float32, and pi / 4 + arctan((y - 1) / (y + 1)) in between."""
    c = DOUBLE
    y = abs(x)
    small, large = y < c.tan_eighth, y > c.tan_three_eighths
    above = -c.one if large else y - c.one
    below = y if large else y + c.one
    t = (y if small else above) / (c.one if small else below)
    turns = c.zero if small else (c.two if large else c.one)
    z = t * t
    low = muladd(t, z * polynomial(z, p.ATAN_64), turns * c.quarter_pi_low)
    return math.copysign(muladd(turns, c.quarter_pi, t + low), x)
