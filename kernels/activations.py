"""Elementwise activations over flat arrays of ``m`` elements, forward next to backward.

A ``*_backward`` kernel reads the activation's input ``z`` and the gradient ``dy`` of its output, and
writes the gradient of its input.
"""

import math

from fastnn._typing import Array
from fastnn.kernels._jit import kernel
from fastnn.kernels.math import sigmoid as _sigmoid
from fastnn.kernels.math import tanh as _tanh


@kernel
def relu(z: Array, out: Array) -> None:
    """``out = max(z, 0)``; NaN stays NaN."""
    zero = z.dtype.type(0)
    for i in range(z.size):
        out[i] = zero if z[i] < zero else z[i]


@kernel
def relu_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy * (z >= 0)``: the gradient at 0 is 1."""
    zero = z.dtype.type(0)
    one = z.dtype.type(1)
    for i in range(z.size):
        out[i] = dy[i] * (one if z[i] >= zero else zero)


@kernel
def relu_gradient(y: Array, dy: Array, out: Array) -> None:
    """``out = dy`` times 0 where ``y`` has a minus sign, as :func:`gemm` leaves negative inputs."""
    one, zero = y.dtype.type(1), y.dtype.type(0)
    for i in range(y.size):
        out[i] = dy[i] * (zero if math.copysign(one, y[i]) < zero else one)


@kernel
def sigmoid(z: Array, out: Array) -> None:
    """``out = 1 / (1 + exp(-z))``."""
    for i in range(z.size):
        out[i] = _sigmoid(z[i])


@kernel
def sigmoid_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy * s * (1 - s)`` with ``s = sigmoid(z)``."""
    one = z.dtype.type(1)
    for i in range(z.size):
        s = _sigmoid(z[i])
        out[i] = dy[i] * s * (one - s)


@kernel
def sigmoid_gradient(y: Array, dy: Array, out: Array) -> None:
    """``out = dy * y * (1 - y)``: the gradient where ``y = sigmoid(z)`` is known."""
    one = y.dtype.type(1)
    for i in range(y.size):
        out[i] = dy[i] * y[i] * (one - y[i])


@kernel
def tanh(z: Array, out: Array) -> None:
    """``out = tanh(z)``."""
    for i in range(z.size):
        out[i] = _tanh(z[i])


@kernel
def tanh_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy * (1 - tanh(z)**2)``."""
    one = z.dtype.type(1)
    for i in range(z.size):
        t = _tanh(z[i])
        out[i] = dy[i] * ((one - t) * (one + t))


@kernel
def tanh_gradient(y: Array, dy: Array, out: Array) -> None:
    """``out = dy * (1 - y**2)``: the gradient where ``y = tanh(z)`` is known."""
    one = y.dtype.type(1)
    for i in range(y.size):
        out[i] = dy[i] * ((one - y[i]) * (one + y[i]))


@kernel
def arctan(z: Array, out: Array) -> None:
    """``out = arctan(z)``."""
    for i in range(z.size):
        out[i] = math.atan(z[i])


@kernel
def arctan_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy / (1 + z**2)``."""
    one = z.dtype.type(1)
    for i in range(z.size):
        out[i] = dy[i] / (one + z[i] * z[i])
