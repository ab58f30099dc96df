"""A tile of a matrix product held in vector registers, emitted as LLVM vector IR.

A tile is ``rows x vectors`` registers of C. For every k, ``vectors`` loads from a row of B and ``rows``
broadcasts from A feed ``rows * vectors`` fused multiply-adds, which do not depend on one another. Its
shape follows the registers: with 32 there are 8 x 3, with 16 there are 6 x 2. Both leave registers for
B and A, and load ports have time to spare.

Every element of C is one chain of fused multiply-adds in the order of k, whatever tile it falls in, so
results do not depend on how the work is cut up.

Columns beyond C's last one belong to no result. Masks keep them out where AVX-512 has registers for
masks. Elsewhere a mask costs several instructions in every step, so whole vectors of B are loaded:
what lies beyond a row's end is the beginning of the next row, and the sums of those lanes are dropped.
Only the last rows, whose end is the end of B, are loaded with masks.

What is done to the product is done on the tile, before it is stored (``mode``): adding the bias,
:data:`RELU`, :data:`RELU_GRADIENT`, :data:`DESCENT`, :data:`SGD`, or an optimiser's :data:`RULE`
(:mod:`fastnn.kernels.emitted.rules`). ReLU writes -0 for what was negative and +0 for what was zero:
the same number, whose sign tells the gradient all it needs, so that ``z`` need not be kept.
"""

from collections.abc import Sequence
from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic

from fastnn.kernels.compiling.target import VECTOR_BYTES
from fastnn.kernels.emitted.registers import HEIGHTS, VECTORS, Tile, Vectors
from fastnn.kernels.emitted.rules import Numbers, distances_of, emit_rule
from fastnn.kernels.emitted.vectors import I64, Emitter

PLAIN, RELU, RELU_GRADIENT, DESCENT, SGD, RULE = range(6)  # what is done to a tile before it is stored
MASKS = VECTOR_BYTES == 64  # whether a mask costs nothing
ROW = 8  # vectors of the widest tile of one row, whose sums would wait for one another if they were few
AHEAD = 8  # rows
_LINE = 64  # bytes


class _Factors:
    """A and B, read step by step.

    Where they are read and fetched for later are places, which each step moves on by strides, in bytes:
    every third row of A, the row of B, and what is fetched of A. The rows of A between are one and two
    strides from there, which an address may hold. LLVM is not told how the places depend on each other,
    or it computes each from the one before, a chain of additions that takes longer than the products.
    """

    def __init__(self, tile: Tile, arguments: Sequence[Any]) -> None:
        a, a_row, a_column, b, b_row, c, c_row, self.k = arguments
        self.tile, self.emit, self.builder = tile, tile.emit, tile.emit.builder
        add, size, rows = self.builder.add, tile.emit.size, len(tile.rows)
        self.b_elements = b_row
        self.a_row, a_step, self.b_row = (self._times(x, size) for x in (a_row, a_column, b_row))
        # What another core has written, or has read since this one wrote it, takes as long to come as
        # dozens of steps: B some rows ahead, A where the next tile will read it (or, where k runs down
        # a column, some rows ahead too), C now, for when k is through.
        in_rows = self.builder.icmp_signed("==", a_column, I64(1))
        fetch_step = self.builder.select(in_rows, I64(rows * size), a_step)
        ahead = self.builder.select(in_rows, self._times(self.a_row, rows), self._times(a_step, AHEAD))
        rows_of_a = [add(a, self._times(self.a_row, m)) for m in tile.rows[::3]]
        self.begin = [*map(self.emit.opaque, rows_of_a), b, add(a, ahead)]
        self.strides = [a_step] * len(rows_of_a) + [self.b_row, fetch_step]
        for m in tile.rows:
            for offset in self._lines():
                self.emit.prefetch(self.emit.at(c, I64(m), c_row, offset), write=True)

    def _times(self, stride: Any, count: int) -> Any:
        return self.builder.mul(stride, I64(count))

    def _lines(self) -> range:
        """Return the offsets of a row's cache lines, in elements."""
        return range(0, len(self.tile.offsets) * self.emit.lanes, _LINE // self.emit.size)

    def later(self, places: list[Any]) -> list[Any]:
        """Return the places of the next step."""
        return [self.builder.add(*pair) for pair in zip(places, self.strides, strict=True)]

    def step(self, sums: Vectors, places: list[Any], masks: list[Any]) -> Vectors:
        """Return the sums with the products of one k."""
        *a, b, _ = places
        element = self.emit.element.as_pointer()
        row_of_b = []
        emits = [self.emit] * len(masks)
        if self.tile.half is not None:
            emits[-1] = self.tile.half
        for offset, mask, emit in zip(self.tile.offsets, masks, emits, strict=True):
            at = self.builder.add(b, I64(offset * self.emit.size))
            pointer = self.builder.inttoptr(at, emit.vector.as_pointer())
            row_of_b.append(emit.load(pointer, mask))
        summed = []
        for m, row in zip(self.tile.rows, sums, strict=True):
            at = self.builder.add(a[m // 3], self._times(self.a_row, m % 3))
            factor = self.builder.load(self.builder.inttoptr(at, element))
            factor = self.emit.broadcast(factor, self.emit.vector)
            factors = self.tile.resized([[factor] * len(row)], emits[-1].lanes)[0]
            summed.append([self.emit.muladd(*x) for x in zip(factors, row_of_b, row, strict=True)])
        return summed

    def fetch(self, places: list[Any]) -> None:
        """Fetch what is needed some steps later."""
        *_, b, of_a = places
        ahead = self.builder.add(b, self._times(self.b_row, AHEAD))
        for offset in self._lines():
            self.emit.prefetch(self.builder.add(ahead, I64(offset * self.emit.size)))
        self.emit.prefetch(of_a)

    def whole(self) -> Any:
        """Return the number of steps that may load whole vectors of B; later loads would exceed B."""
        builder, missing = self.builder, self.tile.missing
        in_one_row = builder.icmp_signed("<=", missing, self.b_elements)
        few = builder.zext(builder.icmp_signed(">", missing, I64(0)), I64)
        left = builder.sub(self.k, builder.select(in_one_row, few, missing))
        return builder.select(builder.icmp_signed("<", left, I64(0)), I64(0), left)


def _emit_loop(
    factors: _Factors, begin: list[Any], sums: Vectors, end: Any, masks: list[Any]
) -> tuple[list[Any], Vectors]:
    """Add the products of the steps up to ``end``, of which there may be none.

    ``begin``: the first step, and its places. Returns those after the last, and the sums.
    """
    builder, tile, entry = factors.builder, factors.tile, factors.builder.block
    body, after = builder.append_basic_block("steps"), builder.append_basic_block("steps_end")
    builder.cbranch(builder.icmp_signed("<", begin[0], end), body, after)
    builder.position_at_end(body)
    here, own = [builder.phi(I64) for _ in begin], tile.phis((sums, entry))
    step, *places = here
    summed = factors.step(own, places, masks)
    factors.fetch(places)
    following = [builder.add(step, I64(1)), *factors.later(places)]
    for phi, first, later in zip(here, begin, following, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(later, body)
    tile.add_sources(own, (summed, body))
    builder.cbranch(builder.icmp_signed("<", following[0], end), body, after)
    builder.position_at_end(after)
    stop = [builder.phi(I64) for _ in begin]
    for phi, first, later in zip(stop, begin, following, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(later, body)
    return stop, tile.phis((sums, entry), (summed, body))


def _emit_sums(tile: Tile, sums: Vectors, factors: _Factors) -> Vectors:
    """Return ``sums + A B``."""
    begin = [I64(0), *factors.begin]
    if MASKS or tile.missing is None:
        return _emit_loop(factors, begin, sums, factors.k, tile.step_masks)[1]
    here, sums = _emit_loop(factors, begin, sums, factors.whole(), [None] * len(tile.masks))
    return _emit_loop(factors, here, sums, factors.k, tile.masks)[1]


def _emit_change(
    emit: Emitter, kind: int, value: Any, at: Any, beside: Any, mask: Any, rates: Any
) -> Any:
    """Return what a vector of the product becomes in a mode."""
    builder, (lr, momentum) = emit.builder, rates
    if kind == RELU:
        return emit.relu(value)
    if kind == RELU_GRADIENT:
        return emit.relu_gradient(value, emit.load(beside, mask))
    if kind == DESCENT:
        change = emit.muladd(lr, value, emit.zero)  # rounded as SGD's velocity
        return builder.fsub(emit.load(at, mask), change)
    if kind == SGD:
        velocity = emit.muladd(lr, value, builder.fmul(emit.load(beside, mask), momentum))
        emit.store(velocity, beside, mask)
        return builder.fsub(emit.load(at, mask), velocity)
    return value


def _emit_modes(
    tile: Tile, summed: Vectors, c: Any, other: Any, mode: Any, rates: Any, rule: Any
) -> None:
    """Write the product as its mode says; c, other: address and stride."""
    emit, builder = tile.emit, tile.emit.builder
    own, besides = tile.pointers(*c), tile.pointers(*other)
    kinds = (PLAIN, RELU, RELU_GRADIENT, *((DESCENT, SGD) if rule is None else (RULE,)))
    stores = {kind: builder.append_basic_block("store") for kind in kinds}
    done = builder.append_basic_block("done")
    lr, momentum, *others = rates
    vectors = [emit.broadcast(rate, emit.vector) for rate in (lr, momentum)]
    switch = builder.switch(mode, stores[PLAIN])
    for kind, block in stores.items():
        if kind != PLAIN:
            switch.add_case(I64(kind), block)
        builder.position_at_end(block)
        if kind == RULE:
            _emit_update(tile, rule, summed, c, *others[:2])
        else:
            for row in zip(summed, own, besides, strict=True):
                for value, at, beside, mask in zip(*row, tile.masks, strict=True):
                    emit.store(_emit_change(emit, kind, value, at, beside, mask, vectors), at, mask)
        builder.branch(done)
    builder.position_at_end(done)


def _emit_update(tile: Tile, rule: Any, summed: Vectors, c: Any, distances: Any, numbers: Any) -> None:
    """Update C by an optimiser's rule, with the product as its gradient; row by row, so compiled once.

    All new weights are written at the end, at once: stores of lines that another core has read take
    long, and only those that wait together are done together.
    """
    emit, builder = tile.emit, tile.emit.builder
    with builder.goto_entry_block():
        space = builder.alloca(emit.vector, I64(len(tile.rows) * len(tile.offsets)))
    vectors = len(tile.offsets)
    kept = [[builder.gep(space, [I64(m * vectors + v)]) for v in range(vectors)] for m in tile.rows]
    for values, places in zip(summed, kept, strict=True):
        for value, place in zip(values, places, strict=True):
            builder.store(value, place)
    own = Numbers(emit, numbers, rule)
    matrices = [c, *((builder.add(c[0], d), c[1]) for d in distances_of(emit, distances, rule))]
    with cgutils.for_range(builder, I64(len(tile.rows))) as row:
        for v, (offset, mask) in enumerate(zip(tile.offsets, tile.masks, strict=True)):
            place = builder.gep(space, [builder.add(builder.mul(row.index, I64(vectors)), I64(v))])
            values, *states = (
                emit.pointer(address, row.index, stride, offset) for address, stride in matrices
            )
            new = emit_rule(emit, rule, own, builder.load(place), values, states, mask)
            builder.store(new, place)
    tile.store([[builder.load(place) for place in row] for row in kept], tile.pointers(*c))


def emit_tile(
    builder: Any, types_of_rates: Any, rows: int, vectors: int, filled: int, arguments: list[Any]
) -> None:
    """Emit one tile of :func:`tile`; ``filled``: how many lanes of its last vector are columns of C.

    ``HALF``: at most half of them. Then the products of the last vector are those of half a register,
    which take half the time on processors that compute a whole one in two steps (AMD's Zen 4).
    """
    *factors, columns, start, start_row, mode, rates = arguments
    emit = Emitter(builder, types_of_rates[0])
    narrow = Emitter(builder, types_of_rates[0], 2) if filled == HALF else None
    tile = Tile(emit, rows, vectors, None if filled == WHOLE else columns, narrow)
    rule = types_of_rates[4].value if len(types_of_rates) > 2 else None
    begin = tile.emit_start(start, start_row, builder.icmp_signed("<", mode, I64(RELU_GRADIENT)))
    begin = tile.resized(begin, emit.lanes // 2)
    summed = tile.resized(_emit_sums(tile, begin, _Factors(tile, factors)), emit.lanes)
    numbers = [builder.extract_value(rates, i) for i in range(len(types_of_rates))]
    _emit_modes(tile, summed, factors[5:7], (start, start_row), mode, numbers, rule)


SOME, WHOLE, HALF = range(3)  # how many lanes of a tile's last vector are columns of C: any, all, few


def _shapes() -> list[tuple[int, int, int]]:
    """Return the tiles that there are: height, vectors, and how many lanes are columns of C.

    The later ones are preferred.
    """
    masked = [(rows, vectors, SOME) for rows in HEIGHTS for vectors in range(1, VECTORS + 1)]
    better = [(rows, VECTORS, WHOLE) for rows in HEIGHTS[:2]]
    if MASKS:
        better = [(HEIGHTS[0], VECTORS, HALF)]
    return [*masked, (1, ROW, SOME), *better]


@intrinsic
def tile(
    context, height, a, a_row, a_col, b, b_row, c, c_row, k, columns, start, start_row, mode, rates
):
    """``C = start + A B``: up to ``VECTORS`` vectors of columns, or, of one row, ``ROW``."""

    def codegen(context, builder, signature, arguments):
        height, *rest = arguments
        columns, lanes = rest[8], VECTOR_BYTES // (rates[0].bitwidth // 8)
        done = builder.append_basic_block("tile_done")
        for rows, vectors, filled in reversed(_shapes()):
            here, other = (builder.append_basic_block(name) for name in ("tile", "other_tile"))
            before = (vectors - 1) * lanes
            least = I64(before + (lanes if filled == WHOLE else 1))
            fits = builder.and_(
                builder.icmp_signed("==", height, I64(rows)),
                builder.icmp_signed(">=", columns, least),
            )
            if filled == HALF:
                few = builder.icmp_signed("<=", columns, I64(before + lanes // 2))
                fits = builder.and_(fits, few)
            builder.cbranch(fits, here, other)
            builder.position_at_end(here)
            emit_tile(builder, rates, rows, vectors, filled, rest)
            builder.branch(done)
            builder.position_at_end(other)
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 13, rates), codegen


def tile_of(rows: int, vectors: int) -> Any:
    """Return :func:`tile` for one shape, as a call without a height: for comparing shapes."""

    @intrinsic
    def one(context, a, a_row, a_col, b, b_row, c, c_row, k, columns, start, start_row, mode, rates):
        def codegen(context, builder, signature, arguments):
            emit_tile(builder, rates, rows, vectors, SOME if MASKS else WHOLE, list(arguments))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 12, rates), codegen

    return one
