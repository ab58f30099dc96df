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
:data:`RELU`, :data:`RELU_GRADIENT`, :data:`DESCENT` or :data:`SGD`. ReLU writes -0 for what was
negative and +0 for what was zero: the same number, whose sign tells the gradient all it needs, so that
``z`` need not be kept.

Matrices come as addresses and strides in elements; ``lr`` and ``mu`` are numbers of their
dtype.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastnn.kernels._jit import COMPILED, VECTOR_BYTES, inner_exact

AVAILABLE = COMPILED and VECTOR_BYTES > 0
TILE_ROWS = 4 if VECTOR_BYTES == 32 else 8  # AVX2 has 16 vector registers, AVX-512 and NEON 32
AHEAD = 8  # rows
_LINE = 64  # bytes
PLAIN, RELU, RELU_GRADIENT, DESCENT, SGD = range(5)  # what is done to a tile before it is stored

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
        at = self.at(address, row, stride, column)
        return self.builder.inttoptr(at, self.vector.as_pointer())

    def at(self, address: Any, row: Any, stride: Any, column: int) -> Any:
        """Return the address of ``matrix[row, column]``."""
        elements = self.builder.add(self.builder.mul(row, stride), _I64(column))
        return self.builder.add(address, self.builder.mul(elements, _I64(self.size)))

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

    def prefetch(self, address: Any, write: bool = False) -> None:
        byte = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32]),
            "llvm.prefetch.p0i8",
        )
        keep, data = _I32(3), _I32(1)
        pointer = self.builder.inttoptr(address, byte)
        self.builder.call(function, [pointer, _I32(int(write)), keep, data])

    def relu(self, z: Any) -> Any:
        """Return z, -0 where it is negative, +0 where it is zero of either sign."""
        negative = self.builder.fcmp_ordered("<", z, self.zero)
        minus_zero = ir.Constant(self.vector, [-0.0] * self.lanes)
        return self.builder.select(negative, minus_zero, self.builder.fadd(z, self.zero))

    def relu_gradient(self, dy: Any, y: Any) -> Any:
        """Return ``dy`` times 0 where :meth:`relu` gave y a minus sign, else times 1."""
        integers = ir.VectorType(ir.IntType(8 * self.size), self.lanes)
        bits = self.builder.bitcast(y, integers)
        positive = self.builder.icmp_signed(">=", bits, ir.Constant(integers, [0] * self.lanes))
        one = ir.Constant(self.vector, [1.0] * self.lanes)
        return self.builder.fmul(dy, self.builder.select(positive, one, self.zero))

    def store(self, value: Any, pointer: Any, mask: Any) -> None:
        if mask is None:
            self.builder.store(value, pointer).align = self.size
            return
        arguments = [self.vector, pointer.type, _I32, self.flags]
        store = self.function("llvm.masked.store", ir.VoidType(), arguments)
        self.builder.call(store, [value, pointer, _I32(self.size), mask])


def _emit_tile(builder: Any, like: Any, rows: int, vectors: int, arguments: list[Any]) -> None:
    a, a_row, a_column, b, b_row, c, c_row, k, columns, start, start_row, mode, lr, momentum = arguments
    emit = _Emitter(builder, like)
    fma = emit.function("llvm.fma", emit.vector, [emit.vector] * 3)
    element_size = _I64(emit.size)
    last = emit.mask(builder.sub(columns, _I64((vectors - 1) * emit.lanes)))
    masks = [None] * (vectors - 1) + [last]
    offsets = [v * emit.lanes for v in range(vectors)]

    # C begins as `start`, or as zero where that is a null address or something else: then no lane is
    # loaded, from an address that is mapped all the same, as a masked load that would fault costs a
    # microsecond
    other, other_row = start, start_row
    has_start = builder.and_(
        builder.icmp_signed("!=", start, _I64(0)), builder.icmp_signed("<", mode, _I64(RELU_GRADIENT))
    )
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

    # What another core has written, or has read since this one wrote it, takes as long to come as
    # dozens of steps: B some rows ahead, A where the next tile will read it (or, where k runs down a
    # column, some rows ahead too), C now, for when k is through.
    in_rows = builder.icmp_signed("==", a_column, _I64(1))
    ahead_in_rows = builder.mul(builder.mul(_I64(rows), a_row), element_size)
    next_stride = builder.select(in_rows, _I64(_LINE), builder.mul(a_column, element_size))
    next_a = builder.add(
        a, builder.select(in_rows, ahead_in_rows, builder.mul(_I64(AHEAD), next_stride))
    )
    for m in range(rows):
        for offset in offsets:
            emit.prefetch(emit.at(c, _I64(m), c_row, offset), write=True)

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
    ahead = builder.add(step, _I64(AHEAD))
    for offset in offsets:
        emit.prefetch(emit.at(b, ahead, b_row, offset))
    emit.prefetch(builder.add(next_a, builder.mul(step, next_stride)))
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
    summed_up = builder.append_basic_block("summed_up")
    builder.cbranch(builder.icmp_signed("<", following, k), loop, summed_up)
    builder.position_at_end(summed_up)
    own = [[emit.pointer(c, _I64(m), c_row, offset) for offset in offsets] for m in range(rows)]
    besides = [
        [emit.pointer(other, _I64(m), other_row, offset) for offset in offsets] for m in range(rows)
    ]
    kinds = (PLAIN, RELU, RELU_GRADIENT, DESCENT, SGD)
    stores = {kind: builder.append_basic_block("store") for kind in kinds}
    done = builder.append_basic_block("done")
    switch = builder.switch(mode, stores[PLAIN])
    for kind, block in stores.items():
        if kind != PLAIN:
            switch.add_case(_I64(kind), block)
        builder.position_at_end(block)
        for m in range(rows):
            for value, at, beside, mask in zip(summed[m], own[m], besides[m], masks, strict=True):
                if kind == RELU:
                    value = emit.relu(value)
                elif kind == RELU_GRADIENT:
                    value = emit.relu_gradient(value, emit.load(beside, mask))
                elif kind == DESCENT:
                    rate = emit.broadcast(lr, emit.vector)
                    change = builder.call(fma, [rate, value, emit.zero])  # rounded as SGD's velocity
                    value = builder.fsub(emit.load(at, mask), change)
                elif kind == SGD:
                    velocity = builder.fmul(
                        emit.load(beside, mask), emit.broadcast(momentum, emit.vector)
                    )
                    rate = emit.broadcast(lr, emit.vector)
                    velocity = builder.call(fma, [rate, value, velocity])
                    emit.store(velocity, beside, mask)
                    value = builder.fsub(emit.load(at, mask), velocity)
                emit.store(value, at, mask)
        builder.branch(done)
    builder.position_at_end(done)


def _tile(rows: int, vectors: int) -> Any:
    """Return ``C = start + A B`` for ``rows`` rows and ``vectors`` vectors of columns, as a call."""

    @intrinsic
    def tile(context, a, a_row, a_col, b, b_row, c, c_row, k, columns, start, start_row, mode, lr, mu):
        def codegen(context, builder, signature, arguments):
            _emit_tile(builder, lr, rows, vectors, list(arguments))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 12, lr, lr), codegen

    return tile


_tile_8_3, _tile_8_2, _tile_8_1 = _tile(8, 3), _tile(8, 2), _tile(8, 1)
_tile_4_3, _tile_4_2, _tile_4_1 = _tile(4, 3), _tile(4, 2), _tile(4, 1)
_tile_2_3, _tile_2_2, _tile_2_1 = _tile(2, 3), _tile(2, 2), _tile(2, 1)
_tile_1_3, _tile_1_2, _tile_1_1 = _tile(1, 3), _tile(1, 2), _tile(1, 1)


@inner_exact
def _panel(a, a_row, a_col, b, b_row, c, c_row, rows, k, columns, start, start_row, mode, size, lr, mu):
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
                _tile_8_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            elif columns > lanes:
                _tile_8_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            else:
                _tile_8_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            i += 8
        elif left >= 4:
            if columns > 2 * lanes:
                _tile_4_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            elif columns > lanes:
                _tile_4_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            else:
                _tile_4_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            i += 4
        elif left >= 2:
            if columns > 2 * lanes:
                _tile_2_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            elif columns > lanes:
                _tile_2_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            else:
                _tile_2_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            i += 2
        else:
            if columns > 2 * lanes:
                _tile_1_3(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            elif columns > lanes:
                _tile_1_2(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            else:
                _tile_1_1(A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, lr, mu)
            i += 1


@inner_exact
def gemm(a, a_row, a_col, b, b_row, c, c_row, rows, columns, k, start, start_row, mode, size, lr, mu):
    """``C = start + A B``: A ``(rows, k)``, B ``(k, columns)``, C ``(rows, columns)``; k >= 1.

    ``start`` is the address of a matrix whose rows are ``start_row`` elements apart (0: one row for
    all, a bias), or 0 for none. ``mode``: see the module's docstring. For :data:`RELU_GRADIENT` there
    is no start, and its address is that of what :data:`RELU` wrote. :data:`DESCENT` does
    ``C -= lr A B``; :data:`SGD` ``V = mu V + lr A B``, ``C -= V``, with the velocity in the place of
    the start. ``size``: of an element in bytes.
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
        _panel(a, a_row, a_col, B, b_row, C, c_row, rows, k, width, S, start_row, mode, size, lr, mu)
        j += width


def _emit_transposition(builder: Any, like: Any, arguments: list[Any]) -> None:
    """Read a square as rows, ride log2(lanes) perfect shuffles, write it as columns.

    A shuffle deals row i and row i + lanes / 2 into one another; done log2(lanes) times, element j of
    row i has come to element i of row j.
    """
    a, a_row, c, c_row, rows, columns = arguments
    emit = _Emitter(builder, like)
    lanes = emit.lanes
    indices = ir.VectorType(_I32, lanes)
    halves = [
        ir.Constant(indices, [x for j in range(lanes // 2) for x in (first + j, first + j + lanes)])
        for first in (0, lanes // 2)
    ]
    in_columns, in_rows = emit.mask(columns), emit.mask(rows)

    def row(matrix: Any, stride: Any, index: int, count: Any, mask: Any) -> tuple[Any, Any]:
        """Return where a row is and which lanes of it there are; one beyond the last, at row 0.

        Out there a page may not be mapped, a thread's unused stack for one. Access to it without a
        lane does not fault, so that it stays so, and takes a microsecond every time.
        """
        present = builder.icmp_signed("<", _I64(index), count)
        at = builder.select(present, _I64(index), _I64(0))
        lanes_there = builder.and_(mask, emit.broadcast(present, emit.flags))
        return emit.pointer(matrix, at, stride, 0), lanes_there

    square = [emit.load(*row(a, a_row, i, rows, in_columns)) for i in range(lanes)]
    for _ in range(lanes.bit_length() - 1):
        pairs = zip(square[: lanes // 2], square[lanes // 2 :], strict=True)
        square = [builder.shuffle_vector(x, y, half) for x, y in pairs for half in halves]
    for j in range(lanes):
        emit.store(square[j], *row(c, c_row, j, columns, in_rows))


@intrinsic
def _transpose_square(context, a, a_row, c, c_row, rows, columns, like):
    def codegen(context, builder, signature, arguments):
        _emit_transposition(builder, like, list(arguments[:-1]))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, like), codegen


@inner_exact
def transpose(a, a_row, c, c_row, rows, columns, size, like):
    """``C = A^T``: A ``(rows, columns)``, C ``(columns, rows)``."""
    lanes = VECTOR_BYTES // size
    for i in range(0, rows, lanes):
        for j in range(0, columns, lanes):
            _transpose_square(
                a + (i * a_row + j) * size,
                a_row,
                c + (j * c_row + i) * size,
                c_row,
                min(rows - i, lanes),
                min(columns - j, lanes),
                like,
            )
