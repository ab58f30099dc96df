"""Transposing a matrix, square by square in vector registers, emitted as LLVM vector IR."""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastnn.kernels.compiling.jit import VECTOR_BYTES, inner
from fastnn.kernels.emitted.vectors import I32, I64, Emitter


def _emit_transposition(builder: Any, like: Any, arguments: list[Any]) -> None:
    """Read a square as rows, shuffle it log2(lanes) times, write it as columns.

    A shuffle interleaves row i and row i + lanes / 2. After log2(lanes) shuffles, element j of row i is
    element i of row j. Whole squares are read and written without masks, which are slow before AVX-512.
    """
    a, a_row, c, c_row, rows, columns = arguments
    emit = Emitter(builder, like)
    lanes = emit.lanes
    indices = ir.VectorType(I32, lanes)
    halves = [
        ir.Constant(indices, [x for j in range(lanes // 2) for x in (first + j, first + j + lanes)])
        for first in (0, lanes // 2)
    ]

    def row(matrix: Any, stride: Any, index: int, count: Any, mask: Any) -> tuple[Any, Any]:
        """Return where a row is and which lanes of it there are; one beyond the last, at row 0.

        Out there a page may not be mapped, a thread's unused stack for one. Access to it without a
        lane does not fault, so that it stays so, and takes a microsecond every time.
        """
        if mask is None:
            return emit.pointer(matrix, I64(index), stride, 0), None
        present = builder.icmp_signed("<", I64(index), count)
        at = builder.select(present, I64(index), I64(0))
        lanes_there = builder.and_(mask, emit.broadcast(present, emit.flags))
        return emit.pointer(matrix, at, stride, 0), lanes_there

    def transposed(in_columns: Any, in_rows: Any) -> None:
        square = [emit.load(*row(a, a_row, i, rows, in_columns)) for i in range(lanes)]
        for _ in range(lanes.bit_length() - 1):
            pairs = zip(square[: lanes // 2], square[lanes // 2 :], strict=True)
            square = [builder.shuffle_vector(x, y, half) for x, y in pairs for half in halves]
        for j in range(lanes):
            emit.store(square[j], *row(c, c_row, j, columns, in_rows))

    whole = builder.and_(
        builder.icmp_signed(">=", rows, I64(lanes)), builder.icmp_signed(">=", columns, I64(lanes))
    )
    with builder.if_else(whole) as (then, otherwise):
        with then:
            transposed(None, None)
        with otherwise:
            transposed(emit.mask(columns), emit.mask(rows))


@intrinsic
def _transpose_square(context, a, a_row, c, c_row, rows, columns, like):
    def codegen(context, builder, signature, arguments):
        _emit_transposition(builder, like, list(arguments[:-1]))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, like), codegen


@inner
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
