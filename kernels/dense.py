"""A whole training step of a stack of fully connected layers, compiled once for any stack.

Three parallel loops make a step:

1. by blocks of weight rows: ``W^T`` of every layer but the first, for the gradient of its input;
2. by blocks of batch rows, which do not interact: forward through all layers, the loss, and its
   gradient back to every layer's ``dZ``;
3. by blocks of weight rows: ``dW = A^T dZ`` and the update, while the block is in the cache.

A step is described by a *plan*, an array of 64-bit integers: a header, then ``LAYER_WORDS`` for each
layer. Arrays are given as addresses, so parameters may lie anywhere and be replaced at any time.

What a loop writes on one core the next one reads on another, and that takes a good part of a step's
time: so ``Z`` is kept only where the activation's gradient needs it, and ReLU and its gradient are
taken on the products' tiles.
"""

import functools
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import activations as elementwise
from fastnn.kernels import losses
from fastnn.kernels._jit import array_at, job, kernel
from fastnn.kernels.gemm_microkernel import PLAIN, gemm, transpose
from fastnn.kernels.gemm_microkernel import RELU as RELU_TILE
from fastnn.kernels.gemm_microkernel import RELU_GRADIENT as RELU_GRADIENT_TILE
from fastnn.kernels.optimizers import adam_step, norm, sgd_step
from fastnn.kernels.softmax import softmax, softmax_backward
from fastnn.kernels.threads import parallel_for

LINEAR, RELU, SIGMOID, TANH, ARCTAN, SOFTMAX = range(6)
ON_TILE = (LINEAR, RELU)  # taken on the products' tiles
KEEP_Z = (ARCTAN, SOFTMAX)  # their gradient needs z, that of the others f(z)
CROSS_ENTROPY, L2 = range(2)
SGD, ADAM = range(2)

# The plan's header: sizes, kinds, and the addresses of
# STATS (row blocks, 2) float64: each block's summed loss and error, ONE: a one of the arrays' dtype,
# RATES (5,) float64: lr, momentum, or step_size, beta_1, beta_2, eps; last the clip norm, or inf,
# SCRATCH (n, widest), and the blocks of weight rows, (blocks, 3) integers: layer, first row, end.
(
    N, LAYERS, SIZE, LOSS, RULE, ROWS, WIDEST, X, Y, STATS, RATES, SCRATCH, ONE,
    TRANSPOSES, TRANSPOSE_COUNT, UPDATES, UPDATE_COUNT,
) = range(17)  # fmt: skip
HEADER_WORDS = 17
# Each layer: widths, activation, and the addresses of its parameters, the optimiser's two arrays for
# each of them, Z (or 0), A = f(Z), dZ, W^T, and the parameters' gradients.
(
    D, K, ACTIVATION, WEIGHTS, BIAS, WEIGHTS_1, WEIGHTS_2, BIAS_1, BIAS_2, Z, A, DZ, WT, DW, DB,
) = range(15)  # fmt: skip
LAYER_WORDS = 16

_INTEGER, _SINGLE, _DOUBLE = np.int64(0), np.float32(0), np.float64(0)


@kernel
def _words(address):
    """Return the integers at an address; no more of them may be read than there are."""
    return array_at(address, 1, 2**20, _INTEGER)[0]


@kernel
def _layer(plan, i):
    return plan[HEADER_WORDS + i * LAYER_WORDS : HEADER_WORDS + (i + 1) * LAYER_WORDS]


@kernel
def _vector(address, size, like):
    return array_at(address, 1, size, like)[0]


@kernel
def _activate(code: int, z: Array, out: Array) -> None:
    """``out = f(z)``, for the activations that a product does not take on its tiles."""
    if code == SIGMOID:
        elementwise.sigmoid(z.reshape(-1), out.reshape(-1))
    elif code == TANH:
        elementwise.tanh(z.reshape(-1), out.reshape(-1))
    elif code == ARCTAN:
        elementwise.arctan(z.reshape(-1), out.reshape(-1))
    else:
        softmax(z, out)


@kernel
def _activation_gradient(code: int, kept: Array, dy: Array, out: Array) -> None:
    """``out = f'(z; dy)``, where ``kept`` is z for the activations in ``KEEP_Z``, else f(z)."""
    if code == RELU:
        elementwise.relu_gradient(kept.reshape(-1), dy.reshape(-1), out.reshape(-1))
    elif code == SIGMOID:
        elementwise.sigmoid_gradient(kept.reshape(-1), dy.reshape(-1), out.reshape(-1))
    elif code == TANH:
        elementwise.tanh_gradient(kept.reshape(-1), dy.reshape(-1), out.reshape(-1))
    elif code == ARCTAN:
        elementwise.arctan_backward(kept.reshape(-1), dy.reshape(-1), out.reshape(-1))
    elif code == SOFTMAX:
        softmax_backward(kept, dy, out)
    else:
        out[:] = dy


@kernel
def _transpose_block(address, index, like):
    plan = _words(address)
    block = _words(plan[TRANSPOSES])[3 * index : 3 * index + 3]
    layer = _layer(plan, block[0])
    d, k, size, first = layer[D], layer[K], plan[SIZE], block[1]
    w, wt = layer[WEIGHTS] + first * k * size, layer[WT] + first * size
    transpose(w, k, wt, d, block[2] - first, k, size, like)


@kernel
def _kept(layer):
    """Return the address of what the layer's activation gradient needs."""
    return layer[Z] if layer[ACTIVATION] in KEEP_Z else layer[A]


@kernel
def _forward_block(plan, first, rows, scratch, like):
    """Forward through all layers; all but the softmax of a fused loss."""
    size = plan[SIZE]
    a = plan[X] + first * _layer(plan, 0)[D] * size
    for i in range(plan[LAYERS]):
        layer = _layer(plan, i)
        code, d, k = layer[ACTIVATION], layer[D], layer[K]
        out = layer[A] + first * k * size
        z = layer[Z] + first * k * size if code in KEEP_Z else scratch
        on_tile = code in ON_TILE
        to = out if on_tile else z
        mode = RELU_TILE if code == RELU else PLAIN
        gemm(a, d, 1, layer[WEIGHTS], k, to, k, rows, k, d, layer[BIAS], 0, mode, size, like)
        fused = code == SOFTMAX and plan[LOSS] == CROSS_ENTROPY and i == plan[LAYERS] - 1
        if not on_tile and not fused:
            _activate(code, array_at(z, rows, k, like), array_at(out, rows, k, like))
        a = out


@kernel
def _loss_block(plan, first, rows, scratch, like):
    """Write dZ of the last layer; return the summed loss and error of the rows."""
    layer = _layer(plan, plan[LAYERS] - 1)
    k, n, start = layer[K], plan[N], first * layer[K] * plan[SIZE]
    y = array_at(plan[Y] + start, rows, k, like)
    kept = array_at(_kept(layer) + start, rows, k, like)
    dz = array_at(layer[DZ] + start, rows, k, like)
    if plan[LOSS] == CROSS_ENTROPY and layer[ACTIVATION] == SOFTMAX:
        return losses.softmax_cross_entropy(kept, y, n, dz), 1.0 * losses.misclassified(y, kept)
    out = array_at(layer[A] + start, rows, k, like)
    dout = array_at(scratch, rows, k, like)
    if plan[LOSS] == CROSS_ENTROPY:
        loss = losses.cross_entropy(y.reshape(-1), out.reshape(-1))
        losses.cross_entropy_backward(y.reshape(-1), out.reshape(-1), n, dout.reshape(-1))
        error = 1.0 * losses.misclassified(y, out)
    else:
        error = losses.l2(y.reshape(-1), out.reshape(-1))
        losses.l2_backward(y.reshape(-1), out.reshape(-1), n, dout.reshape(-1))
        loss = 0.5 * error
    _activation_gradient(layer[ACTIVATION], kept, dout, dz)
    return loss, error


@kernel
def _backward_block(plan, first, rows, scratch, like):
    """From dZ of the last layer down to dZ of the first."""
    size = plan[SIZE]
    for j in range(plan[LAYERS] - 1):
        i = plan[LAYERS] - 1 - j
        layer, below = _layer(plan, i), _layer(plan, i - 1)
        code, d, k = below[ACTIVATION], layer[D], layer[K]
        start = first * d * size
        dz, dz_below = layer[DZ] + first * k * size, below[DZ] + start
        if code in ON_TILE:
            mode, gate = (RELU_GRADIENT_TILE, below[A] + start) if code == RELU else (PLAIN, 0)
            gemm(dz, k, 1, layer[WT], d, dz_below, d, rows, d, k, gate, d, mode, size, like)
        else:
            gemm(dz, k, 1, layer[WT], d, scratch, d, rows, d, k, 0, 0, PLAIN, size, like)
            kept = array_at(_kept(below) + start, rows, d, like)
            da, out = array_at(scratch, rows, d, like), array_at(dz_below, rows, d, like)
            _activation_gradient(code, kept, da, out)


@kernel
def _rows_block(address, index, like):
    plan = _words(address)
    first = index * plan[ROWS]
    rows = min(plan[N] - first, plan[ROWS])
    scratch = plan[SCRATCH] + first * plan[WIDEST] * plan[SIZE]
    _forward_block(plan, first, rows, scratch, like)
    loss, error = _loss_block(plan, first, rows, scratch, like)
    stats = _vector(plan[STATS] + 16 * index, 2, _DOUBLE)
    stats[0], stats[1] = loss, error
    _backward_block(plan, first, rows, scratch, like)


@kernel
def _update(plan, gradient, state_1, state_2, weights, count, scale, like):
    rates = _vector(plan[RATES], 5, _DOUBLE)
    g = _vector(gradient, count, like)
    m = _vector(state_1, count, like)
    w = _vector(weights, count, like)
    if plan[RULE] == SGD:
        sgd_step(g, m, rates[0] * scale, rates[1], w)
    else:
        adam_step(g, m, _vector(state_2, count, like), scale, rates, w)


@kernel
def _weights_block(address, index, like):
    plan = _words(address)
    n, size = plan[N], plan[SIZE]
    block = _words(plan[UPDATES])[3 * index : 3 * index + 3]
    i, first, rows = block[0], block[1], block[2] - block[1]
    layer = _layer(plan, i)
    d, k = layer[D], layer[K]
    a = plan[X] if i == 0 else _layer(plan, i - 1)[A]
    start = first * k * size
    gradient = layer[DW] + start
    a_columns = a + first * size
    gemm(a_columns, 1, d, layer[DZ], k, gradient, k, rows, k, n, 0, 0, PLAIN, size, like)
    if first == 0:  # the bias is one more row of weights, for an input that is always one
        gemm(plan[ONE], 0, 0, layer[DZ], k, layer[DB], k, 1, k, n, 0, 0, PLAIN, size, like)
    if _vector(plan[RATES], 5, _DOUBLE)[4] == np.inf:  # else the norm of the whole comes first
        s1, s2, w = layer[WEIGHTS_1] + start, layer[WEIGHTS_2] + start, layer[WEIGHTS] + start
        _update(plan, gradient, s1, s2, w, rows * k, 1.0, like)
        if first == 0:
            _update(plan, layer[DB], layer[BIAS_1], layer[BIAS_2], layer[BIAS], k, 1.0, like)


@kernel
def _clip_scale(gradient, count, clip_norm, like):
    """Return what brings the gradient's norm down to ``clip_norm``; 1 if it is not above it."""
    size = norm(_vector(gradient, count, like))
    return clip_norm / size if size > clip_norm else 1.0


@kernel
def train_step(
    control: int,
    plan: Array,
    x: Array,
    y: Array,
    rate_1: float,
    rate_2: float,
    rate_3: float,
    rate_4: float,
    clip_norm: float,
    transpose: int,
    rows: int,
    weights: int,
    like: Any,
) -> tuple[float, float]:
    """Do the step that a plan describes on a batch; return the summed loss and error.

    ``transpose``, ``rows``, ``weights``: the addresses of :func:`jobs`; ``control``: a pool's. The
    error counts wrong arg-maxes for cross-entropy and sums squares for l2.
    """
    address = plan.ctypes.data
    plan[X], plan[Y] = x.ctypes.data, y.ctypes.data
    rates = _vector(plan[RATES], 5, _DOUBLE)
    rates[0], rates[1], rates[2], rates[3], rates[4] = rate_1, rate_2, rate_3, rate_4, clip_norm
    parallel_for(control, transpose, address, plan[TRANSPOSE_COUNT])
    blocks = (plan[N] + plan[ROWS] - 1) // plan[ROWS]
    parallel_for(control, rows, address, blocks)
    parallel_for(control, weights, address, plan[UPDATE_COUNT])
    if clip_norm < np.inf:
        for i in range(plan[LAYERS]):
            layer = _layer(plan, i)
            k = layer[K]
            count = layer[D] * k
            scale = _clip_scale(layer[DW], count, clip_norm, like)
            s1, s2 = layer[WEIGHTS_1], layer[WEIGHTS_2]
            _update(plan, layer[DW], s1, s2, layer[WEIGHTS], count, scale, like)
            scale = _clip_scale(layer[DB], k, clip_norm, like)
            _update(plan, layer[DB], layer[BIAS_1], layer[BIAS_2], layer[BIAS], k, scale, like)
    loss, error = 0.0, 0.0
    stats = array_at(plan[STATS], blocks, 2, _DOUBLE)
    for i in range(blocks):
        loss += stats[i, 0]
        error += stats[i, 1]
    return loss, error


@functools.cache
def jobs(dtype: np.dtype[Any]) -> tuple[Any, Any, Any]:
    """Return the three loops' jobs for a dtype, compiled; their ``address`` is what a step takes."""
    if dtype == np.float32:

        @job
        def transpose(address, index):
            _transpose_block(address, index, _SINGLE)

        @job
        def rows(address, index):
            _rows_block(address, index, _SINGLE)

        @job
        def weights(address, index):
            _weights_block(address, index, _SINGLE)

        return transpose, rows, weights

    @job
    def transpose(address, index):
        _transpose_block(address, index, _DOUBLE)

    @job
    def rows(address, index):
        _rows_block(address, index, _DOUBLE)

    @job
    def weights(address, index):
        _weights_block(address, index, _DOUBLE)

    return transpose, rows, weights
