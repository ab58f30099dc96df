"""Source code to read: a function's text, what it is made of, which of its lines take the time."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastnn


@dataclass(frozen=True)
class Line:
    """A line of source: how often it ran and the seconds it took in all."""

    number: int
    hits: int
    seconds: float
    text: str


def source(function: Any) -> str:
    """Return a function's source, of its docstring the first line only."""
    lines = textwrap.dedent(inspect.getsource(_python(function))).splitlines()
    (definition,) = ast.parse("\n".join(lines)).body
    assert isinstance(definition, ast.FunctionDef)
    docstring = definition.body[0]
    if isinstance(docstring, ast.Expr) and docstring.end_lineno != docstring.lineno:
        assert docstring.end_lineno is not None
        lines[docstring.lineno - 1] += '"""'
        del lines[docstring.lineno : docstring.end_lineno]
        while len(lines) > docstring.lineno and not lines[docstring.lineno].strip():
            del lines[docstring.lineno]
    return "\n".join(lines)


def place(function: Any) -> str:
    """Return where a function is defined, as ``kernels/rows.py:71 sums``."""
    python = _python(function)
    file = Path(inspect.getsourcefile(python) or "").resolve()
    root = Path(fastnn.__file__).resolve().parent.parent
    shown = file.relative_to(root) if file.is_relative_to(root) else Path(file.name)
    return f"{shown}:{python.__code__.co_firstlineno} {python.__qualname__}"


def helpers(function: Any, dtype: str) -> list[Any]:
    """Return the kernels' functions that a kernel is made of, each after the first that uses it."""
    found: list[Any] = []

    def visit(function: Any) -> None:
        python = _python(function)
        names = python.__code__.co_names
        spaces = [python.__globals__, *_modules(python, names)]
        for used in (space[name] for name in names for space in spaces if name in space):
            used = _by_dtype(used, dtype)
            home = getattr(used, "__module__", None) or ""
            is_function = inspect.isfunction(_python(used)) and home.startswith("fastnn.kernels.")
            if is_function and used not in [*found, top]:
                found.append(used)
                visit(used)

    top = function
    visit(function)
    return found


def line_profile(call: Callable[[], Any], functions: Sequence[Any]) -> list[tuple[Any, list[Line]]]:
    """Run a call twice; return what each line of the functions took the second time.

    Raises
    ------
    ImportError
        Without line_profiler; the message says how to install it.
    """
    try:
        from line_profiler import LineProfiler
    except ImportError:
        raise ImportError(
            "the line profile needs line_profiler: pip install 'fastnn-cpu[profile]'"
        ) from None
    call()  # warm up: memory that is fresh from the system is slow the first time
    profiler = LineProfiler(*map(_python, functions))
    profiler.enable_by_count()
    try:
        call()
    finally:
        profiler.disable_by_count()
    stats = profiler.get_stats()
    taken = {(file, start): lines for (file, start, _), lines in stats.timings.items()}
    return [(function, _lines(_python(function), taken, stats.unit)) for function in functions]


def _lines(python: Any, taken: dict[tuple[str, int], Any], unit: float) -> list[Line]:
    text, first = inspect.getsourcelines(python)
    text = textwrap.dedent("".join(text)).splitlines()
    timings = taken.get((python.__code__.co_filename, first), [])
    return [Line(number, hits, time * unit, text[number - first]) for number, hits, time in timings]


def _python(function: Any) -> Any:
    python = getattr(function, "py_func", function)
    return getattr(python, "__func__", python)


def _modules(python: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the contents of the modules that a function uses by name."""
    used = (python.__globals__.get(name) for name in names)
    return [vars(module) for module in used if inspect.ismodule(module)]


def _by_dtype(function: Any, dtype: str) -> Any:
    """Return what a function made by ``by_dtype`` or ``elementary`` calls; other things as they are."""
    if not inspect.isfunction(_python(function)):
        return function
    name = {"float32": "single", "float64": "double"}[dtype]
    chosen = inspect.getclosurevars(_python(function)).nonlocals.get(name)
    if chosen is None:
        return function
    return inspect.getclosurevars(_python(chosen)).nonlocals.get("function", chosen)
