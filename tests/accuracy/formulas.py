"""What elementwise kernels ought to compute, each once for both arithmetics.

A formula takes a module ``m`` of functions and numbers of its kind: :mod:`functions` with DD numbers,
or :data:`PLAIN` with float64 ones. It is written so that nothing cancels; where a sum must, the formula
returns the list of its terms. The float64 functions are those of NumPy and SciPy, with errors below
1e-6 of float32's unit: they are float32's reference. A test checks them against the double-double ones,
and those against mpmath.
"""

import math
from types import SimpleNamespace

import numpy as np
from scipy import special

from . import functions
from .double_double import DD

PLAIN = SimpleNamespace(
    exp=np.exp,
    expm1=np.expm1,
    log=np.log,
    log1p=np.log1p,
    tanh=np.tanh,
    sigmoid=lambda x: 1 / (1 + np.exp(-x)),
    arctan=np.arctan,
    erf=special.erf,
    erfc=special.erfc,
    where=np.where,
    SQRT_HALF=math.sqrt(0.5),
    SQRT_2_OVER_PI=math.sqrt(2 / math.pi),
    SQRT_1_OVER_2PI=math.sqrt(1 / (2 * math.pi)),
    CUBIC=0.044715,
)

SLOPE = float(np.float32(0.01))  # of LeakyReLU; like ELU's alpha the same number in both dtypes
ALPHA = float(np.float32(1.3))


def exp_nonpositive(m, x):
    return m.exp(-abs(x))


def relu(m, x):
    return m.where(x < 0, 0.0, x)


def relu_backward(m, x):
    return m.where(x < 0, 0.0, 1.0)


def leaky_relu(m, x):
    return m.where(x < 0, SLOPE * x, x)


def leaky_relu_backward(m, x):
    return m.where(x < 0, SLOPE, 1.0)


def elu(m, x):
    return m.where(x < 0, ALPHA * m.expm1(x), x)


def elu_backward(m, x):
    return m.where(x > 0, 1.0, ALPHA * m.exp(x))


def sigmoid_backward(m, x):
    t = m.exp(-abs(x))
    return t / ((1 + t) * (1 + t))


def tanh_backward(m, x):
    t = m.exp(-2 * abs(x))
    return 4 * t / ((1 + t) * (1 + t))


def arctan_backward(m, x):
    return 1 / (1 + x * x)


def silu(m, x):
    return x * m.sigmoid(x)


def silu_backward(m, x):
    s = m.sigmoid(x)
    return [s, x * s * m.sigmoid(-x)]


def softplus(m, x):
    return m.where(x < 0, 0.0, x) + m.log1p(m.exp(-abs(x)))


def softplus_backward(m, x):
    return m.sigmoid(x)


def gelu(m, x):
    return x * m.erfc(-x * m.SQRT_HALF) * 0.5


def gelu_backward(m, x):
    return [m.erfc(-x * m.SQRT_HALF) * 0.5, x * m.exp(-0.5 * (x * x)) * m.SQRT_1_OVER_2PI]


def gelu_tanh(m, x):
    return x * m.sigmoid(2 * m.SQRT_2_OVER_PI * (x + m.CUBIC * (x * x * x)))


def gelu_tanh_backward(m, x):
    u = 2 * m.SQRT_2_OVER_PI * (x + m.CUBIC * (x * x * x))
    slope = 2 * m.SQRT_2_OVER_PI * (1 + 3 * m.CUBIC * (x * x))
    s = m.sigmoid(u)
    return [s, x * s * m.sigmoid(-u) * slope]


def formula(name):
    """Return the function ``(m, x)`` for a kernel's name."""
    return globals().get(name) or (lambda m, x: getattr(m, name)(x))


def evaluate(name, x, dtype, factor=1.0):
    """Return the exact values times a factor, and the terms if they are sums that cancel.

    They are float64 arrays for float32, DD numbers for float64.
    """
    with np.errstate(all="ignore"):
        x = np.asarray(x, np.float64)
        plain = formula(name)(PLAIN, x)
        if dtype == np.float32:
            return _sum([t * factor for t in _terms(plain)])
        value = formula(name)(functions, DD.of(x))
        total, terms = _sum([t * factor for t in _terms(value)])
        return _known(total, x, sum(_terms(plain))), terms


def _terms(value):
    return value if isinstance(value, list) else [value]


def _sum(terms):
    return sum(terms[1:], terms[0]), terms if len(terms) > 1 else []


def _known(value, x, special):
    """Return NaN or infinity where the number is not finite, if float64's value is neither."""
    missing = ~np.isfinite(value.hi)
    if not missing.any():
        return value
    if (np.isfinite(x) & np.isfinite(special) & missing).any():
        raise ArithmeticError("a reference has no value for a finite input")
    hi, lo, e = value.spread()
    return DD(np.where(missing, special, hi), np.where(missing, 0.0, lo), np.where(missing, 0, e))
