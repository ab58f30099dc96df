"""Rows of a matrix added to a flat array, where each begins some elements behind the one before.

Rows that overlap are added one after the other. A loop over a short row would begin and end more often
than it adds, so whole vectors are emitted, with a mask in the last.
"""

from numba.core import cgutils, types
from numba.extending import intrinsic

from fastnn.kernels.compiling.jit import inner
from fastnn.kernels.emitted.vectors import I64, Emitter


@intrinsic
def _add_rows(context, rows, count, width, out, step, like):
    """``out[i * step + j] += rows[i, j]``; ``step`` in bytes."""

    def codegen(context, builder, signature, arguments):
        rows, count, width, out, step, _ = arguments
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

        with cgutils.for_range(builder, count) as row:
            source = builder.add(rows, builder.mul(builder.mul(row.index, width), size))
            target = builder.add(out, builder.mul(row.index, step))
            with cgutils.for_range(builder, whole) as vector:
                add(source, target, builder.mul(vector.index, lanes), None)
            with builder.if_then(builder.icmp_signed("<", done, width)):
                add(source, target, done, mask)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, like), codegen


@inner
def add_rows_at(rows, count, width, out, step, size, like):
    """``out[i * step + j] += rows[i, j]`` for a matrix ``(count, width)`` and a flat array, by address.

    ``step`` in elements of ``size`` bytes and of the dtype of ``like``.
    """
    _add_rows(rows, count, width, out, step * size, like)
