"""The phases of fully connected layers: ``Z = X W + b``, its gradients, and the weights' update.

Activations are cut by columns: the thread that computes some columns of ``Z`` is the one that holds
those columns of ``W``, computes those of ``dZ``, and updates those weights. So weights never pass from
one core's cache to another's, only activations do, which are few for the batches that networks of this
size are trained with.

The layer's activation is a record of its own (:class:`fastnn.kernels.step.phases.Activation`), unless
the product's tile does it. A layer that computes the gradient of its input also applies, on the same
block of columns, the gradient of the activation below: the input's ``gate``.
"""

import numpy as np

from fastnn.kernels.compiling.jit import call_job, inner
from fastnn.kernels.compiling.memory import words
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted.tile import DESCENT, PLAIN, RELU_GRADIENT, RULE, SGD
from fastnn.kernels.formulas import MomentumNumbers
from fastnn.kernels.step.calls import Product, Transposition
from fastnn.kernels.step.phases import Activation, Parameter, activate, activation_gradient, penalty
from fastnn.kernels.step.plan import Phase, Step, Task, cut, row_block


class Dense(Record):
    """A layer of ``d`` inputs and ``k`` outputs; arrays are ``(n, d)`` and ``(n, k)``.

    - ``input``, ``d_input``: addresses of the input and its gradient; ``gate``: the activation below,
      whose gradient is applied to ``d_input``, or 0; ``relu``: where the output of a ReLU below lies,
      whose gradient is applied on the tile, or 0; ``input_blocks``: into how many blocks the columns of
      the input are cut.
    - ``z``, ``dz``: addresses of the product and its gradient; ``tile``: what is done on the product's
      tiles; ``activation``: the activation of z, or 0 where the tile does it; ``blocks``: into how many
      blocks the columns are cut.
    - ``W``, ``b``: addresses of the parameters' values; ``weights``, ``bias``: of their records.
    - ``work``: where W, or blocks of it, are transposed;
      ``xt``: where the input is transposed for ``X^T dZ``, or 0, and the stride ``xt_row`` of its rows.
    - ``product``, ``transposition``: addresses of parts; ``by_rule``: whether the product updates
      weights by an optimiser's rule, else by plain gradient descent; ``one``: address of a 1.
    """

    input: int
    d_input: int
    gate: int
    relu: int
    input_blocks: int
    z: int
    dz: int
    tile: int
    activation: int
    blocks: int
    d: int
    k: int
    W: int
    b: int
    weights: int
    bias: int
    work: int
    xt: int
    xt_row: int
    product: int
    transposition: int
    by_rule: int
    one: int


class WeightBlock(Task):
    """The update of ``rows`` rows of W from ``first`` on, ``columns`` columns from ``begin`` on."""

    first: int
    rows: int
    begin: int
    columns: int


@inner
def _write_product(
    call, a, a_row, a_column, b, b_row, c, c_row, rows, columns, inner, start, start_row, mode
):
    call.a, call.a_row, call.a_column = a, a_row, a_column
    call.b, call.b_row, call.c, call.c_row = b, b_row, c, c_row
    call.rows, call.columns, call.inner = rows, columns, inner
    call.start, call.start_row, call.mode = start, start_row, mode


@inner
def _multiply(
    layer, a, a_row, a_column, b, b_row, c, c_row, rows, columns, inner, start, start_row, mode
):
    call = Product()
    _write_product(
        call, a, a_row, a_column, b, b_row, c, c_row, rows, columns, inner, start, start_row, mode
    )
    call_job(layer.product, call.address, 0)


@inner
def _transpose(layer, a, a_row, c, c_row, rows, columns):
    call = Transposition()
    call.a, call.a_row, call.c, call.c_row = a, a_row, c, c_row
    call.rows, call.columns = rows, columns
    call_job(layer.transposition, call.address, 0)


@inner
def _forward_block(step, layer, first, rows, begin, end):
    """Write a block of Z, and of its activation unless that goes by rows."""
    size, d, k = step.itemsize, layer.d, layer.k
    x, z = layer.input + first * d * size, layer.z + (first * k + begin) * size
    w, b = layer.W + begin * size, layer.b + begin * size
    _multiply(layer, x, d, 1, w, k, z, k, rows, end - begin, d, b, 0, layer.tile)
    if layer.activation != 0:
        activation = Activation(layer.activation)
        if activation.rowwise == 0:
            activate(step, activation, first, rows, begin, end)


def forward(at: int, index: int) -> None:
    """Write a block of columns of a layer's output."""
    task = Task(at)
    step, layer = Step(task.step), Dense(task.row)
    begin, end = cut(layer.k, layer.blocks, index, step.itemsize)
    _forward_block(step, layer, 0, step.n, begin, end)


def forward_rows(at: int, index: int) -> None:
    """Write a block of rows of a layer's output."""
    task = Task(at)
    step, layer = Step(task.step), Dense(task.row)
    first, rows = row_block(step, index)
    _forward_block(step, layer, first, rows, 0, layer.k)


@inner
def _backward_block(step, layer, first, rows, begin, end, wt, wt_row):
    """From rows of dZ to a block of the gradient of the input, or of what its gate gives."""
    d, k, size = layer.d, layer.k, step.itemsize
    place = (first * d + begin) * size
    mode, relu = PLAIN, 0
    if layer.relu != 0:
        mode, relu = RELU_GRADIENT, layer.relu + place
    dz, dx = layer.dz + first * k * size, layer.d_input + place
    _multiply(layer, dz, k, 1, wt, wt_row, dx, d, rows, end - begin, k, relu, d, mode)
    if layer.gate != 0:
        activation_gradient(step, Activation(layer.gate), first, rows, begin, end)


def backward(at: int, index: int) -> None:
    """Write a block of columns of the gradient of the input, or of what its gate gives."""
    task = Task(at)
    step, layer = Step(task.step), Dense(task.row)
    k, size = layer.k, step.itemsize
    begin, end = cut(layer.d, layer.input_blocks, index, size)
    width = end - begin
    wt = layer.work + begin * k * size
    _transpose(layer, layer.W + begin * k * size, k, wt, width, width, k)
    _backward_block(step, layer, 0, step.n, begin, end, wt, width)


def backward_rows(at: int, index: int) -> None:
    """Write a block of rows of the same, after :func:`transpose_weights`."""
    task = Task(at)
    step, layer = Step(task.step), Dense(task.row)
    first, rows = row_block(step, index)
    _backward_block(step, layer, first, rows, 0, layer.d, layer.work, layer.d)


def transpose_weights(at: int, _: int) -> None:
    """Write the transposed weights."""
    layer = Dense(Task(at).row)
    _transpose(layer, layer.W, layer.k, layer.work, layer.d, layer.d, layer.k)


def transpose_input(at: int, index: int) -> None:
    """Write a block of columns of a layer's input to rows of XT."""
    phase = Phase(at)
    step, layer = Step(phase.step), Dense(phase.row)
    size, d, stride = step.itemsize, layer.d, layer.xt_row
    begin, end = cut(d, phase.count, index, size)
    x, xt = layer.input + begin * size, layer.xt + begin * stride * size
    _transpose(layer, x, d, xt, stride, step.n, end - begin)


@inner
def _multiply_and_update(step, layer, parameter, a, a_row, a_column, dz, block, rows, columns, amount):
    """Take ``A dZ`` as the gradient of a block of a parameter, ``block`` bytes behind its beginning."""
    call, k = Product(), layer.k
    start, mode = 0, RULE
    if layer.by_rule == 0:
        mode = DESCENT
        if MomentumNumbers(step.numbers).keeps != 0:
            mode = SGD
    values = parameter.values + block
    if mode == SGD:
        start = values + words(parameter.distances)[0]
    _write_product(call, a, a_row, a_column, dz, k, values, k, rows, columns, step.n, start, k, mode)
    call.numbers, call.distances, call.penalty = step.numbers, parameter.distances, amount
    call_job(layer.product, call.address, 0)


def update(at: int, _: int) -> None:
    """``dW = X^T dZ`` and the update, for a block of weights, and its share of the bias.

    The bias is one more row of weights, for an input that is always one. Where gradients are clipped,
    they are written down, as their norm is that of all of them.
    """
    block = WeightBlock(at)
    step, layer = Step(block.step), Dense(block.row)
    n, size, d, k = step.n, step.itemsize, layer.d, layer.k
    first, rows, begin, columns = block.first, block.rows, block.begin, block.columns
    at_block, along = (first * k + begin) * size, begin * size
    weights, bias = Parameter(layer.weights), Parameter(layer.bias)
    x, x_row, x_column = layer.input + first * size, 1, d
    if layer.xt != 0:
        x, x_row, x_column = layer.xt + first * layer.xt_row * size, layer.xt_row, 1
    dz, one = layer.dz + along, layer.one
    if step.clip != np.inf:
        dw, db = weights.gradient + at_block, bias.gradient + along
        _multiply(layer, x, x_row, x_column, dz, k, dw, k, rows, columns, n, 0, 0, PLAIN)
        if first == 0:
            _multiply(layer, one, 0, 0, dz, k, db, k, 1, columns, n, 0, 0, PLAIN)
        return
    amount = penalty(step, weights)
    _multiply_and_update(step, layer, weights, x, x_row, x_column, dz, at_block, rows, columns, amount)
    if first == 0:
        _multiply_and_update(step, layer, bias, one, 0, 0, dz, along, 1, columns, 0.0)
