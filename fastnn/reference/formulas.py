"""What is right: every kernel's formula in float64, for verification only.

Formulas that neither overflow nor cancel, on SciPy's special functions, so that no contestant is
verified against itself. ``z`` are logits or inputs, ``dy`` gradients of outputs, ``y`` rows of class
weights, ``labels`` class numbers.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

from fastnn._typing import Array

_SLOPE = 0.01
_SQRT_2 = np.sqrt(2.0)
_TANH_SCALE, _TANH_CUBIC = np.sqrt(2.0 / np.pi), 0.044715


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


def _tanh_inner(z: Array) -> Array:
    return np.asarray(_TANH_SCALE * (z + _TANH_CUBIC * z**3))


def _gelu_tanh_slope(z: Array) -> Array:
    t = np.tanh(_tanh_inner(z))
    inner = _TANH_SCALE * (1 + 3 * _TANH_CUBIC * z**2)
    return np.asarray((1 + t) / 2 + z / 2 * (1 - t * t) * inner)


def _gelu_slope(z: Array) -> Array:
    density = np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
    return np.asarray(special.ndtr(z) + z * density)


def _silu_slope(z: Array) -> Array:
    s = special.expit(z)
    return np.asarray(s * (1 + z * special.expit(-z)))


# activation: the function and its slope
_ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "relu": (lambda z: np.maximum(z, 0), lambda z: np.where(z >= 0, 1.0, 0.0)),
    "leaky_relu": (lambda z: np.where(z >= 0, z, _SLOPE * z), lambda z: np.where(z >= 0, 1.0, _SLOPE)),
    "elu": (
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.exp(np.minimum(z, 0)),
    ),
    "gelu": (lambda z: z * special.ndtr(z), _gelu_slope),
    "gelu_tanh": (lambda z: z / 2 * (1 + np.tanh(_tanh_inner(z))), _gelu_tanh_slope),
    "silu": (lambda z: z * special.expit(z), _silu_slope),
    "softplus": (lambda z: np.logaddexp(z, 0), special.expit),
    "sigmoid": (special.expit, lambda z: special.expit(z) * special.expit(-z)),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "arctan": (np.arctan, lambda z: 1 / (1 + z * z)),
}


def _backward(slope: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda z, dy: np.asarray(dy * slope(z))


ORACLES: dict[str, Callable[..., Array | tuple[Array, Array]]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "softmax_jvp": _jvp,
    "softmax_backward": lambda z, dy: _jvp(_softmax(z), dy),
    "log_softmax_backward": lambda z, dy: dy - _softmax(z) * dy.sum(axis=-1, keepdims=True),
    "softmax_cross_entropy": _cross_entropy,
    "softmax_cross_entropy_labels": _cross_entropy_labels,
    **{name: function for name, (function, _) in _ACTIVATIONS.items()},
    **{f"{name}_backward": _backward(slope) for name, (_, slope) in _ACTIVATIONS.items()},
}
