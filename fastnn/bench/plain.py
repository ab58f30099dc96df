"""The reference itself; plain NumPy, an expression a formula; SciPy's own softmax."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from fastnn import reference
from fastnn._typing import Array
from fastnn.bench import dense
from fastnn.bench.cases import Case, KernelCase
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.layers import Stacked
from fastnn.bench.methods import ByMethods, bind, method, network, stacked
from fastnn.bench.networks import Dense

_LOOPS = ("softmax_backward", "log_softmax_backward", "softmax_cross_entropy")
_LOOP_LIMIT = 256 * 1000**2  # entries of Jacobians that it builds in about a second

Result = Array | tuple[float, Array]


class Naive(ByMethods):
    """The reference: the gradient of a softmax takes a Jacobian for every sample, in a loop."""

    def call(self, case: Case) -> Call | None:
        if isinstance(case, Dense):
            return network(case, reference)
        if isinstance(case, Stacked):
            return stacked(case, reference)
        assert isinstance(case, KernelCase)
        if case.kernel in _LOOPS and case.n * case.k**2 > _LOOP_LIMIT:
            return None
        if case.kernel == "softmax_cross_entropy":
            return bind(_two_steps, case)
        return bind(method(reference, case.kernel), case)


def _two_steps(z: Array, y: Array) -> Result:
    """Softmax, then cross-entropy, and the gradient back through both."""
    softmax, loss = reference.SoftMax(), reference.CrossEntropy("cross_entropy")
    p = softmax.forward(z)
    return loss.forward(y, p), softmax.backward(z, loss.backward(y, p))


class SciPy(Contestant):
    """``scipy.special``: what it has of the table."""

    def call(self, case: Case) -> Call | None:
        functions: dict[str, Callable[..., Any]] = {
            "softmax": lambda z: special.softmax(z, axis=-1),
            "log_softmax": lambda z: special.log_softmax(z, axis=-1),
            "sigmoid": special.expit,
        }
        return bind(functions.get(case.kernel), case) if isinstance(case, KernelCase) else None


class NumPy(Contestant):
    """Vectorised expressions, no loop over samples."""

    def call(self, case: Case) -> Call | None:
        if isinstance(case, Dense):
            return dense.call(case)
        return bind(_NUMPY.get(case.kernel), case) if isinstance(case, KernelCase) else None


def _softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def _log_softmax(z: Array) -> Array:
    shifted = z - z.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _jvp(p: Array, dy: Array) -> Array:
    return np.asarray(p * (dy - (dy * p).sum(axis=-1, keepdims=True)))


def _cross_entropy(z: Array, y: Array) -> Result:
    log_p = _log_softmax(z)
    n = z.dtype.type(len(z))
    return -(y * log_p).sum() / n, (np.exp(log_p) * y.sum(axis=-1, keepdims=True) - y) / n


def _cross_entropy_labels(z: Array, labels: Array) -> Result:
    log_p = _log_softmax(z)
    n, rows = z.dtype.type(len(z)), np.arange(len(z))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    return -log_p[rows, labels].sum() / n, gradient / n


def _leaky_relu_backward(z: Array, dy: Array) -> Array:
    return np.asarray(np.where(z >= 0, dy, 0.01 * dy))


def _sigmoid(z: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-z)))


def _gelu(z: Array) -> Array:
    return np.asarray(z * (0.5 * (1 + special.erf(z * 0.7071067811865476))))


def _gelu_backward(z: Array, dy: Array) -> Array:
    density = 0.3989422804014327 * np.exp(-0.5 * z * z)
    return np.asarray(dy * (0.5 * (1 + special.erf(z * 0.7071067811865476)) + z * density))


def _gelu_tanh(z: Array) -> Array:
    return np.asarray(0.5 * z * (1 + np.tanh(0.7978845608028654 * (z + 0.044715 * z * z * z))))


def _gelu_tanh_backward(z: Array, dy: Array) -> Array:
    square = z * z
    t = np.tanh(0.7978845608028654 * (z + 0.044715 * square * z))
    inner = 0.7978845608028654 * (1 + 0.134145 * square)
    return np.asarray(dy * (0.5 * (1 + t) + 0.5 * z * (1 - t * t) * inner))


def _silu_backward(z: Array, dy: Array) -> Array:
    s = _sigmoid(z)
    return np.asarray(dy * (s * (1 + z * (1 - s))))


def _sigmoid_backward(z: Array, dy: Array) -> Array:
    s = _sigmoid(z)
    return np.asarray(dy * s * (1 - s))


_NUMPY: dict[str, Callable[..., Result]] = {
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "softmax_jvp": _jvp,
    "softmax_backward": lambda z, dy: _jvp(_softmax(z), dy),
    "log_softmax_backward": lambda z, dy: dy - _softmax(z) * dy.sum(axis=-1, keepdims=True),
    "softmax_cross_entropy": _cross_entropy,
    "softmax_cross_entropy_labels": _cross_entropy_labels,
    "relu": lambda z: np.maximum(z, 0),
    "relu_backward": lambda z, dy: dy * (z >= 0),
    "leaky_relu": lambda z: np.maximum(z, 0.01 * z),
    "leaky_relu_backward": _leaky_relu_backward,
    "elu": lambda z: np.maximum(z, 0) + np.expm1(np.minimum(z, 0)),
    "elu_backward": lambda z, dy: dy * np.exp(np.minimum(z, 0)),
    "gelu": _gelu,
    "gelu_backward": _gelu_backward,
    "gelu_tanh": _gelu_tanh,
    "gelu_tanh_backward": _gelu_tanh_backward,
    "silu": lambda z: z / (1 + np.exp(-z)),
    "silu_backward": _silu_backward,
    "softplus": lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))),
    "softplus_backward": lambda z, dy: dy / (1 + np.exp(-z)),
    "sigmoid": _sigmoid,
    "sigmoid_backward": _sigmoid_backward,
    "tanh": np.tanh,
    "tanh_backward": lambda z, dy: dy * (1 - np.tanh(z) ** 2),
    "arctan": np.arctan,
    "arctan_backward": lambda z, dy: dy / (1 + z * z),
}
