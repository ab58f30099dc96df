"""Optimisers' rules, each a formula for one parameter, and the records of their numbers.

The arguments of a formula are the gradient, the state, and the optimiser's numbers, with the names of
the record's fields. Rules with decoupled weight decay also take the parameter's value ``w``, after the
state. A formula returns the step, which is subtracted from the parameter, and the new state. Kernels
call it for each element (`optimizers.py`); :mod:`fastnn.kernels.emitted.rules` calls it with vectors,
to update weights where their gradient has just been computed. So a formula may use only arithmetic,
``muladd``, ``sqrt`` and ``abs``.
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


class DecayedMomentumNumbers(Record):
    """The numbers of gradient descent, and ``decay``, the fraction of a weight to subtract from it."""

    lr: float
    momentum: float
    keeps: float
    decay: float


class DecayedAdamNumbers(Record):
    """The numbers of :func:`adam`, and ``decay``."""

    step_size: float
    beta_1: float
    beta_2: float
    eps: float
    rest_1: float
    rest_2: float
    decay: float


class NadamNumbers(Record):
    """The numbers of :func:`nadam`: the step's factors of gradient and moment, and Adam's numbers."""

    gradient_size: float
    step_size: float
    beta_1: float
    beta_2: float
    eps: float
    rest_1: float
    rest_2: float
    decay: float


class RMSPropNumbers(Record):
    """The numbers of :func:`rmsprop` and its variants; ``rest`` is ``1 - alpha``."""

    lr: float
    alpha: float
    rest: float
    eps: float
    momentum: float
    decay: float


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


@inlined
def decayed_momentum(g, velocity, w, lr, momentum, decay):
    """Return :func:`momentum`'s step plus ``decay w``, and the velocity."""
    velocity = muladd(momentum, velocity, lr * g)
    return muladd(decay, w, velocity), velocity


@inlined
def decayed_nesterov(g, velocity, w, lr, momentum, decay):
    """Return :func:`nesterov`'s step plus ``decay w``, and the velocity."""
    scaled = lr * g
    velocity = muladd(momentum, velocity, scaled)
    return muladd(decay, w, muladd(momentum, velocity, scaled)), velocity


@inlined
def adamw(g, m, v, w, step_size, beta_1, beta_2, eps, rest_1, rest_2, decay):
    """Return :func:`adam`'s step plus ``decay w``, and the moments."""
    m = muladd(beta_1, m, rest_1 * g)
    v = muladd(beta_2, v, rest_2 * (g * g))
    return muladd(decay, w, step_size * m / (sqrt(v) + eps)), m, v


@inlined
def nadam(g, m, v, w, gradient_size, step_size, beta_1, beta_2, eps, rest_1, rest_2, decay):
    """Return ``(gradient_size g + step_size m) / (sqrt(v) + eps) + decay w`` and the new moments."""
    m = muladd(beta_1, m, rest_1 * g)
    v = muladd(beta_2, v, rest_2 * (g * g))
    return muladd(decay, w, muladd(gradient_size, g, step_size * m) / (sqrt(v) + eps)), m, v


@inlined
def rmsprop(g, v, w, lr, alpha, rest, eps, decay):
    """Return ``lr g / (sqrt(v) + eps) + decay w`` with the new mean square ``v``, and ``v``."""
    v = muladd(alpha, v, rest * (g * g))
    return muladd(decay, w, lr * (g / (sqrt(v) + eps))), v


@inlined
def rmsprop_momentum(g, v, velocity, w, lr, alpha, rest, eps, momentum, decay):
    """Return ``lr velocity + decay w`` and the state, with the velocity of :func:`rmsprop`'s steps."""
    v = muladd(alpha, v, rest * (g * g))
    velocity = muladd(momentum, velocity, g / (sqrt(v) + eps))
    return muladd(decay, w, lr * velocity), v, velocity


@inlined
def rmsprop_centered(g, v, mean, w, lr, alpha, rest, eps, decay):
    """Return :func:`rmsprop`'s step with the variance ``v - mean**2`` for ``v``, and the state.

    If rounding makes the variance negative, its absolute value is used.
    """
    v = muladd(alpha, v, rest * (g * g))
    mean = muladd(alpha, mean, rest * g)
    return muladd(decay, w, lr * (g / (sqrt(abs(v - mean * mean)) + eps))), v, mean


@inlined
def rmsprop_centered_momentum(g, v, mean, velocity, w, lr, alpha, rest, eps, momentum, decay):
    """Return :func:`rmsprop_momentum`'s step with the variance for ``v``, and the state."""
    v = muladd(alpha, v, rest * (g * g))
    mean = muladd(alpha, mean, rest * g)
    velocity = muladd(momentum, velocity, g / (sqrt(abs(v - mean * mean)) + eps))
    return muladd(decay, w, lr * velocity), v, mean, velocity
