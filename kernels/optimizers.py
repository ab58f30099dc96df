"""Optimiser updates over flat arrays of ``m`` parameters.

Each rule writes its step to an array, for ``optimizer.update``; what applies it to weights is in
:mod:`fastnn.kernels.rule_microkernel`.
"""

import math

import numpy as np

from fastnn._typing import Array
from fastnn.kernels._jit import kernel


@kernel
def norm(gradient: Array) -> float:
    """Return ``sqrt(sum(gradient**2))``, in float64 and free of overflow."""
    top = 0.0
    for i in range(gradient.size):
        top = max(top, abs(np.float64(gradient[i])))
    if top == 0.0 or top == np.inf:
        top = 1.0
    total = 0.0
    for i in range(gradient.size):
        g = np.float64(gradient[i]) / top
        total += g * g
    return top * math.sqrt(total)


@kernel
def sgd_momentum(gradient: Array, velocity: Array, lr: float, momentum: float, out: Array) -> None:
    """``out = momentum * velocity + lr * gradient``."""
    lr = gradient.dtype.type(lr)
    momentum = gradient.dtype.type(momentum)
    for i in range(gradient.size):
        out[i] = momentum * velocity[i] + lr * gradient[i]


@kernel
def add_penalty(gradient: Array, rate: float, weights: Array) -> None:
    """``gradient += rate * weights``: the gradient of ``rate / 2 * sum(weights**2)`` added."""
    rate = gradient.dtype.type(rate)
    for i in range(gradient.size):
        gradient[i] += rate * weights[i]


@kernel
def adam(
    gradient: Array,
    m: Array,
    v: Array,
    step_size: float,
    beta_1: float,
    beta_2: float,
    eps: float,
    out: Array,
) -> None:
    """Update the moments in place and write the step.

    ``m = beta_1 m + (1 - beta_1) g``, ``v = beta_2 v + (1 - beta_2) g**2``,
    ``out = step_size * m / (sqrt(v) + eps)``, with the bias corrections folded into ``step_size`` and
    ``eps`` by the caller (D. Kingma, J. Ba, "Adam", ICLR 2015, end of section 2).
    """
    step_size = gradient.dtype.type(step_size)
    b1 = gradient.dtype.type(beta_1)
    b2 = gradient.dtype.type(beta_2)
    c1 = gradient.dtype.type(1.0 - beta_1)
    c2 = gradient.dtype.type(1.0 - beta_2)
    eps = gradient.dtype.type(eps)
    for i in range(gradient.size):
        g = gradient[i]
        m[i] = b1 * m[i] + c1 * g
        v[i] = b2 * v[i] + c2 * (g * g)
        out[i] = step_size * m[i] / (math.sqrt(v[i]) + eps)
