"""Losses and their gradients. Sums are kept in float64 whatever the arrays' dtype."""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import math as m
from fastnn.kernels import rows
from fastnn.kernels._jit import exact, fma, kernel
from fastnn.kernels.rows import reciprocal

_EPS = np.finfo(np.float64).eps


@kernel
def cross_entropy(y: Array, p: Array) -> float:
    """Return ``-sum(y * log(p + eps))`` over flat ``(m,)`` arrays; ``eps`` is float64's."""
    total = 0.0
    for i in range(y.size):
        total -= y[i] * m.log(np.float64(p[i]) + _EPS)
    return total


@kernel
def cross_entropy_backward(y: Array, p: Array, n: int, out: Array) -> None:
    """``out = -y / (p n)`` over flat arrays; an entry of no weight has gradient 0, even at p = 0."""
    scale = y.dtype.type(-1) / y.dtype.type(n)
    zero = y.dtype.type(0)
    for i in range(y.size):
        out[i] = y[i] if y[i] == zero and p[i] == zero else scale * (y[i] / p[i])


@exact
def _gradient_row(p: Array, y: Array, z: Array, top: float, rest: float, weight: float, n: int) -> None:
    """``p = ((weight - y) p - y others) / (total n)``, the others being those beside each entry.

    That is ``(softmax weight - y) / n`` without its cancellation where a softmax is near 1.
    """
    total = rest + rows.scale_of(p)
    high, low = reciprocal(total * n, p)
    dtype = p.dtype.type
    w, around, total_high = dtype(weight), dtype(rest), dtype(total)
    total_low = dtype(total - np.float64(total_high))
    for j in range(p.size):
        others = around if z[j] == top else (total_high - p[j]) + total_low
        g = (w - y[j]) * p[j] - y[j] * others
        p[j] = fma(g, high, g * low)


@kernel
def softmax_cross_entropy(z: Array, y: Array, n: int, out: Array) -> float:
    """Return ``sum(y * (logsumexp(z) - z))``; write its gradient ``(p sum(y) - y) / n``.

    z, y, out: blocks of rows ``(m, k)`` of a batch of ``n``; ``p = softmax(z)``. Classes of
    weight 0 add nothing, even at z = -inf.
    """
    loss, lost = 0.0, 0.0
    for i in range(z.shape[0]):
        top = rows.row_max(z[i])
        rest = rows.exp_row_but_one(z[i], top, out[i])
        weight, below = 0.0, 0.0
        for j in range(z.shape[1]):
            w = np.float64(y[i, j])
            weight += w
            below += w * (np.float64(top) - np.float64(z[i, j])) if w != 0.0 else 0.0
        # rest * 0 is NaN for a row that has no softmax, of which no loss is known
        row_loss = weight * m.log1p(rest / rows.scale_of(out)) + below + rest * 0.0
        loss, lost = rows.add(loss, lost, row_loss)
        _gradient_row(out[i], y[i], z[i], top, rest, weight, n)
    return loss + lost


@kernel
def softmax_cross_entropy_labels(
    z: Array,
    labels: Array,
    sample_weight: Array,
    class_weight: Array,
    smoothing: float,
    n: int,
    out: Array,
) -> float:
    """As :func:`softmax_cross_entropy` for rows of targets that are never written down.

    labels ``(m,)`` integers, sample_weight ``(m,)``, class_weight ``(k,)``: the target of row i is
    ``sample_weight[i] * class_weight * ((1 - smoothing) * one_hot(labels[i]) + smoothing / k)``.
    """
    k = z.shape[1]
    loss, lost = 0.0, 0.0
    class_sum = 0.0
    for j in range(k):
        class_sum += np.float64(class_weight[j])
    for i in range(z.shape[0]):
        label = labels[i]
        even = np.float64(sample_weight[i]) * smoothing / k
        peak = np.float64(sample_weight[i]) * np.float64(class_weight[label]) * (1.0 - smoothing)
        weight = peak + even * class_sum
        top = rows.row_max(z[i])
        rest = rows.exp_row_but_one(z[i], top, out[i])
        below = 0.0
        if even != 0.0:
            for j in range(k):
                below += even * np.float64(class_weight[j]) * (np.float64(top) - np.float64(z[i, j]))
        if peak != 0.0:
            below += peak * (np.float64(top) - np.float64(z[i, label]))
        row_loss = weight * m.log1p(rest / rows.scale_of(out)) + below + rest * 0.0
        loss, lost = rows.add(loss, lost, row_loss)
        _label_gradient_row(out[i], class_weight, label, even, peak, z[i], top, rest, weight, n)
    return loss + lost


@exact
def _label_gradient_row(
    p: Array,
    class_weight: Array,
    label: int,
    even: float,
    peak: float,
    z: Array,
    top: float,
    rest: float,
    weight: float,
    n: int,
) -> None:
    total = rest + rows.scale_of(p)
    dtype = p.dtype.type
    high, low = reciprocal(total * n, p)
    at_label = np.float64(p[label])
    others = rest if z[label] == top else total - at_label
    target = even * np.float64(class_weight[label]) + peak
    w, e, total_one = dtype(weight), dtype(even), dtype(total)
    for j in range(p.size):
        y = e * class_weight[j]
        g = w * p[j] - y * total_one
        p[j] = fma(g, high, g * low)
    p[label] = dtype(((weight - target) * at_label - target * others) / (total * n))


@kernel
def binary_cross_entropy(z: Array, y: Array, n: int, out: Array) -> float:
    """Return ``sum(y softplus(-z) + (1 - y) softplus(z))``; write its gradient ``(s - y) / n``.

    Flat arrays: logits, targets in [0, 1]; ``s = sigmoid(z)``, and the gradient is taken as
    ``((1 - y) sigmoid(z) - y sigmoid(-z)) / n``, which cancels nothing.
    """
    zero, one = z.dtype.type(0), z.dtype.type(1)
    scale = one / z.dtype.type(n)
    total = 0.0
    for i in range(z.size):
        x, t = z[i], y[i]
        near = m.log1p(m.exp_nonpositive(-abs(x)))
        positive = near + (zero if x < zero else x)
        negative = near + (zero if -x < zero else -x)
        part = (t * negative if t != zero else zero) + ((one - t) * positive if t != one else zero)
        total += np.float64(part)
        out[i] = ((one - t) * m.sigmoid(x) - t * m.sigmoid(-x)) * scale
    return total


@kernel
def l2(y: Array, y_hat: Array) -> float:
    """Return ``sum((y - y_hat)**2)`` over flat arrays."""
    total = 0.0
    for i in range(y.size):
        d = np.float64(y[i]) - np.float64(y_hat[i])
        total += d * d
    return total


@kernel
def l2_backward(y: Array, y_hat: Array, n: int, out: Array) -> None:
    """``out = (y_hat - y) / n`` over flat arrays."""
    scale = y.dtype.type(1) / y.dtype.type(n)
    for i in range(y.size):
        out[i] = (y_hat[i] - y[i]) * scale


@kernel
def misclassified(y: Array, scores: Array) -> int:
    """Return in how many rows the arg-maxes differ; that of a row with NaN counts as class 0."""
    wrong = 0
    for i in range(y.shape[0]):
        target = 0
        guess = 0
        known = scores[i, 0] == scores[i, 0]
        for j in range(1, y.shape[1]):
            target = j if y[i, j] > y[i, target] else target
            guess = j if scores[i, j] > scores[i, guess] else guess
            known &= scores[i, j] == scores[i, j]
        wrong += target != (guess if known else 0)
    return wrong
