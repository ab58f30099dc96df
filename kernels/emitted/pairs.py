"""The gradient of maxima of 2 x 2 windows side by side, for images of few channels, as LLVM vector IR.

Two rows of pixels are read and written in whole vectors, whatever the number of channels is. Each lane
has a pixel of the upper row, the one below it, and their mates, ``channels`` lanes on for the left
pixels of windows and as many back for the right ones.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastnn.kernels.emitted.vectors import I64, Emitter

_SCRATCH = 512  # elements of a gradient that is written twice, once for each pixel of a row


def first_of(emit: Emitter, x: Any, y: Any) -> tuple[Any, Any]:
    """Return where x is the first maximum, or NaN, of x and y, and that maximum."""
    builder = emit.builder
    hit = at_least(emit, x, y)
    return hit, builder.select(hit, x, y)


def at_least(emit: Emitter, x: Any, y: Any) -> Any:
    """Return where x is NaN or not less than y."""
    builder = emit.builder
    odd = builder.fcmp_unordered("uno", x, x)
    return builder.or_(builder.fcmp_ordered(">=", x, y), odd)


def emit_pairs(
    emit: Emitter, at: dict[str, Any], line: Any, channels: Any, count: Any,
    given: Callable[[Any, Any], Any],
) -> None:  # fmt: skip
    """Emit the gradient of a row of windows; ``given(dy, top)`` is what a maximum gets of dy."""
    builder, lanes = emit.builder, I64(emit.lanes)
    vector = emit.vector.as_pointer()
    scratch = cgutils.alloca_once(builder, ir.ArrayType(emit.element, _SCRATCH + 2 * emit.lanes))
    twice = builder.ptrtoint(scratch, I64)
    pair = builder.shl(channels, I64(1))
    pixel = emit.mask(channels)
    wide, half = emit.broadcast_integer(pair), emit.broadcast_integer(channels)

    def pointer(address: Any, index: Any) -> Any:
        return builder.inttoptr(emit.at(address, index, I64(1), 0), vector)

    def below(value: Any, limit: Any) -> Any:
        """Return a value less limit if it is not below that, lane by lane."""
        less = builder.sub(value, limit)
        return builder.select(builder.icmp_unsigned("<", value, less), value, less)

    start = ir.Constant(emit.integers, list(range(emit.lanes)))
    times = emit.lanes // 4
    while times:
        start = below(start, emit.broadcast_integer(builder.mul(pair, I64(times))))
        times //= 2
    onward = emit.broadcast_integer(builder.urem(lanes, pair))
    place = cgutils.alloca_once(builder, emit.integers)

    def maxima(first: Any, mask: Any, left: Any) -> tuple[Any, Any]:
        right = builder.not_(left)
        if mask is not None:
            left, right = builder.and_(left, mask), builder.and_(right, mask)
        own, mates = [], []
        for k in range(2):
            index = builder.add(first, line) if k else first
            own.append(emit.load(pointer(at["x"], index), mask))
            back = emit.load(pointer(at["x"], builder.sub(index, channels)), right)
            mates.append(emit.load(pointer(at["x"], builder.add(index, channels)), left, back))
        (upper, top), (other, mate) = first_of(emit, *own), first_of(emit, *mates)
        earlier = builder.or_(
            builder.and_(upper, builder.not_(other)),
            builder.and_(left, builder.not_(builder.xor(upper, other))),
        )
        larger = builder.not_(at_least(emit, mate, top))
        wins = builder.and_(at_least(emit, top, mate), builder.or_(larger, earlier))
        return top, [builder.and_(wins, upper), builder.and_(wins, builder.not_(upper))]

    def pixels(first: Any, i: Any, mask: Any) -> None:
        left = builder.icmp_unsigned("<", builder.load(place), half)
        top, hits = maxima(first, mask, left)
        dy = given(emit.load(pointer(twice, i), None), top)
        for k, hit in enumerate(hits):
            index = builder.add(first, line) if k else first
            emit.store(builder.select(hit, dy, emit.zero), pointer(at["dx"], index), mask)

    most = builder.udiv(I64(_SCRATCH), pair)
    with cgutils.for_range_slice(builder, I64(0), count, most, I64) as (begin, _):
        left = builder.sub(count, begin)
        windows = builder.select(builder.icmp_signed("<", left, most), left, most)
        with cgutils.for_range(builder, windows) as found:
            index = builder.mul(builder.add(begin, found.index), channels)
            dy = emit.load(pointer(at["dy"], index), pixel)
            to = builder.mul(found.index, pair)
            emit.store(dy, pointer(twice, to), None)
            emit.store(dy, pointer(twice, builder.add(to, channels)), None)
        size, origin = builder.mul(windows, pair), builder.mul(begin, pair)
        builder.store(start, place)
        with cgutils.for_range_slice(builder, I64(0), size, lanes, I64) as (i, _):
            first, rest = builder.add(origin, i), builder.sub(size, i)
            with builder.if_else(builder.icmp_signed(">=", rest, lanes)) as (whole, end):
                with whole:
                    pixels(first, i, None)
                with end:
                    pixels(first, i, emit.mask(rest))
            builder.store(below(builder.add(builder.load(place), onward), wide), place)
