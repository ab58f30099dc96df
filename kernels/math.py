"""Elementary functions written so that loops over them vectorise: no table, no branch, no call.
"""

from fastnn.kernels import exponential, logarithm, normal
from fastnn.kernels._jit import by_dtype, elementary
from fastnn.kernels.arctangent import arctan_32, arctan_64
from fastnn.kernels.exponential import reduce, tanh_32, tanh_64
from fastnn.kernels.floats import DOUBLE, SINGLE

__all__ = ["DOUBLE", "SINGLE", "reduce"]

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
gelu = elementary(normal.gelu, SINGLE, DOUBLE)
gelu_slope = elementary(normal.gelu_slope, SINGLE, DOUBLE)
