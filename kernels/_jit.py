"""The only file that imports numba: how kernels are compiled, and on what.

Kernels compile at their first call with a dtype, release the GIL, and are cached on disk. Fast-math
is a named set, never all of it: without ``nnan`` and ``ninf`` LLVM must keep NaN and infinity.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload

_config: Any = numba.config  # its attributes are made at run time
_F = TypeVar("_F", bound=Callable[..., Any])

FAST = frozenset({"nsz", "arcp", "contract", "afn", "reassoc"})
COMPILED = not _config.DISABLE_JIT
EXACT = frozenset({"contract"})  # where correctness rests on the order of operations


def _compile(function: _F, fastmath: frozenset[str]) -> _F:
    options: dict[str, Any] = {"nogil": True, "fastmath": set(fastmath), "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # no writable cache folder anywhere: compile in every process
        return numba.njit(**options)(function)  # type: ignore[no-any-return]


def kernel(function: _F) -> _F:
    """Compile a kernel whose sums LLVM may reorder, so that they vectorise."""
    return _compile(function, FAST)


def exact(function: _F) -> _F:
    """Compile a function whose rounding steps must stay as written."""
    return _compile(function, EXACT)


def by_dtype(single: Callable[[Any], Any], double: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of a number or array: ``single`` for float32, ``double`` for float64.

    The choice is made when the calling kernel compiles; nothing of it is left at run time.
    """

    def function(x: Any) -> Any:
        return single(x) if x.dtype == np.float32 else double(x)

    @overload(function)
    def _choose(x):
        chosen = single if getattr(x, "dtype", x) == numba.types.float32 else double
        return lambda x: chosen(x)

    return function


@intrinsic
def _pointer(typing_context, address, like):
    """Return an integer address as a pointer to ``like``'s elements."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), codegen


@exact
def array_at(address, rows, columns, like):
    """Return the C-contiguous ``(rows, columns)`` array of ``like``'s dtype at an address."""
    return numba.carray(_pointer(address, like), (rows, columns))  # type: ignore


def machine() -> dict[str, Any]:
    """Return what the kernels are compiled with and for."""
    features = sorted(name for name, present in llvm.get_host_cpu_features().items() if present)
    return {
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "LLVM": ".".join(map(str, llvm.llvm_version_info)),
        "CPU": llvm.get_host_cpu_name(),
        "CPU features": features,
        "jit": COMPILED,
        "numba threads": _config.NUMBA_NUM_THREADS,
        "cache folder": _config.CACHE_DIR or _cache_folder(),
    }


def _cache_folder() -> str:
    compiled = numba.njit(cache=True)
    try:
        return str(compiled(machine).stats.cache_path)
    except (RuntimeError, AttributeError):
        return f"none: {os.path.dirname(__file__)} is not writable, set NUMBA_CACHE_DIR"
