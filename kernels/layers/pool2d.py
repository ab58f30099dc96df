"""Maxima and means of windows of images, their gradients, and their phases.

An image ``(height, width, channels)`` is a row of an array ``(n, height * width * channels)``. Windows
are ``kh x kw`` pixels, ``stride`` pixels apart both ways: ``(height - kh) // stride + 1`` rows of them
by ``(width - kw) // stride + 1``. Pixels that are left over at the bottom and right are in no window.
"""

from typing import Any

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import exact, inner
from fastnn.kernels.compiling.memory import array_at
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted.windows import largest, mean, to_all, to_largest
from fastnn.kernels.step.parts import Part
from fastnn.kernels.step.plan import Step, Task, row_block


@inner
def _sizes(size: int, height: int, width: int, kh: int, kw: int, stride: int) -> Any:
    """Return the number of channels of images of a size, and the rows and columns of windows."""
    return size // (height * width), (height - kh) // stride + 1, (width - kw) // stride + 1


@exact
def max_pool(x: Array, height: int, width: int, kh: int, kw: int, stride: int, out: Array) -> None:
    """Write the maximum of each window, NaN if it holds one.

    x ``(n, height * width * channels)``; out ``(n, rows * columns * channels)``.
    """
    channels, rows, columns = _sizes(x.shape[1], height, width, kh, kw, stride)
    line, out_line = width * channels, columns * channels
    for i in range(x.shape[0]):
        for r in range(rows):
            windows = x[i][r * stride * line :]
            largest(windows, line, channels, stride, kh, kw, columns, out[i][r * out_line :])


@exact
def average_pool(x: Array, height: int, width: int, kh: int, kw: int, stride: int, out: Array) -> None:
    """Write the mean of each window; arrays as in :func:`max_pool`."""
    channels, rows, columns = _sizes(x.shape[1], height, width, kh, kw, stride)
    line, out_line = width * channels, columns * channels
    for i in range(x.shape[0]):
        for r in range(rows):
            windows = x[i][r * stride * line :]
            mean(windows, line, channels, stride, kh, kw, columns, out[i][r * out_line :])


@inner
def _clear(dx: Array, line: int, kh: int, kw: int, stride: int, rows: int, end: int) -> None:
    """Write 0 where an image's gradient is not written: everywhere, unless the windows fill the image.

    ``end``: where the windows' part of a row of pixels ends.
    """
    if stride != kh or stride != kw:
        dx[:] = 0
        return
    for r in range(rows * kh if end < line else 0):
        for j in range(r * line + end, (r + 1) * line):
            dx[j] = 0
    for j in range(rows * kh * line, dx.size):
        dx[j] = 0


@exact
def max_pool_backward(
    x: Array, height: int, width: int, kh: int, kw: int, stride: int, of_relu: int, dy: Array, dx: Array
) -> None:
    """Write the gradient of :func:`max_pool`: each window's goes to its first maximum, by rows.

    In a window with NaN it goes to the first NaN. Where windows overlap, their gradients are added in
    row-major order. ``of_relu``: 1 if a ReLU wrote x, with -0 for negative inputs, whose gradient is 0;
    else 0. x, dx ``(n, height * width * channels)``; dy ``(n, rows * columns * channels)``.
    """
    channels, rows, columns = _sizes(x.shape[1], height, width, kh, kw, stride)
    line, out_line = width * channels, columns * channels
    for i in range(x.shape[0]):
        _clear(dx[i], line, kh, kw, stride, rows, columns * kw * channels)
        for r in range(rows):
            first = r * stride * line
            to_largest(
                x[i][first:], line, channels, stride, kh, kw, columns, of_relu,
                dy[i][r * out_line :], dx[i][first:],
            )  # fmt: skip


@exact
def average_pool_backward(
    dy: Array, height: int, width: int, kh: int, kw: int, stride: int, dx: Array
) -> None:
    """Write the gradient of :func:`average_pool`: each pixel gets its share of each window's."""
    channels, rows, columns = _sizes(dx.shape[1], height, width, kh, kw, stride)
    line, out_line = width * channels, columns * channels
    for i in range(dx.shape[0]):
        _clear(dx[i], line, kh, kw, stride, rows, columns * kw * channels)
        for r in range(rows):
            gradients, windows = dy[i][r * out_line :], dx[i][r * stride * line :]
            to_all(gradients, line, channels, stride, kh, kw, columns, windows)


@exact
def add_border(x: Array, height: int, width: int, ph: int, pw: int, out: Array) -> None:
    """Write images with a border of zeros, ``ph`` rows and ``pw`` columns of pixels on each side.

    x ``(n, height * width * channels)``, out likewise of the larger images.
    """
    line = x.shape[1] // height
    edge = line // width * pw
    wide = line + 2 * edge
    for i in range(x.shape[0]):
        out[i][: ph * wide] = 0
        out[i][(ph + height) * wide :] = 0
        for r in range(height):
            begin = (ph + r) * wide
            out[i][begin : begin + edge] = 0
            out[i][begin + edge + line : begin + wide] = 0
            for j in range(line):
                out[i, begin + edge + j] = x[i, r * line + j]


@exact
def cut_border(x: Array, height: int, width: int, ph: int, pw: int, out: Array) -> None:
    """Write images ``(height, width, channels)`` without the border of :func:`add_border`."""
    line = out.shape[1] // height
    edge = line // width * pw
    for i in range(out.shape[0]):
        for r in range(height):
            begin = (ph + r) * (line + 2 * edge) + edge
            for j in range(line):
                out[i, r * line + j] = x[i, begin + j]


class Pool2D(Record):
    """A layer of images ``(height, width, channels)`` of ``size`` numbers, ``out_size`` of its output.

    ``input``, ``d_input``: with a border, if there is one, else the layer's own; ``of_relu``: whether a
    ReLU wrote the input, whose gradient is applied.
    """

    input: int
    output: int
    d_output: int
    d_input: int
    height: int
    width: int
    size: int
    out_size: int
    kh: int
    kw: int
    stride: int
    of_relu: int


class Border(Record):
    """Images of ``size`` numbers at ``input``, and ``bordered`` ones of ``bordered_size``."""

    input: int
    d_input: int
    bordered: int
    d_bordered: int
    height: int
    width: int
    size: int
    bordered_size: int
    ph: int
    pw: int


_kernel: Any = None  # as in `step/parts.py`
_like: Any = None


@inner
def _images(step, address, index, size, like):
    """Return the images of a block."""
    first, n = row_block(step, index)
    return array_at(address + first * size * step.itemsize, n, size, like)


def _forward(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), Pool2D(task.row)
    _kernel(
        _images(step, layer.input, index, layer.size, _like), layer.height, layer.width, layer.kh,
        layer.kw, layer.stride, _images(step, layer.output, index, layer.out_size, _like),
    )  # fmt: skip


def _max_backward(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), Pool2D(task.row)
    _kernel(
        _images(step, layer.input, index, layer.size, _like), layer.height, layer.width, layer.kh,
        layer.kw, layer.stride, layer.of_relu,
        _images(step, layer.d_output, index, layer.out_size, _like),
        _images(step, layer.d_input, index, layer.size, _like),
    )  # fmt: skip


def _average_backward(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), Pool2D(task.row)
    _kernel(
        _images(step, layer.d_output, index, layer.out_size, _like), layer.height, layer.width,
        layer.kh, layer.kw, layer.stride, _images(step, layer.d_input, index, layer.size, _like),
    )  # fmt: skip


def _add_border(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), Border(task.row)
    _kernel(
        _images(step, layer.input, index, layer.size, _like), layer.height, layer.width, layer.ph,
        layer.pw, _images(step, layer.bordered, index, layer.bordered_size, _like),
    )  # fmt: skip


def _cut_border(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), Border(task.row)
    _kernel(
        _images(step, layer.d_bordered, index, layer.bordered_size, _like), layer.height, layer.width,
        layer.ph, layer.pw, _images(step, layer.d_input, index, layer.size, _like),
    )  # fmt: skip


POOL: dict[str, Any] = {"max": max_pool, "average": average_pool}
forward = {"max": Part(_forward, max_pool), "average": Part(_forward, average_pool)}
backward = {
    "max": Part(_max_backward, max_pool_backward),
    "average": Part(_average_backward, average_pool_backward),
}
bordered, border_cut = Part(_add_border, add_border), Part(_cut_border, cut_border)
