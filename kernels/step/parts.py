"""The parts of a step that do arithmetic, each a function of its own, compiled when first used.

A part is called by its address with the address of one of the records of `calls.py`. Whatever a network
is made of, only the parts that it uses are compiled, each of them once for a dtype. The parts of losses
are in `losses.py`.
"""

from typing import Any

import numpy as np

from fastnn.kernels import formulas, losses, optimizers
from fastnn.kernels.compiling import jit
from fastnn.kernels.compiling.jit import VECTOR_BYTES, inner
from fastnn.kernels.compiling.memory import array_at, stack, words
from fastnn.kernels.emitted import rules
from fastnn.kernels.emitted.gathered import gather_multiply
from fastnn.kernels.emitted.gemm import gemm
from fastnn.kernels.emitted.tile import DESCENT, RULE
from fastnn.kernels.emitted.transposition import transpose
from fastnn.kernels.step.calls import (
    Block,
    Gathered,
    Picking,
    Product,
    TargetRows,
    Transposition,
    Update,
    Weighing,
)

_NUMBER = np.float64(0)
_kernel: Any = None  # what a template calls, and
_like: Any = None  # a number of its arrays' dtype: see `jit.job_from`


class Part:
    """A template with a kernel, or an optimiser's rule, in the place of its global ``_kernel``."""

    def __init__(self, template: Any, kernel: Any) -> None:
        self._template, self._kernel = template, kernel
        self._jobs: dict[Any, Any] = {}  # compiled code lives as long as it is referred to

    def address(self, dtype: np.dtype[Any]) -> int:
        """Return the compiled part's address; it is compiled, or loaded, if that is the first time."""
        job = self._jobs.get(dtype)
        if job is None:
            # Of two threads that come first together both get the same code, whose address stays good.
            job = self._jobs.setdefault(dtype, jit.job_from(self._template, self._kernel, dtype))
        return int(job.address)


def _product(at: int, _: int) -> None:
    call = Product(at)
    dtype, size = array_at(call.a, 1, 1, _like).dtype, array_at(call.a, 1, 1, _like).itemsize
    lr = momentum = dtype.type(0)
    if call.mode >= DESCENT:
        numbers = formulas.MomentumNumbers(call.numbers)
        lr, momentum = dtype.type(numbers.lr), dtype.type(numbers.momentum)
    gemm(
        call.a, call.a_row, call.a_column, call.b, call.b_row, call.c, call.c_row, call.rows,
        call.columns, call.inner, call.start, call.start_row, call.mode, size, (lr, momentum),
    )  # fmt: skip


_rule_numbers = stack(8 * rules.MOST_NUMBERS)


def _product_and_rule(at: int, _: int) -> None:
    call = Product(at)
    own_at = _rule_numbers()
    own = array_at(own_at, 1, rules.MOST_NUMBERS, _like)[0]
    if call.mode == RULE:
        rules.write_numbers(own, 1.0, call.penalty, call.numbers, _kernel)
    gemm(
        call.a, call.a_row, call.a_column, call.b, call.b_row, call.c, call.c_row, call.rows,
        call.columns, call.inner, call.start, call.start_row, call.mode, own.itemsize,
        (own[0], own[0], call.distances, own_at, _kernel),
    )  # fmt: skip


def _gathered_product(at: int, _: int) -> None:
    call = Gathered(at)
    size = array_at(call.x, 1, 1, _like).itemsize  # the address x itself may be outside the array
    gather_multiply(
        call.x, call.rows, call.steps, call.b, call.b_row, call.c, call.c_row, call.count,
        call.columns, call.k, call.repeats, call.distance, call.start, 0, call.mode, size, _like,
    )  # fmt: skip


def _transposition(at: int, _: int) -> None:
    call = Transposition(at)
    size = array_at(call.a, 1, 1, _like).itemsize
    transpose(call.a, call.a_row, call.c, call.c_row, call.rows, call.columns, size, _like)


@inner
def _row(address, r, call, like):
    return array_at(address + r * call.stride, 1, call.width, like)[0]


def _elementwise(at: int, _: int) -> None:
    call = Block(at)
    for r in range(call.height):
        _kernel(_row(call.z, r, call, _like), _row(call.out, r, call, _like))


def _elementwise_parameter(at: int, _: int) -> None:
    call = Block(at)
    for r in range(call.height):
        _kernel(_row(call.z, r, call, _like), call.parameter, _row(call.out, r, call, _like))


def _elementwise_gradient(at: int, _: int) -> None:
    call = Block(at)
    for r in range(call.height):
        z, dy, out = call.z, call.dy, call.out
        _kernel(_row(z, r, call, _like), _row(dy, r, call, _like), _row(out, r, call, _like))


def _elementwise_gradient_parameter(at: int, _: int) -> None:
    call = Block(at)
    for r in range(call.height):
        z, dy, out, p = call.z, call.dy, call.out, call.parameter
        _kernel(_row(z, r, call, _like), p, _row(dy, r, call, _like), _row(out, r, call, _like))


def _rowwise(at: int, _: int) -> None:
    call = Block(at)
    n, k = call.height, call.width
    _kernel(array_at(call.z, n, k, _like), array_at(call.out, n, k, _like))


def _rowwise_gradient(at: int, _: int) -> None:
    call = Block(at)
    n, k = call.height, call.width
    z, dy, out = call.z, call.dy, call.out
    _kernel(array_at(z, n, k, _like), array_at(dy, n, k, _like), array_at(out, n, k, _like))


def _targets(at: int, _: int) -> None:
    call = TargetRows(at)
    n, k = call.rows, call.classes
    weights = array_at(call.class_weights, 1, k, _NUMBER)[0]
    losses.target_rows(
        array_at(call.Y, n, k, _like), call.smoothing, weights, array_at(call.T, n, k, _like)
    )


def _weighing(at: int, _: int) -> None:
    call = Weighing(at)
    weights = array_at(call.weights, 1, call.rows, _NUMBER)[0]
    losses.weigh_rows(array_at(call.values, call.rows, call.width, _like), weights)


def _measure(at: int, _: int) -> None:
    call = Update(at)
    gradient = array_at(call.gradient, 1, call.size, _like)[0]
    if call.penalty != 0:
        values = array_at(call.values, 1, call.size, _like)[0]
        optimizers.add_penalty(gradient, call.penalty, values)
    call.norm = optimizers.norm(gradient)


def _rule(at: int, _: int) -> None:
    call = Update(at)
    own_at = _rule_numbers()
    own = array_at(own_at, 1, rules.MOST_NUMBERS, _like)[0]
    rules.write_numbers(own, call.scale, 0.0, call.numbers, _kernel)
    lanes = VECTOR_BYTES // own.itemsize
    for j in range(0, call.size, lanes):
        o = j * own.itemsize
        gradient, values, left = call.gradient + o, call.values + o, call.size - j
        rules.apply_rule(_kernel, gradient, values, call.distances, left, own_at, own[0])


@inner
def _copy(row, out):
    for j in range(row.size):
        out[j] = row[j]


def _rows_picked(at: int, _: int) -> None:
    call = Picking(at)
    n, k, order = call.rows, call.width, words(call.order)
    size = array_at(call.source, 1, 1, _like).itemsize
    for r in range(n):
        row = array_at(call.source + order[r] * k * size, 1, k, _like)[0]
        _kernel(row, array_at(call.out, n, k, _like)[r])


product = Part(_product, gemm)
gathered_product = Part(_gathered_product, gather_multiply)
transposition = Part(_transposition, transpose)
rows_picked = Part(_rows_picked, _copy)
targets = Part(_targets, losses.target_rows)
weighing = Part(_weighing, losses.weigh_rows)
measure = Part(_measure, optimizers.norm)
_made: dict[Any, Part] = {}


def rule_update(rule: rules.Rule) -> Part:
    """Return the update of whole parameters by an optimiser's rule; it takes an :class:`Update`."""
    return _made.setdefault((_rule, rule), Part(_rule, rule))


def rule_product(rule: rules.Rule) -> Part:
    """Return the product whose tiles update by an optimiser's rule; it takes a :class:`Product`."""
    return _made.setdefault((_product_and_rule, rule), Part(_product_and_rule, rule))


def activation(kernel: Any, rowwise: bool, gradient: bool, with_parameter: bool) -> Part:
    """Return an activation's kernel, or its gradient's, as a part that takes a :class:`Block`."""
    if rowwise:
        template = _rowwise_gradient if gradient else _rowwise
    elif with_parameter:
        template = _elementwise_gradient_parameter if gradient else _elementwise_parameter
    else:
        template = _elementwise_gradient if gradient else _elementwise
    return _made.setdefault((template, kernel), Part(template, kernel))
