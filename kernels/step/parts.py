"""The parts of a step that do arithmetic, each a job of its own, compiled for a dtype when first used.

A job ``part(words, _)`` is called by address. What it needs lies at ``words``: 64-bit integers, sizes,
addresses, and the bits of float64 numbers, in the order of the names below. So whatever a network is
made of, only the parts it uses are compiled, each of them once.
"""

import functools
from typing import Any

import numpy as np

from fastnn.kernels import cross_entropy, losses, optimizers
from fastnn.kernels.compiling import jit
from fastnn.kernels.compiling.jit import VECTOR_BYTES, inner
from fastnn.kernels.compiling.memory import array_at, numbers, stack, words
from fastnn.kernels.emitted import rules as rules
from fastnn.kernels.emitted.gemm import DESCENT, RULE, gemm
from fastnn.kernels.emitted.transposition import transpose

_NUMBER = np.float64(0)
_kernel: Any = None  # what a template calls, and
_like: Any = None  # a number of its arrays' dtype: see `jit.job_from`


# C = start + A B, and what `gemm` does to its tiles; RATES: four numbers of the optimiser's; PACKED:
# where to copy B first, row after row, or 0. For a rule, whose first array is at START, SECOND: its
# other array, PENALTY: what of C is added to its gradient.
(
    A, A_ROW, A_COLUMN, B, B_ROW, C, C_ROW, ROWS, COLUMNS, INNER, START, START_ROW, MODE, RATES,
    PACKED, SECOND, PENALTY,
) = range(17)  # fmt: skip
CALL_WORDS = 17


@inner
def _second_factor(w, like):
    """Return B's address and stride, having copied it to where it is to be packed, if it is."""
    if w[PACKED] == 0:
        return w[B], w[B_ROW]
    columns, packed = w[COLUMNS], array_at(w[PACKED], w[INNER], w[COLUMNS], like)
    for r in range(w[INNER]):
        row = array_at(w[B] + r * w[B_ROW] * packed.itemsize, 1, columns, like)[0]
        for j in range(columns):
            packed[r, j] = row[j]
    return w[PACKED], columns


def _product(at: int, _: int) -> None:
    w = words(at)
    dtype, size = array_at(w[A], 1, 1, _like).dtype, array_at(w[A], 1, 1, _like).itemsize
    lr = momentum = dtype.type(0)
    if w[MODE] >= DESCENT:
        rates = numbers(w[RATES])
        lr, momentum = dtype.type(rates[0]), dtype.type(rates[1])
    b, b_row = _second_factor(w, _like)
    gemm(
        w[A], w[A_ROW], w[A_COLUMN], b, b_row, w[C], w[C_ROW], w[ROWS], w[COLUMNS], w[INNER],
        w[START], w[START_ROW], w[MODE], size, (lr, momentum),
    )  # fmt: skip


_rule_numbers = stack(8 * rules.NUMBERS)


def _product_and_rule(at: int, _: int) -> None:
    w = words(at)
    own_at = _rule_numbers()
    own = array_at(own_at, 1, rules.NUMBERS, _like)[0]
    if w[MODE] == RULE:
        rules.write_numbers(own, 1.0, numbers(at)[PENALTY], numbers(w[RATES]))
    b, b_row = _second_factor(w, _like)
    gemm(
        w[A], w[A_ROW], w[A_COLUMN], b, b_row, w[C], w[C_ROW], w[ROWS], w[COLUMNS], w[INNER],
        w[START], w[START_ROW], w[MODE], own.itemsize,
        (own[0], own[0], w[SECOND] - w[START], own_at, _kernel()),
    )  # fmt: skip


# C = A^T, by A, A_ROW, C, C_ROW, ROWS, COLUMNS of the above.


def _transposition(at: int, _: int) -> None:
    w = words(at)
    size = array_at(w[A], 1, 1, _like).itemsize
    transpose(w[A], w[A_ROW], w[C], w[C_ROW], w[ROWS], w[COLUMNS], size, _like)


# An activation of a block of rows and columns, and its gradient; STRIDE: from row to row in bytes.
HEIGHT, WIDTH, STRIDE, PARAMETER, Z, DY, OUT = range(7)


@inner
def _row(address, r, w, like):
    return array_at(address + r * w[STRIDE], 1, w[WIDTH], like)[0]


def _elementwise(at: int, _: int) -> None:
    w = words(at)
    for r in range(w[HEIGHT]):
        _kernel(_row(w[Z], r, w, _like), _row(w[OUT], r, w, _like))


def _elementwise_parameter(at: int, _: int) -> None:
    w, p = words(at), numbers(at)[PARAMETER]
    for r in range(w[HEIGHT]):
        _kernel(_row(w[Z], r, w, _like), p, _row(w[OUT], r, w, _like))


def _elementwise_gradient(at: int, _: int) -> None:
    w = words(at)
    for r in range(w[HEIGHT]):
        _kernel(_row(w[Z], r, w, _like), _row(w[DY], r, w, _like), _row(w[OUT], r, w, _like))


def _elementwise_gradient_parameter(at: int, _: int) -> None:
    w, p = words(at), numbers(at)[PARAMETER]
    for r in range(w[HEIGHT]):
        _kernel(_row(w[Z], r, w, _like), p, _row(w[DY], r, w, _like), _row(w[OUT], r, w, _like))


def _rowwise(at: int, _: int) -> None:
    w = words(at)
    n, k = w[HEIGHT], w[WIDTH]
    _kernel(array_at(w[Z], n, k, _like), array_at(w[OUT], n, k, _like))


def _rowwise_gradient(at: int, _: int) -> None:
    w = words(at)
    n, k = w[HEIGHT], w[WIDTH]
    _kernel(array_at(w[Z], n, k, _like), array_at(w[DY], n, k, _like), array_at(w[OUT], n, k, _like))


# The loss of a block of rows, out of a batch of BATCH. SCORES: logits or outputs; Y: the targets, of
# which the error is, T: those of which the loss is; GRADIENT: of the scores; STATS: where the summed
# loss and error go. The error counts wrong answers for cross-entropies, and sums squares for l2.
BLOCK_ROWS, CLASSES, BATCH, SCORES, Y, T, GRADIENT, STATS = range(8)


@inner
def _flat(address, w, like):
    return array_at(address, 1, w[BLOCK_ROWS] * w[CLASSES], like)[0]


def _softmax_loss(at: int, _: int) -> None:
    w = words(at)
    n, k, stats = w[BLOCK_ROWS], w[CLASSES], numbers(w[STATS])
    z = array_at(w[SCORES], n, k, _like)
    stats[0] = _kernel(z, array_at(w[T], n, k, _like), w[BATCH], array_at(w[GRADIENT], n, k, _like))
    stats[1] = losses.misclassified(array_at(w[Y], n, k, _like), z)


def _probability_loss(at: int, _: int) -> None:
    w = words(at)
    n, k, stats = w[BLOCK_ROWS], w[CLASSES], numbers(w[STATS])
    t, p = _flat(w[T], w, _like), _flat(w[SCORES], w, _like)
    stats[0] = losses.cross_entropy(t, p)
    stats[1] = losses.misclassified(array_at(w[Y], n, k, _like), array_at(w[SCORES], n, k, _like))
    losses.cross_entropy_backward(t, p, w[BATCH], _flat(w[GRADIENT], w, _like))


def _sigmoid_loss(at: int, _: int) -> None:
    w = words(at)
    stats, y, z = numbers(w[STATS]), _flat(w[Y], w, _like), _flat(w[SCORES], w, _like)
    stats[0] = losses.binary_cross_entropy(z, y, w[BATCH], _flat(w[GRADIENT], w, _like))
    stats[1] = losses.wrong_answers(y, z, 0.0)


def _yes_no_loss(at: int, _: int) -> None:
    w = words(at)
    stats, y, p = numbers(w[STATS]), _flat(w[Y], w, _like), _flat(w[SCORES], w, _like)
    stats[0] = losses.yes_no_cross_entropy(y, p)
    stats[1] = losses.wrong_answers(y, p, 0.5)
    losses.yes_no_cross_entropy_backward(y, p, w[BATCH], _flat(w[GRADIENT], w, _like))


def _l2_loss(at: int, _: int) -> None:
    w = words(at)
    stats, y, y_hat = numbers(w[STATS]), _flat(w[Y], w, _like), _flat(w[SCORES], w, _like)
    stats[1] = losses.l2(y, y_hat)
    stats[0] = 0.5 * stats[1]
    losses.l2_backward(y, y_hat, w[BATCH], _flat(w[GRADIENT], w, _like))


# T from Y, for a block of rows, with label smoothing and (WEIGHTS,) float64 class weights.
SMOOTHING, WEIGHTS = BATCH, SCORES


def _targets(at: int, _: int) -> None:
    w = words(at)
    n, k = w[BLOCK_ROWS], w[CLASSES]
    weights = array_at(w[WEIGHTS], 1, k, _NUMBER)[0]
    losses.target_rows(
        array_at(w[Y], n, k, _like), numbers(at)[SMOOTHING], weights, array_at(w[T], n, k, _like)
    )


# Each of HEIGHT rows of WIDTH elements at Z times its float64 weight at DY.


def _weighing(at: int, _: int) -> None:
    w = words(at)
    n, k = w[HEIGHT], w[WIDTH]
    losses.weigh_rows(array_at(w[Z], n, k, _like), array_at(w[DY], 1, n, _NUMBER)[0])


# An optimiser's update of a whole parameter at VALUES of COUNT elements by its gradient at SLOPE, to
# which the penalty is added, and which is scaled down to the norm CLIP if it is longer.
COUNT, CLIP, SLOPE, VALUES, FIRST = range(5)


def _rule(at: int, _: int) -> None:
    w, rates = words(at), numbers(words(at)[RATES])
    count, clip, penalty = w[COUNT], numbers(at)[CLIP], numbers(at)[PENALTY]
    gradient = array_at(w[SLOPE], 1, count, _like)[0]
    if penalty != 0:
        optimizers.add_penalty(gradient, penalty, array_at(w[VALUES], 1, count, _like)[0])
    size = optimizers.norm(gradient)
    own_at = _rule_numbers()
    own = array_at(own_at, 1, rules.NUMBERS, _like)[0]
    rules.write_numbers(own, clip / size if size > clip else 1.0, 0.0, rates)
    lanes = VECTOR_BYTES // own.itemsize
    for j in range(0, count, lanes):
        o = j * own.itemsize
        g, first, second, values = w[SLOPE] + o, w[FIRST] + o, w[SECOND] + o, w[VALUES] + o
        rules.apply_rule(_kernel(), g, first, second, values, count - j, own_at, own[0])


# Rows HEIGHT of WIDTH elements, picked from the array at Z by the row numbers at DY, to OUT.


@inner
def _copy(row, out):
    for j in range(row.size):
        out[j] = row[j]


def _rows_picked(at: int, _: int) -> None:
    w = words(at)
    k, order = w[WIDTH], words(w[DY])
    size = array_at(w[Z], 1, 1, _like).itemsize
    for r in range(w[HEIGHT]):
        row = array_at(w[Z] + order[r] * k * size, 1, k, _like)[0]
        _kernel(row, array_at(w[OUT], w[HEIGHT], k, _like)[r])


_FIXED = {
    "product": (_product, gemm),
    "transposition": (_transposition, transpose),
    "rows_picked": (_rows_picked, _copy),
    "targets": (_targets, losses.target_rows),
    "weighing": (_weighing, losses.weigh_rows),
    "softmax_loss_short": (_softmax_loss, cross_entropy.softmax_cross_entropy_short),
    "softmax_loss_long": (_softmax_loss, cross_entropy.softmax_cross_entropy_long),
    "probability_loss": (_probability_loss, losses.cross_entropy),
    "sigmoid_loss": (_sigmoid_loss, losses.binary_cross_entropy),
    "yes_no_loss": (_yes_no_loss, losses.yes_no_cross_entropy),
    "l2_loss": (_l2_loss, losses.l2),
    "sgd": (_rule, rules.sgd),
    "nesterov": (_rule, rules.nesterov),
    "adam": (_rule, rules.adam),
    "sgd_product": (_product_and_rule, rules.sgd),
    "nesterov_product": (_product_and_rule, rules.nesterov),
    "adam_product": (_product_and_rule, rules.adam),
}


@functools.cache
def part(name: str, dtype: np.dtype[Any]) -> int:
    """Return the address of a part that is not an activation."""
    return _compiled(*_FIXED[name], dtype)


@functools.cache
def activation(function: Any, dtype: np.dtype[Any], rowwise: bool, gradient: bool, with_p: bool) -> int:
    """Return the address of an activation's kernel, or of its gradient's, as a part."""
    if rowwise:
        template = _rowwise_gradient if gradient else _rowwise
    elif with_p:
        template = _elementwise_gradient_parameter if gradient else _elementwise_parameter
    else:
        template = _elementwise_gradient if gradient else _elementwise
    return _compiled(template, function, dtype)


_kept: list[Any] = []  # compiled code, which lives as long as it is referred to


def _compiled(template: Any, function: Any, dtype: np.dtype[Any]) -> int:
    job = jit.job_from(template, function, dtype)
    _kept.append(job)
    return int(job.address)
