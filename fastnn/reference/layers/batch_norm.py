"""Batch normalisation, and the twins of its kernels."""

from collections import OrderedDict
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.reference.arguments import Draw, Twin, positive, row, rows
from fastnn.reference.layers.base import Layer
from fastnn.weights import initialize_weights


def column_moments(x: Array) -> tuple[Array, Array, Array]:
    """Return mean, rounding error 0, and sum of squared deviations, by columns of ``(m, d)``."""
    mean = x.mean(axis=0, keepdims=True)
    return mean, np.zeros_like(mean) * mean, ((x - mean) ** 2).sum(axis=0, keepdims=True)


def merge_moments(means: Array, rests: Array, squares: Array, n: int, total: int) -> tuple[Array, ...]:
    """Return mean, rounding error 0, and biased variance of ``total`` rows in blocks of n."""
    counts = np.clip(total - n * np.arange(len(means)), 0, n)[:, np.newaxis]
    means = means + rests
    mean = (counts * means).sum(axis=0, keepdims=True) / total
    between = counts * (means - mean) ** 2
    return (
        mean,
        np.zeros_like(mean) * mean,
        (np.where(counts > 0, squares, 0) + between).sum(axis=0, keepdims=True) / total,
    )


def update_running(running: Array, momentum: float, factor: float, batch: Array) -> Array:
    """``momentum running + (1 - momentum) factor batch``."""
    return np.asarray(momentum * running + (1 - momentum) * factor * batch)


def batch_norm(
    x: Array, mean: Array, rest: Array, var: Array, eps: float, gamma: Array, beta: Array
) -> Array:
    """``(x - mean - rest) / sqrt(var + eps) * gamma + beta`` by the last axis."""
    return np.asarray((x - mean - rest) / np.sqrt(var + eps) * gamma + beta)


def gradient_sums(x: Array, mean: Array, rest: Array, dy: Array) -> tuple[Array, Array]:
    """Return ``sum(dy)`` and ``sum(dy (x - mean - rest))`` by columns of ``(m, d)``."""
    return dy.sum(axis=0, keepdims=True), (dy * (x - mean - rest)).sum(axis=0, keepdims=True)


def parameter_gradients(totals: Array, dots: Array, var: Array, eps: float) -> tuple[Array, ...]:
    """Return the sums of totals and of dots over blocks, ``dgamma`` and ``dbeta``."""
    total, dot = totals.sum(axis=0, keepdims=True), dots.sum(axis=0, keepdims=True)
    return total, dot, dot / np.sqrt(var + eps), total


def input_gradient(
    x: Array, mean: Array, rest: Array, var: Array, eps: float, gamma: Array, dy: Array,
    totals: Array, dots: Array, m: int,
) -> Array:  # fmt: skip
    """Return the gradient of the input of :func:`batch_norm`, whose statistics are those of m rows."""
    share = 1 / m if m else 0
    h = (x - mean - rest) / np.sqrt(var + eps)
    centered = dy - share * totals - h * share * dots / np.sqrt(var + eps)
    return np.asarray(gamma / np.sqrt(var + eps) * centered)


class BatchNorm1D(Layer):
    """``Y = (X - mu) / sqrt(var + eps) * gamma + beta`` for ``X (n, d)``; gamma, beta ``(1, d)``."""

    unbiased, first_var = False, 0.0

    def __init__(
        self, weight_init: Any = "xavier_uniform", eps: float = 1e-8, momentum: float = 0.9
    ) -> None:
        super().__init__()
        self.init_weights = weight_init if callable(weight_init) else initialize_weights(weight_init)
        self.eps, self.momentum, self.training = eps, momentum, True

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        self.n_in = self.n_out = X_shape[-1]
        shape = (1, self.n_in)
        self.parameters = OrderedDict(gamma=self.init_weights(shape), beta=np.zeros(shape))
        self.cache = OrderedDict(X=[], X_hat=[], mu=[], var=[])
        self.running_mu, self.running_var = np.zeros(shape), np.full(shape, self.first_var)
        self.gradients = OrderedDict((n, np.zeros_like(p)) for n, p in self.parameters.items())

    def forward(self, X: Array) -> Array:
        if self.n_in is None:
            self._init_parameters(X.shape)
        mu, var = self.running_mu, self.running_var
        if self.training:
            flat = X.reshape(-1, X.shape[-1])
            m, (mu, _, var) = len(flat), column_moments(flat)
            var = var / m
            factor = m / max(m - 1, 1) if self.unbiased else 1.0
            self.running_mu = update_running(self.running_mu, self.momentum, 1.0, mu)
            self.running_var = update_running(self.running_var, self.momentum, factor, var)
        X_hat = (X - mu) / np.sqrt(var + self.eps)
        self.cache.update(X=X, X_hat=X_hat, mu=mu, var=var)
        return np.asarray(X_hat * self.parameters["gamma"] + self.parameters["beta"])

    def backward(self, dLdY: Array) -> Array:
        X, mu, var = self.cache["X"], self.cache["mu"], self.cache["var"]
        d = X.shape[-1]
        x, dy = X.reshape(-1, d), dLdY.reshape(-1, d)
        rest = np.zeros_like(mu)
        sums = gradient_sums(x, mu, rest, dy)
        *_, dgamma, dbeta = parameter_gradients(*sums, var, self.eps)
        self.gradients["gamma"], self.gradients["beta"] = dgamma, dbeta
        m = len(x) if self.training else 0
        dX = input_gradient(x, mu, rest, var, self.eps, self.parameters["gamma"], dy, *sums, m)
        return dX.reshape(X.shape)


class BatchNorm2D(BatchNorm1D):
    """The same by channels of ``(n, h, w, c)``; the running variance is unbiased and starts at 1."""

    unbiased, first_var = True, 1.0

    def __init__(self, eps: float = 1e-5, momentum: float = 0.9) -> None:
        super().__init__("ones", eps, momentum)


def _blocks(draw: Draw) -> Draw:
    """Draw what ``draw`` does for blocks of 4 rows."""
    return lambda rng, n, k: draw(rng, -(-n // 4), k)


def _positive_row(rng: np.random.Generator, n: int, k: int) -> Array:
    return positive(rng, 1, k).reshape(1, k)


def _positive_rows(rng: np.random.Generator, n: int, k: int) -> Array:
    return positive(rng, n, k).reshape(n, k)


def _count(rng: np.random.Generator, n: int, k: int) -> int:
    return n


TWINS = {
    "batch_norm.column_moments": Twin(column_moments, (rows,), outputs=(row, row, row)),
    "batch_norm.merge_moments": Twin(
        merge_moments,
        (_blocks(rows), _blocks(rows), _blocks(_positive_rows), 4, _count),
        outputs=(row, row, row),
    ),
    "batch_norm.update_running": Twin(update_running, (row, 0.9, 1.1, row), updated=(0,)),
    "batch_norm.batch_norm": Twin(batch_norm, (rows, row, row, _positive_row, 1e-5, row, row)),
    "batch_norm_gradient.gradient_sums": Twin(
        gradient_sums, (rows, row, row, rows), outputs=(row, row)
    ),
    "batch_norm_gradient.parameter_gradients": Twin(
        parameter_gradients, (rows, rows, _positive_row, 1e-5), outputs=(row, row, row, row)
    ),
    "batch_norm_gradient.input_gradient": Twin(
        input_gradient,
        (rows, row, row, _positive_row, 1e-5, row, rows, row, row, _count),
        outputs=(rows,),
    ),
}
