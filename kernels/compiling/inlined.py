"""Functions that numba compiles for other compiled functions.

Numba has LLVM optimise every function by itself and make machine code of it, and then again within each
function that calls it. For a helper only the second counts, and a first start that does without the
first takes half the time. So a helper's code is handed on as numba makes it, and kept on disk only as a
part of its callers. Called from Python it is the plain function. A kernel is both: Python calls machine
code of its own, and compiled callers get it as if it were a helper.
"""

import functools
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.registry import CPUDispatcher

from fastnn.kernels.compiling.target import VECTOR_BYTES

_FULL_WIDTH = f'"prefer-vector-width"="{8 * VECTOR_BYTES}"'


class _Wide(JITCodeLibrary):
    """Code whose loops LLVM turns into vectors of the machine's full width.

    For Intel's processors with AVX-512 it prefers half of that. Loops that wait for memory gain
    nothing from more; loops with arithmetic do.
    """

    def add_ir_module(self, ir_module: Any) -> None:
        for function in ir_module.functions:
            if not function.is_declaration:
                set.add(function.attributes, _FULL_WIDTH)  # llvmlite's own `add` knows no such names
        super().add_ir_module(ir_module)


class WidePipeline(Compiler):
    """Numba's steps, for a :class:`_Wide` library."""

    def __init__(self, typing_context: Any, target_context: Any, *rest: Any) -> None:
        super().__init__(typing_context, target_context, *rest)
        self.state.library = _Wide(target_context.codegen(), "kernel")
        self.state.library.enable_object_caching()


class _Library(_Wide):
    """Code to link into others, of which LLVM has seen each function but not what they call."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True


class _Pipeline(Compiler):
    """Numba's steps but for the last, which makes machine code."""

    def __init__(self, typing_context: Any, target_context: Any, *rest: Any) -> None:
        super().__init__(typing_context, target_context, *rest)
        self.state.library = _Library(target_context.codegen(), "inlined")
        self.state.flags.no_compile = True


class Inlined(CPUDispatcher):
    """What stands for such a function in those that call it."""

    wide = True

    def __init__(self, function: Any, options: dict[str, Any]) -> None:
        options = {**options, "nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        super().__init__(function, targetoptions=options, pipeline_class=_Pipeline)

    def __call__(self, *arguments: Any) -> Any:
        return self.py_func(*arguments)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Compile for the types of arguments, once for all constants of a type."""
        return super().get_call_template([types.unliteral(arg) for arg in args], kws)

    def add_overload(self, result: Any) -> None:
        self.targetctx.insert_user_function(result.fndesc, result.fndesc, [result.library])
        self.overloads[tuple(result.signature.args)] = result

    def get_overload(self, args: Any) -> Any:
        return self.overloads[tuple(args)].fndesc


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause the garbage collector: what the compiler makes lives on, and is looked through in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Kernel(CPUDispatcher):
    """A function that Python calls compiled; into compiled functions it is :class:`Inlined`.

    ``wide``: whether its loops use vectors of the full width.
    """

    def __init__(self, function: Any, options: dict[str, Any], wide: bool) -> None:
        pipeline = WidePipeline if wide else Compiler
        super().__init__(function, targetoptions=options, pipeline_class=pipeline)
        self.wide = wide

    def compile(self, sig: Any) -> Any:
        with uncollected():
            return super().compile(sig)

    @functools.cached_property
    def _for_callers(self) -> Inlined:
        return Inlined(self.py_func, self.targetoptions)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return self._for_callers.get_call_template(args, kws)

    def get_overload(self, args: Any) -> Any:
        return self._for_callers.get_overload(args)


class Choice(CPUDispatcher):
    """One of two compiled functions, ``single`` if the first argument has 32 bits, else ``double``.

    ``function`` does the same in Python.
    """

    def __init__(self, function: Any, single: Any, double: Any) -> None:
        super().__init__(function, targetoptions={"nopython": True})
        self.single, self.double = single, double

    def __call__(self, *arguments: Any) -> Any:
        return self.py_func(*arguments)

    def _chosen(self, x: Any) -> Any:
        return self.single if getattr(x, "dtype", x).bitwidth == 32 else self.double

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return self._chosen(args[0]).get_call_template(args, kws)

    def get_overload(self, args: Any) -> Any:
        return self._chosen(args[0]).get_overload(args)
