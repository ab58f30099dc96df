"""Optimisers' rules, each a formula for one parameter, and the records of their numbers.

A formula takes the gradient, the state, and the optimiser's numbers, by the names of the record. It
returns the step, which is subtracted from the parameter, and the new state. Kernels call it for each
element (`optimizers.py`); :mod:`fastnn.kernels.emitted.rules` calls it with vectors, to update weights
where their gradient has just been computed. So it holds arithmetic, ``muladd`` and ``sqrt`` only.
"""

from math import sqrt

from fastnn.kernels.compiling.jit import inlined, muladd
from fastnn.kernels.compiling.records import Record


class MomentumNumbers(Record):
    """The numbers of gradient descent; ``keeps``: 1 if the velocity is to be written, else 0."""

    lr: float
    momentum: float
    keeps: float


class AdamNumbers(Record):
    """The numbers of :func:`adam`; ``rest_1`` and ``rest_2`` are ``1 - beta_1`` and ``1 - beta_2``."""

    step_size: float
    beta_1: float
    beta_2: float
    eps: float
    rest_1: float
    rest_2: float


@inlined
def momentum(g, velocity, lr, momentum):
    """Return ``velocity = momentum velocity + lr g``, which is both the step and the new state."""
    step = muladd(momentum, velocity, lr * g)
    return step, step


@inlined
def nesterov(g, velocity, lr, momentum):
    """Return ``momentum velocity + lr g`` of the new velocity of :func:`momentum`, and that."""
    scaled = lr * g
    velocity = muladd(momentum, velocity, scaled)
    return muladd(momentum, velocity, scaled), velocity


@inlined
def adam(g, m, v, step_size, beta_1, beta_2, eps, rest_1, rest_2):
    """Return ``step_size m / (sqrt(v) + eps)`` of the new moments, and these."""
    m = muladd(beta_1, m, rest_1 * g)
    v = muladd(beta_2, v, rest_2 * (g * g))
    return step_size * m / (sqrt(v) + eps), m, v
