"""``fastnn profile``: a kernel beside its naive twin: source, time, machine code, line profile."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from fastnn.bench.timing import measure
from fastnn.cli import inspection, sources
from fastnn.cli.bounds import bounds
from fastnn.kernels.compiling import jit
from fastnn.reference.arguments import Case, Twin
from fastnn.reference.twins import kernels, twin

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
    wide = console.width >= _SIDE_BY_SIDE
    case = naive.case(function, n, k, dtype) if naive else None
    code, width = _machine_code(function, case, dtype), jit.loop_bytes(function)
    _section(console, kernel, _sources(function, naive, dtype, helpers, wide))
    if naive and case:
        loop = inspection.main_loop(code, width)
        _section(console, f"time, {n} x {k} {dtype}", _times(naive, case, loop, dtype))
    _section(console, "machine code", _machine_code_view(code, wide, width))
    if naive and case:
        _section(console, "where the naive version's time goes", _line_profile(naive, case))


def _section(console: Console, title: str, content: RenderableType) -> None:
    console.rule(Text(title, style="bold"), style="dim")
    console.print(content)
    console.print()


def _sources(
    function: Any, naive: Twin | None, dtype: str, helpers: bool, wide: bool
) -> RenderableType:
    used = sources.helpers(function, dtype)
    slow = [_source(f, "red") for f in naive.functions] if naive else []
    fast = [_source(f, "green") for f in [function, *(used if helpers else [])]]
    if used and not helpers:
        names = ", ".join(f"{f.__module__.rpartition('.')[2]}.{f.__name__}" for f in used)
        fast.append(Text(f"made of {names}; --helpers shows them", style="dim"))
    return _beside(slow, fast, wide and naive is not None)


def _beside(left: list[RenderableType], right: list[RenderableType], wide: bool) -> RenderableType:
    if not wide:
        return Group(*left, *right)
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    grid.add_row(Group(*left), Group(*right))
    return grid


def _source(function: Any, colour: str) -> RenderableType:
    code = Syntax(sources.source(function), "python", theme=_THEME, word_wrap=True)
    return _titled(code, sources.place(function), colour)


def _titled(content: RenderableType, title: str, colour: str) -> Panel:
    return Panel(content, title=escape(title), title_align="left", border_style=colour)


def _machine_code(function: Any, case: Case | None, dtype: str) -> list[inspection.Function]:
    """Compile for the case's arguments, or for what the parameters seem to be; empty if that fails."""
    if not jit.COMPILED:
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
    slow = measure(lambda: naive.naive(*case.inputs), 0.3)
    fast = measure(case.run, 0.3)
    per_element = loop.per_element() if loop else (0.0, 0.0)
    limits = bounds(case.moved, case.elements, per_element, dtype)
    bound = max(limits, key=lambda limit: limit.seconds)
    table = Table(box=None, pad_edge=False)
    for heading in ("", "time", "", "what bounds it"):
        table.add_column(heading, justify="right" if heading == "time" else "left")
    scale = _BAR / max(slow, fast, bound.seconds)
    table.add_row("naive, NumPy", _si(slow, "s"), _bar(slow * scale, "red"), "")
    table.add_row("kernel, one core", _si(fast, "s"), _bar(fast * scale, "green"), "")
    for limit in limits:
        what = f"{_si(limit.amount, limit.unit)} {limit.where} at {_si(limit.rate, limit.unit + '/s')}"
        name = f"bound by {limit.what}"
        table.add_row(name, _si(limit.seconds, "s"), _bar(limit.seconds * scale, "blue"), what)
    closing = Text.assemble(
        (f"{slow / fast:.3g} times as fast", "bold green" if fast < slow else "bold red"),
        f", {bound.seconds / fast:.0%} of the bound by {bound.what}. ",
        (f"Equal first: largest difference {difference:.1g} of the largest value.", "dim"),
    )
    return Group(table, closing)


def _machine_code_view(code: list[inspection.Function], wide: bool, width: int) -> RenderableType:
    if not code:
        reason = "NUMBA_DISABLE_JIT is set, or it takes arguments of other types"
        return Text(f"none: {reason}", style="dim")
    loop = inspection.main_loop(code, width)
    whole = [i for function in code for i in function.instructions]
    inner = list(loop.instructions) if loop else []
    vectors = Counter(i.mnemonic for i in inner if i.register_bytes)
    own = {function.name for function in code}
    calls = Counter(i.callee for i in whole if i.callee and i.callee not in own)
    summary = Table.grid(padding=(0, 2))
    summary.add_row("mostly", _listed(dict(vectors.most_common(8))))
    summary.add_row("calls out", _listed(calls))
    if any(name.startswith("NRT_") for name in calls):
        summary.add_row("", Text("NRT_: numba counts the references to an array", style="dim"))
    problems = inspection.problems(code, width)
    verdict = Text("\n".join(f"✗ {problem}" for problem in problems), style="red")
    if not problems:
        verdict = Text(f"✓ every loop works on vectors of {width} bytes", style="green")
    facts = Group(_counts(whole, inner), "", summary, "", verdict)
    return facts if loop is None else _beside([facts], [_listing(loop)], wide)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _counts(whole: list[inspection.Instruction], inner: list[inspection.Instruction]) -> Table:
    names = _X86 if any("%" in i.operands for i in whole) else _AARCH64
    table = Table(box=None, pad_edge=False)
    table.add_column("instructions", no_wrap=True)
    for heading in ("main loop", "whole kernel"):
        table.add_column(heading, justify="right")
        table.add_column()
    counts = [Counter(_kind(i) for i in instructions) for instructions in (inner, whole)]
    fused = [sum(i.arithmetic == "fma" for i in instructions) for instructions in (inner, whole)]
    rows = [(name, [count[kind] for count in counts]) for kind, name in names.items()]
    for name, row in [*rows, ("of these multiply-adds", fused)]:
        cells: list[RenderableType] = []
        for count, instructions in zip(row, (inner, whole), strict=True):
            cells += [str(count), _bar(_BAR / 2 * count / max(len(instructions), 1), "cyan")]
        table.add_row(name, *cells)
    return table


def _kind(instruction: inspection.Instruction) -> int:
    """Return the bytes of an instruction's vectors; 1 for a scalar, 0 if it uses no such register."""
    return instruction.vector_bytes or int(instruction.scalar)


def _listing(loop: inspection.Loop) -> Panel:
    text = Text()
    for i in loop.instructions[:_LISTED]:
        style = "green" if i.vector_bytes else "yellow" if i.scalar else "red" if i.callee else "dim"
        note = f"  # {i.callee}" if i.callee else ""
        text.append(f"{i}{note}\n", style="bold " + style if i.arithmetic else style)
    if len(loop.instructions) > _LISTED:
        text.append(f"... and {len(loop.instructions) - _LISTED} more", style="dim")
    text.rstrip()
    flops, divisions = loop.per_element()
    work = f"{flops:g} FLOPs an element" + (f", {divisions:g} by division" if divisions else "")
    return _titled(text, f"main loop: {loop.function} {loop.label}, {work}", "blue")


def _line_profile(naive: Twin, case: Case) -> RenderableType:
    try:
        profiles = sources.line_profile(lambda: naive.naive(*case.inputs), naive.functions)
    except ImportError as error:
        return Text(str(error), style="yellow")
    total = sum(line.seconds for line in profiles[0][1]) or 1.0
    highlight = Syntax("", "python", theme=_THEME).highlight
    table = Table(box=None, pad_edge=False)
    for heading in ("line", "runs", "each", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column()
    for function, lines in profiles:
        table.add_row("", "", "", "", Text(sources.place(function), style="bold"))
        for line in lines:
            share = line.seconds / total
            code = Text.assemble(_bar(_BAR / 2 * share, "red"))
            code.pad_right(_BAR // 2 - len(code))
            code.append_text(highlight(line.text))
            code.rstrip()
            each = _si(line.seconds / line.hits, "s")
            table.add_row(str(line.number), f"{line.hits:,}", each, f"{share:.0%}", code)
    return table


def _bar(length: float, colour: str) -> Text:
    """Return a bar so many columns long, to an eighth of a column."""
    whole, part = divmod(round(8 * length), 8)
    blocks = "█" * whole + " ▏▎▍▌▋▊▉"[part].strip()
    return Text(blocks, style=colour, no_wrap=True, overflow="crop")


def _si(value: float, unit: str) -> str:
    """Return a number to three digits with a prefix, ``2.34 µs``."""
    power = min(max(math.floor(math.log10(value) / 3), -3), 4) if value > 0 else 0
    return f"{value / 1000**power:.3g} {'nµm kMGT'[power + 3].strip()}{unit}"
