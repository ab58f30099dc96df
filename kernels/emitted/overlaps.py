"""Add rows of a matrix to a flat array, each some elements after the previous one.

A compiled loop over a short row would begin and end more often than it adds, so whole vectors are
emitted, with a mask in the last.
"""

from numba.core import cgutils, types
from numba.extending import intrinsic

from fastnn.kernels.emitted.vectors import I64, Emitter


@intrinsic
def add_rows(context, rows, row, count, width, out, step, like):
    """``out[i * step + j] += rows[i * row + j]`` for ``i < count``, ``j < width``, in the order of i.

    ``rows``, ``out``: addresses; ``row``, ``step`` in bytes, the rest in elements of the dtype of
    ``like``.
    """

    def codegen(context, builder, signature, arguments):
        rows, row, count, width, out, step, _ = arguments
        emit = Emitter(builder, like)
        lanes, pointer = I64(emit.lanes), emit.vector.as_pointer()
        whole = builder.sdiv(width, lanes)
        done = builder.mul(whole, lanes)
        mask = emit.mask(builder.sub(width, done))
        size = I64(emit.size)

        def add(source, target, column, mask):
            offset = builder.mul(column, size)
            at, to = (builder.inttoptr(builder.add(a, offset), pointer) for a in (source, target))
            emit.store(builder.fadd(emit.load(to, mask), emit.load(at, mask)), to, mask)

        with cgutils.for_range(builder, count) as loop:
            source = builder.add(rows, builder.mul(loop.index, row))
            target = builder.add(out, builder.mul(loop.index, step))
            with cgutils.for_range(builder, whole) as vector:
                add(source, target, builder.mul(vector.index, lanes), None)
            with builder.if_then(builder.icmp_signed("<", done, width)):
                add(source, target, done, mask)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, like), codegen
