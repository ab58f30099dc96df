"""Matrix products for thin shapes: a register-blocked micro-kernel, emitted as LLVM vector IR.

BLAS copies blocks of both matrices into buffers before it multiplies, which pays for large matrices and
costs more than the product for thin ones. Here both are read where they lie. A tile of ``rows x
vectors`` vector registers of C is held while k runs: for every k, ``vectors`` loads from a row of B and
``rows`` broadcasts from A feed ``rows * vectors`` fused multiply-adds, independent of one another.

A is read one element at a time, so both its strides are free: ``x w`` and ``x^T dz`` are the same code.
Rows of B and C are contiguous. Edges: tiles of 4, 2 and 1 rows; masked loads and stores in a tile's
last vector. Every element of C is one chain of fused multiply-adds in the order of k whatever tile it
falls in, so results do not depend on how the work is cut up.

What is done to the product is done on the tile, before it is stored (``mode``): adding the bias,
:data:`RELU`, :data:`RELU_GRADIENT`, :data:`DESCENT`, :data:`SGD`, or an optimiser's :data:`RULE`
(:mod:`fastnn.kernels.emitted.rules`). ReLU writes -0 for what was negative and +0 for what was zero:
the same number, whose sign tells the gradient all it needs, so that ``z`` need not be kept.

Matrices come as addresses and strides in elements; ``lr`` and ``mu`` are numbers of their
dtype.
"""

from typing import Any

from numba.core import cgutils, types
from numba.extending import intrinsic

from fastnn.kernels.compiling.jit import VECTOR_BYTES, inner
from fastnn.kernels.compiling.target import VECTOR_REGISTERS
from fastnn.kernels.emitted.rules import Numbers, distances_of, emit_rule
from fastnn.kernels.emitted.vectors import I64, Emitter

TILE_ROWS = 4 if VECTOR_REGISTERS == 16 else 8  # AVX-512 and NEON have 32
AHEAD = 8  # rows
_LINE = 64  # bytes
PLAIN, RELU, RELU_GRADIENT, DESCENT, SGD, RULE = range(6)  # what is done to a tile before it is stored


class _Tile:
    """Some rows and vectors of columns of C: where they lie, and which lanes of the last there are."""

    def __init__(self, emit: Emitter, rows: int, vectors: int, columns: Any) -> None:
        last = emit.mask(emit.builder.sub(columns, I64((vectors - 1) * emit.lanes)))
        self.emit, self.rows = emit, range(rows)
        self.masks = [None] * (vectors - 1) + [last]
        self.offsets = [v * emit.lanes for v in range(vectors)]

    def pointers(self, matrix: Any, stride: Any) -> list[list[Any]]:
        """Return where the vectors of a matrix's first rows are."""
        return [[self.emit.pointer(matrix, I64(m), stride, o) for o in self.offsets] for m in self.rows]

    def load(self, pointers: list[list[Any]], present: Any = None) -> list[list[Any]]:
        """Return vectors; ``present``: flags of all lanes, zeros for those that are not."""
        masks = self.masks
        if present is not None:
            both = self.emit.builder.and_
            masks = [present if mask is None else both(present, mask) for mask in masks]
        return [list(map(self.emit.load, row, masks)) for row in pointers]

    def store(self, values: list[list[Any]], pointers: list[list[Any]]) -> None:
        """Write vectors."""
        for row in zip(values, pointers, strict=True):
            for value, at, mask in zip(*row, self.masks, strict=True):
                self.emit.store(value, at, mask)


def _emit_start(tile: _Tile, b: Any, start: Any, start_row: Any, mode: Any) -> list[list[Any]]:
    """Return what C begins as: `start`, or zero where that is a null address or something else.

    Then no lane is loaded, from an address that is mapped all the same, as a masked load that would
    fault costs a microsecond.
    """
    builder = tile.emit.builder
    has_start = builder.and_(
        builder.icmp_signed("!=", start, I64(0)), builder.icmp_signed("<", mode, I64(RELU_GRADIENT))
    )
    at = builder.select(has_start, start, b), builder.select(has_start, start_row, I64(0))
    return tile.load(tile.pointers(*at), tile.emit.broadcast(has_start, tile.emit.flags))


def _emit_sums(tile: _Tile, begin: list[list[Any]], arguments: list[Any]) -> list[list[Any]]:
    """Return ``begin + A B``."""
    a, a_row, a_column, b, b_row, c, c_row, k = arguments
    emit, builder, rows = tile.emit, tile.emit.builder, len(tile.rows)
    element_size = I64(emit.size)
    a_rows = [builder.add(a, builder.mul(builder.mul(I64(m), a_row), element_size)) for m in tile.rows]

    # What another core has written, or has read since this one wrote it, takes as long to come as
    # dozens of steps: B some rows ahead, A where the next tile will read it (or, where k runs down a
    # column, some rows ahead too), C now, for when k is through.
    in_rows = builder.icmp_signed("==", a_column, I64(1))
    ahead_in_rows = builder.mul(builder.mul(I64(rows), a_row), element_size)
    next_stride = builder.select(in_rows, I64(_LINE), builder.mul(a_column, element_size))
    next_a = builder.add(
        a, builder.select(in_rows, ahead_in_rows, builder.mul(I64(AHEAD), next_stride))
    )
    for m in tile.rows:
        for offset in tile.offsets:
            emit.prefetch(emit.at(c, I64(m), c_row, offset), write=True)

    entry, loop = builder.block, builder.append_basic_block("k")
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(I64)
    step.add_incoming(I64(0), entry)
    sums = [[builder.phi(emit.vector) for _ in tile.offsets] for _ in tile.rows]
    row_of_b = [
        emit.load(emit.pointer(b, step, b_row, offset), mask)
        for offset, mask in zip(tile.offsets, tile.masks, strict=True)
    ]
    ahead = builder.add(step, I64(AHEAD))
    for offset in tile.offsets:
        emit.prefetch(emit.at(b, ahead, b_row, offset))
    emit.prefetch(builder.add(next_a, builder.mul(step, next_stride)))
    along = builder.mul(builder.mul(step, a_column), element_size)
    summed = []
    for m in tile.rows:
        pointer = builder.inttoptr(builder.add(a_rows[m], along), emit.element.as_pointer())
        factor = emit.broadcast(builder.load(pointer), emit.vector)
        summed.append([emit.muladd(factor, *pair) for pair in zip(row_of_b, sums[m], strict=True)])
    following = builder.add(step, I64(1))
    step.add_incoming(following, loop)
    for m in tile.rows:
        for phi, first, later in zip(sums[m], begin[m], summed[m], strict=True):
            phi.add_incoming(first, entry)
            phi.add_incoming(later, loop)
    summed_up = builder.append_basic_block("summed_up")
    builder.cbranch(builder.icmp_signed("<", following, k), loop, summed_up)
    builder.position_at_end(summed_up)
    return summed


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
    tile: _Tile, summed: list[list[Any]], c: Any, other: Any, mode: Any, rates: Any, rule: Any
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


def _emit_update(
    tile: _Tile, rule: Any, summed: list[list[Any]], c: Any, distances: Any, numbers: Any
) -> None:
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


def _emit_tile(
    builder: Any, types_of_rates: Any, rows: int, vectors: int, arguments: list[Any]
) -> None:
    *factors, columns, start, start_row, mode, rates = arguments
    tile = _Tile(Emitter(builder, types_of_rates[0]), rows, vectors, columns)
    rule = types_of_rates[4].value if len(types_of_rates) > 2 else None
    summed = _emit_sums(tile, _emit_start(tile, factors[3], start, start_row, mode), factors)
    numbers = [builder.extract_value(rates, i) for i in range(len(types_of_rates))]
    _emit_modes(tile, summed, factors[5:7], (start, start_row), mode, numbers, rule)


def _tile(rows: int, vectors: int) -> Any:
    """Return ``C = start + A B`` for ``rows`` rows and ``vectors`` vectors of columns, as a call."""

    @intrinsic
    def tile(context, a, a_row, a_col, b, b_row, c, c_row, k, columns, start, start_row, mode, rates):
        def codegen(context, builder, signature, arguments):
            _emit_tile(builder, rates, rows, vectors, list(arguments))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 12, rates), codegen

    return tile


_tile_8_3, _tile_8_2, _tile_8_1 = _tile(8, 3), _tile(8, 2), _tile(8, 1)
_tile_4_3, _tile_4_2, _tile_4_1 = _tile(4, 3), _tile(4, 2), _tile(4, 1)
_tile_2_3, _tile_2_2, _tile_2_1 = _tile(2, 3), _tile(2, 2), _tile(2, 1)
_tile_1_3, _tile_1_2, _tile_1_1 = _tile(1, 3), _tile(1, 2), _tile(1, 1)


@inner
def _panel(a, a_row, a_col, b, b_row, c, c_row, rows, k, columns, start, start_row, mode, size, rates):
    """Do the columns of one panel, at most three vectors wide, tile by tile."""
    lanes = VECTOR_BYTES // size
    i = 0
    while i < rows:
        left = rows - i
        A = a + i * a_row * size
        C = c + i * c_row * size
        S = start + i * start_row * size if start != 0 else start
        if left >= 8 and TILE_ROWS == 8:
            if columns > 2 * lanes:
                _tile_8_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            elif columns > lanes:
                _tile_8_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            else:
                _tile_8_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            i += 8
        elif left >= 4:
            if columns > 2 * lanes:
                _tile_4_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            elif columns > lanes:
                _tile_4_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            else:
                _tile_4_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            i += 4
        elif left >= 2:
            if columns > 2 * lanes:
                _tile_2_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            elif columns > lanes:
                _tile_2_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            else:
                _tile_2_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            i += 2
        else:
            if columns > 2 * lanes:
                _tile_1_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            elif columns > lanes:
                _tile_1_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            else:
                _tile_1_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
            i += 1


@inner
def gemm(a, a_row, a_col, b, b_row, c, c_row, rows, columns, k, start, start_row, mode, size, rates):
    """``C = start + A B``: A ``(rows, k)``, B ``(k, columns)``, C ``(rows, columns)``; k >= 1.

    ``start`` is the address of a matrix whose rows are ``start_row`` elements apart (0: one row for
    all, a bias), or 0 for none. ``mode``: see the module's docstring. For :data:`RELU_GRADIENT` there
    is no start, and its address is that of what :data:`RELU` wrote. :data:`DESCENT` does
    ``C -= lr A B``; :data:`SGD` ``V = mu V + lr A B``, ``C -= V``, with the velocity in the place of
    the start. ``size``: of an element in bytes.

    ``rates`` are lr and mu, of the dtype. For :data:`RULE` there are more: the addresses of the
    distances in bytes from C to each of the optimiser's arrays, whose rows are as far apart as those
    of C, and of the rule's numbers; and which rule it is. The other two ways to update are left out
    then.
    """
    lanes = VECTOR_BYTES // size
    j = 0
    while j < columns:
        width = min(columns - j, 3 * lanes)
        if columns - j == 4 * lanes:  # two panels of two, not one of three and one of one
            width = 2 * lanes
        S = start + j * size if start != 0 else start
        B = b + j * size
        C = c + j * size
        _panel(a, a_row, a_col, B, b_row, C, c_row, rows, k, width, S, start_row, mode, size, rates)
        j += width
