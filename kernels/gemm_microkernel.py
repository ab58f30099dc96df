"""Matrix products for thin shapes: a register-blocked micro-kernel, emitted as LLVM vector IR.

BLAS copies blocks of both matrices into buffers before it multiplies, which pays for large matrices and
costs more than the product for thin ones. Here both are read where they lie. A tile of ``rows x
vectors`` vector registers of C is held while k runs: for every k, ``vectors`` loads from a row of B and
``rows`` broadcasts from A feed ``rows * vectors`` fused multiply-adds, independent of one another.

A is read one element at a time, so both its strides are free: ``x w`` and ``x^T dz`` are the same code.
Rows of B and C are contiguous. Edges: tiles of 4, 2 and 1 rows; masked loads and stores in a tile's
last vector. Every element of C is one chain of fused multiply-adds in the order of k whatever tile it
falls in, so results do not depend on how the work is cut up.

Matrices come as addresses and strides in elements; ``like`` is any number of their dtype.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastnn.kernels._jit import COMPILED, VECTOR_BYTES, exact

AVAILABLE = COMPILED and VECTOR_BYTES > 0
TILE_ROWS = 4 if VECTOR_BYTES == 32 else 8  # AVX2 has 16 vector registers, AVX-512 and NEON 32

_I32, _I64 = ir.IntType(32), ir.IntType(64)


class _Emitter:
    """Vector operations on one element type, written with one IR builder."""

    def __init__(self, builder: Any, like: Any) -> None:
        self.builder = builder
        self.size = like.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.size
        self.element = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.element, self.lanes)
        self.flags = ir.VectorType(ir.IntType(1), self.lanes)
        self.suffix = f"v{self.lanes}f{8 * self.size}"
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def function(self, name: str, result: Any, arguments: list[Any]) -> Any:
        return cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(result, arguments), f"{name}.{self.suffix}"
        )

    def pointer(self, address: Any, row: Any, stride: Any, column: int) -> Any:
        """Return the address of ``matrix[row, column]`` as a pointer to a vector."""
        bytes_ = self.builder.mul(
            self.builder.add(self.builder.mul(row, stride), _I64(column)), _I64(self.size)
        )
        return self.builder.inttoptr(self.builder.add(address, bytes_), self.vector.as_pointer())

    def broadcast(self, value: Any, vector: Any) -> Any:
        first = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, _I32(0))
        lanes = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lanes)

    def mask(self, count: Any) -> Any:
        """Return which lanes are below ``count``."""
        integers = ir.VectorType(_I64, self.lanes)
        lane = ir.Constant(integers, list(range(self.lanes)))
        return self.builder.icmp_signed("<", lane, self.broadcast(count, integers))

    def load(self, pointer: Any, mask: Any) -> Any:
        if mask is None:
            value = self.builder.load(pointer)
            value.align = self.size
            return value
        arguments = [pointer.type, _I32, self.flags, self.vector]
        load = self.function("llvm.masked.load", self.vector, arguments)
        return self.builder.call(load, [pointer, _I32(self.size), mask, self.zero])

    def store(self, value: Any, pointer: Any, mask: Any) -> None:
        if mask is None:
            self.builder.store(value, pointer).align = self.size
            return
        arguments = [self.vector, pointer.type, _I32, self.flags]
        store = self.function("llvm.masked.store", ir.VoidType(), arguments)
        self.builder.call(store, [value, pointer, _I32(self.size), mask])


def _emit_tile(builder: Any, like: Any, rows: int, vectors: int, arguments: list[Any]) -> None:
    a, a_row, a_column, b, b_row, c, c_row, k, columns, start, start_row = arguments
    emit = _Emitter(builder, like)
    fma = emit.function("llvm.fma", emit.vector, [emit.vector] * 3)
    element_size = _I64(emit.size)
    last = emit.mask(builder.sub(columns, _I64((vectors - 1) * emit.lanes)))
    masks = [None] * (vectors - 1) + [last]
    offsets = [v * emit.lanes for v in range(vectors)]

    # C begins as `start`, or as zero where that is a null address: then no lane is loaded, from an
    # address that is mapped all the same, as a masked load that would fault costs a microsecond
    has_start = builder.icmp_signed("!=", start, _I64(0))
    present = emit.broadcast(has_start, emit.flags)
    start = builder.select(has_start, start, b)
    start_row = builder.select(has_start, start_row, _I64(0))
    begin = [
        [
            emit.load(
                emit.pointer(start, _I64(m), start_row, offset),
                present if mask is None else builder.and_(present, mask),
            )
            for offset, mask in zip(offsets, masks, strict=True)
        ]
        for m in range(rows)
    ]
    a_rows = [
        builder.add(a, builder.mul(builder.mul(_I64(m), a_row), element_size)) for m in range(rows)
    ]

    entry, loop = builder.block, builder.append_basic_block("k")
    builder.branch(loop)
    builder.position_at_end(loop)
    step = builder.phi(_I64)
    step.add_incoming(_I64(0), entry)
    tile = [[builder.phi(emit.vector) for _ in range(vectors)] for _ in range(rows)]
    row_of_b = [
        emit.load(emit.pointer(b, step, b_row, offset), mask)
        for offset, mask in zip(offsets, masks, strict=True)
    ]
    along = builder.mul(builder.mul(step, a_column), element_size)
    summed = []
    for m in range(rows):
        pointer = builder.inttoptr(builder.add(a_rows[m], along), emit.element.as_pointer())
        factor = emit.broadcast(builder.load(pointer), emit.vector)
        summed.append([builder.call(fma, [factor, row_of_b[v], tile[m][v]]) for v in range(vectors)])
    following = builder.add(step, _I64(1))
    step.add_incoming(following, loop)
    for m in range(rows):
        for v in range(vectors):
            tile[m][v].add_incoming(begin[m][v], entry)
            tile[m][v].add_incoming(summed[m][v], loop)
    done = builder.append_basic_block("done")
    builder.cbranch(builder.icmp_signed("<", following, k), loop, done)
    builder.position_at_end(done)
    for m in range(rows):
        for v in range(vectors):
            emit.store(summed[m][v], emit.pointer(c, _I64(m), c_row, offsets[v]), masks[v])


def _tile(rows: int, vectors: int) -> Any:
    """Return ``C = start + A B`` for ``rows`` rows and ``vectors`` vectors of columns, as a call."""

    @intrinsic
    def tile(context, a, a_row, a_column, b, b_row, c, c_row, k, columns, start, start_row, like):
        def codegen(context, builder, signature, arguments):
            _emit_tile(builder, like, rows, vectors, list(arguments[:-1]))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 11, like), codegen

    return tile


_tile_8_3, _tile_8_2, _tile_8_1 = _tile(8, 3), _tile(8, 2), _tile(8, 1)
_tile_4_3, _tile_4_2, _tile_4_1 = _tile(4, 3), _tile(4, 2), _tile(4, 1)
_tile_2_3, _tile_2_2, _tile_2_1 = _tile(2, 3), _tile(2, 2), _tile(2, 1)
_tile_1_3, _tile_1_2, _tile_1_1 = _tile(1, 3), _tile(1, 2), _tile(1, 1)


@exact
def _panel(a, a_row, a_col, b, b_row, c, c_row, rows, k, columns, start, start_row, size, like):
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
                _tile_8_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            elif columns > lanes:
                _tile_8_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            else:
                _tile_8_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            i += 8
        elif left >= 4:
            if columns > 2 * lanes:
                _tile_4_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            elif columns > lanes:
                _tile_4_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            else:
                _tile_4_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            i += 4
        elif left >= 2:
            if columns > 2 * lanes:
                _tile_2_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            elif columns > lanes:
                _tile_2_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            else:
                _tile_2_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            i += 2
        else:
            if columns > 2 * lanes:
                _tile_1_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            elif columns > lanes:
                _tile_1_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            else:
                _tile_1_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, like)
            i += 1


@exact
def gemm(a, a_row, a_col, b, b_row, c, c_row, rows, columns, k, start, start_row, size, like):
    """``C = start + A B``: A ``(rows, k)``, B ``(k, columns)``, C ``(rows, columns)``; k >= 1.

    ``start`` is the address of a matrix whose rows are ``start_row`` elements apart (0: one row for
    all, a bias), or 0 for none. ``size`` is the size of an element in bytes.
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
        _panel(a, a_row, a_col, B, b_row, C, c_row, rows, k, width, S, start_row, size, like)
        j += width
