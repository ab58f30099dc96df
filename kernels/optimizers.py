"""Optimisers' updates over flat arrays of ``m`` parameters, by the formulas of `formulas.py`."""

import math

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import formulas, rows
from fastnn.kernels.compiling.jit import exact, inner, muladd
from fastnn.kernels.emitted.sums import BLOCK, sum_of_products, terms

_SMALL, _LARGE = 2.0**-800, 2.0**800  # between them no square that counts is rounded away


@inner
def _scaled_norm(gradient: Array) -> float:
    """Return the norm where squares are too large or too small for float64."""
    top = 0.0
    for i in range(gradient.size):
        top = max(top, abs(np.float64(gradient[i])))
    if top == 0.0 or top == np.inf:
        top = 1.0
    total = lost = 0.0
    for start in range(0, gradient.size, BLOCK):
        part = gradient[start : start + BLOCK]
        scaled = terms(part.size, 0.0)
        for i in range(part.size):
            scaled[i] = np.float64(part[i]) / top
        total, lost = rows.add(total, lost, sum_of_products(scaled, scaled))
    return top * math.sqrt(total + lost)


@exact
def norm(gradient: Array) -> float:
    """Return ``sqrt(sum(gradient**2))``, in float64 and free of overflow."""
    total = rows.dot_row(gradient, gradient)
    if _SMALL < total < _LARGE:
        return math.sqrt(total)
    return _scaled_norm(gradient)


@exact
def sgd_momentum(gradient: Array, velocity: Array, lr: float, momentum: float, out: Array) -> None:
    """``out = momentum * velocity + lr * gradient``."""
    lr = gradient.dtype.type(lr)
    momentum = gradient.dtype.type(momentum)
    for i in range(gradient.size):
        out[i], _ = formulas.momentum(gradient[i], velocity[i], lr, momentum)


@exact
def add_penalty(gradient: Array, rate: float, weights: Array) -> None:
    """``gradient += rate * weights``: the gradient of ``rate / 2 * sum(weights**2)`` added."""
    rate = gradient.dtype.type(rate)
    for i in range(gradient.size):
        gradient[i] = muladd(rate, weights[i], gradient[i])


@exact
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
        out[i], m[i], v[i] = formulas.adam(gradient[i], m[i], v[i], step_size, b1, b2, eps, c1, c2)


@exact
def nadam(
    gradient: Array,
    m: Array,
    v: Array,
    gradient_size: float,
    step_size: float,
    beta_1: float,
    beta_2: float,
    eps: float,
    out: Array,
) -> None:
    """Update Adam's moments in place; ``out = (gradient_size g + step_size m) / (sqrt(v) + eps)``.

    The caller folds the corrections into the sizes and ``eps`` (T. Dozat, "Incorporating Nesterov
    momentum into Adam", ICLR 2016 workshop, algorithm 2).
    """
    kind = gradient.dtype.type
    sizes, zero = (kind(gradient_size), kind(step_size)), kind(0)
    b1, b2, c1, c2 = kind(beta_1), kind(beta_2), kind(1.0 - beta_1), kind(1.0 - beta_2)
    eps = kind(eps)
    for i in range(gradient.size):
        out[i], m[i], v[i] = formulas.nadam(
            gradient[i], m[i], v[i], zero, sizes[0], sizes[1], b1, b2, eps, c1, c2, zero
        )


@exact
def rmsprop(gradient: Array, v: Array, alpha: float, eps: float, out: Array) -> None:
    """``v = alpha v + (1 - alpha) g**2`` in place; ``out = g / (sqrt(v) + eps)``.

    Source: T. Tieleman, G. Hinton, "Lecture 6.5", Neural networks for machine learning, 2012.
    """
    kind = gradient.dtype.type
    one, zero, a, rest, eps = kind(1), kind(0), kind(alpha), kind(1.0 - alpha), kind(eps)
    for i in range(gradient.size):
        out[i], v[i] = formulas.rmsprop(gradient[i], v[i], zero, one, a, rest, eps, zero)


@exact
def rmsprop_centered(
    gradient: Array, v: Array, mean: Array, alpha: float, eps: float, out: Array
) -> None:
    """As :func:`rmsprop`, and ``mean = alpha mean + (1 - alpha) g``; ``out`` by ``v - mean**2``.

    Source: A. Graves, "Generating sequences with recurrent neural networks", 2013, equation 38.
    """
    kind = gradient.dtype.type
    one, zero, a, rest, eps = kind(1), kind(0), kind(alpha), kind(1.0 - alpha), kind(eps)
    for i in range(gradient.size):
        out[i], v[i], mean[i] = formulas.rmsprop_centered(
            gradient[i], v[i], mean[i], zero, one, a, rest, eps, zero
        )
