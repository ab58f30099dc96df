"""Products whose first matrix is gathered: ``C = start + A B``, ``A[m, k] = x[rows[m] + steps[k]]``.

A convolution is such a product: x is an image, ``rows`` says where the window of each output pixel
begins, ``steps`` where each tap lies in a window. Nothing is copied into a matrix of columns, and C
stays in registers over all taps. The gradient of the weights is one too, with the tables in each
other's place: a row of C is a tap, and the sum goes over the pixels of one image after the other.

The tile is that of :mod:`fastnn.kernels.emitted.tile`, so every element of C is one chain of fused
multiply-adds in the order of k. Tables hold distances in bytes, as 64-bit integers.
"""

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from fastnn.kernels.compiling.jit import VECTOR_BYTES, inner
from fastnn.kernels.emitted.gemm import height_of
from fastnn.kernels.emitted.registers import HEIGHTS, VECTORS, Tile, Vectors
from fastnn.kernels.emitted.tile import RELU
from fastnn.kernels.emitted.vectors import I64, Emitter


def _load_distance(emit: Emitter, table: Any, index: Any) -> Any:
    at = emit.builder.add(table, emit.builder.mul(index, I64(8)))
    return emit.builder.load(emit.builder.inttoptr(at, I64.as_pointer()))


class _Loop:
    """A counted loop, whose body is what is emitted between ``begin`` and ``end``."""

    def __init__(self, emit: Emitter, tile: Tile, sums: Vectors, *values: Any) -> None:
        self.builder, self.tile = emit.builder, tile
        entry = self.builder.block
        self.body = self.builder.append_basic_block("loop")
        self.builder.branch(self.body)
        self.builder.position_at_end(self.body)
        self.sums = tile.phis((sums, entry))
        self.values = [self.builder.phi(I64) for _ in values]
        for phi, value in zip(self.values, values, strict=True):
            phi.add_incoming(value, entry)

    def end(self, go_on: Any, sums: Vectors, *values: Any) -> None:
        """Go round again if ``go_on``, with these sums and values."""
        last = self.builder.block
        self.tile.add_sources(self.sums, (sums, last))
        for phi, value in zip(self.values, values, strict=True):
            phi.add_incoming(value, last)
        after = self.builder.append_basic_block("loop_end")
        self.builder.cbranch(go_on, self.body, after)
        self.builder.position_at_end(after)


def _emit_sums(tile: Tile, sums: Vectors, arguments: list[Any]) -> Vectors:
    """Return ``sums + A B``; there is at least one k, and at least one repeat."""
    x, rows, steps, b, b_row, k, repeats, distance = arguments
    emit, builder = tile.emit, tile.emit.builder
    add, vector, element = builder.add, emit.vector.as_pointer(), emit.element.as_pointer()
    b_bytes = builder.mul(b_row, I64(emit.size))
    windows = [add(x, _load_distance(emit, rows, I64(m))) for m in tile.rows]
    outer = _Loop(emit, tile, sums, I64(0), b, *windows)
    repeat, b_begin, *windows = outer.values
    loop = _Loop(emit, tile, outer.sums, I64(0), b_begin)
    step, b_now = loop.values
    at = _load_distance(emit, steps, step)
    row_of_b = []
    for offset, mask in zip(tile.offsets, tile.masks, strict=True):
        pointer = builder.inttoptr(add(b_now, I64(offset * emit.size)), vector)
        row_of_b.append(emit.load(pointer, mask))
    summed = []
    for window, row in zip(windows, loop.sums, strict=True):
        factor = builder.load(builder.inttoptr(add(window, at), element))
        factor = emit.broadcast(factor, emit.vector)
        summed.append([emit.muladd(factor, *pair) for pair in zip(row_of_b, row, strict=True)])
    step, b_now = add(step, I64(1)), add(b_now, b_bytes)
    loop.end(builder.icmp_signed("<", step, k), summed, step, b_now)
    repeat = add(repeat, I64(1))
    moved = [add(window, distance) for window in windows]
    outer.end(builder.icmp_signed("<", repeat, repeats), summed, repeat, b_now, *moved)
    return summed


def _emit_tile(builder: Any, like: Any, rows: int, vectors: int, arguments: list[Any]) -> None:
    *factors, c, c_row, columns, start, start_row, mode = arguments
    tile = Tile(Emitter(builder, like), rows, vectors, columns)
    summed = _emit_sums(tile, tile.emit_start(start, start_row), factors)
    own = tile.pointers(c, c_row)
    plain, relu, done = (builder.append_basic_block(name) for name in ("plain", "relu", "done"))
    builder.cbranch(builder.icmp_signed("==", mode, I64(RELU)), relu, plain)
    for block, change in ((plain, None), (relu, tile.emit.relu)):
        builder.position_at_end(block)
        tile.store([[change(v) if change else v for v in row] for row in summed], own)
        builder.branch(done)
    builder.position_at_end(done)


@intrinsic
def _tile(
    context, height, x, rows, steps, b, b_row, k, repeats, distance, c, c_row, columns, start,
    start_row, mode, like,
):  # fmt: skip
    """One tile of C, of up to ``VECTORS`` vectors of columns."""

    def codegen(context, builder, signature, arguments):
        height, *rest, _ = arguments
        columns, lanes = rest[10], VECTOR_BYTES // (like.bitwidth // 8)
        done = builder.append_basic_block("tile_done")
        for rows in HEIGHTS:
            for vectors in range(VECTORS, 0, -1):
                here, other = (builder.append_basic_block(name) for name in ("tile", "other_tile"))
                fits = builder.and_(
                    builder.icmp_signed("==", height, I64(rows)),
                    builder.icmp_signed(">", columns, I64((vectors - 1) * lanes)),
                )
                builder.cbranch(fits, here, other)
                builder.position_at_end(here)
                _emit_tile(builder, like, rows, vectors, rest)
                builder.branch(done)
                builder.position_at_end(other)
        builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 15, like), codegen


@inner
def gather_multiply(
    x, rows, steps, b, b_row, c, c_row, count, columns, k, repeats, distance, start, start_row, mode,
    size, like,
):  # fmt: skip
    """``C = start + A B`` with ``A[m, k] = x[rows[m] + steps[k]]``: C ``(count, columns)``.

    Matrices are given by addresses and strides in elements of ``size`` bytes and the dtype of ``like``;
    x, ``rows`` and ``steps`` by addresses. With ``repeats`` above 1 the sum goes on over as many x,
    ``distance`` bytes apart, and as many matrices B ``(k, columns)``, one after the other. ``start``:
    0, or the address of a matrix whose rows are ``start_row`` apart (0: one row for all). ``mode``:
    ``PLAIN`` or ``RELU``.
    """
    lanes = VECTOR_BYTES // size
    j = 0
    while j < columns:
        width = min(columns - j, VECTORS * lanes)
        if columns - j == 4 * lanes:  # two panels of two, not one of three and one of one
            width = 2 * lanes
        i = 0
        while i < count:
            height = height_of(count - i)
            C = c + (i * c_row + j) * size
            S = start + (i * start_row + j) * size if start != 0 else start
            _tile(
                height, x, rows + i * 8, steps, b + j * size, b_row, k, repeats, distance, C, c_row,
                width, S, start_row, mode, like,
            )  # fmt: skip
            i += height
        j += width
