"""A row of windows of an image as emitted code sees it: loops over windows, and a window's pixels."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from fastnn.kernels.emitted.vectors import I64, Emitter

_GROUPS = 4, 2  # windows side by side in a vector, the most first


class Row:
    """The emitted code's view of a row: addresses of arrays, by name, and numbers."""

    def __init__(self, context: Any, builder: Any, signature: Any, values: Any, names: str) -> None:
        from numba.np.arrayobj import make_array

        arguments = dict(zip(names.split(), zip(signature.args, values, strict=True), strict=True))
        self.emit = Emitter(builder, next(k.dtype for k, _ in arguments.values() if is_flat(k)))
        self.builder = builder
        self.at: dict[str, Any] = {}
        numbers: dict[str, Any] = {}
        for name, (kind, value) in arguments.items():
            if is_flat(kind):
                data = make_array(kind)(context, builder, value).data
                self.at[name] = builder.ptrtoint(data, I64)
            else:
                numbers[name] = context.cast(builder, value, kind, types.int64)
        self.line, self.channels, self.stride = (numbers[n] for n in ("line", "channels", "stride"))
        self.kh, self.kw, self.count = (numbers[n] for n in ("kh", "kw", "count"))
        self.of_relu = numbers.get("of_relu")
        two = [self.builder.icmp_signed("==", size, I64(2)) for size in (self.kh, self.kw, self.stride)]
        self.square = self.builder.and_(self.builder.and_(*two[:2]), two[2])  # and no overlaps

    def each(self, body: Callable[["Window", bool], None], *, gradient: bool = False) -> None:
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
                    body(Window(self, index, channel, [mask], sizes), adds)

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

    def _groups(self, group: int, begin: Any, body: Callable[["Window", bool], None]) -> None:
        """Emit a loop over groups of 2 x 2 windows from ``begin`` on; write where it ended there."""
        builder, emit = self.builder, self.emit
        ends = [emit.mask(builder.mul(self.channels, I64(i))) for i in range(group + 1)]
        masks = [builder.and_(after, builder.not_(before)) for before, after in pairwise(ends)]
        last = builder.sub(self.count, I64(group - 1))
        first = builder.load(begin)
        with cgutils.for_range_slice(builder, first, last, I64(group), I64) as (index, _):
            body(Window(self, index, I64(0), masks, (2, 2), ends[-1]), False)
            builder.store(builder.add(index, I64(group)), begin)


class Window:
    """A window's pixels, of a block of channels; ``sizes``: Python's numbers, or the code's.

    Or a group of windows side by side in a vector, if a few times their channels fit: ``masks`` has the
    lanes of each window, ``whole`` those of all.
    """

    def __init__(
        self, row: Row, index: Any, channel: Any, masks: list[Any], sizes: tuple[Any, Any],
        whole: Any = None,
    ) -> None:  # fmt: skip
        self.row, self.masks, self.sizes = row, masks, sizes
        self._whole = masks[0] if whole is None else whole
        builder = row.builder
        step = builder.mul(row.stride, row.channels)
        self._first = builder.add(builder.mul(index, step), channel)
        self._result = builder.add(builder.mul(index, row.channels), channel)
        self._apart = builder.sub(step, row.channels)  # of two windows of a group

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


def is_flat(kind: Any) -> bool:
    """Return whether a type is that of a contiguous vector of floats."""
    known = isinstance(kind, types.Array) and isinstance(kind.dtype, types.Float)
    return known and kind.ndim == 1 and kind.layout == "C"
