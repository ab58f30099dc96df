"""The largest error of the softmax family and of the losses from logits, over random rows.

Each ``_check`` function draws what else it needs for logits ``z (n, k)``, calls its kernels, and yields
names of the limits' table with errors, one an element or one a row. Exact results are double-double.
"""

from typing import NamedTuple

import numpy as np

from fastnn.kernels import cross_entropy, losses, softmax
from fastnn.reference.formulas import FORMULAS

from . import functions
from .double_double import DD, where
from .elementwise import Worst
from .functions import exp, log1p, sigmoid
from .units import errors, relative_errors

SIZES = (2, 3, 10, 100, 1000, 32000)
SPREADS = {"float32": (1, 30, 200, 1e4), "float64": (1, 30, 200, 1500, 1e300)}
ELEMENTS = 20_000  # of a size and spread, in the ordinary tests
softplus = FORMULAS["softplus"].function.formula
BATCH = 7  # the n that gradients are divided by


class Exact(NamedTuple):
    """What is known of rows of logits: shifted ones, their exponentials, the sums of these."""

    shifted: DD
    e: DD
    total: DD
    log_total: DD

    @classmethod
    def of(cls, z):
        top = np.arange(z.shape[1]) == np.argmax(z, axis=1)[:, None]
        shifted = DD.of(z) - z.max(axis=1, keepdims=True).astype(np.float64)
        e = exp(shifted)
        rest = where(top, 0.0, e).sum()
        return cls(shifted, e, 1 + rest, log1p(rest))

    @property
    def p(self):
        return self.e / self.total


def _run(kernel, *arrays):
    out = np.empty_like(arrays[0])
    kernel(*arrays, out)
    return out


def _check_softmax(z, rng):
    got, p = _run(softmax.softmax, z), Exact.of(z).p
    found = errors(got, p)
    normal = (abs(p.flat().hi) >= np.finfo(z.dtype).tiny).reshape(-1)
    yield "softmax", found[normal]
    yield "softmax, subnormal", found[~normal]


def _check_log_softmax(z, rng):
    exact = Exact.of(z)
    yield "log_softmax", errors(_run(softmax.log_softmax, z), exact.shifted - exact.log_total)


def _jvp_errors(got, p, dy):
    products = p * dy
    total = products.sum()
    scale = np.maximum(abs(products.flat().hi), abs((p * total).flat().hi)).max(axis=1, keepdims=True)
    return relative_errors(got, products - p * total, scale)


def _check_softmax_jvp(z, rng):
    p, dy = _run(softmax.softmax, z), rng.normal(size=z.shape).astype(z.dtype)
    yield "softmax_jvp", _jvp_errors(_run(softmax.softmax_jvp, p, dy), DD.of(p), dy.astype(np.float64))


def _check_softmax_backward(z, rng):
    dy = rng.normal(size=z.shape).astype(z.dtype)
    got = _run(softmax.softmax_backward, z, dy)
    yield "softmax_backward", _jvp_errors(got, Exact.of(z).p, dy.astype(np.float64))


def _check_log_softmax_backward(z, rng):
    dy = rng.normal(size=z.shape).astype(z.dtype)
    got, p, exact_dy = _run(softmax.log_softmax_backward, z, dy), Exact.of(z).p, DD.of(dy)
    terms = [exact_dy, p * abs(exact_dy).sum()]
    yield "log_softmax_backward", errors(got, exact_dy - p * exact_dy.sum(), terms)


def _results(call, z):
    """Return the loss of every row by itself, and the gradients of all as of a batch of `BATCH`."""
    out, one = np.empty_like(z), np.empty_like(z[:1])
    call(slice(None), BATCH, out)
    return np.array([call(slice(i, i + 1), 1, one) for i in range(len(z))], z.dtype), out


def _labels(z, rng):
    """Return one label a row, of every other row that of the largest logit, as after training."""
    labels = rng.integers(z.shape[1], size=len(z))
    labels[::2] = np.argmax(z[::2], axis=1)
    return labels, np.arange(z.shape[1]) == labels[:, None]


def _loss(exact, y):
    return where(y.hi == 0, 0.0, y * (exact.log_total - exact.shifted)).sum()


def _one_hot_errors(name, z, target, call):
    loss, gradient = _results(call, z)
    exact = Exact.of(z)
    others = where(target, 0.0, exact.e).sum()  # p - 1 is minus the others' share
    wanted = where(target, -others / exact.total, exact.p) / BATCH
    yield f"{name}, loss", errors(loss, _loss(exact, DD.of(target)))
    yield f"{name}, one-hot", errors(gradient, wanted)


def _soft_errors(name, z, y, call):
    loss, gradient = _results(call, z)
    exact = Exact.of(z)
    terms = [exact.p * y.sum() / BATCH, y / BATCH]
    yield f"{name}, loss", errors(loss, _loss(exact, y))
    yield f"{name}, soft", errors(gradient, terms[0] - terms[1], terms)


def _check_rows_of_weights(z, rng):
    def call(rows, n, out):
        return cross_entropy.softmax_cross_entropy(z[rows], y[rows], n, out)

    _, target = _labels(z, rng)
    y = target.astype(z.dtype)
    yield from _one_hot_errors("softmax_cross_entropy", z, target, call)
    y = (rng.random(z.shape) * (rng.random(z.shape) < 0.7)).astype(z.dtype)
    yield from _soft_errors("softmax_cross_entropy", z, DD.of(y), call)


def _check_labels(z, rng):
    def call(rows, n, out):
        weights = np.ones(len(out), z.dtype), np.ones(z.shape[1], z.dtype)
        arguments = (z[rows], labels[rows], *weights, smoothing, n, out)
        return cross_entropy.softmax_cross_entropy_labels(*arguments)

    (labels, target), smoothing = _labels(z, rng), 0.0
    yield from _one_hot_errors("softmax_cross_entropy_labels", z, target, call)
    smoothing = 0.1
    y = where(target, 1 - DD.of(smoothing), 0.0) + DD.of(smoothing) / z.shape[1]
    yield from _soft_errors("softmax_cross_entropy_labels", z, y, call)


def _check_binary(z, rng):
    y = rng.random(z.size).astype(z.dtype)
    y[::2] = rng.integers(2, size=y[::2].size)
    logits, y_exact, out = z.reshape(-1), DD.of(y), np.empty(z.size, z.dtype)
    losses.binary_cross_entropy(logits, y, BATCH, out)
    s, t = sigmoid(DD.of(logits)), sigmoid(-DD.of(logits))
    terms = [(1 - y_exact) * s / BATCH, y_exact * t / BATCH]
    yield "binary_cross_entropy, gradient", errors(out, terms[0] - terms[1], terms)
    logits, y = logits[:1000], y[:1000]
    pairs = zip(logits.reshape(-1, 1), y.reshape(-1, 1), strict=True)
    got = np.array([losses.binary_cross_entropy(*pair, 1, out[:1]) for pair in pairs], z.dtype)
    likely, unlikely = (softplus(functions, DD.of(v)) for v in (-logits, logits))
    wanted = where(y == 0, 0.0, DD.of(y) * likely) + where(y == 1, 0.0, (1 - DD.of(y)) * unlikely)
    yield "binary_cross_entropy, loss", errors(got, wanted)


# kernel: its check
CHECKS = {
    "softmax": _check_softmax,
    "log_softmax": _check_log_softmax,
    "softmax_jvp": _check_softmax_jvp,
    "softmax_backward": _check_softmax_backward,
    "log_softmax_backward": _check_log_softmax_backward,
    "softmax_cross_entropy": _check_rows_of_weights,
    "softmax_cross_entropy_labels": _check_labels,
    "binary_cross_entropy": _check_binary,
}


def worst(check, dtype, elements=ELEMENTS, sizes=SIZES):
    """Return the largest errors that a check finds, by name of the limits' table."""
    total = {}
    for k in sizes:
        for spread in SPREADS[dtype]:
            rng = np.random.default_rng([k, int(np.log2(spread))])
            for _ in range(max(1, elements // ELEMENTS)):
                n = max(2, min(elements, ELEMENTS) // k)
                z = (spread * (rng.random((n, k)) - 0.5)).astype(dtype)
                with np.errstate(all="ignore"):
                    for name, found in CHECKS[check](z, rng):
                        largest = float(found.max(initial=0.0))
                        here = Worst(largest, f"k = {k}, spread {spread:g}", found.size)
                        total[name] = total.get(name, Worst()) | here
    return total
