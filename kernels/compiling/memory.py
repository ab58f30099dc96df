"""Memory by address, for compiled functions: arrays and single values at an integer address.

Each is emitted where it is used, which takes a tenth of the time of compiling a function that does it.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

_I64 = ir.IntType(64)


def stack(size: int) -> Any:
    """Return a function, for kernels, that gives the address of ``size`` bytes on the stack."""

    @intrinsic
    def address(context):
        def codegen(context, builder, signature, values):
            with builder.goto_entry_block():
                space = builder.alloca(ir.ArrayType(ir.IntType(8), size))
            space.align = 64
            return builder.ptrtoint(space, _I64)

        return types.int64(), codegen

    return address


@intrinsic
def allocate(context, size):
    """Allocate ``size`` bytes, to be freed by :func:`release`; return their address, 0 on failure."""

    def codegen(context, builder, signature, values):
        return builder.ptrtoint(context.nrt.allocate(builder, values[0]), _I64)

    return types.int64(types.int64), codegen


@intrinsic
def release(context, address):
    """Free memory that :func:`allocate` has returned."""

    def codegen(context, builder, signature, values):
        context.nrt.free(builder, builder.inttoptr(values[0], ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _values(dtype: Any) -> Any:
    @intrinsic
    def pointer(context, address):
        def codegen(context, builder, signature, values):
            return builder.inttoptr(values[0], context.get_value_type(signature.return_type))

        return types.CPointer(dtype)(types.int64), codegen

    return pointer


# The 64-bit integers, and the float64 numbers, at an address, to read and write by their index.
words, numbers = _values(types.int64), _values(types.float64)


@intrinsic
def _array_at(context, address, rows, columns, like):
    """Return the C-contiguous ``(rows, columns)`` array at an address; ``like``: array or number."""
    dtype = getattr(like, "dtype", like)

    def codegen(context, builder, signature, values):
        from numba.np.arrayobj import make_array, populate_array

        address, rows, columns, _ = values
        pointer = builder.inttoptr(address, context.get_data_type(dtype).as_pointer())
        size = _I64(dtype.bitwidth // 8)
        strides = [builder.mul(columns, size), size]
        array = make_array(signature.return_type)(context, builder)
        populate_array(array, pointer, [rows, columns], strides, size, meminfo=None)
        return array._getvalue()

    return types.Array(dtype, 2, "C")(types.int64, types.int64, types.int64, like), codegen


array_at: Any = _array_at  # its types are those that it is compiled for
