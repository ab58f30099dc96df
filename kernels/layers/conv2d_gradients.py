"""The gradients of convolutions: see :mod:`fastnn.kernels.layers.conv2d`."""

from typing import Any

import numpy as np

from fastnn.kernels import optimizers
from fastnn.kernels.compiling.jit import call_job, inner
from fastnn.kernels.compiling.memory import array_at
from fastnn.kernels.emitted.overlaps import add_rows
from fastnn.kernels.emitted.tile import PLAIN
from fastnn.kernels.layers.conv2d import (
    Conv2D,
    gather,
    image_bytes,
    multiply,
    place_image,
    place_rows,
    spread_columns,
    spread_taps,
    taps_of,
)
from fastnn.kernels.layers.layer_norm import add_blocks
from fastnn.kernels.step.calls import Transposition
from fastnn.kernels.step.parts import Part
from fastnn.kernels.step.phases import Parameter, penalty, update
from fastnn.kernels.step.plan import Step, Task, row_block

_kernel: Any = None  # as in `step/parts.py`
_like: Any = None


@inner
def _fold(layer, spread, out, size, like):
    """Write the gradient of the weights, given that of the spread ones."""
    outputs, group = layer.outputs, layer.group
    row = layer.kernel_columns * layer.channels
    wide, shift = spread_columns(layer) * layer.channels, layer.stride * layer.channels
    for i in range(layer.kernel_rows):
        given = array_at(spread + i * wide * group * outputs * size, wide, group * outputs, like)
        w = array_at(out + i * row * outputs * size, row, outputs, like)
        for j in range(row):
            for k in range(outputs):
                w[j, k] = given[j, k]
            for q in range(1, group):
                for k in range(outputs):
                    w[j, k] += given[j + q * shift, q * outputs + k]


@inner
def _turned_gradient(layer, dz, dx, image, size, like):
    """Write the gradient of an image: dZ in its border convolved with rotated kernels."""
    outputs = layer.outputs
    row = (layer.width + layer.kernel_columns - 1) * outputs
    top, left = layer.kernel_rows - 1 - layer.top, layer.kernel_columns - 1 - layer.left
    source = array_at(dz, layer.rows, layer.columns * outputs, like)
    at = image + (top * row + left * outputs) * size
    place_rows(source, array_at(at, layer.rows, row, like))
    k = layer.kernel_rows * layer.kernel_columns * outputs
    gather(
        layer, image, layer.d_pixels, layer.d_taps, layer.transposed, dx, layer.height * layer.width,
        layer.channels, k, 1, 0, 0, PLAIN,
    )  # fmt: skip


@inner
def _rows_of_class(layer, c):
    """Return how many rows of the kernel are c, c + stride, c + 2 stride, ..."""
    return max(layer.kernel_rows - c + layer.stride - 1, 0) // layer.stride


@inner
def _scattered_gradient(layer, dz, dx, image, windows, size, like):
    """Write the gradient of an image, row by row of pixels: the sum of its windows' gradients.

    Output row r contributes to row y of the image by kernel row i if ``r stride + i = y``.
    """
    width, row = layer.kernel_columns * layer.channels, (layer.width + 2 * layer.left) * layer.channels
    columns, outputs, shift = layer.columns, layer.outputs, layer.stride * layer.channels
    apart = min((width + shift - 1) // shift, columns)
    array_at(image, 1, layer.image_size, like)[0][:] = 0
    for c in range(min(layer.stride, layer.kernel_rows)):
        kernel_row = layer.transposed
        for before in range(c):
            kernel_row += _rows_of_class(layer, before) * outputs * width * size
        for y in range(c, layer.height + 2 * layer.top, layer.stride):
            top = y // layer.stride
            first, end = max(0, top - layer.rows + 1), min(_rows_of_class(layer, c), top + 1)
            if first >= end:
                continue
            a, b = dz + top * columns * outputs * size, kernel_row + first * outputs * width * size
            gather(
                layer, a, layer.d_pixels, layer.d_taps + first * outputs * 8, b, windows, columns,
                width, (end - first) * outputs, 1, 0, 0, PLAIN,
            )  # fmt: skip
            # Adding neighbouring windows in order would wait for overlapping stores.
            for i in range(apart):
                count = (columns - i + apart - 1) // apart
                add_rows(
                    windows + i * width * size, apart * width * size, count, width,
                    image + (y * row + i * shift) * size, apart * shift * size, like,
                )  # fmt: skip
    inside = image + (layer.top * row + layer.left * layer.channels) * size
    out = array_at(dx, layer.height, layer.width * layer.channels, like)
    for r in range(layer.height):
        source = array_at(inside + r * row * size, 1, out.shape[1], like)[0]
        for j in range(out.shape[1]):
            out[r, j] = source[j]


def _backward(at: int, index: int) -> None:
    """Write a block of images' sums for the parameters' gradients, and the input's gradient."""
    task = Task(at)
    step, layer = Step(task.step), Conv2D(task.row)
    first, images = row_block(step, index)
    if images == 0:
        return
    size, outputs, pixels, taps = (
        step.itemsize,
        layer.outputs,
        layer.rows * layer.columns,
        taps_of(layer),
    )
    if layer.padded != layer.input and layer.keeps == 0:
        for i in range(first, first + images):
            place_image(layer, i, i, size, _like)
    dz = layer.dz + first * pixels * outputs * size
    image = image_bytes(layer, size)
    dw, group, rows = layer.d_weights + index * taps * outputs * size, layer.group, spread_taps(layer)
    c = dw if group == 1 else layer.d_spread + index * rows * group * outputs * size
    gather(
        layer, layer.padded + first * image, layer.taps, layer.pixels, dz, c, rows, group * outputs,
        pixels // group, images, image, 0, PLAIN,
    )  # fmt: skip
    if group != 1:
        _fold(layer, c, dw, size, _like)
    groups = layer.pixel_groups
    db = layer.d_bias + index * groups * outputs * size
    multiply(
        layer, layer.one, 0, 0, dz, groups * outputs, db, 1, groups * outputs, images * pixels // groups
    )
    if layer.d_input == 0:
        return
    windows = layer.windows + index * layer.columns * (taps // layer.kernel_rows) * size
    space = layer.image + index * layer.image_size * size
    for i in range(images):
        dz_i = dz + i * pixels * outputs * size
        dx = layer.d_input + (first + i) * layer.height * layer.width * layer.channels * size
        if layer.turned != 0:
            _turned_gradient(layer, dz_i, dx, space, size, _like)
        else:
            _scattered_gradient(layer, dz_i, dx, space, windows, size, _like)


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
    """Write the transposed weights, each tap's in reverse, or each kernel row's by its class."""
    task = Task(at)
    step, layer = Step(task.step), Conv2D(task.row)
    count, width = layer.kernel_rows, layer.kernel_columns * layer.channels
    if layer.turned != 0:
        count, width = layer.kernel_rows * layer.kernel_columns, layer.channels
    call = Transposition()
    call.a_row, call.c_row, call.rows, call.columns = layer.outputs, width, width, layer.outputs
    each = width * layer.outputs * step.itemsize
    if layer.turned != 0:
        for i in range(count):
            call.a, call.c = layer.W + i * each, layer.transposed + (count - 1 - i) * each
            call_job(layer.transposition, call.address, 0)
        return
    call.c = layer.transposed
    for c in range(min(layer.stride, count)):
        for i in range(c, count, layer.stride):
            call.a = layer.W + i * each
            call_job(layer.transposition, call.address, 0)
            call.c += each


backward = Part(_backward, place_rows)
update_parameters = Part(_update, add_blocks)
