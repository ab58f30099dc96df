"""Whether arg-maxes agree, many rows at a time as lanes, emitted as LLVM vector IR.

In a loop over lanes inside a loop over entries, LLVM would write every lane's largest entry and its
index to memory, and read them again, for each entry. Here they stay in registers.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastnn.kernels.emitted.vectors import I64, Emitter


class _ArgMax:
    """Each lane's largest entry so far, and its index; variables of the emitted code."""

    def __init__(self, emit: Emitter, first: Any) -> None:
        self.emit = emit
        self._top = cgutils.alloca_once_value(emit.builder, first)
        zeros = ir.Constant(emit.integers, [0] * emit.lanes)
        self._index = cgutils.alloca_once_value(emit.builder, zeros)

    @property
    def index(self) -> Any:
        return self.emit.builder.load(self._index)

    def compare(self, values: Any, index: Any) -> None:
        """Take the entries of an index, a later one only if it is larger."""
        builder = self.emit.builder
        larger = builder.fcmp_ordered(">", values, builder.load(self._top))
        indices = self.emit.broadcast_integer(index)
        builder.store(builder.select(larger, values, builder.load(self._top)), self._top)
        builder.store(builder.select(larger, indices, self.index), self._index)


@intrinsic
def _arg_maxes_apart(context, d, t, row, k, like):
    """Return in how many lanes arg-maxes of d and t differ, and in how many t has a NaN.

    d, t: addresses of entry 0 of the first lane of a vector, of ``(k, lanes)`` blocks whose rows are
    ``row`` elements apart.
    """

    def codegen(context, builder, signature, arguments):
        d, t, row, k, _ = arguments
        emit = Emitter(builder, like)

        def read(block: Any, j: Any) -> Any:
            return emit.load(emit.pointer(block, j, row, 0), None)

        first = read(t, I64(0))
        ours, theirs = _ArgMax(emit, read(d, I64(0))), _ArgMax(emit, first)
        unknown = cgutils.alloca_once_value(builder, builder.fcmp_unordered("uno", first, first))
        with cgutils.for_range_slice(builder, I64(1), k, I64(1), I64) as (j, _):
            values = read(t, j)
            ours.compare(read(d, j), j)
            theirs.compare(values, j)
            odd = builder.fcmp_unordered("uno", values, values)
            builder.store(builder.or_(builder.load(unknown), odd), unknown)

        def count(flags: Any) -> Any:
            bits = ir.IntType(emit.lanes)
            return builder.zext(builder.ctpop(builder.bitcast(flags, bits)), I64)

        apart = builder.icmp_signed("!=", ours.index, theirs.index)
        pair = [count(apart), count(builder.load(unknown))]
        return context.make_tuple(builder, signature.return_type, pair)

    return types.UniTuple(types.int64, 2)(*[types.int64] * 4, like), codegen


arg_maxes_apart: Any = _arg_maxes_apart  # its types are those that it is compiled for
