"""Inverted dropout of flat arrays, and its gradient, with a mask that is computed, not stored.

An element is dropped if its random word (:mod:`fastnn.kernels.random`) is below ``rate * 2**32``. The
mask depends on the seed, the step and the element's index in the batch, and so neither on threads nor
on how a batch is cut.

Source: N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: a simple way
to prevent neural networks from overfitting", JMLR 15, 2014.
"""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import exact, inner
from fastnn.kernels.compiling.memory import array_at, words
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.random import TILE, tile_space, write_tile
from fastnn.kernels.step.parts import Part
from fastnn.kernels.step.plan import Step, Task, row_block


@inner
def _drop(x: Array, below: int, scale: float, words: Array, out: Array) -> None:
    """``out = x * scale`` where words are not below a threshold, else ``x * 0``."""
    zero = x.dtype.type(0)
    for j in range(x.size):
        out[j] = x[j] * (zero if words[j] < below else scale)


@inner
def _mask(x: Array, rate: float, seed: int, step: int, first: int, out: Array) -> None:
    below = np.uint32(min(int(rate * 2.0**32 + 0.5), 2**32 - 1))
    scale = x.dtype.type(1.0 / (1.0 - rate))
    words = tile_space()
    done = 0
    while done < x.size:
        tile, begin = divmod(first + done, TILE)
        count = min(TILE - begin, x.size - done)
        write_tile(seed, step, tile, words)
        some = slice(done, done + count)
        _drop(x[some], below, scale, words[begin : begin + count], out[some])
        done += count


@exact
def dropout(x: Array, rate: float, seed: int, step: int, first_element: int, out: Array) -> None:
    """``out = x * mask / (1 - rate)``, the mask 0 with probability ``rate``, else 1.

    x, out ``(m,)``, which may be the same array: the elements of a batch, in row-major order, from
    ``first_element`` on. ``0 <= rate < 1``. A dropped NaN or infinity gives NaN.
    """
    _mask(x, rate, seed, step, first_element, out)


@exact
def dropout_backward(
    dy: Array, rate: float, seed: int, step: int, first_element: int, dx: Array
) -> None:
    """``dx = dy * mask / (1 - rate)`` with the mask of :func:`dropout`."""
    _mask(dy, rate, seed, step, first_element, dx)


class Dropout(Record):
    """A layer of ``(n, width)`` arrays; ``seed``, ``step``: addresses of its buffers."""

    input: int
    output: int
    d_output: int
    d_input: int
    width: int
    seed: int
    step: int
    rate: float


_kernel: Any = None  # as in `step/parts.py`
_like: Any = None


@inner
def _block(step, layer, index):
    """Return the first element of a block of rows and how many there are."""
    first, n = row_block(step, index)
    return first * layer.width, n * layer.width


def _forward(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), Dropout(task.row)
    first, count = _block(step, layer, index)
    offset, seed, number = first * step.itemsize, words(layer.seed)[0], words(layer.step)[0]
    x = array_at(layer.input + offset, 1, count, _like)[0]
    out = array_at(layer.output + offset, 1, count, _like)[0]
    _kernel(x, layer.rate, seed, number, first, out)


def _backward(at: int, index: int) -> None:
    task = Task(at)
    step, layer = Step(task.step), Dropout(task.row)
    first, count = _block(step, layer, index)
    offset, seed, number = first * step.itemsize, words(layer.seed)[0], words(layer.step)[0]
    dy = array_at(layer.d_output + offset, 1, count, _like)[0]
    dx = array_at(layer.d_input + offset, 1, count, _like)[0]
    _kernel(dy, layer.rate, seed, number, first, dx)


def count_step(at: int, _: int) -> None:
    """Count the step, after which the mask is another one."""
    words(Dropout(Task(at).row).step)[0] += 1


forward, backward = Part(_forward, dropout), Part(_backward, dropout_backward)
