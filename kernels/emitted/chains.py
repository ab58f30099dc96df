"""Chains of fused multiply-adds on whole registers: the rate that no matrix product exceeds."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from fastnn.kernels.emitted.vectors import I64, Emitter

CHAINS = 12  # more than units times their latency, and few enough for 16 registers


@intrinsic
def _multiply_add_chains(context, steps, at, like):
    """Iterate ``a = a x + x`` in several chains; read x at an address, write their sum after it."""

    def codegen(context, builder, signature, arguments):
        steps, at, _ = arguments
        emit = Emitter(builder, like)
        pointer = builder.inttoptr(at, emit.vector.as_pointer())
        x = emit.load(pointer, None)
        first = [
            builder.fmul(x, ir.Constant(emit.vector, [i / 16] * emit.lanes)) for i in range(CHAINS)
        ]
        chains = [cgutils.alloca_once_value(builder, value) for value in first]
        with cgutils.for_range(builder, steps):
            for chain in chains:
                builder.store(emit.muladd(builder.load(chain), x, x), chain)
        total = emit.zero
        for chain in chains:
            total = builder.fadd(total, builder.load(chain))
        emit.store(total, builder.gep(pointer, [I64(1)]), None)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, like), codegen


multiply_add_chains: Any = _multiply_add_chains  # its types are those that it is compiled for
