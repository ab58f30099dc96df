"""Convolutions of images ``(n, height, width, channels)`` without a matrix of columns.

Forward and for the weights' gradient the windows are gathered where they lie
(:mod:`fastnn.kernels.emitted.gathered`). An image's windows, one for each output pixel, begin at
``pixels``; each tap of a window, of ``kernel rows x kernel columns x channels``, is at ``taps`` from
there; both are tables of distances in bytes. Images are copied into ones with a border of zeros first,
if there is to be one.

Where output channels fill less than a vector, ``group`` neighbouring pixels of a row are one row of the
product: its window is that of all of them, and the weights are spread, with zeros where a tap is not in
a pixel's own window. (So an infinite number makes the group's pixels NaN even where only one has it in
its window.) The weights' gradient has the same form and is folded.

The input's gradient is the convolution of ``dZ``, in a border of zeros, with kernels rotated by 180
degrees, if the stride is 1 and the channels fill vectors. Otherwise, for each row of pixels, the
gradients of the output rows that use it are multiplied by the transposed weights. This gives the
gradient of each window's row, and overlapping windows are added. Images are processed one at a time, in
scratch memory that fits a cache near the core.

A job processes a block of images. Each block has its own sums for the parameters' gradients; these are
added in the order of the blocks.
"""

from typing import Any

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import call_job, inner
from fastnn.kernels.compiling.memory import array_at
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted.tile import PLAIN
from fastnn.kernels.step.calls import Gathered, Product
from fastnn.kernels.step.parts import Part
from fastnn.kernels.step.phases import Activation, activate
from fastnn.kernels.step.plan import Step, Task, row_block


class Conv2D(Record):
    """A layer, and its arrays.

    - ``height``, ``width``, ``channels`` of the input; ``top``, ``left``: its border's size;
      ``kernel_rows``, ``kernel_columns``, ``stride``; ``rows``, ``columns``, ``outputs``: those of the
      output, and its channels.
    - ``input``; ``padded``: the same with its border, or the input if there is none; ``keeps``: whether
      forward leaves all of it there for the gradient; ``z``, ``dz``: the product and its gradient;
      ``activation``: the record of the activation of z, or 0; ``tile``: what is done on the product's
      tiles.
    - ``pixels``, ``taps``: the tables; ``group``: how many pixels are taken together; ``spread``,
      ``spread_bias``: the weights and the bias for that, if it is more than one; ``d_spread``: for each
      block of images, the gradient of the spread weights.
    - ``W`` (taps, outputs), ``b``: addresses of the parameters' values; ``transposed``: W^T, for the
      input's gradient.
    - ``d_input``, or 0; for each block of images: ``image``, of ``image_size`` elements, a gradient
      with its border, that of the input or, if it is ``turned``, that of z; ``windows``, of a
      row of pixels; ``d_weights``, and ``d_bias (pixel_groups, outputs)``.
    - ``d_pixels``, ``d_taps``: the tables for the input's gradient.
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
    keeps: int
    z: int
    dz: int
    activation: int
    tile: int
    pixels: int
    taps: int
    group: int
    spread: int
    spread_bias: int
    d_spread: int
    W: int
    b: int
    transposed: int
    d_input: int
    image: int
    image_size: int
    turned: int
    d_pixels: int
    d_taps: int
    windows: int
    d_weights: int
    d_bias: int
    pixel_groups: int
    weights: int
    bias: int
    product: int
    gathered: int
    transposition: int
    one: int


@inner
def place_rows(x: Array, out: Array) -> None:
    """``out[:, :width] = x``; x ``(m, width)``, out ``(m, wider)``."""
    for i in range(x.shape[0]):
        to, row = out[i], x[i]
        for j in range(row.size):
            to[j] = row[j]


_kernel: Any = None  # as in `step/parts.py`
_like: Any = None


@inner
def image_bytes(layer, size):
    """Return the bytes of an image with its border."""
    height, width = layer.height + 2 * layer.top, layer.width + 2 * layer.left
    return height * width * layer.channels * size


@inner
def gather(layer, x, rows, steps, b, c, count, columns, k, repeats, distance, start, mode):
    """Do a gathered product of matrices B and C without gaps."""
    call = Gathered()
    call.x, call.rows, call.steps, call.k = x, rows, steps, k
    call.b, call.b_row, call.c, call.c_row = b, columns, c, columns
    call.count, call.columns = count, columns
    call.repeats, call.distance, call.start, call.mode = repeats, distance, start, mode
    call_job(layer.gathered, call.address, 0)


@inner
def multiply(layer, a, a_row, a_column, b, b_row, c, rows, columns, inner):
    """``C = A B``, C ``(rows, columns)`` without gaps."""
    call = Product()
    call.a, call.a_row, call.a_column, call.b, call.b_row = a, a_row, a_column, b, b_row
    call.c, call.c_row, call.rows, call.columns, call.inner = c, columns, rows, columns, inner
    call.start, call.start_row, call.mode = 0, 0, PLAIN
    call_job(layer.product, call.address, 0)


@inner
def taps_of(layer):
    """Return how many taps a window has."""
    return layer.kernel_rows * layer.kernel_columns * layer.channels


@inner
def spread_columns(layer):
    """Return the columns of the window of a group of pixels."""
    return layer.kernel_columns + (layer.group - 1) * layer.stride


@inner
def spread_taps(layer):
    """Return how many taps the window of a group of pixels has."""
    return layer.kernel_rows * spread_columns(layer) * layer.channels


@inner
def place_image(layer, i, slot, size, like):
    """Copy image i into one with a border, which is there already, in a slot of ``padded``."""
    height, channels = layer.height, layer.channels
    width = layer.width * channels
    padded_row = width + 2 * layer.left * channels
    at = layer.padded + slot * image_bytes(layer, size)
    at += (layer.top * padded_row + layer.left * channels) * size
    source = array_at(layer.input + i * height * width * size, height, width, like)
    place_rows(source, array_at(at, height, padded_row, like))


def _forward(at: int, index: int) -> None:
    """Write the output for a block of images and, if it ``keeps`` them, what they are with a border."""
    task = Task(at)
    step, layer = Step(task.step), Conv2D(task.row)
    first, images = row_block(step, index)
    size, pixels = step.itemsize, layer.rows * layer.columns
    image = image_bytes(layer, size)
    for i in range(first, first + images):
        slot = i
        if layer.padded != layer.input:
            slot = i if layer.keeps != 0 else first
            place_image(layer, i, slot, size, _like)
        x = layer.padded + slot * image
        z, group = layer.z + i * pixels * layer.outputs * size, layer.group
        w, b = (layer.W, layer.b) if group == 1 else (layer.spread, layer.spread_bias)
        gather(
            layer, x, layer.pixels, layer.taps, w, z, pixels // group, group * layer.outputs,
            spread_taps(layer), 1, 0, b, layer.tile,
        )  # fmt: skip
    if layer.activation != 0:
        activation = Activation(layer.activation)
        activate(step, activation, first, images, 0, activation.width)


def _spread_weights(at: int, _: int) -> None:
    """Write the spread weights, whose zeros are there already, and the spread bias."""
    task = Task(at)
    step, layer = Step(task.step), Conv2D(task.row)
    size, outputs, group = step.itemsize, layer.outputs, layer.group
    row = layer.kernel_columns * layer.channels
    wide, shift = spread_columns(layer) * layer.channels, layer.stride * layer.channels
    b, spread_b = (
        array_at(layer.b, 1, outputs, _like),
        array_at(layer.spread_bias, group, outputs, _like),
    )
    for q in range(group):
        _kernel(b, spread_b[q : q + 1])
    for i in range(layer.kernel_rows):
        w = array_at(layer.W + i * row * outputs * size, row, outputs, _like)
        at = layer.spread + i * wide * group * outputs * size
        for q in range(group):
            to = at + (q * shift * group + q) * outputs * size
            _kernel(w, array_at(to, row, group * outputs, _like))


spread_weights = Part(_spread_weights, place_rows)
forward = Part(_forward, place_rows)
