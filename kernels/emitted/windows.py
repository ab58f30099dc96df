"""Pooling a row of windows of an image, channels as lanes, emitted as LLVM vector IR.

For loops over an image, LLVM stores and reloads a window's partial result for each pixel, and does not
vectorise images of few channels. Here a window's channels stay in registers. A vector that is not full
is read and written with a mask.

An image ``(height, width, channels)`` is a flat array. An argument ``x`` begins with the row's first
window, ``line`` is the distance of two rows of pixels, ``count`` the number of windows, ``stride`` the
number of pixels from one to the next. Where windows overlap, gradients are added to the array, window
after window; where they do not, they are written.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import lower_builtin, type_callable

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import VECTOR_BYTES
from fastnn.kernels.emitted.lanes import Row, Window, is_flat
from fastnn.kernels.emitted.pairs import emit_pairs, first_of
from fastnn.kernels.emitted.vectors import I64


def largest(
    x: Array, line: int, channels: int, stride: int, kh: int, kw: int, count: int, out: Array
) -> None:
    """Write each window's maximum, or NaN if it holds one: out ``(count, channels)``, flat."""
    found = _windows(x, line, channels, stride, kh, kw, count)
    out[: count * channels] = found.max(axis=(1, 2)).reshape(-1)


def mean(
    x: Array, line: int, channels: int, stride: int, kh: int, kw: int, count: int, out: Array
) -> None:
    """Write each window's mean: out ``(count, channels)``, flat."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = sum(_pixels(x, line, channels, stride, kh, kw, count), x.dtype.type(0))
        out[: count * channels] = (sums / x.dtype.type(kh * kw)).reshape(-1)


def to_largest(
    x: Array, line: int, channels: int, stride: int, kh: int, kw: int, count: int, of_relu: int,
    dy: Array, dx: Array,
) -> None:  # fmt: skip
    """Give ``dy (count, channels)`` to each window's first maximum, or first NaN; else 0.

    ``of_relu``: whether a ReLU wrote x. Its gradient is applied then: a maximum with a minus gets 0.
    """
    places = _windows(x, line, channels, stride, kh, kw, count)
    places = places.reshape(count, kh * kw, channels).argmax(axis=1)
    for i in range(count):
        for c in range(channels):
            a, b = divmod(int(places[i, c]), kw)
            at = a * line + (i * stride + b) * channels + c
            given = dy[i * channels + c] * (0 if of_relu and np.signbit(x[at]) else 1)
            if stride < max(kh, kw):
                dx[at] += given
                continue
            for j in range(kh):
                for k in range(kw):
                    dx[j * line + (i * stride + k) * channels + c] = 0
            dx[at] = given


def to_all(
    dy: Array, line: int, channels: int, stride: int, kh: int, kw: int, count: int, dx: Array
) -> None:
    """Give each pixel of a window an equal share of ``dy (count, channels)``."""
    for i in range(count):
        share = dy[i * channels : (i + 1) * channels] / dy.dtype.type(kh * kw)
        for a in range(kh):
            for b in range(kw):
                at = a * line + (i * stride + b) * channels
                part = dx[at : at + channels]
                part[:] = part + share if stride < max(kh, kw) else share


def _windows(x: Array, line: int, channels: int, stride: int, kh: int, kw: int, count: int) -> Array:
    """Return a view ``(count, kh, kw, channels)`` of an image from the first window on."""
    size = x.itemsize
    strides = (stride * channels * size, line * size, channels * size, size)
    return np.lib.stride_tricks.as_strided(x, (count, kh, kw, channels), strides, writeable=False)


def _pixels(*row: Any) -> Iterator[Array]:
    """Yield each pixel of all windows, ``(count, channels)``."""
    found = _windows(*row)
    for a in range(found.shape[1]):
        for b in range(found.shape[2]):
            yield found[:, a, b]


def _register(function: Any, arrays: int, emit: Callable[[Row], None]) -> None:
    """Make a function of arrays, the first and the last ones, and numbers known to the compiler."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    kinds = [types.Array if n in ("x", "dy", "dx", "out") else types.Integer for n in names]
    assert kinds.count(types.Array) == arrays

    if arrays == 2:

        @type_callable(function)
        def type_of_two(context):
            return lambda x, line, channels, stride, kh, kw, count, out: (
                types.void if is_flat(x) and is_flat(out) else None
            )

    else:

        @type_callable(function)
        def type_of_three(context):
            return lambda x, line, channels, stride, kh, kw, count, of_relu, dy, dx: (
                types.void if is_flat(x) and is_flat(dy) and is_flat(dx) else None
            )

    @lower_builtin(function, *kinds)
    def lower(context, builder, signature, values):
        emit(Row(context, builder, signature, values, " ".join(names)))
        return context.get_dummy_value()


def _emit_largest(row: Row) -> None:
    row.each(lambda window, _: window.write_result(window.largest("x"), "out"))


def _emit_mean(row: Row) -> None:
    def body(window: Window, _: bool) -> None:
        builder = row.builder
        total = cgutils.alloca_once_value(builder, row.emit.zero)
        builder.store(row.emit.zero, total)

        def add(pixel: Any) -> None:
            builder.store(builder.fadd(builder.load(total), window.read("x", pixel)), total)

        window.pixels(add)
        window.write_result(window.share(builder.load(total)), "out")

    row.each(body)


def _emit_to_largest(row: Row) -> None:
    builder, emit = row.builder, row.emit

    def given(dy: Any, top: Any) -> Any:
        of_relu = builder.icmp_signed("!=", row.of_relu, I64(0))
        return builder.select(of_relu, emit.relu_gradient(dy, top), dy)

    def body(window: Window, adds: bool) -> None:
        if window.sizes == (2, 2):
            square(window)
            return
        top = window.largest("x")
        dy = given(window.result("dy"), top)
        none = ir.Constant(emit.flags, [0] * emit.lanes)
        done = cgutils.alloca_once(builder, emit.flags)
        builder.store(none, done)

        def give(pixel: Any) -> None:
            value, before = window.read("x", pixel), builder.load(done)
            odd = builder.fcmp_unordered("uno", value, value)
            equal = builder.or_(builder.fcmp_ordered("==", value, top), odd)
            hit = builder.and_(equal, builder.not_(before))
            builder.store(builder.or_(before, equal), done)
            part = builder.select(hit, dy, emit.zero)
            if adds:
                part = builder.fadd(window.read("dx", pixel), part)
            window.write(part, "dx", pixel)

        window.pixels(give)

    def square(window: Window) -> None:
        """Find the maximum of both rows, then of the two: fewer comparisons, x is read once."""
        places: list[Any] = []
        window.pixels(places.append)
        x = [window.read("x", place) for place in places]
        (upper, above), (lower, below) = first_of(emit, *x[:2]), first_of(emit, *x[2:])
        over, top = first_of(emit, above, below)
        dy, under = given(window.result("dy"), top), builder.not_(over)
        hits = [
            builder.and_(line, part)
            for line, left in ((over, upper), (under, lower))
            for part in (left, builder.not_(left))
        ]
        for place, hit in zip(places, hits, strict=True):
            window.write(builder.select(hit, dy, emit.zero), "dx", place)

    # With fewer lanes' masks, stores take longer than what is computed twice.
    most = emit.lanes // 4 if VECTOR_BYTES == 64 else emit.lanes - 1
    few = builder.icmp_unsigned("<", builder.sub(row.channels, I64(1)), I64(most))  # at least one
    with builder.if_else(builder.and_(row.square, few)) as (pairs, others):
        with pairs:
            emit_pairs(emit, row.at, row.line, row.channels, row.count, given)
        with others:
            row.each(body, gradient=True)


def _emit_to_all(row: Row) -> None:
    def body(window: Window, adds: bool) -> None:
        share = window.share(window.result("dy"))

        def give(pixel: Any) -> None:
            part = row.builder.fadd(window.read("dx", pixel), share) if adds else share
            window.write(part, "dx", pixel)

        window.pixels(give)

    row.each(body, gradient=True)


_register(largest, 2, _emit_largest)
_register(mean, 2, _emit_mean)
_register(to_largest, 3, _emit_to_largest)
_register(to_all, 2, _emit_to_all)
