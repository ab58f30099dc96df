"""``fastnn profile``: a kernel beside its naive twin: source, time, machine code, line profile."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from typing import Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from fastnn import inspection
from fastnn.cli import sources
from fastnn.cli.bounds import bounds, seconds
from fastnn.cli.twins import Case, Twin, kernels, twin
from fastnn.kernels import _jit

_SIDE_BY_SIDE = 120  # columns
_LISTED = 64  # instructions
_BAR = 24  # columns
_AARCH64 = {16: "vectors, 16 bytes", 1: "scalar floats", 0: "addresses, jumps, ..."}
_X86 = {64: "zmm, 64 bytes", 32: "ymm, 32 bytes"} | _AARCH64 | {16: "xmm, 16 bytes"}
_THEME = "ansi_dark"


def known() -> RenderableType:
    """List the kernels by file."""
    table = Table.grid(padding=(0, 2))
    files: dict[str, list[str]] = {}
    for kernel in kernels():
        file, _, name = kernel.partition(".")
        files.setdefault(file, []).append(name if twin(kernel) else f"[dim]{name}[/]")
    for file, names in files.items():
        table.add_row(f"[bold]{file}[/]", ", ".join(names))
    return Group("Kernels by file; dim: without a naive twin to be timed against.", table)


def show(console: Console, kernel: str, n: int, k: int, dtype: str, helpers: bool) -> None:
    """Print a kernel's profile on ``n`` rows of ``k``."""
    function, naive = kernels()[kernel], twin(kernel)
    console.rule(f"[bold]{kernel}")
    _print_sources(console, function, naive, dtype, helpers)
    case = naive.case(function, n, k, dtype) if naive else None
    code = _machine_code(function, case, dtype)
    if naive and case:
        console.rule(f"time, {n} x {k} {dtype}")
        console.print(_times(naive, case, inspection.main_loop(code, _jit.VECTOR_BYTES), dtype))
    console.rule("machine code")
    _print_machine_code(console, code)
    if naive and case:
        console.rule("where the naive version's time goes")
        _print_line_profile(console, naive, case)


def _print_sources(
    console: Console, function: Any, naive: Twin | None, dtype: str, helpers: bool
) -> None:
    used = sources.helpers(function, dtype)
    slow = [_panel(f, "red") for f in naive.functions] if naive else []
    fast = [_panel(f, "green") for f in [function, *(used if helpers else [])]]
    if console.width >= _SIDE_BY_SIDE and slow:
        grid = Table.grid(expand=True)
        grid.add_column(ratio=1)
        grid.add_column(ratio=1)
        grid.add_row(Group(*slow), Group(*fast))
        console.print(grid)
    else:
        console.print(*slow, *fast, sep="")
    if used and not helpers:
        names = ", ".join(f"{f.__module__.rpartition('.')[2]}.{f.__name__}" for f in used)
        console.print(f"made of {names}; --helpers shows them", style="dim")


def _panel(function: Any, colour: str) -> Panel:
    code = Syntax(sources.source(function), "python", theme=_THEME, word_wrap=True)
    return _titled(code, sources.place(function), colour)


def _titled(content: RenderableType, title: str, colour: str) -> Panel:
    return Panel(content, title=escape(title), title_align="left", border_style=colour)


def _machine_code(function: Any, case: Case | None, dtype: str) -> list[inspection.Function]:
    """Compile for the case's arguments, or for what the parameters seem to be; empty if that fails."""
    if not _jit.COMPILED:
        return []
    for arguments in [case.arguments] if case else [_guess(function, dtype, d) for d in (1, 2)]:
        try:
            return inspection.inspect(function, *arguments)
        except TypeError:
            continue
    return []


def _guess(function: Any, dtype: str, ndim: int) -> list[Any]:
    numbers = {int: 1, float: 1.0}
    parameters = inspect.signature(function.py_func).parameters.values()
    return [numbers.get(p.annotation, np.ones((1,) * ndim, dtype)) for p in parameters]


def _times(naive: Twin, case: Case, loop: inspection.Loop | None, dtype: str) -> RenderableType:
    difference = case.verify(naive)
    slow = seconds(lambda: naive.naive(*case.inputs))
    fast = seconds(case.run)
    per_element = loop.per_element() if loop else (0.0, 0.0)
    limits = bounds(case.moved, case.elements, per_element, dtype)
    bound = max(limits, key=lambda limit: limit.seconds)
    table = Table(box=None, pad_edge=False)
    for heading in ("", "time", "", "what bounds it"):
        table.add_column(heading, justify="right" if heading == "time" else "left")
    scale = _BAR / slow
    table.add_row("naive, NumPy", _si(slow, "s"), _bar(slow * scale, "red"), "")
    table.add_row("kernel, one core", _si(fast, "s"), _bar(fast * scale, "green"), "")
    for limit in limits:
        what = f"{_si(limit.amount, limit.unit)} at {_si(limit.rate, limit.unit + '/s')}"
        name = f"bound by {limit.what}"
        table.add_row(name, _si(limit.seconds, "s"), _bar(limit.seconds * scale, "blue"), what)
    closing = Text.assemble(
        (f"{slow / fast:.3g} times as fast", "bold green"),
        f", {bound.seconds / fast:.0%} of the bound by {bound.what}. ",
        (f"Equal first: largest difference {difference:.1g} of the largest value.", "dim"),
    )
    return Group(table, closing)


def _print_machine_code(console: Console, code: list[inspection.Function]) -> None:
    if not code:
        reason = "NUMBA_DISABLE_JIT is set, or it takes arguments of other types"
        console.print(f"none: {reason}", style="dim")
        return
    loop = inspection.main_loop(code, _jit.VECTOR_BYTES)
    whole = [i for function in code for i in function.instructions]
    inner = list(loop.instructions) if loop else []
    console.print(_counts(whole, inner))
    vectors = Counter(i.mnemonic for i in inner if i.register_bytes)
    console.print("mostly  ", ", ".join(f"{name} {count}" for name, count in vectors.most_common(8)))
    own = {function.name for function in code}
    calls = Counter(i.callee for i in whole if i.callee and i.callee not in own)
    console.print("calls out  ", ", ".join(f"{name} {n}" for name, n in calls.items()) or "none")
    if any(name.startswith("NRT_") for name in calls):
        console.print("NRT_...: numba counts references to arrays", style="dim")
    found = inspection.problems(code, _jit.VECTOR_BYTES)
    for problem in found:
        console.print(f"✗ {problem}", style="red", markup=False, highlight=False)
    if not found:
        console.print(f"✓ every loop works on vectors of {_jit.VECTOR_BYTES} bytes", style="green")
    if loop is not None:
        flops, divisions = loop.per_element()
        work = f"{flops:g} FLOPs" + (f", {divisions:g} of them divisions" if divisions else "")
        title = f"main loop: {loop.function} {loop.label}, {work} an element"
        console.print(_titled(_listing(loop), title, "blue"))


def _counts(whole: list[inspection.Instruction], inner: list[inspection.Instruction]) -> Table:
    names = _X86 if any("%" in i.operands for i in whole) else _AARCH64
    table = Table(box=None, pad_edge=False)
    table.add_column("instructions")
    for heading in ("main loop", "whole kernel"):
        table.add_column(heading, justify="right")
        table.add_column()
    counts = [Counter(_kind(i) for i in instructions) for instructions in (inner, whole)]
    fused = [sum(i.arithmetic == "fma" for i in instructions) for instructions in (inner, whole)]
    rows = [(name, [count[kind] for count in counts]) for kind, name in names.items()]
    for name, row in [*rows, ("of these multiply-adds", fused)]:
        cells: list[RenderableType] = []
        for count, instructions in zip(row, (inner, whole), strict=True):
            cells += [str(count), _bar(_BAR * count / max(len(instructions), 1), "cyan")]
        table.add_row(name, *cells)
    return table


def _kind(instruction: inspection.Instruction) -> int:
    """Return the bytes of an instruction's vectors; 1 for a scalar, 0 if it uses no such register."""
    return instruction.vector_bytes or int(instruction.scalar)


def _listing(loop: inspection.Loop) -> Text:
    text = Text()
    for i in loop.instructions[:_LISTED]:
        style = "green" if i.vector_bytes else "yellow" if i.scalar else "red" if i.callee else "dim"
        note = f"  # {i.callee}" if i.callee else ""
        text.append(f"{i}{note}\n", style="bold " + style if i.arithmetic else style)
    if len(loop.instructions) > _LISTED:
        text.append(f"... and {len(loop.instructions) - _LISTED} more", style="dim")
    text.rstrip()
    return text


def _print_line_profile(console: Console, naive: Twin, case: Case) -> None:
    try:
        profiles = sources.line_profile(lambda: naive.naive(*case.inputs), naive.functions)
    except ImportError as error:
        console.print(escape(str(error)), style="yellow")
        return
    total = sum(line.seconds for line in profiles[0][1]) or 1.0
    for function, lines in profiles:
        title = escape(sources.place(function))
        table = Table(box=None, pad_edge=False, title=title, title_justify="left")
        for heading in ("line", "runs", "each", "share"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("")
        highlight = Syntax("", "python", theme=_THEME).highlight
        for line in lines:
            share = line.seconds / total
            code = highlight(line.text)
            code.rstrip()
            each = _si(line.seconds / line.hits, "s")
            bar = _bar(_BAR / 2 * share, "red")
            table.add_row(str(line.number), f"{line.hits:,}", each, f"{share:.0%}", bar, code)
        console.print(table)


def _bar(length: float, colour: str) -> Text:
    """Return a bar so many columns long, to an eighth of a column."""
    whole, part = divmod(round(8 * length), 8)
    return Text("█" * whole + " ▏▎▍▌▋▊▉"[part].strip(), style=colour)


def _si(value: float, unit: str) -> str:
    """Return a number to three digits with a prefix, ``2.34 µs``."""
    power = min(max(math.floor(math.log10(value) / 3), -3), 4) if value > 0 else 0
    return f"{value / 1000**power:.3g} {'nµm kMGT'[power + 3].strip()}{unit}"
