"""Exact formulas of every activation and of the softmax family, for verification.

``FORMULAS`` has one row for each elementwise activation. The row serves the accuracy tests (formula,
limits), the benchmarks (expected results, work) and the twins (parameter). A formula is a function
``(m, x)``, or ``(m, x, parameter)``: ``m`` holds the elementary functions, ``x`` the numbers. With
:data:`PLAIN` the numbers are float64 arrays; the accuracy tests pass a module for double-double
numbers. A formula is written such that nothing cancels; where a sum must cancel, it returns the list of
the sum's terms.

``ORACLES`` has the expected results of kernels in float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
from scipy import special

from fastnn._typing import Array

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
_INF = math.inf
_SLOPE = float(np.float32(0.01))  # parameters of the tests: the same number in both dtypes
_ALPHA = float(np.float32(1.3))

Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Exact:
    """A function of one number and what its kernel is held to.

    Parameters
    ----------
    formula : callable
        ``(m, x)`` or ``(m, x, parameter)``; returns values, or the list of a sum's terms.
    ends : (float, float)
        Limits at minus infinity and at infinity.
    limit : (float, float)
        Largest error allowed of the float32 and of the float64 kernel, in units in the last place of
        the result, or of the largest term of a sum.
    work : tuple of int
        Operations for one element: plain operations, elementary functions, divisions.
    """

    formula: Function
    ends: tuple[float, float]
    limit: tuple[float, float]
    work: tuple[int, ...]

    def terms(self, m: Any, x: Any, *parameter: float) -> list[Any]:
        """Return the terms whose sum is the result."""
        value = self.formula(m, x, *parameter)
        return value if isinstance(value, list) else [value]

    def plain(self, x: Array, *parameter: float) -> Array:
        """Return the result in float64."""
        with np.errstate(all="ignore"):
            return np.asarray(sum(self.terms(PLAIN, np.asarray(x, np.float64), *parameter)))


@dataclass(frozen=True)
class Formula:
    """An activation, its derivative, and the parameter that tests call its kernels with, or none."""

    function: Exact
    slope: Exact
    parameter: tuple[float, ...] = ()


def _relu(m: Any, x: Any) -> Any:
    return m.where(x < 0, 0.0, x)


def _relu_slope(m: Any, x: Any) -> Any:
    return m.where(x < 0, 0.0, 1.0)


def _leaky_relu(m: Any, x: Any, slope: float = 0.01) -> Any:
    return m.where(x < 0, slope * x, x)


def _leaky_relu_slope(m: Any, x: Any, slope: float = 0.01) -> Any:
    return m.where(x < 0, slope, 1.0)


def _elu(m: Any, x: Any, alpha: float = 1.0) -> Any:
    return m.where(x < 0, alpha * m.expm1(x), x)


def _elu_slope(m: Any, x: Any, alpha: float = 1.0) -> Any:
    return m.where(x > 0, 1.0, alpha * m.exp(x))


def _gelu(m: Any, x: Any) -> Any:
    return x * m.erfc(-x * m.SQRT_HALF) * 0.5


def _gelu_slope(m: Any, x: Any) -> Any:
    return [m.erfc(-x * m.SQRT_HALF) * 0.5, x * m.exp(-0.5 * (x * x)) * m.SQRT_1_OVER_2PI]


def _gelu_tanh(m: Any, x: Any) -> Any:
    return x * m.sigmoid(2 * m.SQRT_2_OVER_PI * (x + m.CUBIC * (x * x * x)))


def _gelu_tanh_slope(m: Any, x: Any) -> Any:
    u = 2 * m.SQRT_2_OVER_PI * (x + m.CUBIC * (x * x * x))
    slope = 2 * m.SQRT_2_OVER_PI * (1 + 3 * m.CUBIC * (x * x))
    s = m.sigmoid(u)
    return [s, x * s * m.sigmoid(-u) * slope]


def _silu(m: Any, x: Any) -> Any:
    return x * m.sigmoid(x)


def _silu_slope(m: Any, x: Any) -> Any:
    s = m.sigmoid(x)
    return [s, x * s * m.sigmoid(-x)]


def _hard_swish(m: Any, x: Any) -> Any:
    return m.where(x <= -3, 0.0, m.where(x >= 3, x, x * (x + 3) / 6))


def _hard_swish_slope(m: Any, x: Any) -> Any:
    return m.where(x <= -3, 0.0, m.where(x >= 3, 1.0, (2 * x + 3) / 6))


def _softplus(m: Any, x: Any) -> Any:
    return m.where(x < 0, 0.0, x) + m.log1p(m.exp(-abs(x)))


def _sigmoid(m: Any, x: Any) -> Any:
    return m.sigmoid(x)


def _sigmoid_slope(m: Any, x: Any) -> Any:
    t = m.exp(-abs(x))
    return t / ((1 + t) * (1 + t))


def _tanh(m: Any, x: Any) -> Any:
    return m.tanh(x)


def _tanh_slope(m: Any, x: Any) -> Any:
    t = m.exp(-2 * abs(x))
    return 4 * t / ((1 + t) * (1 + t))


def _arctan(m: Any, x: Any) -> Any:
    return m.arctan(x)


def _arctan_slope(m: Any, x: Any) -> Any:
    return 1 / (1 + x * x)


# An activation by its name in fastnn.activations.ACTIVATIONS, which is also its kernel's name.
FORMULAS: dict[str, Formula] = {
    "relu": Formula(
        Exact(_relu, ends=(0, _INF), limit=(0, 0), work=(1,)),
        Exact(_relu_slope, ends=(0, 1), limit=(0, 0), work=(1,)),
    ),
    "leaky_relu": Formula(
        Exact(_leaky_relu, ends=(-_INF, _INF), limit=(0.5, 0.5), work=(2,)),
        Exact(_leaky_relu_slope, ends=(_SLOPE, 1), limit=(0.5, 0.5), work=(2,)),
        parameter=(_SLOPE,),
    ),
    "elu": Formula(
        Exact(_elu, ends=(-_ALPHA, _INF), limit=(2, 2), work=(1, 1)),
        Exact(_elu_slope, ends=(0, 1), limit=(4, 4), work=(2, 1)),
        parameter=(_ALPHA,),
    ),
    "gelu": Formula(
        Exact(_gelu, ends=(0, _INF), limit=(4, 4), work=(4, 1)),
        Exact(_gelu_slope, ends=(0, 1), limit=(4, 4), work=(8, 2)),
    ),
    "gelu_tanh": Formula(
        Exact(_gelu_tanh, ends=(0, _INF), limit=(4, 4), work=(9, 1, 1)),
        Exact(_gelu_tanh_slope, ends=(0, 1), limit=(5, 5), work=(17, 1, 1)),
    ),
    "silu": Formula(
        Exact(_silu, ends=(0, _INF), limit=(4, 4), work=(2, 1, 1)),
        Exact(_silu_slope, ends=(0, 1), limit=(4, 4), work=(6, 1, 1)),
    ),
    "hard_swish": Formula(
        Exact(_hard_swish, ends=(0, _INF), limit=(2, 2), work=(4, 0, 1)),
        Exact(_hard_swish_slope, ends=(0, 1), limit=(2, 2), work=(5, 0, 1)),
    ),
    "softplus": Formula(
        Exact(_softplus, ends=(0, _INF), limit=(4, 4), work=(2, 2)),
        Exact(_sigmoid, ends=(0, 1), limit=(4, 4), work=(2, 1, 1)),
    ),
    "sigmoid": Formula(
        Exact(_sigmoid, ends=(0, 1), limit=(2, 2), work=(1, 1, 1)),
        Exact(_sigmoid_slope, ends=(0, 0), limit=(4, 4), work=(4, 1, 1)),
    ),
    "tanh": Formula(
        Exact(_tanh, ends=(-1, 1), limit=(1, 2), work=(3, 1, 1)),
        Exact(_tanh_slope, ends=(0, 0), limit=(4, 4), work=(6, 1, 1)),
    ),
    "arctan": Formula(
        Exact(_arctan, ends=(-math.pi / 2, math.pi / 2), limit=(2, 2), work=(2, 1, 1)),
        Exact(_arctan_slope, ends=(0, 0), limit=(4, 4), work=(2, 0, 1)),
    ),
}


def formula_of(kernel: str) -> tuple[Exact, tuple[float, ...]]:
    """Return the row of ``name`` or ``name_backward``, and the parameter of the tests.

    Raises
    ------
    KeyError
        If no activation has that name.
    """
    row = FORMULAS[kernel.removesuffix("_backward")]
    return row.slope if kernel.endswith("_backward") else row.function, row.parameter


def _softmax(z: Array) -> Array:
    return np.asarray(special.softmax(z, axis=-1))


def _log_softmax(z: Array) -> Array:
    return np.asarray(special.log_softmax(z, axis=-1))


def _jvp(p: Array, dy: Array) -> Array:
    return np.asarray(p * (dy - np.sum(dy * p, axis=-1, keepdims=True)))


def _cross_entropy(z: Array, y: Array) -> tuple[Array, Array]:
    n = len(z)
    loss = -np.sum(y * _log_softmax(z)) / n
    return loss, (_softmax(z) * y.sum(axis=-1, keepdims=True) - y) / n


def _cross_entropy_labels(z: Array, labels: Array) -> tuple[Array, Array]:
    y = np.zeros_like(z)
    y[np.arange(len(z)), labels] = 1
    return _cross_entropy(z, y)


def _backward(slope: Exact) -> Callable[[Array, Array], Array]:
    return lambda z, dy: np.asarray(dy * slope.plain(z))


# z: logits or inputs; p: probabilities; y: rows of class weights; dy: gradients of outputs. Activations
# have the parameters that are their classes' defaults.
ORACLES: dict[str, Callable[..., Array | tuple[Array, Array]]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "softmax_jvp": _jvp,
    "softmax_backward": lambda z, dy: _jvp(_softmax(z), dy),
    "log_softmax_backward": lambda z, dy: dy - _softmax(z) * dy.sum(axis=-1, keepdims=True),
    "softmax_cross_entropy": _cross_entropy,
    "softmax_cross_entropy_labels": _cross_entropy_labels,
    **{name: row.function.plain for name, row in FORMULAS.items()},
    **{f"{name}_backward": _backward(row.slope) for name, row in FORMULAS.items()},
}
