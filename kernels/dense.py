"""A whole training step of a stack of fully connected layers, compiled once for any stack.

A step is a row of parallel loops, its *phases*: forward through each layer, the loss and its gradient,
backward through each layer, all updates. Activations are cut by columns: the thread that computes some
columns of ``A_i`` is the one that holds those columns of ``W_i``, computes those of ``dZ_i``, and
updates those weights. So weights never pass from one core's cache to another's, only activations do,
which are few for the batches that networks of this size are trained with.

A step is described by a *plan*, an array of 64-bit integers: a header, then ``LAYER_WORDS`` for each
layer. Arrays are given as addresses, so parameters may lie anywhere and be replaced at any time.
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
from fastnn.kernels.gemm_microkernel import SGD as SGD_TILE
from fastnn.kernels.optimizers import adam_step, norm, sgd_step
from fastnn.kernels.softmax import softmax, softmax_backward
from fastnn.kernels.threads import parallel_for

LINEAR, RELU, SIGMOID, TANH, ARCTAN, SOFTMAX = range(6)
ON_TILE = (LINEAR, RELU)  # taken on the products' tiles
KEEP_Z = (ARCTAN, SOFTMAX)  # their gradient needs z, that of the others f(z)
CROSS_ENTROPY, L2 = range(2)
SGD, ADAM = range(2)
FORWARD, SOFTMAX_ROWS, LOSS_ROWS, BACKWARD, SOFTMAX_GRADIENT_ROWS, UPDATE, CLIPPED_UPDATE = range(7)

# The plan's header: sizes, kinds, and the addresses of
# STATS (row blocks, 2) float64: each block's summed loss and error, ONE: a one of the arrays' dtype,
# RATES (5,) float64: lr, momentum, or step_size, beta_1, beta_2, eps; last the clip norm, or inf,
# PHASES (phases, 4): the plan's address, what to do, with which layer, in how many jobs,
# UPDATES (jobs, 5): layer, and the block of its weights: rows from, to, columns from, to.
(
    N, LAYERS, SIZE, LOSS, RULE, ROWS, X, Y, STATS, RATES, ONE, PHASES, PHASE_COUNT, UPDATES,
) = range(14)  # fmt: skip
HEADER_WORDS = 14
PHASE_WORDS, UPDATE_WORDS = 4, 5
# Each layer: widths, activation, how many blocks its columns are cut into, and the addresses of its
# parameters, the optimiser's two arrays for each of them, A = f(Z), dZ, the transposes of W's blocks of
# rows; where needed, else 0, Z, dA, and the parameters' gradients.
(
    D, K, ACTIVATION, BLOCKS, WEIGHTS, BIAS, WEIGHTS_1, WEIGHTS_2, BIAS_1, BIAS_2,
    A, DZ, WT, Z, DA, DW, DB,
) = range(17)  # fmt: skip
LAYER_WORDS = 17

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
def cut(width: int, blocks: int, index: int, size: int) -> tuple[int, int]:
    """Return where block ``index`` of ``blocks`` of the columns begins and ends, on cache lines."""
    lanes = 64 // size
    vectors = (width + lanes - 1) // lanes
    first = index * vectors // blocks * lanes
    return first, min((index + 1) * vectors // blocks * lanes, width)


@kernel
def _activate(code: int, z: Array, out: Array) -> None:
    """``out = f(z)``, for one row of an activation that a product does not take on its tiles."""
    if code == SIGMOID:
        elementwise.sigmoid(z, out)
    elif code == TANH:
        elementwise.tanh(z, out)
    else:
        elementwise.arctan(z, out)


@kernel
def _activation_gradient(code: int, kept: Array, dy: Array, out: Array) -> None:
    """``out = f'(z; dy)`` of one row, where ``kept`` is z for those in ``KEEP_Z``, else f(z)."""
    if code == RELU:
        elementwise.relu_gradient(kept, dy, out)
    elif code == SIGMOID:
        elementwise.sigmoid_gradient(kept, dy, out)
    elif code == TANH:
        elementwise.tanh_gradient(kept, dy, out)
    elif code == ARCTAN:
        elementwise.arctan_backward(kept, dy, out)
    else:
        out[:] = dy


@kernel
def _input(plan, i):
    """Return the address of what layer i reads."""
    return plan[X] if i == 0 else _layer(plan, i - 1)[A]


@kernel
def _product(plan, i, first, rows, begin, end, like):
    """Write ``A = f(X W + b)`` for a block of rows and columns; of a softmax only Z."""
    layer, size = _layer(plan, i), plan[SIZE]
    code, d, k = layer[ACTIVATION], layer[D], layer[K]
    at = (first * k + begin) * size
    to = layer[A] + at if code in ON_TILE else layer[Z] + at
    x = _input(plan, i) + first * d * size
    w, b = layer[WEIGHTS] + begin * size, layer[BIAS] + begin * size
    mode = RELU_TILE if code == RELU else PLAIN
    gemm(x, d, 1, w, k, to, k, rows, end - begin, d, b, 0, mode, size, like, like)
    if code != SOFTMAX and code not in ON_TILE:
        z, a = array_at(layer[Z], plan[N], k, like), array_at(layer[A], plan[N], k, like)
        for r in range(first, first + rows):
            _activate(code, z[r, begin:end], a[r, begin:end])


@kernel
def _row_block(plan, index):
    first = index * plan[ROWS]
    return first, min(plan[N] - first, plan[ROWS])


@kernel
def _softmax_rows(plan, i, index, like):
    layer = _layer(plan, i)
    first, rows = _row_block(plan, index)
    at = first * layer[K] * plan[SIZE]
    softmax(
        array_at(layer[Z] + at, rows, layer[K], like), array_at(layer[A] + at, rows, layer[K], like)
    )


@kernel
def _softmax_gradient_rows(plan, i, index, like):
    layer = _layer(plan, i)
    first, rows = _row_block(plan, index)
    k, at = layer[K], first * layer[K] * plan[SIZE]
    z, da = array_at(layer[Z] + at, rows, k, like), array_at(layer[DA] + at, rows, k, like)
    softmax_backward(z, da, array_at(layer[DZ] + at, rows, k, like))


@kernel
def _loss_rows(plan, i, index, like):
    """Forward through the last layer, the loss, and dZ, for a block of rows."""
    layer = _layer(plan, i)
    first, rows = _row_block(plan, index)
    code, k, n, at = layer[ACTIVATION], layer[K], plan[N], first * layer[K] * plan[SIZE]
    if layer[BLOCKS] == 1:  # else its product was a phase
        _product(plan, i, first, rows, 0, k, like)
    y = array_at(plan[Y] + at, rows, k, like)
    dz = array_at(layer[DZ] + at, rows, k, like)
    stats = _vector(plan[STATS] + 16 * index, 2, _DOUBLE)
    if code == SOFTMAX and plan[LOSS] == CROSS_ENTROPY:
        z = array_at(layer[Z] + at, rows, k, like)
        stats[0] = losses.softmax_cross_entropy(z, y, n, dz)
        stats[1] = losses.misclassified(y, z)
        return
    if code == SOFTMAX:
        _softmax_rows(plan, i, index, like)
    a = array_at(layer[A] + at, rows, k, like)
    da = array_at(layer[DA] + at, rows, k, like)
    if plan[LOSS] == CROSS_ENTROPY:
        stats[0] = losses.cross_entropy(y.reshape(-1), a.reshape(-1))
        stats[1] = losses.misclassified(y, a)
        losses.cross_entropy_backward(y.reshape(-1), a.reshape(-1), n, da.reshape(-1))
    else:
        stats[1] = losses.l2(y.reshape(-1), a.reshape(-1))
        stats[0] = 0.5 * stats[1]
        losses.l2_backward(y.reshape(-1), a.reshape(-1), n, da.reshape(-1))
    if code == SOFTMAX:
        _softmax_gradient_rows(plan, i, index, like)
    else:
        kept = array_at((layer[Z] if code in KEEP_Z else layer[A]) + at, rows, k, like)
        _activation_gradient(code, kept.reshape(-1), da.reshape(-1), dz.reshape(-1))


@kernel
def _backward_columns(plan, i, index, like):
    """From dZ of layer i to a block of columns of dZ of the layer below; of a softmax, to dA."""
    layer, below = _layer(plan, i), _layer(plan, i - 1)
    code, size, n, d, k = below[ACTIVATION], plan[SIZE], plan[N], layer[D], layer[K]
    begin, end = cut(d, below[BLOCKS], index, size)
    width, at = end - begin, begin * size
    wt = layer[WT] + begin * k * size
    transpose(layer[WEIGHTS] + begin * k * size, k, wt, width, width, k, size, like)
    to = (below[DZ] if code in ON_TILE else below[DA]) + at
    mode, gate = (RELU_GRADIENT_TILE, below[A] + at) if code == RELU else (PLAIN, 0)
    gemm(layer[DZ], k, 1, wt, width, to, d, n, width, k, gate, d, mode, size, like, like)
    if code != SOFTMAX and code not in ON_TILE:
        kept = array_at(below[Z] if code in KEEP_Z else below[A], n, d, like)
        da, dz = array_at(below[DA], n, d, like), array_at(below[DZ], n, d, like)
        for r in range(n):
            _activation_gradient(code, kept[r, begin:end], da[r, begin:end], dz[r, begin:end])


@kernel
def _update_block(plan, index, like):
    """``dW = X^T dZ`` and the update, for a block of weights, and its share of the bias."""
    n, size = plan[N], plan[SIZE]
    block = _words(plan[UPDATES])[UPDATE_WORDS * index : UPDATE_WORDS * (index + 1)]
    i, first, rows, begin, columns = block[0], block[1], block[2], block[3], block[4]
    layer = _layer(plan, i)
    d, k = layer[D], layer[K]
    at, along = (first * k + begin) * size, begin * size
    x, dz = _input(plan, i) + first * size, layer[DZ] + along
    w, b = layer[WEIGHTS] + at, layer[BIAS] + along
    rates = _vector(plan[RATES], 5, _DOUBLE)
    if plan[RULE] == SGD and rates[4] == np.inf:
        dtype = _vector(plan[ONE], 1, like).dtype
        lr, momentum = dtype.type(rates[0]), dtype.type(rates[1])
        v, v_bias = layer[WEIGHTS_1] + at, layer[BIAS_1] + along
        gemm(x, 1, d, dz, k, w, k, rows, columns, n, v, k, SGD_TILE, size, lr, momentum)
        if first == 0:  # the bias is one more row of weights, for an input that is always one
            gemm(plan[ONE], 0, 0, dz, k, b, k, 1, columns, n, v_bias, k, SGD_TILE, size, lr, momentum)
        return
    dw, db = layer[DW] + at, layer[DB] + along
    gemm(x, 1, d, dz, k, dw, k, rows, columns, n, 0, 0, PLAIN, size, like, like)
    if first == 0:
        gemm(plan[ONE], 0, 0, dz, k, db, k, 1, columns, n, 0, 0, PLAIN, size, like, like)
    if rates[4] == np.inf:  # else the norm of the whole comes first
        m, v = layer[WEIGHTS_1] + at, layer[WEIGHTS_2] + at
        for r in range(rows):
            row = r * k * size
            _adam(plan, dw + row, m + row, v + row, w + row, columns, 1.0, like)
        if first == 0:
            _adam(plan, db, layer[BIAS_1] + along, layer[BIAS_2] + along, b, columns, 1.0, like)


@kernel
def _adam(plan, gradient, m, v, weights, count, scale, like):
    g, w = _vector(gradient, count, like), _vector(weights, count, like)
    rates = _vector(plan[RATES], 5, _DOUBLE)
    adam_step(g, _vector(m, count, like), _vector(v, count, like), scale, rates, w)


@kernel
def _clipped_update(plan, gradient, state_1, state_2, weights, count, like):
    """Update by a gradient scaled down to the clip norm, if its norm is above that."""
    rates = _vector(plan[RATES], 5, _DOUBLE)
    g = _vector(gradient, count, like)
    size = norm(g)
    scale = rates[4] / size if size > rates[4] else 1.0
    if plan[RULE] == SGD:
        velocity, w = _vector(state_1, count, like), _vector(weights, count, like)
        sgd_step(g, velocity, rates[0] * scale, rates[1], w)
    else:
        _adam(plan, gradient, state_1, state_2, weights, count, scale, like)


@kernel
def _run_job(address, index, like):
    phase = _words(address)[:PHASE_WORDS]
    plan, kind, i = _words(phase[0]), phase[1], phase[2]
    layer = _layer(plan, i)
    if kind == FORWARD:
        begin, end = cut(layer[K], layer[BLOCKS], index, plan[SIZE])
        _product(plan, i, 0, plan[N], begin, end, like)
    elif kind == SOFTMAX_ROWS:
        _softmax_rows(plan, i, index, like)
    elif kind == LOSS_ROWS:
        _loss_rows(plan, i, index, like)
    elif kind == BACKWARD:
        _backward_columns(plan, i, index, like)
    elif kind == SOFTMAX_GRADIENT_ROWS:
        _softmax_gradient_rows(plan, i, index, like)
    elif kind == UPDATE:
        _update_block(plan, index, like)
    else:
        layer = _layer(plan, index // 2)
        d, k = layer[D], layer[K]
        if index % 2 == 0:
            state_1, state_2 = layer[WEIGHTS_1], layer[WEIGHTS_2]
            _clipped_update(plan, layer[DW], state_1, state_2, layer[WEIGHTS], d * k, like)
        else:
            _clipped_update(plan, layer[DB], layer[BIAS_1], layer[BIAS_2], layer[BIAS], k, like)


@kernel
def train_step(
    control: int,
    job: int,
    plan: Array,
    x: Array,
    y: Array,
    rate_1: float,
    rate_2: float,
    rate_3: float,
    rate_4: float,
    clip_norm: float,
) -> tuple[float, float]:
    """Do the step that a plan describes on a batch; return the summed loss and error.

    ``control`` is a pool's, or 0 for no helpers; ``job`` the address of :func:`step_job`. The error
    counts wrong arg-maxes for cross-entropy and sums squares for l2.
    """
    plan[X], plan[Y] = x.ctypes.data, y.ctypes.data
    rates = _vector(plan[RATES], 5, _DOUBLE)
    rates[0], rates[1], rates[2], rates[3], rates[4] = rate_1, rate_2, rate_3, rate_4, clip_norm
    for i in range(plan[PHASE_COUNT]):
        phase = plan[PHASES] + i * PHASE_WORDS * 8
        parallel_for(control, job, phase, _words(phase)[3])
    loss, error = 0.0, 0.0
    blocks = (plan[N] + plan[ROWS] - 1) // plan[ROWS]
    stats = array_at(plan[STATS], blocks, 2, _DOUBLE)
    for i in range(blocks):
        loss += stats[i, 0]
        error += stats[i, 1]
    return loss, error


@functools.cache
def step_job(dtype: np.dtype[Any]) -> Any:
    """Return the job of all phases for a dtype, compiled; its ``address`` is what a step takes."""
    if dtype == np.float32:

        @job
        def single(address, index):
            _run_job(address, index, _SINGLE)

        return single

    @job
    def double(address, index):
        _run_job(address, index, _DOUBLE)

    return double
