"""The phases of a step of fully connected layers, of which `step/steps.py` makes steps.

A step is a row of parallel loops, its *phases*: forward through each layer, the loss and its gradient,
backward through each layer, all updates. Activations are cut by columns: the thread that computes some
columns of ``A_i`` is the one that holds those columns of ``W_i``, computes those of ``dZ_i``, and
updates those weights. So weights never pass from one core's cache to another's, only activations do,
which are few for the batches that networks of this size are trained with.

A step is described by a *plan*: rows of 64-bit integers, a header, the layers, the phases. Arrays are
given as addresses, so parameters may lie anywhere and be replaced at any time, and so are the
`step/parts.py` that do the arithmetic. What is here only finds out what they work on: it is
compiled once, whatever networks are made of.
"""

import functools
from typing import Any

import numpy as np

from fastnn.kernels.compiling.jit import call_job, inner, job
from fastnn.kernels.compiling.memory import numbers, stack, words
from fastnn.kernels.emitted.gemm import DESCENT, PLAIN
from fastnn.kernels.emitted.gemm import RELU as RELU_TILE
from fastnn.kernels.emitted.gemm import RELU_GRADIENT as RELU_GRADIENT_TILE
from fastnn.kernels.emitted.gemm import RULE as RULE_TILE
from fastnn.kernels.emitted.gemm import SGD as SGD_TILE
from fastnn.kernels.step import parts

# The plan's header: the batch's rows, the size of an element, the rows of a block; addresses of the
# layers; X, Y, and the targets T of which the loss is, those of Y unless TARGETS makes them; STATS
# (blocks, 2) float64: each block's summed loss and error; RATES (4,) float64 of the optimiser, and the
# bits of the norm to CLIP gradients to, or infinity; ONE: a one of the arrays' dtype; UPDATES (jobs,
# 5): layer, and the block of its weights: rows from, to, columns from, to; PHASES (count, 5): the
# phase's job, the plan's address, a layer, how many jobs, and whether several threads share them. The
# first phase picks the batch out of the dataset at ALL_X, ALL_Y by the row numbers at ORDER.
# ROW_WEIGHTS: (1 + N,) float64, the factor of penalties and the rows' weights, whose mean is 1, or 0.
# ANSWERS: over how many of a row the error is a mean; BY_RULE: whether PRODUCT updates weights by a
# rule, else by plain SGD. CHANGED (CHANGED_COUNT, 2): where the memory that a step changes begins and
# ends, parameters and the optimiser's state. Last the parts; RULE updates a parameter by its clipped
# gradient.
(
    N, SIZE, BLOCK, LAYERS, LAYER_COUNT, X, Y, T, STATS, RATES, CLIP, ONE, UPDATES, PHASES, PHASE_COUNT,
    ALL_X, ALL_Y, ORDER, SMOOTHING, CLASS_WEIGHTS, ROW_WEIGHTS, ANSWERS, BY_RULE,
    CHANGED, CHANGED_COUNT,
    PRODUCT, TRANSPOSITION, PICKED, LOSS, TARGETS, RULE, WEIGHING,
) = range(32)  # fmt: skip
HEADER_WORDS = 32
JOB, PLAN, LAYER, COUNT, SHARED = range(5)
PHASE_WORDS, UPDATE_WORDS = 5, 5
# Each layer: widths, how many blocks its columns are cut into, what is done on the products' tiles; the
# addresses of its parameters and of the optimiser's two arrays for each of them, Z, A, dA, dZ; WORK,
# where blocks of W or dZ are transposed or packed, and whether they are packed; XT, where the layer's
# input is transposed for X^T dZ, or 0 for not at all, and the stride of its rows; the parameters'
# gradients, where they are clipped; the activation's parts, 0 for one that is done on the tile, whether
# it goes by rows, and the bits of its parameter. Where a product's tile does the activation Z is A, and
# dA is dZ. PENALTY: the bits of l2; the batch's share of that times the weights is added to their
# gradient.
(
    D, K, BLOCKS, TILE, WEIGHTS, BIAS, WEIGHTS_1, WEIGHTS_2, BIAS_1, BIAS_2,
    Z, A, DA, DZ, WORK, PACKS, XT, XT_ROW, DW, DB, ACTIVATION, GRADIENT, ROWWISE, PARAMETER,
    PENALTY,
) = range(25)  # fmt: skip
LAYER_WORDS = 25
# A stretch: plan, pool or 0, how many passes, and how many row numbers each has, whose last batch may
# be smaller; addresses of these, of all batches' (batches, 4) rates, (batches, 2) mean losses and
# errors, and (batches, 1 + n) ROW_WEIGHTS or 0.
(
    STRETCH_PLAN, STRETCH_CONTROL, PASSES, PASS_ROWS, STRETCH_ORDER, STRETCH_RATES, RESULTS,
    STRETCH_WEIGHTS,
) = range(8)  # fmt: skip
STRETCH_WORDS = 8

_call_words = stack(8 * parts.CALL_WORDS)


@inner
def _layer(plan, i):
    return words(plan[LAYERS] + i * LAYER_WORDS * 8)


@inner
def cut(width: int, blocks: int, index: int, size: int) -> tuple[int, int]:
    """Return where block ``index`` of ``blocks`` of the columns begins and ends, on cache lines."""
    lanes = 64 // size
    vectors = (width + lanes - 1) // lanes
    first = index * vectors // blocks * lanes
    return first, min((index + 1) * vectors // blocks * lanes, width)


@inner
def _input(plan, i):
    return plan[X] if i == 0 else _layer(plan, i - 1)[A]


@inner
def _row_block(plan, index):
    first = index * plan[BLOCK]
    return first, max(min(plan[N] - first, plan[BLOCK]), 0)  # none in a batch that has fewer


@inner
def _write_product(
    plan, w, a, a_row, a_column, b, b_row, c, c_row, rows, columns, inner, start, start_row, mode,
    packed,
):  # fmt: skip
    w[parts.A], w[parts.A_ROW], w[parts.A_COLUMN] = a, a_row, a_column
    w[parts.B], w[parts.B_ROW], w[parts.C], w[parts.C_ROW] = b, b_row, c, c_row
    w[parts.ROWS], w[parts.COLUMNS], w[parts.INNER] = rows, columns, inner
    w[parts.START], w[parts.START_ROW], w[parts.MODE] = start, start_row, mode
    w[parts.RATES], w[parts.PACKED] = plan[RATES], packed


@inner
def _multiply(
    plan, a, a_row, a_column, b, b_row, c, c_row, rows, columns, inner, start, start_row, mode, packed
):
    at = _call_words()
    _write_product(
        plan, words(at), a, a_row, a_column, b, b_row, c, c_row, rows, columns, inner, start, start_row,
        mode, packed,
    )  # fmt: skip
    call_job(plan[PRODUCT], at, 0)


@inner
def _transpose(plan, a, a_row, c, c_row, rows, columns):
    at = _call_words()
    w = words(at)
    w[parts.A], w[parts.A_ROW], w[parts.C], w[parts.C_ROW] = a, a_row, c, c_row
    w[parts.ROWS], w[parts.COLUMNS] = rows, columns
    call_job(plan[TRANSPOSITION], at, 0)


@inner
def _packed(layer, begin, rows, size):
    """Return where a block of columns of a matrix of so many rows is to be packed, or 0."""
    return layer[WORK] + begin * rows * size if layer[PACKS] != 0 else 0


@inner
def _apply(plan, layer, part, first, rows, begin, end, z, dy, out):
    """Call an activation's part on a block of rows and columns of (n, k) arrays."""
    size, k = plan[SIZE], layer[K]
    at = _call_words()
    w = words(at)
    whole = layer[ROWWISE] == 0 and begin == 0 and end == k
    offset = (first * k + begin) * size
    w[parts.HEIGHT], w[parts.WIDTH] = (1, rows * k) if whole else (rows, end - begin)
    w[parts.STRIDE], w[parts.PARAMETER] = k * size, layer[PARAMETER]
    w[parts.Z], w[parts.DY], w[parts.OUT] = z + offset, dy + offset, out + offset
    call_job(part, at, 0)


@inner
def _forward_block(plan, i, first, rows, begin, end):
    """Write a block of Z, and of A unless that goes by rows."""
    layer, size = _layer(plan, i), plan[SIZE]
    d, k = layer[D], layer[K]
    x = _input(plan, i) + first * d * size
    z = layer[Z] + (first * k + begin) * size
    w, b = layer[WEIGHTS] + begin * size, layer[BIAS] + begin * size
    packed = _packed(layer, begin, d, size)
    _multiply(plan, x, d, 1, w, k, z, k, rows, end - begin, d, b, 0, layer[TILE], packed)
    if layer[ACTIVATION] != 0 and layer[ROWWISE] == 0:
        part, a = layer[ACTIVATION], layer[A]
        _apply(plan, layer, part, first, rows, begin, end, layer[Z], 0, a)


# The phases' jobs, ``phase(at, index)``.


@inner
def _of(at):
    phase = words(at)
    return words(phase[PLAN]), phase[LAYER]


def forward(at: int, index: int) -> None:
    """Write a block of columns of a layer's activations."""
    plan, i = _of(at)
    layer = _layer(plan, i)
    begin, end = cut(layer[K], layer[BLOCKS], index, plan[SIZE])
    _forward_block(plan, i, 0, plan[N], begin, end)


def activate_rows(at: int, index: int) -> None:
    """Write a block of rows of a layer's activations from Z."""
    plan, i = _of(at)
    layer = _layer(plan, i)
    first, rows = _row_block(plan, index)
    _apply(plan, layer, layer[ACTIVATION], first, rows, 0, layer[K], layer[Z], 0, layer[A])


def forward_rows(at: int, index: int) -> None:
    """Write a block of rows of the activations of all layers up to one."""
    plan, last = _of(at)
    first, rows = _row_block(plan, index)
    for i in range(last + 1):
        layer = _layer(plan, i)
        _forward_block(plan, i, first, rows, 0, layer[K])
        if layer[ROWWISE] != 0:
            _apply(plan, layer, layer[ACTIVATION], first, rows, 0, layer[K], layer[Z], 0, layer[A])


@inner
def _weigh(plan, a, rows, k, weights):
    at = _call_words()
    w = words(at)
    w[parts.HEIGHT], w[parts.WIDTH], w[parts.Z], w[parts.DY] = rows, k, a, weights
    call_job(plan[WEIGHING], at, 0)


@inner
def _make_targets(plan, first, rows, k, weights):
    """Write a block of rows of T."""
    at = _call_words()
    w, offset = words(at), first * k * plan[SIZE]
    w[parts.BLOCK_ROWS], w[parts.CLASSES] = rows, k
    w[parts.Y], w[parts.T] = plan[Y] + offset, plan[T] + offset
    w[parts.SMOOTHING], w[parts.WEIGHTS] = plan[SMOOTHING], plan[CLASS_WEIGHTS]
    call_job(plan[TARGETS], at, 0)
    if weights != 0:
        _weigh(plan, plan[T] + offset, rows, k, weights)


@inner
def _loss(plan, layer, targets, first, rows, stats):
    """Write the summed loss and error of some rows, and the gradient of the last activations."""
    at = _call_words()
    w, offset = words(at), first * layer[K] * plan[SIZE]
    w[parts.BLOCK_ROWS], w[parts.CLASSES], w[parts.BATCH] = rows, layer[K], plan[N]
    w[parts.Y], w[parts.T], w[parts.SCORES] = plan[Y] + offset, targets + offset, layer[A] + offset
    w[parts.GRADIENT], w[parts.STATS] = layer[DA] + offset, stats
    call_job(plan[LOSS], at, 0)


@inner
def _loss_row_by_row(plan, layer, first, rows, stats, weights):
    """Do the same with each row's loss weighted, but not yet the gradients."""
    loss, error, found = 0.0, 0.0, numbers(stats)
    for r in range(rows):
        _loss(plan, layer, plan[Y], first + r, 1, stats)
        loss += weights[r] * found[0]
        error += found[1]
    found[0], found[1] = loss, error


def loss_rows(at: int, index: int) -> None:
    """Write the summed loss and error and the last layer's dZ, for a block of rows."""
    plan, i = _of(at)
    layer, size = _layer(plan, i), plan[SIZE]
    k = layer[K]
    first, rows = _row_block(plan, index)
    if layer[BLOCKS] == 1:  # else its product was a phase
        _forward_block(plan, i, first, rows, 0, k)
    if layer[ROWWISE] != 0:
        _apply(plan, layer, layer[ACTIVATION], first, rows, 0, k, layer[Z], 0, layer[A])
    stats, weights = plan[STATS] + 16 * index, plan[ROW_WEIGHTS]
    if weights != 0:
        weights += 8 * (1 + first)
    if plan[TARGETS] != 0:
        _make_targets(plan, first, rows, k, weights)
        _loss(plan, layer, plan[T], first, rows, stats)
    elif weights == 0:
        _loss(plan, layer, plan[Y], first, rows, stats)
    else:
        _loss_row_by_row(plan, layer, first, rows, stats, numbers(weights))
        _weigh(plan, layer[DA] + first * k * size, rows, k, weights)
    if layer[GRADIENT] != 0:
        _apply(plan, layer, layer[GRADIENT], first, rows, 0, k, layer[Z], layer[DA], layer[DZ])


def backward(at: int, index: int) -> None:
    """From dZ of a layer to a block of columns of dZ of the one below, or dA if that goes by rows."""
    plan, i = _of(at)
    layer, below, size = _layer(plan, i), _layer(plan, i - 1), plan[SIZE]
    n, d, k = plan[N], layer[D], layer[K]
    begin, end = cut(d, below[BLOCKS], index, size)
    width, column = end - begin, begin * size
    wt = layer[WORK] + begin * k * size
    _transpose(plan, layer[WEIGHTS] + begin * k * size, k, wt, width, width, k)
    mode, gate = PLAIN, 0
    if below[TILE] == RELU_TILE:
        mode, gate = RELU_GRADIENT_TILE, below[A] + column
    _multiply(plan, layer[DZ], k, 1, wt, width, below[DA] + column, d, n, width, k, gate, d, mode, 0)
    if below[GRADIENT] != 0 and below[TILE] == PLAIN and below[ROWWISE] == 0:
        _apply(plan, below, below[GRADIENT], 0, n, begin, end, below[Z], below[DA], below[DZ])


def gradient_rows(at: int, index: int) -> None:
    """From dA of a layer to a block of rows of its dZ."""
    plan, i = _of(at)
    layer = _layer(plan, i)
    first, rows = _row_block(plan, index)
    _apply(plan, layer, layer[GRADIENT], first, rows, 0, layer[K], layer[Z], layer[DA], layer[DZ])


def transpose_input(at: int, index: int) -> None:
    """Write a block of columns of a layer's input to rows of XT."""
    plan, i = _of(at)
    layer, size = _layer(plan, i), plan[SIZE]
    d, stride = layer[D], layer[XT_ROW]
    begin, end = cut(d, words(at)[COUNT], index, size)
    x, xt = _input(plan, i) + begin * size, layer[XT] + begin * stride * size
    _transpose(plan, x, d, xt, stride, plan[N], end - begin)


@inner
def _penalty(plan, i):
    """Return what of a layer's weights is added to the batch's gradient."""
    l2 = numbers(plan[LAYERS] + i * LAYER_WORDS * 8)[PENALTY]
    factor = numbers(plan[ROW_WEIGHTS])[0] if plan[ROW_WEIGHTS] != 0 else 1.0
    return l2 * factor / plan[N]


@inner
def _multiply_and_update(
    plan, a, a_row, a_column, dz, row, values, first, second, rows, columns, penalty, packed
):
    """Take ``A dZ`` as the gradient of a block of a parameter, whose rows are as far apart as dZ's."""
    at = _call_words()
    w, mode = words(at), RULE_TILE
    if plan[BY_RULE] == 0:
        mode = SGD_TILE if numbers(plan[RATES])[2] != 0 else DESCENT
    _write_product(
        plan, w, a, a_row, a_column, dz, row, values, row, rows, columns, plan[N], first, row, mode,
        packed,
    )  # fmt: skip
    w[parts.SECOND], numbers(at)[parts.PENALTY] = second, penalty
    call_job(plan[PRODUCT], at, 0)


def update(at: int, index: int) -> None:
    """``dW = X^T dZ`` and the update, for a block of weights, and its share of the bias.

    The bias is one more row of weights, for an input that is always one. Where gradients are clipped,
    they are written down, as their norm is that of all of them.
    """
    plan, _ = _of(at)
    n, size = plan[N], plan[SIZE]
    block = words(plan[UPDATES] + UPDATE_WORDS * index * 8)
    i, first, rows, begin, columns = block[0], block[1], block[2], block[3], block[4]
    layer = _layer(plan, i)
    d, k = layer[D], layer[K]
    at_block, along = (first * k + begin) * size, begin * size
    x, x_row, x_column = _input(plan, i) + first * size, 1, d
    if layer[XT] != 0:
        x, x_row, x_column = layer[XT] + first * layer[XT_ROW] * size, layer[XT_ROW], 1
    dz, one, packed = layer[DZ] + along, plan[ONE], _packed(layer, begin, n, size)
    if numbers(words(at)[PLAN])[CLIP] != np.inf:
        dw, db = layer[DW] + at_block, layer[DB] + along
        _multiply(plan, x, x_row, x_column, dz, k, dw, k, rows, columns, n, 0, 0, PLAIN, packed)
        if first == 0:
            _multiply(plan, one, 0, 0, dz, k, db, k, 1, columns, n, 0, 0, PLAIN, 0)
        return
    w, w_1, w_2 = layer[WEIGHTS] + at_block, layer[WEIGHTS_1] + at_block, layer[WEIGHTS_2] + at_block
    penalty = _penalty(plan, i)
    _multiply_and_update(plan, x, x_row, x_column, dz, k, w, w_1, w_2, rows, columns, penalty, packed)
    if first == 0:
        b, b_1, b_2 = layer[BIAS] + along, layer[BIAS_1] + along, layer[BIAS_2] + along
        _multiply_and_update(plan, one, 0, 0, dz, k, b, b_1, b_2, 1, columns, 0.0, 0)


def clipped_update(at: int, index: int) -> None:
    """Update one parameter, weights if the index is even, by its gradient scaled to the clip norm."""
    plan, _ = _of(at)
    i = index // 2
    layer = _layer(plan, i)
    call_at = _call_words()
    w, penalty = words(call_at), 0.0
    if index % 2 == 0:
        w[parts.COUNT], w[parts.SLOPE], w[parts.VALUES] = layer[D] * layer[K], layer[DW], layer[WEIGHTS]
        w[parts.FIRST], w[parts.SECOND] = layer[WEIGHTS_1], layer[WEIGHTS_2]
        penalty = _penalty(plan, i)
    else:
        w[parts.COUNT], w[parts.SLOPE], w[parts.VALUES] = layer[K], layer[DB], layer[BIAS]
        w[parts.FIRST], w[parts.SECOND] = layer[BIAS_1], layer[BIAS_2]
    w[parts.RATES] = plan[RATES]
    numbers(call_at)[parts.CLIP] = numbers(words(at)[PLAN])[CLIP]
    numbers(call_at)[parts.PENALTY] = penalty
    call_job(plan[RULE], call_at, 0)


def pick_rows(at: int, index: int) -> None:
    """Copy a block of the batch's rows from the dataset."""
    plan, _ = _of(at)
    size = plan[SIZE]
    first, rows = _row_block(plan, index)
    call_at = _call_words()
    w = words(call_at)
    w[parts.HEIGHT], w[parts.DY] = rows, plan[ORDER] + first * 8
    d, k = _layer(plan, 0)[D], _layer(plan, plan[LAYER_COUNT] - 1)[K]
    w[parts.WIDTH], w[parts.Z], w[parts.OUT] = d, plan[ALL_X], plan[X] + first * d * size
    call_job(plan[PICKED], call_at, 0)
    w[parts.WIDTH], w[parts.Z], w[parts.OUT] = k, plan[ALL_Y], plan[Y] + first * k * size
    call_job(plan[PICKED], call_at, 0)


@functools.cache
def phase_job(phase: Any) -> Any:
    """Return a phase's job, compiled; its ``address`` is what a plan takes."""
    return job(phase)
