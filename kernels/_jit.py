"""How kernels are compiled, and on what.

Kernels compile at their first call with a dtype, release the GIL, and are kept on disk (`_cache.py`).
Fast-math is a named set, never all: without ``nnan`` and ``ninf`` LLVM must keep NaN and infinity.
"""

import platform
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import NumbaError
from numba.extending import intrinsic, lower_builtin, type_callable

from fastnn.kernels._cache import KernelCache, folder
from fastnn.kernels._inlined import Choice, Inlined, Kernel, uncollected

_I64 = ir.IntType(64)
_config: Any = numba.config  # its attributes are made at run time
_F = TypeVar("_F", bound=Callable[..., Any])

FAST = frozenset({"nsz", "arcp", "contract", "afn", "reassoc"})
COMPILED = not _config.DISABLE_JIT
EXACT = frozenset({"contract"})  # where correctness rests on the order of operations


def _features() -> list[str]:
    """Return the processor's features that numba compiles for: NUMBA_CPU_FEATURES, or the host's."""
    chosen = _config.CPU_FEATURES
    if chosen is None:
        return sorted(name for name, present in llvm.get_host_cpu_features().items() if present)
    return sorted(name[1:] for name in chosen.split(",") if name.startswith("+"))


def _vector_bytes() -> int:
    """Return the width of vectors that have fused multiply-add; 0 if unknown."""
    features = _features()
    if "avx512f" in features:
        return 64
    if "avx2" in features and "fma" in features:
        return 32
    return 16 if "neon" in features or platform.machine() in ("aarch64", "arm64") else 0


VECTOR_BYTES = _vector_bytes()


def _compile(function: _F, fastmath: frozenset[str], **more: Any) -> _F:
    options = {"nogil": True, "fastmath": set(fastmath), "error_model": "numpy", **more}
    options["no_cfunc_wrapper"] = True  # for kernels as arguments: a tenth of the time
    if not COMPILED:
        return function
    compiled = Kernel(function, targetoptions={**options, "nopython": True})
    compiled._cache = KernelCache(function)
    return compiled  # type: ignore[return-value]


def kernel(function: _F) -> _F:
    """Compile a kernel whose sums LLVM may reorder, so that they vectorise."""
    return _compile(function, FAST)


def exact(function: _F) -> _F:
    """Compile a function whose rounding steps must stay as written."""
    return _compile(function, EXACT)


def inlined(function: _F) -> _F:
    """Compile a function of numbers as :func:`exact`, and into its callers' loops, however long."""
    return _inner(function, EXACT, forceinline=True)


def inner(function: _F) -> _F:
    """Compile a function that only kernels call, as :func:`kernel`."""
    return _inner(function, FAST)


def inner_exact(function: _F) -> _F:
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
    return type(c)(np.longdouble(a) * np.longdouble(b) + np.longdouble(c))


@type_callable(fma)
def _type_of_fma(context):
    return lambda a, b, c: a(a, a, a)


@lower_builtin(fma, types.Float, types.Float, types.Float)
def _emit_fma(context, builder, signature, values):
    return builder.fma(*values)


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
        y = builder.fadd(builder.fmul(y, x), c)
    return y


def job(function: _F) -> Any:
    """Compile ``function(arguments, index)``, two integers, for compiled code to call by address.

    Unlike a kernel it compiles at once: define it inside a function that is called when it is needed.
    """
    from numba.core.ccallback import CFunc

    signature = (types.int64, types.int64), types.void
    compiled = CFunc(function, signature, {}, {"fastmath": set(FAST), "error_model": "numpy"})
    compiled._cache = KernelCache(function)
    with uncollected():
        compiled.compile()
    return compiled


def job_from(template: Any, function: Any, dtype: np.dtype[Any]) -> Any:
    """Compile a copy of ``template`` with a kernel and its dtype as globals ``_kernel``, ``_like``.

    Not a closure, because numba's disk cache knows a closure over a kernel again only in the same
    process. The copy takes the kernel's file and a name of its own, under which the cache finds it.
    """
    kernel_code = function.py_func.__code__
    name = f"{template.__name__}_{function.__name__}_{dtype}"
    code = template.__code__.replace(
        co_filename=kernel_code.co_filename, co_name=name, co_qualname=name
    )
    names = {**template.__globals__, "_kernel": function, "_like": dtype.type(0)}
    copy = FunctionType(code, names, name)
    copy.__module__ = function.__module__
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
    fresh = numba.jit(**function.targetoptions)(function.py_func)
    try:
        fresh.compile(signature)
    except NumbaError as error:
        raise TypeError(f"{function.__name__} cannot be compiled for {signature}") from error
    return fresh.inspect_asm(signature)


def machine() -> dict[str, Any]:
    """Return what the kernels are compiled with and for."""
    return {
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "LLVM": ".".join(map(str, llvm.llvm_version_info)),
        "CPU": _config.CPU_NAME or llvm.get_host_cpu_name(),
        "CPU features": _features(),
        "jit": COMPILED,
        "cache folder": str(folder() or "none is writable: set NUMBA_CACHE_DIR"),
    }
