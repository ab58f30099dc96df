"""Phases that all kinds of layers share: activations, the loss, updates of whole parameters."""

import math

import numpy as np

from fastnn.kernels.compiling.jit import call_job, inner
from fastnn.kernels.compiling.memory import numbers
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.step.calls import Block, LossRows, TargetRows, Update, Weighing
from fastnn.kernels.step.calls import Picking as PickingCall
from fastnn.kernels.step.plan import Phase, Step, Task, row_block


class Activation(Record):
    """An activation of ``(n, width)`` arrays: ``output`` of ``z``, and ``dz`` of ``d_output``.

    ``forward``, ``backward``: addresses of parts; ``rowwise``: whether they take whole rows;
    ``parameter``: a number that they may take.
    """

    z: int
    output: int
    d_output: int
    dz: int
    width: int
    forward: int
    backward: int
    rowwise: int
    parameter: float


class Loss(Record):
    """The loss of ``scores`` given targets, and the scores' gradient; arrays are ``(n, classes)``.

    ``part``, ``targets``, ``weighing``: addresses of parts; ``Y``: the targets; ``T``: where targets
    that are made of them go, if ``targets`` is not 0, with ``smoothing`` and ``class_weights``;
    ``parameters``: address of the float64 numbers that the part may take.
    """

    scores: int
    gradient: int
    classes: int
    Y: int
    T: int
    part: int
    targets: int
    weighing: int
    class_weights: int
    parameters: int
    smoothing: float


class Picking(Record):
    """A batch's ``X (n, width)`` and ``Y (n, classes)``, and where the datasets' arrays begin."""

    part: int
    X: int
    Y: int
    all_X: int
    all_Y: int
    width: int
    classes: int


class Parameter(Record):
    """A parameter of ``size`` elements at ``values``, its ``gradient``, the optimiser's arrays.

    ``distances``: as in :class:`fastnn.kernels.step.calls.Update`; ``rule``, ``measure``: addresses of
    parts; ``l2``: the penalty, of which the batch's share times the values is added to the gradient;
    ``norm``: the gradient's.
    """

    values: int
    gradient: int
    size: int
    distances: int
    rule: int
    measure: int
    l2: float
    norm: float


PARAMETER_BYTES = Parameter.bytes


@inner
def apply(step, activation, part, first, rows, begin, end, out):
    """Call an activation's part on a block of rows and columns."""
    size, k = step.itemsize, activation.width
    call = Block()
    whole = activation.rowwise == 0 and begin == 0 and end == k
    offset = (first * k + begin) * size
    call.height, call.width = (1, rows * k) if whole else (rows, end - begin)
    call.stride, call.parameter = k * size, activation.parameter
    call.z, call.dy, call.out = activation.z + offset, activation.d_output + offset, out + offset
    call_job(part, call.address, 0)


@inner
def activate(step, activation, first, rows, begin, end):
    """Write a block of an activation's output."""
    apply(step, activation, activation.forward, first, rows, begin, end, activation.output)


@inner
def activation_gradient(step, activation, first, rows, begin, end):
    """Write a block of the gradient of an activation's input."""
    apply(step, activation, activation.backward, first, rows, begin, end, activation.dz)


def activate_rows(at: int, index: int) -> None:
    """Write a block of rows of an activation's output."""
    task = Task(at)
    step, activation = Step(task.step), Activation(task.row)
    first, rows = row_block(step, index)
    activate(step, activation, first, rows, 0, activation.width)


def gradient_rows(at: int, index: int) -> None:
    """Write a block of rows of the gradient of an activation's input."""
    task = Task(at)
    step, activation = Step(task.step), Activation(task.row)
    first, rows = row_block(step, index)
    activation_gradient(step, activation, first, rows, 0, activation.width)


@inner
def _weigh(loss, values, rows, weights):
    call = Weighing()
    call.rows, call.width, call.values, call.weights = rows, loss.classes, values, weights
    call_job(loss.weighing, call.address, 0)


@inner
def _make_targets(loss, offset, rows, weights):
    """Write a block of rows of T."""
    call = TargetRows()
    call.rows, call.classes = rows, loss.classes
    call.Y, call.T = loss.Y + offset, loss.T + offset
    call.smoothing, call.class_weights = loss.smoothing, loss.class_weights
    call_job(loss.targets, call.address, 0)
    if weights != 0:
        _weigh(loss, loss.T + offset, rows, weights)


@inner
def _loss(step, loss, targets, offset, rows, stats):
    """Write the summed loss and error of some rows, and the gradient of their scores."""
    call = LossRows()
    call.rows, call.classes, call.batch = rows, loss.classes, step.n
    call.Y, call.T, call.scores = loss.Y + offset, targets + offset, loss.scores + offset
    call.gradient, call.stats, call.parameters = loss.gradient + offset, stats, loss.parameters
    call_job(loss.part, call.address, 0)


@inner
def _loss_row_by_row(step, loss, first, rows, row_bytes, stats, weights):
    """Do the same with each row's loss weighted, but not yet the gradients."""
    total, error, found = 0.0, 0.0, numbers(stats)
    for r in range(rows):
        _loss(step, loss, loss.Y, (first + r) * row_bytes, 1, stats)
        total += weights[r] * found[0]
        error += found[1]
    found[0], found[1] = total, error


def loss_rows(at: int, index: int) -> None:
    """Write the summed loss and error of a block of rows, and the gradient of its scores."""
    task = Task(at)
    step, loss = Step(task.step), Loss(task.row)
    first, rows = row_block(step, index)
    row_bytes = loss.classes * step.itemsize
    offset = first * row_bytes
    stats, weights = step.stats + 16 * index, step.row_weights
    if weights != 0:
        weights += 8 * (1 + first)
    if loss.targets != 0:
        _make_targets(loss, offset, rows, weights)
        _loss(step, loss, loss.T, offset, rows, stats)
    elif weights == 0:
        _loss(step, loss, loss.Y, offset, rows, stats)
    else:
        _loss_row_by_row(step, loss, first, rows, row_bytes, stats, numbers(weights))
        _weigh(loss, loss.gradient + offset, rows, weights)


@inner
def penalty(step, parameter):
    """Return what of a parameter's values is added to the batch's gradient."""
    factor = numbers(step.row_weights)[0] if step.row_weights != 0 else 1.0
    return parameter.l2 * factor / step.n


@inner
def _update_call(step, parameter, call):
    call.size, call.values, call.gradient = parameter.size, parameter.values, parameter.gradient
    call.distances, call.numbers = parameter.distances, step.numbers
    call.penalty, call.scale = penalty(step, parameter), 1.0


@inner
def measure(step, parameter):
    """Add the penalty to a parameter's gradient; return the gradient's norm."""
    call = Update()
    _update_call(step, parameter, call)
    call_job(parameter.measure, call.address, 0)
    return call.norm


@inner
def update(step, parameter, scale):
    """Update a parameter by its gradient times ``scale``."""
    call = Update()
    _update_call(step, parameter, call)
    call.scale = scale
    call_job(parameter.rule, call.address, 0)


@inner
def _scale(norm, clip):
    return clip / norm if norm > clip else 1.0


def clipped_update(at: int, index: int) -> None:
    """Update one of the parameters at ``row`` by its gradient scaled to the norm ``clip``."""
    phase = Phase(at)
    step, parameter = Step(phase.step), Parameter(phase.row + index * PARAMETER_BYTES)
    update(step, parameter, _scale(measure(step, parameter), step.clip))


def measured(at: int, index: int) -> None:
    """Write the norm of the gradient of one of the parameters at ``row``."""
    phase = Phase(at)
    parameter = Parameter(phase.row + index * PARAMETER_BYTES)
    parameter.norm = measure(Step(phase.step), parameter)


def jointly_clipped_update(at: int, index: int) -> None:
    """Update one of the parameters at ``row``; all gradients together are scaled to the norm ``clip``.

    Every job finds the joint norm by itself, in the same order.
    """
    phase = Phase(at)
    step = Step(phase.step)
    largest, total = 0.0, 0.0
    for i in range(phase.count):
        norm = Parameter(phase.row + i * PARAMETER_BYTES).norm
        largest = norm if norm > largest or norm != norm else largest
    if 0.0 < largest < np.inf:  # so that no square overflows
        for i in range(phase.count):
            norm = Parameter(phase.row + i * PARAMETER_BYTES).norm / largest
            total += norm * norm
        largest *= math.sqrt(total)
    update(step, Parameter(phase.row + index * PARAMETER_BYTES), _scale(largest, step.clip))


def pick_rows(at: int, index: int) -> None:
    """Copy a block of the batch's rows from the dataset."""
    task = Task(at)
    step, picking = Step(task.step), Picking(task.row)
    size = step.itemsize
    first, rows = row_block(step, index)
    call = PickingCall()
    call.rows, call.order = rows, step.order + first * 8
    call.width, call.source = picking.width, picking.all_X
    call.out = picking.X + first * picking.width * size
    call_job(picking.part, call.address, 0)
    call.width, call.source = picking.classes, picking.all_Y
    call.out = picking.Y + first * picking.classes * size
    call_job(picking.part, call.address, 0)
