"""A whole training step of a stack of fully connected layers, in one compiled call.

Compiled once for any number of layers of any widths: layers come as arrays of numbers, parameters as
addresses, so that they may lie anywhere and be replaced at any time.

``widths (L + 1,)``; ``activations (L,)``, the codes below; ``parameters (L, 2)``, addresses of each
layer's ``W (d, k)`` and ``b (1, k)``; ``state (L, 2, 2)``, addresses of the optimiser's two arrays for
each of them. ``work`` is scratch of :func:`workspace` elements.
"""

import math

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import activations as elementwise
from fastnn.kernels import losses
from fastnn.kernels._jit import array_at, kernel
from fastnn.kernels.gemm import affine, input_gradient, weight_gradient
from fastnn.kernels.optimizers import adam_step, sgd_step
from fastnn.kernels.softmax import softmax, softmax_backward

LINEAR, RELU, SIGMOID, TANH, ARCTAN, SOFTMAX = range(6)
CROSS_ENTROPY, L2 = range(2)
SGD, ADAM = range(2)


@kernel
def workspace(n: int, widths: Array) -> int:
    """Return how many elements of scratch a step on ``n`` rows needs."""
    size = 0
    widest = 0
    largest = 0
    for i in range(1, widths.size):
        size += 2 * n * widths[i]
        widest = max(widest, widths[i])
        largest = max(largest, (widths[i - 1] + 1) * widths[i])
    return size + 2 * n * widest + largest


@kernel
def _activate(code: int, z: Array, out: Array) -> None:
    if code == RELU:
        elementwise.relu(z.reshape(-1), out.reshape(-1))
    elif code == SIGMOID:
        elementwise.sigmoid(z.reshape(-1), out.reshape(-1))
    elif code == TANH:
        elementwise.tanh(z.reshape(-1), out.reshape(-1))
    elif code == ARCTAN:
        elementwise.arctan(z.reshape(-1), out.reshape(-1))
    elif code == SOFTMAX:
        softmax(z, out)
    else:
        out[:] = z


@kernel
def _activation_gradient(code: int, z: Array, dy: Array, out: Array) -> None:
    if code == RELU:
        elementwise.relu_backward(z.reshape(-1), dy.reshape(-1), out.reshape(-1))
    elif code == SIGMOID:
        elementwise.sigmoid_backward(z.reshape(-1), dy.reshape(-1), out.reshape(-1))
    elif code == TANH:
        elementwise.tanh_backward(z.reshape(-1), dy.reshape(-1), out.reshape(-1))
    elif code == ARCTAN:
        elementwise.arctan_backward(z.reshape(-1), dy.reshape(-1), out.reshape(-1))
    elif code == SOFTMAX:
        softmax_backward(z, dy, out)
    else:
        out[:] = dy


@kernel
def _misclassified(y: Array, scores: Array) -> int:
    wrong = 0
    for i in range(y.shape[0]):
        target = 0
        guess = 0
        for j in range(1, y.shape[1]):
            target = j if y[i, j] > y[i, target] else target
            guess = j if scores[i, j] > scores[i, guess] else guess
        wrong += target != guess
    return wrong


@kernel
def _norm_scale(gradient: Array, clip_norm: float) -> float:
    """Return what brings the gradient's norm down to ``clip_norm``; 1 if it is not above it."""
    total = 0.0
    for i in range(gradient.size):
        total += np.float64(gradient[i]) * np.float64(gradient[i])
    norm = math.sqrt(total)
    return clip_norm / norm if norm > clip_norm else 1.0


@kernel
def train_step(
    x: Array,
    y: Array,
    widths: Array,
    activations: Array,
    parameters: Array,
    state: Array,
    work: Array,
    loss_kind: int,
    rule: int,
    rates: Array,
    clip_norm: float,
) -> tuple[float, float]:
    """Do one step on the rows ``x (n, d)``, ``y (n, k)``; return the summed loss and error.

    The error counts wrong arg-maxes for cross-entropy and sums squares for l2. ``rates`` holds what
    the rule needs: ``lr, momentum`` or ``step_size, beta_1, beta_2, eps``.
    """
    n = x.shape[0]
    n_layers = widths.size - 1
    like = work[:1]

    # forward: z = a W + b and a = f(z) of every layer, one after the other in `work`
    at = 0
    a = x
    for i in range(n_layers):
        d, k = widths[i], widths[i + 1]
        z = work[at : at + n * k].reshape((n, k))
        out = work[at + n * k : at + 2 * n * k].reshape((n, k))
        W, b = array_at(parameters[i, 0], d, k, like), array_at(parameters[i, 1], 1, k, like)
        affine(a, W, b, z)
        if i < n_layers - 1 or loss_kind != CROSS_ENTROPY or activations[i] != SOFTMAX:
            _activate(activations[i], z, out)
        a = out
        at += 2 * n * k

    # loss and its gradient, down to the last z
    k = widths[n_layers]
    widest = 0
    for i in range(1, widths.size):
        widest = max(widest, widths[i])
    scratch = work[at:]
    dz_space = scratch[: n * widest]
    da_space = scratch[n * widest : 2 * n * widest]
    gradients = scratch[2 * n * widest :]
    z = work[at - 2 * n * k : at - n * k].reshape((n, k))
    dz = dz_space[: n * k].reshape((n, k))
    da = da_space[: n * k].reshape((n, k))
    if loss_kind == CROSS_ENTROPY and activations[n_layers - 1] == SOFTMAX:
        loss = losses.softmax_cross_entropy(z, y, dz)
        error = 1.0 * _misclassified(y, z)
    else:
        if loss_kind == CROSS_ENTROPY:
            loss = losses.cross_entropy(y.reshape(-1), a.reshape(-1))
            losses.cross_entropy_backward(y.reshape(-1), a.reshape(-1), n, da.reshape(-1))
            error = 1.0 * _misclassified(y, a)
        else:
            loss = losses.l2(y.reshape(-1), a.reshape(-1))
            losses.l2_backward(y.reshape(-1), a.reshape(-1), n, da.reshape(-1))
            error = loss
            loss = loss / 2
        _activation_gradient(activations[n_layers - 1], z, da, dz)

    # backward and update, last layer first; nobody asks for the gradient of x
    for j in range(n_layers):
        i = n_layers - 1 - j
        d, k = widths[i], widths[i + 1]
        at -= 2 * n * k
        W, b = array_at(parameters[i, 0], d, k, like), array_at(parameters[i, 1], 1, k, like)
        dW = gradients[: d * k].reshape((d, k))
        db = gradients[d * k : (d + 1) * k].reshape((1, k))
        dz = dz_space[: n * k].reshape((n, k))
        if i > 0:
            z_in = work[at - 2 * n * d : at - n * d].reshape((n, d))
            a_in = work[at - n * d : at].reshape((n, d))
            weight_gradient(a_in, dz, dW, db)
            da = da_space[: n * d].reshape((n, d))
            input_gradient(dz, W, da)
            dz_in = dz_space[: n * d].reshape((n, d))
            _activation_gradient(activations[i - 1], z_in, da, dz_in)
        else:
            weight_gradient(x, dz, dW, db)
        for part in range(2):
            size = d * k if part == 0 else k
            first = 0 if part == 0 else d * k
            gradient = gradients[first : first + size]
            weights = W.reshape(-1) if part == 0 else b.reshape(-1)
            scale = _norm_scale(gradient, clip_norm) if clip_norm < np.inf else 1.0
            m = array_at(state[i, part, 0], 1, size, like).reshape(-1)
            if rule == SGD:
                sgd_step(gradient, m, rates[0] * scale, rates[1], weights)
            else:
                v = array_at(state[i, part, 1], 1, size, like).reshape(-1)
                adam_step(gradient, m, v, scale, rates, weights)
    return loss, error
