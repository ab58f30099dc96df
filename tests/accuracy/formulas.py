"""Exact results of elementwise kernels: float64 for float32 kernels, double-double for float64 ones.

The formulas of activations are those of :mod:`fastnn.reference.formulas`; the elementary functions are
their own formulas. A formula is evaluated with float64 numbers and NumPy's and SciPy's functions, whose
errors are below 1e-6 of float32's unit, or with DD numbers and :mod:`functions`. A test checks the
former against the latter, and the latter against mpmath.
"""

import numpy as np

from fastnn.reference.formulas import FORMULAS, PLAIN, formula_of

from . import functions
from .double_double import DD


def terms_of(name, m, x):
    """Return the terms whose sum is the exact result of a kernel's function."""
    if name.removesuffix("_backward") in FORMULAS:
        exact, parameter = formula_of(name)
        return exact.terms(m, x, *parameter)
    return [m.exp(-abs(x)) if name == "exp_nonpositive" else getattr(m, name)(x)]


def evaluate(name, x, dtype, factor=1.0):
    """Return the exact values times a factor, and the terms if they are sums that cancel.

    They are float64 arrays for float32, DD numbers for float64.
    """
    with np.errstate(all="ignore"):
        x = np.asarray(x, np.float64)
        plain = terms_of(name, PLAIN, x)
        if dtype == np.float32:
            return _sum([t * factor for t in plain])
        total, terms = _sum([t * factor for t in terms_of(name, functions, DD.of(x))])
        return _known(total, x, sum(plain)), terms


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
