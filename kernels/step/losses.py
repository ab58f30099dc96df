"""Losses as parts of a step: each takes a record :class:`~fastnn.kernels.step.calls.LossRows`."""

from typing import Any

import numpy as np

from fastnn.kernels import cross_entropy, losses, regression
from fastnn.kernels.compiling.jit import inner
from fastnn.kernels.compiling.memory import array_at, numbers
from fastnn.kernels.step.calls import LossRows
from fastnn.kernels.step.parts import Part

_kernel: Any = None  # as in `parts.py`
_like: Any = None
_NUMBER = np.float64(0)


@inner
def _flat(address, call, like):
    return array_at(address, 1, call.rows * call.classes, like)[0]


@inner
def _flats(call, like):
    """Return the statistics, and targets, scores and gradient as flat arrays."""
    arrays = _flat(call.Y, call, like), _flat(call.scores, call, like), _flat(call.gradient, call, like)
    return numbers(call.stats), *arrays


def _softmax_loss(at: int, _: int) -> None:
    call = LossRows(at)
    n, k, stats = call.rows, call.classes, numbers(call.stats)
    z, T, dz = call.scores, call.T, call.gradient
    stats[0] = _kernel(
        array_at(z, n, k, _like), array_at(T, n, k, _like), call.batch, array_at(dz, n, k, _like)
    )
    stats[1] = losses.misclassified(array_at(call.Y, n, k, _like), array_at(z, n, k, _like))


def _probability_loss(at: int, _: int) -> None:
    call = LossRows(at)
    n, k, stats = call.rows, call.classes, numbers(call.stats)
    t, p = _flat(call.T, call, _like), _flat(call.scores, call, _like)
    stats[0] = losses.cross_entropy(t, p)
    stats[1] = losses.misclassified(array_at(call.Y, n, k, _like), array_at(call.scores, n, k, _like))
    losses.cross_entropy_backward(t, p, call.batch, _flat(call.gradient, call, _like))


def _sigmoid_loss(at: int, _: int) -> None:
    call = LossRows(at)
    stats, y, z, out = _flats(call, _like)
    stats[0] = losses.binary_cross_entropy(z, y, call.batch, out)
    stats[1] = losses.wrong_answers(y, z, 0.0)


def _yes_no_loss(at: int, _: int) -> None:
    call = LossRows(at)
    stats, y, p, out = _flats(call, _like)
    stats[0] = losses.yes_no_cross_entropy(y, p)
    stats[1] = losses.wrong_answers(y, p, 0.5)
    losses.yes_no_cross_entropy_backward(y, p, call.batch, out)


def _weighted_sigmoid_loss(at: int, _: int) -> None:
    call = LossRows(at)
    stats, y, z, out = _flats(call, _like)
    no, yes = numbers(call.parameters)[0], numbers(call.parameters)[1]
    stats[0] = _kernel(z, y, no, yes, call.batch, out)
    stats[1] = losses.wrong_answers(y, z, 0.0)


def _weighted_yes_no_loss(at: int, _: int) -> None:
    call = LossRows(at)
    stats, y, p, out = _flats(call, _like)
    no, yes = numbers(call.parameters)[0], numbers(call.parameters)[1]
    stats[0] = _kernel(y, p, no, yes)
    stats[1] = losses.wrong_answers(y, p, 0.5)
    losses.weighted_yes_no_cross_entropy_backward(y, p, no, yes, call.batch, out)


def _l2_loss(at: int, _: int) -> None:
    call = LossRows(at)
    stats, y, y_hat, out = _flats(call, _like)
    stats[1] = losses.l2(y, y_hat)
    stats[0] = 0.5 * stats[1]
    losses.l2_backward(y, y_hat, call.batch, out)


def _mse_loss(at: int, _: int) -> None:
    call = LossRows(at)
    stats, y, y_hat, out = _flats(call, _like)
    stats[1] = losses.l2(y, y_hat)
    stats[0] = stats[1] / call.classes
    entries = 0.5 * (call.batch * call.classes)
    losses.l2_backward(y, y_hat, entries, out)


def _mean_loss(at: int, _: int) -> None:
    call = LossRows(at)
    stats, y, y_hat, out = _flats(call, _like)
    stats[0] = _kernel(y, y_hat, call.batch * call.classes, out) / call.classes
    stats[1] = regression.distances(y, y_hat)


def _huber_loss(at: int, _: int) -> None:
    call = LossRows(at)
    stats, y, y_hat, out = _flats(call, _like)
    delta = numbers(call.parameters)[0]
    stats[0] = _kernel(y, y_hat, delta, call.batch * call.classes, out) / call.classes
    stats[1] = regression.distances(y, y_hat)


def _poisson_loss(at: int, _: int) -> None:
    call = LossRows(at)
    stats, y, x, out = _flats(call, _like)
    stats[0] = _kernel(y, x, call.batch * call.classes, out) / call.classes
    stats[1] = regression.rate_distances(y, x)


def _quantile_loss(at: int, _: int) -> None:
    call = LossRows(at)
    n, k, stats = call.rows, call.classes, numbers(call.stats)
    y, y_hat = array_at(call.Y, n, k, _like), array_at(call.scores, n, k, _like)
    levels = array_at(call.parameters, 1, k, _NUMBER)[0]
    stats[1] = _kernel(y, y_hat, levels, call.batch * k, array_at(call.gradient, n, k, _like))
    stats[0] = stats[1] / k


# Softmax and cross-entropy are compiled for the rows' length, so that they compile faster.
softmax_loss_short = Part(_softmax_loss, cross_entropy.softmax_cross_entropy_short)
softmax_loss_long = Part(_softmax_loss, cross_entropy.softmax_cross_entropy_long)
probability_loss = Part(_probability_loss, losses.cross_entropy)
sigmoid_loss = Part(_sigmoid_loss, losses.binary_cross_entropy)
yes_no_loss = Part(_yes_no_loss, losses.yes_no_cross_entropy)
weighted_sigmoid_loss = Part(_weighted_sigmoid_loss, losses.weighted_binary_cross_entropy)
weighted_yes_no_loss = Part(_weighted_yes_no_loss, losses.weighted_yes_no_cross_entropy)
l2_loss = Part(_l2_loss, losses.l2)
mse_loss = Part(_mse_loss, losses.l2)
mae_loss = Part(_mean_loss, regression.mae)
rates_loss = Part(_mean_loss, regression.poisson_rates)
huber_loss = Part(_huber_loss, regression.huber)
poisson_loss = Part(_poisson_loss, regression.poisson)
quantile_loss = Part(_quantile_loss, regression.quantile)
