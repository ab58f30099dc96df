"""Convolutions of images ``(n, height, width, channels)`` without a matrix of columns.

Forward and for the weights' gradient the windows are gathered where they lie
(:mod:`fastnn.kernels.emitted.gathered`). An image's windows, one for each output pixel, begin at
``pixels``; each tap of a window, of ``kernel rows x kernel columns x channels``, is at ``taps`` from
there; both are tables of distances in bytes. Images are copied into ones with a border of zeros first,
if there is to be one.

The input's gradient goes the other way: for each row of the kernel, the gradient of some rows of output
pixels times the transposed weights is what every pixel's window gets, and is added there. Each image is
done by itself, in scratch memory that stays in the first-level cache.

A block of a batch's images is a job. Its sums for the parameters' gradients are kept by block, and are
added in the order of the blocks.
"""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels import optimizers
from fastnn.kernels.compiling.jit import call_job, exact, inner
from fastnn.kernels.compiling.memory import array_at
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted.gathered import gather_multiply
from fastnn.kernels.emitted.tile import PLAIN
from fastnn.kernels.layers.layer_norm import add_blocks
from fastnn.kernels.step.calls import Gathered, Product, Transposition
from fastnn.kernels.step.parts import Part
from fastnn.kernels.step.phases import Activation, Parameter, activate, penalty, update
from fastnn.kernels.step.plan import Step, Task, row_block


class Conv2D(Record):
    """A layer, and its arrays.

    - ``height``, ``width``, ``channels`` of the input; ``top``, ``left``: its border's size;
      ``kernel_rows``, ``kernel_columns``, ``stride``; ``rows``, ``columns``, ``outputs``: those of the
      output, and its channels.
    - ``input``; ``padded``: the same with its border, or the input if there is none; ``z``, ``dz``: the
      product and its gradient; ``activation``: the record of the activation of z, or 0; ``tile``: what
      is done on the product's tiles.
    - ``pixels``, ``taps``: the tables.
    - ``W`` (taps, outputs), ``b``: addresses of the parameters' values; ``transposed``: W^T, for the
      input's gradient.
    - ``d_input``, or 0; for each block of images: ``image``, a gradient with its border, ``windows``, of
      ``window_rows`` rows of pixels, ``d_weights``, and ``d_bias (pixel_groups, outputs)``.
    - ``weights``, ``bias``: records of the parameters; ``product``, ``gathered``,
      ``transposition``: addresses of parts; ``one``: address of a 1.
    """

    height: int
    width: int
    channels: int
    top: int
    left: int
    kernel_rows: int
    kernel_columns: int
    stride: int
    rows: int
    columns: int
    outputs: int
    input: int
    padded: int
    z: int
    dz: int
    activation: int
    tile: int
    pixels: int
    taps: int
    W: int
    b: int
    transposed: int
    d_input: int
    image: int
    windows: int
    window_rows: int
    d_weights: int
    d_bias: int
    pixel_groups: int
    weights: int
    bias: int
    product: int
    gathered: int
    transposition: int
    one: int


@exact
def gathered_product(
    x: Array, rows: Array, steps: Array, b: Array, start: Array, out: Array
) -> None:
    """``out[m, j] = start[0, j] + sum_k x[(rows[m] + steps[k]) / itemsize] b[k, j]``, in order of k.

    x is a flat array, ``rows`` and ``steps`` are distances in bytes, int64; b ``(k, columns)``, start
    ``(1, columns)``, out ``(rows, columns)``. ``k >= 1``.
    """
    gather_multiply(
        x.ctypes.data, rows.ctypes.data, steps.ctypes.data, b.ctypes.data, b.shape[1],
        out.ctypes.data, out.shape[1], out.shape[0], out.shape[1], steps.size, 1, 0,
        start.ctypes.data, 0, PLAIN, x.itemsize, x[0],
    )  # fmt: skip


@exact
def place_rows(x: Array, first: int, out: Array) -> None:
    """``out[:, first : first + width] = x``; x ``(m, width)``, out ``(m, wider)``."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, first + j] = x[i, j]


@exact
def add_windows(windows: Array, step: int, out: Array) -> None:
    """Add windows that overlap: ``out[i * step + j] += windows[i, j]``.

    windows ``(m, width)``, out ``((m - 1) * step + width,)``. With ``s = ceil(width / step)`` windows 0,
    s, 2 s, ... come first, then 1, 1 + s, ...: none of these overlap, so no addition waits for another.
    """
    m, width = windows.shape
    apart = -(-width // step)
    for first in range(min(apart, m)):
        for i in range(first, m, apart):
            begin = i * step
            for j in range(width):
                out[begin + j] += windows[i, j]


_kernel: Any = None  # as in `step/parts.py`
_like: Any = None


@inner
def _image_bytes(layer, size):
    """Return the bytes of an image with its border."""
    height, width = layer.height + 2 * layer.top, layer.width + 2 * layer.left
    return height * width * layer.channels * size


@inner
def _gather(layer, x, rows, steps, b, c, count, k, repeats, distance, start, mode):
    call = Gathered()
    call.x, call.rows, call.steps, call.k = x, rows, steps, k
    call.b, call.b_row, call.c, call.c_row = b, layer.outputs, c, layer.outputs
    call.count, call.columns = count, layer.outputs
    call.repeats, call.distance, call.start, call.mode = repeats, distance, start, mode
    call_job(layer.gathered, call.address, 0)


@inner
def _multiply(layer, a, a_row, a_column, b, b_row, c, rows, columns, inner):
    """``C = A B``, C ``(rows, columns)`` without gaps."""
    call = Product()
    call.a, call.a_row, call.a_column, call.b, call.b_row = a, a_row, a_column, b, b_row
    call.c, call.c_row, call.rows, call.columns, call.inner = c, columns, rows, columns, inner
    call.start, call.start_row, call.mode = 0, 0, PLAIN
    call_job(layer.product, call.address, 0)


@inner
def _taps(layer):
    return layer.kernel_rows * layer.kernel_columns * layer.channels


@inner
def _place_image(layer, i, size, like):
    """Copy an image into one with a border."""
    height, channels = layer.height, layer.channels
    width = layer.width * channels
    padded_row = width + 2 * layer.left * channels
    at = layer.padded + i * _image_bytes(layer, size) + layer.top * padded_row * size
    source = array_at(layer.input + i * height * width * size, height, width, like)
    place_rows(source, layer.left * channels, array_at(at, height, padded_row, like))


def _add_border(at: int, index: int) -> None:
    """Copy a block of images into ones with a border, which is there already."""
    task = Task(at)
    step, layer = Step(task.step), Conv2D(task.row)
    first, images = row_block(step, index)
    for i in range(first, first + images):
        _place_image(layer, i, step.itemsize, _like)


def _forward(at: int, index: int) -> None:
    """Write the output for a block of images, and what they are with their border."""
    task = Task(at)
    step, layer = Step(task.step), Conv2D(task.row)
    first, images = row_block(step, index)
    size, pixels = step.itemsize, layer.rows * layer.columns
    image = _image_bytes(layer, size)
    for i in range(first, first + images):
        x = layer.padded + i * image
        if layer.padded != layer.input:
            _place_image(layer, i, size, _like)
        z = layer.z + i * pixels * layer.outputs * size
        _gather(
            layer, x, layer.pixels, layer.taps, layer.W, z, pixels, _taps(layer), 1, 0, layer.b,
            layer.tile,
        )  # fmt: skip
    if layer.activation != 0:
        activation = Activation(layer.activation)
        activate(step, activation, first, images, 0, activation.width)


@inner
def _input_gradient(layer, dz, windows, image, size, like):
    """Write the gradient of one image with its border."""
    width, row = layer.kernel_columns * layer.channels, (layer.width + 2 * layer.left) * layer.channels
    columns, outputs, stride = layer.columns, layer.outputs, layer.stride
    length = ((columns - 1) * stride + layer.kernel_columns) * layer.channels
    array_at(image, 1, (layer.height + 2 * layer.top) * row, like)[0][:] = 0
    for i in range(layer.kernel_rows):
        b = layer.transposed + i * width * size
        for begin in range(0, layer.rows, layer.window_rows):
            rows = min(layer.window_rows, layer.rows - begin)
            a = dz + begin * columns * outputs * size
            _multiply(layer, a, outputs, 1, b, _taps(layer), windows, rows * columns, width, outputs)
            for r in range(rows):
                at = image + ((begin + r) * stride + i) * row * size
                some = array_at(windows + r * columns * width * size, columns, width, like)
                add_windows(some, stride * layer.channels, array_at(at, 1, length, like)[0])


def _backward(at: int, index: int) -> None:
    """Write a block of images' sums for the parameters' gradients, and the input's gradient."""
    task = Task(at)
    step, layer = Step(task.step), Conv2D(task.row)
    first, images = row_block(step, index)
    if images == 0:
        return
    size, outputs, pixels, taps = step.itemsize, layer.outputs, layer.rows * layer.columns, _taps(layer)
    dz = layer.dz + first * pixels * outputs * size
    image = _image_bytes(layer, size)
    dw = layer.d_weights + index * taps * outputs * size
    _gather(
        layer, layer.padded + first * image, layer.taps, layer.pixels, dz, dw, taps, pixels, images,
        image, 0, PLAIN,
    )  # fmt: skip
    groups = layer.pixel_groups
    db = layer.d_bias + index * groups * outputs * size
    _multiply(
        layer, layer.one, 0, 0, dz, groups * outputs, db, 1, groups * outputs, images * pixels // groups
    )
    if layer.d_input == 0:
        return
    height, width = layer.height, layer.width * layer.channels
    padded_row = width + 2 * layer.left * layer.channels
    space = layer.image + index * image
    windows = layer.windows + index * layer.window_rows * layer.columns * taps // layer.kernel_rows * size
    inside = space + (layer.top * padded_row + layer.left * layer.channels) * size
    for i in range(images):
        _input_gradient(layer, dz + i * pixels * outputs * size, windows, space, size, _like)
        out = array_at(layer.d_input + (first + i) * height * width * size, height, width, _like)
        for r in range(height):
            row = array_at(inside + r * padded_row * size, 1, width, _like)[0]
            for j in range(width):
                out[r, j] = row[j]


def _update(at: int, _: int) -> None:
    """Add the blocks' sums and update the parameters, or leave it to the phase that clips gradients."""
    task = Task(at)
    step, layer = Step(task.step), Conv2D(task.row)
    blocks, groups = (step.n + step.block_rows - 1) // step.block_rows, layer.pixel_groups
    weights, bias, outputs = Parameter(layer.weights), Parameter(layer.bias), layer.outputs
    gradient = array_at(weights.gradient, 1, weights.size, _like)
    _kernel(array_at(layer.d_weights, blocks, weights.size, _like), gradient)
    if weights.l2 != 0 and step.clip == np.inf:  # else the phase that clips adds it
        values = array_at(weights.values, 1, weights.size, _like)[0]
        optimizers.add_penalty(gradient[0], penalty(step, weights), values)
    _kernel(
        array_at(layer.d_bias, blocks * groups, outputs, _like),
        array_at(bias.gradient, 1, outputs, _like),
    )
    if step.clip == np.inf:
        update(step, weights, 1.0)
        update(step, bias, 1.0)


def transpose_weights(at: int, _: int) -> None:
    """Write the transposed weights."""
    layer = Conv2D(Task(at).row)
    call = Transposition()
    call.a, call.a_row, call.c, call.c_row = layer.W, layer.outputs, layer.transposed, _taps(layer)
    call.rows, call.columns = _taps(layer), layer.outputs
    call_job(layer.transposition, call.address, 0)


add_border = Part(_add_border, place_rows)
forward, backward = Part(_forward, place_rows), Part(_backward, add_windows)
update_parameters = Part(_update, add_blocks)
