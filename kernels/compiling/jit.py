"""How kernels are compiled, and on what.

Kernels compile at their first call with a dtype, release the GIL, and are kept on disk (`_cache.py`).

A promise about bits or accuracy rests on rounding steps that are the same wherever an element stands:
in a loop's vectors, in its scalar rest, in an array of another size. So LLVM may neither reorder nor
contract what :func:`exact` compiles. Where a fused multiply-add is meant, the code says :func:`fma` or
:func:`muladd`. Where fast-math is allowed, it is a named set, never all: without ``nnan`` and ``ninf``
LLVM must keep NaN and infinity.
"""

import math
import os
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError
from numba.extending import intrinsic, lower_builtin, type_callable

from fastnn.kernels.compiling import target
from fastnn.kernels.compiling.cache import KernelCache, folder
from fastnn.kernels.compiling.inlined import Choice, Inlined, Kernel, WidePipeline, uncollected

_I64 = ir.IntType(64)
_F = TypeVar("_F", bound=Callable[..., Any])

COMPILED, VECTOR_BYTES = target.COMPILED, target.VECTOR_BYTES
FAST = frozenset({"nsz", "arcp", "contract", "afn", "reassoc"})
EXACT: frozenset[str] = frozenset()

if hasattr(os, "register_at_fork"):
    # A fork waits for what another thread compiles: the child would find the compiler locked for ever.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


def _compile(function: _F, fastmath: frozenset[str], wide: bool = True) -> _F:
    options = {"nogil": True, "fastmath": set(fastmath), "error_model": "numpy"}
    options["no_cfunc_wrapper"] = True  # for kernels as arguments: a tenth of the time
    if not COMPILED:
        return function
    compiled = Kernel(function, {**options, "nopython": True}, wide)
    compiled._cache = KernelCache(function)
    return compiled  # type: ignore[return-value]


def kernel(function: _F) -> _F:
    """Compile a kernel in which LLVM may reorder sums, so that they vectorise, and contract.

    Its results differ in their last bits by the processor and by where arrays lie in memory.
    """
    return _compile(function, FAST)


def exact(function: _F) -> _F:
    """Compile a function whose rounding steps stay as written."""
    return _compile(function, EXACT)


def exact_light(function: _F) -> _F:
    """Compile as :func:`exact` a loop that waits for memory: its vectors have the width LLVM prefers.

    On Intel's processors with AVX-512 that is half a register, which costs less time there.
    """
    return _compile(function, EXACT, wide=False)


def inlined(function: _F) -> _F:
    """Compile a function of numbers as :func:`exact`, and into its callers' loops, however long."""
    return _inner(function, EXACT, forceinline=True)


def inner(function: _F) -> _F:
    """Compile a function that only kernels call, as :func:`exact`."""
    return _inner(function, EXACT)


def _inner(function: _F, fastmath: frozenset[str], **more: Any) -> _F:
    options = {"nogil": True, "fastmath": set(fastmath), "error_model": "numpy", **more}
    return Inlined(function, options) if COMPILED else function  # type: ignore[return-value]


def by_dtype(single: Callable[..., Any], double: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of numbers or arrays: ``single`` if the first has 32 bits, else ``double``.

    The choice is made when the calling kernel compiles; nothing of it is left at run time.
    """

    def function(x: Any, *rest: Any) -> Any:
        return single(x, *rest) if x.dtype.itemsize == 4 else double(x, *rest)

    return Choice(function, single, double) if COMPILED else function


def elementary(function: Any, single: Any, double: Any) -> Any:
    """Return ``function(x, constants)`` as a function of x: ``single`` for float32, else ``double``."""

    def with_constants(constants: Any) -> Any:
        return inlined(lambda x: function(x, constants))

    return by_dtype(with_constants(single), with_constants(double))


def fma(a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c`` rounded once."""
    x, y, z, dtype = float(a), float(b), float(c), type(c)
    if not all(map(math.isfinite, (x, y, z))):
        return dtype(x * y + z)
    if dtype is np.float32:
        with np.errstate(over="ignore"):
            return dtype(_sum_to_odd(x * y, z))  # the product is exact
    return dtype(_fma_64(x, y, z))


def _sum_to_odd(x: float, y: float) -> float:
    """Return a number next to a sum, with an odd last bit if it is not exact: it rounds as the sum."""
    total = x + y
    back = total - x
    lost = (x - (total - back)) + (y - back)
    if lost == 0 or np.float64(total).view(np.int64) & 1:
        return total
    return math.nextafter(total, math.copysign(math.inf, lost))


def _fma_64(x: float, y: float, z: float) -> float:
    (p, q), (r, s), (t, u) = (number.as_integer_ratio() for number in (x, y, z))
    exact = p * r * u + t * q * s
    if exact == 0:
        return x * y + z  # for its sign
    try:
        return exact / (q * s * u)  # Python rounds the quotient of integers once
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


@type_callable(fma)
def _type_of_fma(context):
    return lambda a, b, c: a(a, a, a)


@lower_builtin(fma, types.Float, types.Float, types.Float)
def _emit_fma(context, builder, signature, values):
    if target.FUSED or signature.return_type.bitwidth > 32:
        return builder.fma(*values)
    a, b, c = (builder.fpext(value, ir.DoubleType()) for value in values)
    return builder.fptrunc(builder.fadd(builder.fmul(a, b), c), ir.FloatType())


def muladd(a: Any, b: Any, c: Any) -> Any:
    """Return ``a * b + c``, rounded once if the machine does that in one step, everywhere alike."""
    return a * b + c


@type_callable(muladd)
def _type_of_muladd(context):
    return lambda a, b, c: a(a, a, a)


def emit_muladd(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return :func:`muladd` of numbers or vectors."""
    if not target.FUSED:
        return builder.fadd(builder.fmul(a, b), c)
    if not isinstance(a.type, ir.VectorType):
        return builder.fma(a, b, c)
    bits = 32 if isinstance(a.type.element, ir.FloatType) else 64
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(a.type, [a.type] * 3),
        f"llvm.fma.v{a.type.count}f{bits}",
    )
    return builder.call(function, [a, b, c])


@lower_builtin(muladd, types.Float, types.Float, types.Float)
def _emit_muladd(context, builder, signature, values):
    return emit_muladd(builder, *values)


def polynomial(x: Any, coefficients: tuple[Any, ...]) -> Any:
    """Return ``c[0] + c[1] x + c[2] x**2 + ...`` by Horner's rule, without a loop."""
    *lower, y = coefficients
    for c in reversed(lower):
        y = y * x + c
    return y


@type_callable(polynomial)
def _type_of_polynomial(context):
    return lambda x, coefficients: x


@lower_builtin(polynomial, types.Float, types.UniTuple)
def _emit_polynomial(context, builder, signature, values):
    x, coefficients = values
    *lower, y = cgutils.unpack_tuple(builder, coefficients)
    for c in reversed(lower):
        y = emit_muladd(builder, y, x, c)
    return y


def job(function: _F) -> Any:
    """Compile ``function(arguments, index)``, two integers, for compiled code to call by address.

    Unlike a kernel it compiles at once: define it inside a function that is called when it is needed.
    """
    from numba.core.ccallback import CFunc

    signature = (types.int64, types.int64), types.void
    options = {"error_model": "numpy"}
    compiled = CFunc(function, signature, {}, options, pipeline_class=WidePipeline)
    compiled._cache = KernelCache(function)
    with uncollected():
        compiled.compile()
    return compiled


def job_from(template: Any, value: Any, dtype: np.dtype[Any]) -> Any:
    """Compile a copy of ``template`` with a value and a dtype as globals ``_kernel``, ``_like``.

    The value is a kernel, or a constant that has a name. Not a closure, because numba's disk cache
    knows a closure over a kernel again only in the same process. The copy takes the kernel's file and
    a name of its own, under which the cache finds it.
    """
    kernel_code = getattr(value, "py_func", template).__code__
    name = f"{template.__name__}_{getattr(value, '__name__', '') or value.name}_{dtype}"
    code = template.__code__.replace(
        co_filename=kernel_code.co_filename, co_name=name, co_qualname=name
    )
    names = {**template.__globals__, "_kernel": value, "_like": dtype.type(0)}
    copy = FunctionType(code, names, name)
    copy.__module__ = getattr(value, "py_func", template).__module__
    return job(copy)


@intrinsic
def call_job(context, address, arguments, index):
    """Call the job at ``address``."""

    def codegen(context, builder, signature, values):
        function = ir.FunctionType(ir.VoidType(), [_I64, _I64])
        builder.call(builder.inttoptr(values[0], function.as_pointer()), values[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


# Operations on the 64-bit integer at an address, by several threads. What a thread wrote before a store
# is there for whoever loads the stored value.


@intrinsic
def atomic_load(context, address):
    """Return the integer."""

    def codegen(context, builder, signature, values):
        return builder.load_atomic(builder.inttoptr(values[0], _I64.as_pointer()), "acquire", 8)

    return types.int64(types.int64), codegen


@intrinsic
def atomic_store(context, address, value):
    """Write the integer."""

    def codegen(context, builder, signature, values):
        pointer = builder.inttoptr(values[0], _I64.as_pointer())
        builder.store_atomic(values[1], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def atomic_add(context, address, value):
    """Add to the integer; return what was there before."""

    def codegen(context, builder, signature, values):
        pointer = builder.inttoptr(values[0], _I64.as_pointer())
        return builder.atomic_rmw("add", pointer, values[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def atomic_replace(context, address, expected, value):
    """Write the integer if it is as expected; return whether it was."""

    def codegen(context, builder, signature, values):
        pointer = builder.inttoptr(values[0], _I64.as_pointer())
        pair = builder.cmpxchg(pointer, values[1], values[2], "seq_cst", "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(types.int64, types.int64, types.int64), codegen


def assembly(function: Any, *arguments: Any) -> str:
    """Return the assembly of a kernel for arguments like these; ``TypeError`` if it takes no such ones.

    It is compiled anew, for code that was loaded from the cache has no assembly to show.
    """
    signature = tuple(numba.typeof(argument) for argument in arguments)
    fresh = Kernel(function.py_func, function.targetoptions, function.wide)
    try:
        fresh.compile(signature)
    except NumbaError as error:
        raise TypeError(f"{function.__name__} cannot be compiled for {signature}") from error
    return fresh.inspect_asm(signature)


def loop_bytes(function: Any) -> int:
    """Return the width of the vectors that a kernel's loops use."""
    return VECTOR_BYTES if getattr(function, "wide", True) else target.loop_bytes()


def machine() -> dict[str, Any]:
    """Return what the kernels are compiled with and for."""
    return {
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "LLVM": ".".join(map(str, llvm.llvm_version_info)),
        "CPU": target.cpu(),
        "CPU features": target.features(),
        "vector bytes": VECTOR_BYTES,
        "loop bytes": target.loop_bytes() if COMPILED else 0,
        "jit": COMPILED,
        "cache folder": str(folder() or "none is writable: set NUMBA_CACHE_DIR"),
    }
