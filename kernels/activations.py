"""Elementwise activations over flat arrays of ``m`` elements, forward next to backward.

A ``*_backward`` kernel reads the activation's input ``z`` and the gradient ``dy`` of its output, and
writes the gradient of its input.
"""

import math

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import exact, exact_light, muladd
from fastnn.kernels.elementary import math as m


@exact_light
def relu(z: Array, out: Array) -> None:
    """``out = max(z, 0)``; NaN stays NaN."""
    zero = z.dtype.type(0)
    for i in range(z.size):
        out[i] = zero if z[i] < zero else z[i]


@exact_light
def relu_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy * (z >= 0)``: the gradient at 0 is 1."""
    zero = z.dtype.type(0)
    one = z.dtype.type(1)
    for i in range(z.size):
        out[i] = dy[i] * (one if z[i] >= zero else zero)


@exact_light
def relu_gradient(y: Array, dy: Array, out: Array) -> None:
    """``out = dy`` times 0 where ``y`` has a minus sign, as :func:`gemm` leaves negative inputs."""
    one, zero = y.dtype.type(1), y.dtype.type(0)
    for i in range(y.size):
        out[i] = dy[i] * (zero if math.copysign(one, y[i]) < zero else one)


@exact_light
def leaky_relu(z: Array, slope: float, out: Array) -> None:
    """``out = z``, times ``slope`` where it is negative."""
    zero, slope = z.dtype.type(0), z.dtype.type(slope)
    for i in range(z.size):
        out[i] = slope * z[i] if z[i] < zero else z[i]


@exact_light
def leaky_relu_backward(z: Array, slope: float, dy: Array, out: Array) -> None:
    """``out = dy``, times ``slope`` where z is negative: the gradient at 0 is 1."""
    zero, one, slope = z.dtype.type(0), z.dtype.type(1), z.dtype.type(slope)
    for i in range(z.size):
        out[i] = dy[i] * (one if z[i] >= zero else slope)


@exact
def elu(z: Array, alpha: float, out: Array) -> None:
    """``out = z`` where it is positive, else ``alpha (exp(z) - 1)``."""
    zero, alpha = z.dtype.type(0), z.dtype.type(alpha)
    for i in range(z.size):
        out[i] = z[i] if z[i] > zero else alpha * m.expm1_nonpositive(z[i])


@exact
def elu_backward(z: Array, alpha: float, dy: Array, out: Array) -> None:
    """``out = dy`` where z is positive, else ``dy alpha exp(z)``: the gradient at 0 is alpha."""
    zero, one, alpha = z.dtype.type(0), z.dtype.type(1), z.dtype.type(alpha)
    for i in range(z.size):
        out[i] = dy[i] * (one if z[i] > zero else alpha * m.exp_nonpositive(z[i]))


@exact
def gelu(z: Array, out: Array) -> None:
    """``out = z Phi(z)``, Phi the normal distribution function."""
    for i in range(z.size):
        out[i] = m.gelu(z[i])


@exact
def gelu_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy (Phi(z) + z phi(z))``, phi the normal density."""
    for i in range(z.size):
        out[i] = dy[i] * m.gelu_slope(z[i])


@exact
def gelu_tanh(z: Array, out: Array) -> None:
    """``out = z (1 + tanh(u)) / 2 = z sigmoid(2 u)``, ``u = sqrt(2 / pi) (z + 0.044715 z**3)``."""
    for i in range(z.size):
        out[i] = m.gelu_tanh(z[i])


@exact
def gelu_tanh_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy (s + z s (1 - s) 2 u')`` with ``s = sigmoid(2 u)``."""
    for i in range(z.size):
        out[i] = dy[i] * m.gelu_tanh_slope(z[i])


@exact
def silu(z: Array, out: Array) -> None:
    """``out = z sigmoid(z)``; 0 at -inf."""
    for i in range(z.size):
        out[i] = m.silu(z[i])


@exact
def silu_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy s (1 + z (1 - s))`` with ``s = sigmoid(z)``."""
    for i in range(z.size):
        out[i] = dy[i] * m.silu_slope(z[i])


@exact
def hard_swish(z: Array, out: Array) -> None:
    """``out = z relu6(z + 3) / 6``, relu6(x) = min(max(x, 0), 6); 0 at -inf."""
    zero, three, six = z.dtype.type(0), z.dtype.type(3), z.dtype.type(6)
    for i in range(z.size):
        inner = z[i] * (z[i] + three) / six
        out[i] = zero if z[i] <= -three else (z[i] if z[i] >= three else inner)


@exact
def hard_swish_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy (2 z + 3) / 6`` between -3 and 3; 0 from -3 down, ``dy`` from 3 up."""
    zero, one, two = z.dtype.type(0), z.dtype.type(1), z.dtype.type(2)
    three, six = z.dtype.type(3), z.dtype.type(6)
    for i in range(z.size):
        inner = (two * z[i] + three) / six
        out[i] = dy[i] * (zero if z[i] <= -three else (one if z[i] >= three else inner))


@exact
def softplus(z: Array, out: Array) -> None:
    """``out = log(1 + exp(z))``, as ``max(z, 0) + log1p(exp(-|z|))``."""
    zero = z.dtype.type(0)
    for i in range(z.size):
        out[i] = (zero if z[i] < zero else z[i]) + m.log1p_exp(-abs(z[i]))


@exact
def softplus_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy sigmoid(z)``."""
    for i in range(z.size):
        out[i] = dy[i] * m.sigmoid(z[i])


@exact
def sigmoid(z: Array, out: Array) -> None:
    """``out = 1 / (1 + exp(-z))``."""
    for i in range(z.size):
        out[i] = m.sigmoid(z[i])


@exact
def sigmoid_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy * s * (1 - s)`` with ``s = sigmoid(z)``."""
    one, two = z.dtype.type(1), z.dtype.type(2)
    for i in range(z.size):
        e = m.exp_nonpositive(-abs(z[i]))  # s (1 - s) = e / (1 + e)**2: 1 - s would cancel
        out[i] = dy[i] * (e / muladd(e, two + e, one))


@exact
def tanh(z: Array, out: Array) -> None:
    """``out = tanh(z)``."""
    for i in range(z.size):
        out[i] = m.tanh(z[i])


@exact
def tanh_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy * (1 - tanh(z)**2)``."""
    one, two, four = z.dtype.type(1), z.dtype.type(2), z.dtype.type(4)
    for i in range(z.size):
        e = m.exp_nonpositive(-two * abs(z[i]))  # 1 - t**2 = 4 e / (1 + e)**2: 1 - t would cancel
        out[i] = dy[i] * (four * e / muladd(e, two + e, one))


@exact_light
def tanh_gradient(y: Array, dy: Array, out: Array) -> None:
    """``out = dy (1 - y**2)``, the gradient by the output ``y = tanh(z)``.

    Its error is relative to dy: where y is close to 1 or -1, the difference has few correct digits.
    """
    one = y.dtype.type(1)
    for i in range(y.size):
        out[i] = dy[i] * ((one - y[i]) * (one + y[i]))


@exact
def arctan(z: Array, out: Array) -> None:
    """``out = arctan(z)``."""
    for i in range(z.size):
        out[i] = m.arctan(z[i])


@exact
def arctan_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = dy / (1 + z**2)``; both sides of the bar times ``s`` where ``z**2`` may overflow."""
    one, small = z.dtype.type(1), z.dtype.type(2.0 ** -(z.itemsize * 16))
    for i in range(z.size):
        s = small if abs(z[i]) * small >= one else one
        out[i] = dy[i] * s / muladd(z[i] * s, z[i], s)
