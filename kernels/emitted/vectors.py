"""Vector operations on whole registers, emitted as LLVM IR: what the micro-kernels are written in."""

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastnn.kernels.compiling.jit import VECTOR_BYTES, emit_muladd

I32, I64 = ir.IntType(32), ir.IntType(64)


class Emitter:
    """Operations on vectors of one element type, written with one IR builder.

    The vectors are whole registers, or one of so many equal parts of them.
    """

    def __init__(self, builder: Any, like: Any, parts: int = 1) -> None:
        self.builder = builder
        self.size = like.bitwidth // 8
        self.lanes = VECTOR_BYTES // parts // self.size
        self.element = ir.FloatType() if self.size == 4 else ir.DoubleType()
        self.vector = ir.VectorType(self.element, self.lanes)
        self.flags = ir.VectorType(ir.IntType(1), self.lanes)
        self.integer = ir.IntType(8 * self.size)
        self.integers = ir.VectorType(self.integer, self.lanes)
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
        elements = self.builder.add(self.builder.mul(row, stride), I64(column))
        return self.builder.add(address, self.builder.mul(elements, I64(self.size)))

    def broadcast(self, value: Any, vector: Any) -> Any:
        first = self.builder.insert_element(ir.Constant(vector, ir.Undefined), value, I32(0))
        lanes = ir.Constant(ir.VectorType(I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), lanes)

    def mask(self, count: Any) -> Any:
        """Return which lanes are below ``count``."""
        lane = ir.Constant(self.integers, list(range(self.lanes)))
        return self.builder.icmp_signed("<", lane, self.broadcast_integer(count))

    def broadcast_integer(self, value: Any) -> Any:
        """Return a 64-bit integer in every lane, with as many bits as an element has."""
        narrow = value if self.size == 8 else self.builder.trunc(value, self.integer)
        return self.broadcast(narrow, self.integers)

    def load(self, pointer: Any, mask: Any, otherwise: Any = None) -> Any:
        """Return a vector; ``otherwise``: the lanes that are not in the mask, 0 unless given."""
        if mask is None:
            value = self.builder.load(pointer)
            value.align = self.size
            return value
        arguments = [pointer.type, I32, self.flags, self.vector]
        load = self.function("llvm.masked.load", self.vector, arguments)
        return self.builder.call(load, [pointer, I32(self.size), mask, otherwise or self.zero])

    def prefetch(self, address: Any, write: bool = False) -> None:
        byte = ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32]),
            "llvm.prefetch.p0i8",
        )
        keep, data = I32(3), I32(1)
        pointer = self.builder.inttoptr(address, byte)
        self.builder.call(function, [pointer, I32(int(write)), keep, data])

    def opaque(self, integer: Any) -> Any:
        """Return the integer unchanged; an assembly statement hides its origin from LLVM."""
        same = ir.InlineAsm(ir.FunctionType(I64, [I64]), "", "=r,0")
        return self.builder.call(same, [integer])

    def muladd(self, a: Any, b: Any, c: Any) -> Any:
        """Return ``a b + c``, as :func:`fastnn.kernels.compiling.jit.muladd`."""
        return emit_muladd(self.builder, a, b, c)

    def sqrt(self, x: Any) -> Any:
        return self.builder.call(self.function("llvm.sqrt", self.vector, [self.vector]), [x])

    def abs(self, x: Any) -> Any:
        return self.builder.call(self.function("llvm.fabs", self.vector, [self.vector]), [x])

    def relu(self, z: Any) -> Any:
        """Return z, -0 where it is negative, +0 where it is zero of either sign."""
        negative = self.builder.fcmp_ordered("<", z, self.zero)
        minus_zero = ir.Constant(self.vector, [-0.0] * self.lanes)
        return self.builder.select(negative, minus_zero, self.builder.fadd(z, self.zero))

    def relu_gradient(self, dy: Any, y: Any) -> Any:
        """Return ``dy`` times 0 where :meth:`relu` gave y a minus sign, else times 1."""
        bits = self.builder.bitcast(y, self.integers)
        positive = self.builder.icmp_signed(">=", bits, ir.Constant(self.integers, [0] * self.lanes))
        one = ir.Constant(self.vector, [1.0] * self.lanes)
        return self.builder.fmul(dy, self.builder.select(positive, one, self.zero))

    def store(self, value: Any, pointer: Any, mask: Any) -> None:
        if mask is None:
            self.builder.store(value, pointer).align = self.size
            return
        arguments = [self.vector, pointer.type, I32, self.flags]
        store = self.function("llvm.masked.store", ir.VoidType(), arguments)
        self.builder.call(store, [value, pointer, I32(self.size), mask])
