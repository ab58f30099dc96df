"""What the chapters share: times, tables, pictures, listings of machine code, and other processes."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib.pyplot as plt
from IPython.display import HTML, Code

from fastnn.bench import timing
from fastnn.cli import inspection, sources

plt.rcParams |= {"figure.figsize": (7.5, 3.6), "figure.constrained_layout.use": True}
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left"}


def seconds(call: Callable[[], Any], budget: float = 0.2) -> float:
    """Return the median seconds of a call, after a warm-up."""
    timing.warm_up(call)
    return timing.measure(call, budget)


def amount(value: float, unit: str) -> str:
    """Return a number to three digits with a prefix, ``2.34 µs``."""
    power = min(max(math.floor(math.log10(value) / 3), -3), 4) if value > 0 else 0
    return f"{value / 1000**power:.3g} {'nµm kMGT'[power + 3].strip()}{unit}"


def duration(value: float) -> str:
    """Return seconds as text."""
    return amount(value, "s")


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> HTML:
    """Return a table; its first column is text, the others are aligned to the right."""
    sides = ["left", *["right"] * (len(headings) - 1)]

    def line(tag: str, cells: Sequence[Any]) -> str:
        marked = zip(cells, sides, strict=True)
        texts = (f'<{tag} style="text-align: {side}">{escape(str(c))}</{tag}>' for c, side in marked)
        return f"<tr>{''.join(texts)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return HTML(f'<table class="docutils"><thead>{line("th", headings)}</thead>{body}</table>')


def source(*functions: Any) -> Code:
    """Return the source of functions."""
    texts = (f"# {sources.place(f)}\n{sources.source(f)}" for f in functions)
    return Code("\n\n\n".join(texts), language="python")


def line_profile(call: Callable[[], Any], *functions: Any) -> HTML:
    """Run a call; return the lines of the functions with their shares of the time."""
    rows = []
    for _, lines in sources.line_profile(call, functions):
        total = sum(line.seconds for line in lines)
        for line in lines:
            share = f"{line.seconds / total:.0%}"
            rows.append([line.text.strip(), line.hits, duration(line.seconds / line.hits), share])
    return table(["line", "runs", "each", "share"], rows)


def listing(kernel: Any, *arguments: Any, most: int = 28) -> None:
    """Print what the main loop of a kernel is, and its machine code."""
    loop = inspection.main_loop(inspection.inspect(kernel, *arguments))
    if loop is None:
        print("it has no loop over floats")
        return
    print(f"{loop.function}, main loop: {loop.describe()}\n")
    for i in loop.instructions[:most]:
        print(f"    {i}{'   # ' + i.callee if i.callee else ''}")
    if len(loop.instructions) > most:
        print(f"    ... and {len(loop.instructions) - most} more")


def bars(times: Mapping[str, float], bound: float | None = None, title: str = "") -> None:
    """Draw times as bars, and a line at what bounds them; a logarithmic scale if they are far apart."""
    axes = plt.subplots(figsize=(7.5, 0.6 + 0.38 * len(times)))[1]
    labels = list(times)[::-1]
    drawn = axes.barh(labels, [1e6 * times[label] for label in labels], color="#4878a8")
    axes.bar_label(drawn, [duration(times[label]) for label in labels], padding=4)
    far = max(times.values()) > 30 * min(*times.values(), bound or math.inf)
    axes.set(xscale="log" if far else "linear", xlabel="microseconds", title=title)
    axes.margins(x=0.15)
    if bound:
        axes.axvline(1e6 * bound, color="#c44e52", linestyle="--", label="bound")
        axes.legend(frameon=False)


def own_process(program: str, **environment: str) -> Any:
    """Run a program in a process of its own; return what its last line says in JSON."""
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])
