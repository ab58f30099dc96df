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
from fastnn.kernels.emitted.vectors import I64, Emitter


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


_GROUPS = 4, 2  # windows side by side in a vector, the most first


class _Row:
    """The emitted code's view of a row: addresses of arrays, by name, and numbers."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any, names: str) -> None:
        from numba.np.arrayobj import make_array

        arguments = dict(zip(names.split(), zip(signature.args, values, strict=True), strict=True))
        self.emit = Emitter(builder, next(k.dtype for k, _ in arguments.values() if _is_flat(k)))
        self.builder = builder
        self.at: dict[str, Any] = {}
        numbers: dict[str, Any] = {}
        for name, (kind, value) in arguments.items():
            if _is_flat(kind):
                data = make_array(kind)(context, builder, value).data
                self.at[name] = builder.ptrtoint(data, I64)
            else:
                numbers[name] = context.cast(builder, value, kind, types.int64)
        self.line, self.channels, self.stride = (numbers[n] for n in ("line", "channels", "stride"))
        self.kh, self.kw, self.count = (numbers[n] for n in ("kh", "kw", "count"))
        self.of_relu = numbers.get("of_relu")

    def each(self, body: Callable[["_Window", bool], None], *, gradient: bool = False) -> None:
        """Emit a loop over blocks of channels, and in it one over windows; ``body(window, adds)``."""
        builder, emit = self.builder, self.emit
        longer = builder.select(builder.icmp_signed(">", self.kh, self.kw), self.kh, self.kw)
        apart = builder.icmp_signed(">=", self.stride, longer)
        two = [builder.icmp_signed("==", size, I64(2)) for size in (self.kh, self.kw)]
        square = builder.and_(*two)
        if gradient:
            square = builder.and_(square, apart)

        begin = cgutils.alloca_once_value(builder, I64(0))
        lanes = I64(emit.lanes)
        for group in _GROUPS:
            fits = builder.icmp_signed("<=", builder.mul(self.channels, I64(group)), lanes)
            with builder.if_then(builder.and_(square, fits)):
                self._groups(group, begin, body)

        def windows(channel: Any, mask: Any) -> None:
            def loop(sizes: tuple[Any, Any], adds: bool) -> None:
                first = builder.load(begin)
                with cgutils.for_range_slice(builder, first, self.count, I64(1), I64) as (index, _):
                    body(_Window(self, index, channel, [mask], sizes), adds)

            with builder.if_else(square) as (then, otherwise):
                with then:
                    loop((2, 2), False)
                with otherwise:
                    if not gradient:
                        loop((self.kh, self.kw), False)
                        return
                    with builder.if_else(apart) as (write, add):
                        with write:
                            loop((self.kh, self.kw), False)
                        with add:
                            loop((self.kh, self.kw), True)

        with cgutils.for_range_slice(builder, I64(0), self.channels, lanes, I64) as (channel, _):
            left = builder.sub(self.channels, channel)
            with builder.if_else(builder.icmp_signed(">=", left, lanes)) as (whole, rest):
                with whole:
                    windows(channel, None)
                with rest:
                    windows(channel, emit.mask(left))

    def _groups(self, group: int, begin: Any, body: Callable[["_Window", bool], None]) -> None:
        """Emit a loop over groups of 2 x 2 windows from ``begin`` on; write where it ended there."""
        builder, emit = self.builder, self.emit
        ends = [emit.mask(builder.mul(self.channels, I64(i))) for i in range(group + 1)]
        masks = [
            builder.and_(after, builder.not_(before))
            for before, after in zip(ends, ends[1:], strict=False)
        ]
        last = builder.sub(self.count, I64(group - 1))
        first = builder.load(begin)
        with cgutils.for_range_slice(builder, first, last, I64(group), I64) as (index, _):
            body(_Window(self, index, I64(0), masks, (2, 2), ends[-1]), False)
            builder.store(builder.add(index, I64(group)), begin)


class _Window:
    """A window's pixels, of a block of channels; ``sizes``: Python's numbers, or the code's.

    Or a group of windows side by side in a vector, if a few times their channels fit: ``masks`` has the
    lanes of each window, ``whole`` those of all.
    """

    def __init__(
        self, row: _Row, index: Any, channel: Any, masks: list[Any], sizes: tuple[Any, Any],
        whole: Any = None,
    ) -> None:  # fmt: skip
        self.row, self.masks, self.sizes = row, masks, sizes
        self._whole = masks[0] if whole is None else whole
        builder = row.builder
        step = builder.mul(row.stride, row.channels)
        self._first = builder.add(builder.mul(index, step), channel)
        self._result = builder.add(builder.mul(index, row.channels), channel)
        self._apart = builder.sub(step, row.channels)  # of two windows' first lanes, less than lanes are

    def _pointers(self, name: str, pixel: Any) -> Iterator[tuple[Any, Any]]:
        """Yield from where to read each window's lanes, and which they are."""
        builder = self.row.builder
        for i, mask in enumerate(self.masks):
            index = builder.add(pixel, builder.mul(self._apart, I64(i))) if i else pixel
            yield self._pointer(name, index), mask

    def _pointer(self, name: str, index: Any) -> Any:
        emit = self.row.emit
        return self.row.builder.inttoptr(
            emit.at(self.row.at[name], index, I64(1), 0), emit.vector.as_pointer()
        )

    def read(self, name: str, pixel: Any) -> Any:
        value = None
        for pointer, mask in self._pointers(name, pixel):
            value = self.row.emit.load(pointer, mask, value)
        return value

    def write(self, value: Any, name: str, pixel: Any) -> None:
        for pointer, mask in self._pointers(name, pixel):
            self.row.emit.store(value, pointer, mask)

    def result(self, name: str) -> Any:
        """Return what array ``name`` has for the window."""
        return self.row.emit.load(self._pointer(name, self._result), self._whole)

    def write_result(self, value: Any, name: str) -> None:
        self.row.emit.store(value, self._pointer(name, self._result), self._whole)

    def pixels(self, body: Callable[[Any], None]) -> None:
        """Call ``body(place)`` for each pixel, in row-major order, or emit loops that do."""
        builder, row = self.row.builder, self.row
        kh, kw = self.sizes

        def line(a: Any) -> None:
            first = builder.add(self._first, builder.mul(a, row.line))
            if isinstance(kw, int):
                for b in range(kw):
                    body(builder.add(first, builder.mul(I64(b), row.channels)))
                return
            with cgutils.for_range(builder, kw) as found:
                body(builder.add(first, builder.mul(found.index, row.channels)))

        if isinstance(kh, int):
            for a in range(kh):
                line(I64(a))
            return
        with cgutils.for_range(builder, kh) as found:
            line(found.index)

    def largest(self, name: str) -> Any:
        """Return the largest pixel: the first NaN, if there is one."""
        builder = self.row.builder
        top = cgutils.alloca_once_value(builder, self.read(name, self._first))

        def compare(pixel: Any) -> None:
            value, before = self.read(name, pixel), builder.load(top)
            larger = builder.select(builder.fcmp_ordered(">", value, before), value, before)
            odd = builder.fcmp_unordered("uno", value, value)
            builder.store(builder.select(odd, value, larger), top)

        self.pixels(compare)
        return builder.load(top)

    def share(self, total: Any) -> Any:
        """Return a total divided by the number of pixels."""
        builder, emit, (kh, kw) = self.row.builder, self.row.emit, self.sizes
        if isinstance(kh, int):
            return builder.fmul(total, ir.Constant(emit.vector, [1.0 / (kh * kw)] * emit.lanes))
        size = builder.sitofp(builder.mul(kh, kw), emit.element)
        return builder.fdiv(total, emit.broadcast(size, emit.vector))


def _is_flat(kind: Any) -> bool:
    known = isinstance(kind, types.Array) and isinstance(kind.dtype, types.Float)
    return known and kind.ndim == 1 and kind.layout == "C"


def _register(function: Any, arrays: int, emit: Callable[[_Row], None]) -> None:
    """Make a function of arrays, the first and the last ones, and numbers known to the compiler."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    kinds = [types.Array if n in ("x", "dy", "dx", "out") else types.Integer for n in names]
    assert kinds.count(types.Array) == arrays

    if arrays == 2:

        @type_callable(function)
        def type_of_two(context):
            return lambda x, line, channels, stride, kh, kw, count, out: (
                types.void if _is_flat(x) and _is_flat(out) else None
            )

    else:

        @type_callable(function)
        def type_of_three(context):
            return lambda x, line, channels, stride, kh, kw, count, of_relu, dy, dx: (
                types.void if _is_flat(x) and _is_flat(dy) and _is_flat(dx) else None
            )

    @lower_builtin(function, *kinds)
    def lower(context, builder, signature, values):
        emit(_Row(context, builder, signature, values, " ".join(names)))
        return context.get_dummy_value()


def _emit_largest(row: _Row) -> None:
    row.each(lambda window, _: window.write_result(window.largest("x"), "out"))


def _emit_mean(row: _Row) -> None:
    def body(window: _Window, _: bool) -> None:
        builder = row.builder
        total = cgutils.alloca_once_value(builder, row.emit.zero)
        builder.store(row.emit.zero, total)

        def add(pixel: Any) -> None:
            builder.store(builder.fadd(builder.load(total), window.read("x", pixel)), total)

        window.pixels(add)
        window.write_result(window.share(builder.load(total)), "out")

    row.each(body)


def _emit_to_largest(row: _Row) -> None:
    builder, emit = row.builder, row.emit

    def given(window: _Window, top: Any) -> Any:
        dy = window.result("dy")
        of_relu = builder.icmp_signed("!=", row.of_relu, I64(0))
        return builder.select(of_relu, emit.relu_gradient(dy, top), dy)

    def body(window: _Window, adds: bool) -> None:
        if window.sizes == (2, 2):
            square(window)
            return
        top = window.largest("x")
        dy = given(window, top)
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

    def first(x: Any, y: Any) -> tuple[Any, Any]:
        """Return where x is the first maximum, or NaN, of x and y, and that maximum."""
        odd = builder.fcmp_unordered("uno", x, x)
        hit = builder.or_(builder.fcmp_ordered(">=", x, y), odd)
        return hit, builder.select(hit, x, y)

    def square(window: _Window) -> None:
        """Find the maximum of both rows, then the one of these: half the comparisons, x is read once."""
        places: list[Any] = []
        window.pixels(places.append)
        x = [window.read("x", place) for place in places]
        (upper, above), (lower, below) = first(*x[:2]), first(*x[2:])
        over, top = first(above, below)
        dy, under = given(window, top), builder.not_(over)
        hits = [
            builder.and_(line, part)
            for line, left in ((over, upper), (under, lower))
            for part in (left, builder.not_(left))
        ]
        for place, hit in zip(places, hits, strict=True):
            window.write(builder.select(hit, dy, emit.zero), "dx", place)

    row.each(body, gradient=True)


def _emit_to_all(row: _Row) -> None:
    def body(window: _Window, adds: bool) -> None:
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
