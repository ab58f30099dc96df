"""Elementary functions written so that loops over them vectorise: no table, no branch, no call.

``math.exp`` inside a compiled loop is one scalar call per element. Here each function is arithmetic and
selects only, which LLVM turns into vector instructions of whatever width the host has. Each is written
once, for a set of constants ``c`` of float32 or float64. ``docs/coefficients.py`` finds all
polynomials: near-minimax ones, by interpolation in Chebyshev nodes.

Four reductions carry them all:

- exp (`exponential.py`): with ``n = round(x / ln 2)`` and ``r = x - n ln 2``,
  ``exp(x) = 2**n exp(r)``. ``n`` is found by adding 1.5 * 2**(mantissa bits), which rounds to an
  integer in the low bits; ``r`` by subtracting ``n ln 2`` in two parts, the first exact (W. J. Cody,
  W. Waite, "Software Manual for the Elementary Functions", 1980).
  ``exp(r) = 1 + r + r**2 p(r)``.
  Where x is a product, as in ``exp(-y**2 / 2)``, a fused multiply-add subtracts before it is rounded.
- log (`logarithm.py`): ``x = 2**k (1 + f)`` with ``1 + f`` between ``sqrt(1/2)`` and
  ``sqrt(2)``, by integer arithmetic on the bits; ``log(1 + f)`` as a polynomial in f (float32) or in
  ``s = f / (2 + f)``, as ``2 atanh(s)`` (float64; W. J. Cody, "Implementation and Testing of Function
  Software", 1982).
- the normal distribution (`normal.py`): ``exp(-y**2 / 2) / Phi(-y)``, the inverse of
  J. Mills' ratio but for a factor, is ``sqrt(2 pi) y`` and a smooth rest that vanishes for large y, a
  quotient of polynomials ("Table of the ratio: area to bounding ordinate", Biometrika 18, 1926).
- arctan (`arctangent.py`): by ``1 / x`` beyond 1, by ``(x - 1) / (x + 1)`` around it.

The largest errors found so far, in units in the last place (float32, float64); ``make accuracy``
measures them again, at every float32, and writes ``docs/accuracy.md``:

==================  ==============  ===============================================================
exp                 0.90, 0.89      ``2**n (1 + r + r**2 p(r))``, r as high + low
exp_nonpositive     0.98, 0.98      the same for x <= 0
expm1               0.72, 0.96      the same, terms added from the largest on
expm1_nonpositive   1.6, 1.7        ``2**n q + (2**n - 1)``, with alpha of ELU
tanh                0.94, 1.96      polynomial, ``1 - 2 / (exp(2 x) + 1)``; ``m / (m + 2)``, m of 2 x
sigmoid             1.75, 1.68      ``1 / (1 + exp(-x))``
silu, silu_slope    3.9, 4.0        ``max(x, 0) - |x| e / (1 + e)`` and its derivative, e of ``-|x|``
gelu_tanh           3.4, 3.2        the same, e of a cubic in two parts
gelu_tanh_slope     4.7, 4.8        its derivative
log                 0.87, 0.87      ``k ln 2 + log(1 + f)``
log1p               0.88, 0.87      log(u) + (rounding error of u) / u, ``u = 1 + x``
log1p_exp           3.1, 3.0        ``e p(e)``, ``e = exp(x)``, x <= 0; as softplus
arctan              1.34, 1.90      ``t + t**3 p(t**2)`` of the reduced t
erf                 1.24, 1.26      ``x + x p(x**2)``, ``1 - 2 Phi(-sqrt(2) x)`` from 1 on
gelu, gelu_slope    3.8, 3.8        ``max(x, 0) - |x| Phi(-|x|)`` and its derivative
==================  ==============  ===============================================================
"""

from fastnn.kernels.compiling.jit import by_dtype, elementary
from fastnn.kernels.elementary import exponential, logarithm, normal
from fastnn.kernels.elementary.arctangent import arctan_32, arctan_64
from fastnn.kernels.elementary.exponential import reduce, tanh_32, tanh_64
from fastnn.kernels.elementary.floats import DOUBLE, SINGLE, Constants

__all__ = ["DOUBLE", "SINGLE", "Constants", "reduce"]

exp = elementary(exponential.exp_, SINGLE, DOUBLE)
exp_nonpositive = elementary(exponential.exp_nonpositive, SINGLE, DOUBLE)
expm1 = elementary(exponential.expm1, SINGLE, DOUBLE)
expm1_nonpositive = elementary(exponential.expm1_nonpositive, SINGLE, DOUBLE)
tanh = by_dtype(tanh_32, tanh_64)
sigmoid = elementary(exponential.sigmoid, SINGLE, DOUBLE)
silu = elementary(exponential.silu, SINGLE, DOUBLE)
silu_slope = elementary(exponential.silu_slope, SINGLE, DOUBLE)
gelu_tanh = elementary(exponential.gelu_tanh, SINGLE, DOUBLE)
gelu_tanh_slope = elementary(exponential.gelu_tanh_slope, SINGLE, DOUBLE)
log = elementary(logarithm.log, SINGLE, DOUBLE)
log1p = elementary(logarithm.log1p, SINGLE, DOUBLE)
log1p_exp = elementary(logarithm.log1p_exp, SINGLE, DOUBLE)
arctan = by_dtype(arctan_32, arctan_64)
erf = elementary(normal.erf, SINGLE, DOUBLE)
gelu = by_dtype(normal.gelu_32, normal.gelu_64)
gelu_slope = elementary(normal.gelu_slope, SINGLE, DOUBLE)
