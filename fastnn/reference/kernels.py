"""Plain NumPy twins of the kernels that are no method of the reference: formulas, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import reference
from fastnn._typing import Array


def tanh_gradient(y: Array, dy: Array) -> Any:
    """``dy (1 - y**2)``."""
    return dy * ((1 - y) * (1 + y))


def relu_gradient(y: Array, dy: Array) -> Array:
    """``dy`` where y has no minus sign, else 0."""
    return dy * ~np.signbit(y)


def softmax_jvp(p: Array, dy: Array) -> Array:
    """``dy J`` with a Jacobian for every sample, as in ``SoftMax.backward``."""
    gradients = []
    for p_row, dy_row in zip(p, dy, strict=True):
        column = p_row.reshape(-1, 1)
        jacobian = np.diagflat(p_row) - np.dot(column, column.T)
        gradients.append(dy_row @ jacobian)
    return np.array(gradients)


def cross_entropy(y: Array, p: Array) -> Any:
    """``-sum(y log(p + eps))``."""
    return -np.sum(y * np.log(p + np.finfo(float).eps))


def cross_entropy_backward(y: Array, p: Array, n: int) -> Array:
    """``-y / (n p)``."""
    return np.asarray(-(1 / n) * y / p)


def softmax_cross_entropy(z: Array, y: Array, n: int) -> tuple[Any, Array]:
    """Softmax, then cross-entropy, then the gradient back through both, one after the other."""
    softmax, loss = reference.SoftMax(), reference.CrossEntropy("cross_entropy")
    p = softmax.forward(z)
    return n * loss.forward(y, p), softmax.backward(z, loss.backward(y, p))


def softmax_cross_entropy_labels(
    z: Array, labels: Array, sample_weight: Array, class_weight: Array, smoothing: float, n: int
) -> tuple[Any, Array]:
    """As ``softmax_cross_entropy``, once the targets are written down as rows."""
    k = z.shape[1]
    y = (1 - smoothing) * np.eye(k)[labels] + smoothing / k
    y = y * sample_weight.reshape(-1, 1) * class_weight
    return softmax_cross_entropy(z, y.astype(z.dtype), n)


def strangers(labels: Array, k: int) -> Any:
    """How many labels are none of 0 to k - 1."""
    return np.sum((labels < 0) | (labels >= k))


def binary_cross_entropy(z: Array, y: Array, n: int) -> tuple[Any, Array]:
    """Sigmoid, then ``-sum(y log(s) + (1 - y) log(1 - s))``, then the gradient ``(s - y) / n``."""
    s = reference.Sigmoid().forward(z)
    return -np.sum(y * np.log(s) + (1 - y) * np.log(1 - s)), (s - y) / n


def yes_no_cross_entropy(y: Array, p: Array) -> Any:
    """``-sum(y log(p + eps) + (1 - y) log(1 - p + eps))``."""
    return cross_entropy(y, p) + cross_entropy(1 - y, 1 - p)


def yes_no_cross_entropy_backward(y: Array, p: Array, n: int) -> Array:
    """``((1 - y) / (1 - p) - y / p) / n``."""
    return np.asarray(((1 - y) / (1 - p) - y / p) / n)


def wrong_answers(y: Array, scores: Array, threshold: float) -> Any:
    """How many scores are on the other side of the threshold than the target of 1/2, or NaN."""
    return np.sum(np.where(np.isnan(scores), np.nan, (y > 0.5) != (scores > threshold)))


def target_rows(y: Array, smoothing: float, weights: Array) -> Array:
    """``weights ((1 - smoothing) y + smoothing sum(y) / k)`` by rows."""
    even = smoothing * y.sum(axis=1, keepdims=True) / y.shape[1]
    return np.asarray(weights * ((1 - smoothing) * y + even))


def weigh_rows(a: Array, weights: Array) -> Array:
    """``weights a`` by rows."""
    return np.asarray(weights[:, None] * a)


def l2(y: Array, y_hat: Array) -> Any:
    """``sum((y - y_hat)**2)``."""
    return np.sum((y - y_hat) ** 2)


def l2_backward(y: Array, y_hat: Array, n: int) -> Array:
    """``(y_hat - y) / n``."""
    return np.asarray((y_hat - y) / n)


def misclassified(y: Array, scores: Array) -> Any:
    """In how many rows the arg-maxes differ; NaN if a score is NaN."""
    wrong = np.argmax(y, axis=1) != np.argmax(scores, axis=1)
    return np.sum(np.where(np.isnan(scores).any(axis=1), np.nan, wrong))


def norm(gradient: Array) -> Any:
    """``sqrt(sum(gradient**2))``."""
    return np.sqrt(np.sum(gradient**2))


def sgd_momentum(gradient: Array, velocity: Array, lr: float, momentum: float) -> Array:
    """``momentum velocity + lr gradient``."""
    return momentum * velocity + lr * gradient


def add_penalty(gradient: Array, rate: float, weights: Array) -> Array:
    """``gradient + rate weights``."""
    return np.asarray(gradient + rate * weights)


def adam(
    gradient: Array, m: Array, v: Array, step_size: float, beta_1: float, beta_2: float, eps: float
) -> tuple[Array, Array, Array]:
    """Both moments and the step."""
    m = beta_1 * m + (1 - beta_1) * gradient
    v = beta_2 * v + (1 - beta_2) * gradient**2
    return m, v, np.asarray(step_size * m / (np.sqrt(v) + eps))


def nadam(
    gradient: Array,
    m: Array,
    v: Array,
    gradient_size: float,
    step_size: float,
    beta_1: float,
    beta_2: float,
    eps: float,
) -> tuple[Array, Array, Array]:
    """Both moments and the step."""
    m = beta_1 * m + (1 - beta_1) * gradient
    v = beta_2 * v + (1 - beta_2) * gradient**2
    return m, v, np.asarray((gradient_size * gradient + step_size * m) / (np.sqrt(v) + eps))


def rmsprop(gradient: Array, v: Array, alpha: float, eps: float) -> tuple[Array, Array]:
    """Mean square and ``gradient / (sqrt(v) + eps)``."""
    v = alpha * v + (1 - alpha) * gradient**2
    return v, np.asarray(gradient / (np.sqrt(v) + eps))


def rmsprop_centered(
    gradient: Array, v: Array, mean: Array, alpha: float, eps: float
) -> tuple[Array, Array, Array]:
    """Mean square, mean, and the gradient over the standard deviation."""
    v = alpha * v + (1 - alpha) * gradient**2
    mean = alpha * mean + (1 - alpha) * gradient
    return v, mean, np.asarray(gradient / (np.sqrt(np.abs(v - mean**2)) + eps))


def mae(y: Array, y_hat: Array, n: int) -> tuple[Any, Array]:
    """``sum(|y - y_hat|)`` and its gradient over n."""
    return np.sum(np.abs(y - y_hat)), np.asarray(np.sign(y_hat - y) / n)


def huber(y: Array, y_hat: Array, delta: float, n: int) -> tuple[Any, Array]:
    """Sum of ``d**2 / 2`` or ``delta (|d| - delta / 2)``, and its gradient over n."""
    d = y_hat - y
    far = delta * (np.abs(d) - delta / 2)
    return np.sum(np.where(np.abs(d) <= delta, d**2 / 2, far)), np.clip(d, -delta, delta) / n


def poisson(y: Array, x: Array, n: int) -> tuple[Any, Array]:
    """``sum(exp(x) - y x)`` and its gradient over n."""
    return np.sum(np.exp(x) - y * x), np.asarray((np.exp(x) - y) / n)


def poisson_rates(y: Array, rate: Array, n: int) -> tuple[Any, Array]:
    """``sum(rate - y log(rate + eps))`` and its gradient over n."""
    eps = 1e-8
    return np.sum(rate - y * np.log(rate + eps)), np.asarray((1 - y / (rate + eps)) / n)


def quantile(y: Array, y_hat: Array, levels: Array, n: int) -> tuple[Any, Array]:
    """``sum(max(level d, (level - 1) d))`` and its gradient over n, by columns."""
    d = y - y_hat
    slope = np.where(d > 0, -levels, np.where(d < 0, 1 - levels, d))
    return np.sum(np.maximum(levels * d, (levels - 1) * d)), np.asarray(slope / n)


def distances(y: Array, y_hat: Array) -> Any:
    """``sum(|y - y_hat|)``."""
    return np.sum(np.abs(y - y_hat))


def rate_distances(y: Array, x: Array) -> Any:
    """``sum(|y - exp(x)|)``."""
    return np.sum(np.abs(y - np.exp(x)))


def weighted_binary_cross_entropy(
    z: Array, y: Array, no: float, yes: float, n: int
) -> tuple[Any, Array]:
    """Sigmoid, then ``-sum(yes y log(s) + no (1 - y) log(1 - s))``, then the gradient over n."""
    s = reference.Sigmoid().forward(z)
    loss = -np.sum(yes * y * np.log(s) + no * (1 - y) * np.log(1 - s))
    return loss, np.asarray((no * (1 - y) * s - yes * y * (1 - s)) / n)


def weighted_yes_no_cross_entropy(y: Array, p: Array, no: float, yes: float) -> Any:
    """``-sum(yes y log(p + eps) + no (1 - y) log(1 - p + eps))``."""
    return yes * cross_entropy(y, p) + no * cross_entropy(1 - y, 1 - p)


def weighted_yes_no_cross_entropy_backward(y: Array, p: Array, no: float, yes: float, n: int) -> Array:
    """``(no (1 - y) / (1 - p) - yes y / p) / n``."""
    return np.asarray((no * (1 - y) / (1 - p) - yes * y / p) / n)
