"""``make accuracy``: measure everything on all cores and write the table in ``docs/accuracy.md``.

``python -m accuracy.report NAME ...`` measures these only and keeps the table's other rows.
"""

import re
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import reduce
from itertools import groupby
from multiprocessing import get_context
from operator import or_
from pathlib import Path

from . import elementwise, rows
from .limits import LIMITS, MEASURES, limit

DOCUMENT = Path(__file__).parents[2] / "docs" / "accuracy.md"
ROW_ELEMENTS = 400_000  # of a size and spread

HEAD = """\
# Accuracy

The largest error of each function, activation, gradient and loss, as `make accuracy` measures it, and
the error that the tests allow. The unit, where the last section says nothing else, is the last place of
the exact result: the distance of neighbouring numbers of its size, or of subnormal numbers. The exact
result is not rounded before it is compared, so the best possible error is 0.5.

float32 functions of one number are measured at every float32; float64 ones at ten million numbers in
each decade from 1e-9 to 1e3 on both sides of 0 (for log also of 1, for log1p of -1), ten million of any
magnitude, and the neighbours of some thousand special numbers. A `_backward` kernel is given the
gradient 1.1. Rows are random, of 2 to 32,000 classes, with logits spread evenly over 1, 30, 200, 1,500
(float64), and 1e4 (float32) or 1e300 (float64). The exact results are double-double numbers, checked
against mpmath; float32 functions of one number are compared with float64 ones whose error is below 1e-6
units.

Compiled code neither reorders nor contracts these computations. So a result does not depend on where
its element or row stands, nor on the width of a processor's vectors: it is the same, bit for bit, on
every processor with fused multiply-adds. Without them (x86-64 before AVX2, or `NUMBA_CPU_NAME=generic`)
results differ in their last bits, within the same limits.

| function | dtype | measured at | largest error | limit | where |
|---|---|---|---|---|---|
"""


def _elementwise(name, dtype, piece):
    chunks, *arguments = piece
    return {name: elementwise.worst(name, chunks(*arguments))}


def _rows(check, dtype, k):
    return rows.worst(check, dtype, ROW_ELEMENTS, (k,))


def _tasks(names):
    """Yield everything to measure in small tasks: what belongs together, a function, its arguments."""
    for dtype in ("float32", "float64"):
        for name in elementwise.NAMES:
            if not names or name in names:
                for piece in elementwise.pieces(name, dtype):
                    yield (name, dtype), _elementwise, (name, dtype, piece)
        for check in rows.CHECKS:
            if not names or check in names:
                for k in rows.SIZES:
                    yield (check, dtype), _rows, (check, dtype, k)


def _line(name, dtype, worst):
    where = worst.at if isinstance(worst.at, str) else f"`{worst.at!r}`"
    where = where if worst.error else "everywhere"
    allowed = limit(name, dtype)
    failed = "" if worst.error <= allowed else ", **missed**"
    return f"| {name} | {dtype} | {worst.count:,} | {worst.error:.4g} | {allowed:g}{failed} | {where} |"


def _measured(names):
    """Yield the table's lines with their (name, dtype), as they are found."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as executor:
        tasks = [(key, executor.submit(function, *a)) for key, function, a in _tasks(names)]
        for (_, dtype), group in groupby(tasks, key=lambda task: task[0]):
            found = {}
            for _, future in group:
                for name, worst in future.result().items():
                    found.setdefault((name, dtype), []).append(worst)
            for key, parts in found.items():
                yield key, _line(*key, reduce(or_, parts))


def _written():
    """Return the lines that the document has, by (name, dtype)."""
    text = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
    lines = re.findall(r"^\| (.+) \| (float\d\d) \|.*$", text, re.MULTILINE)
    return dict(zip(lines, re.findall(r"^\| .+ \| float\d\d \|.*$", text, re.MULTILINE), strict=True))


def _write(lines):
    order = [(name, dtype) for name in LIMITS for dtype in ("float32", "float64")]
    notes = "\n".join(f"- {name}: {measure}" for name, measure in MEASURES.items())
    table = "\n".join(lines[key] for key in order if key in lines)
    DOCUMENT.write_text(
        f"{HEAD}{table}\n\n## What else an error is measured in\n\n{notes}\n", encoding="utf-8"
    )


def main(names):
    lines = _written() if names else {}
    for key, line in _measured(names):
        print(line, flush=True)
        lines[key] = line
        _write(lines)  # at once: what is stopped half-way keeps what it has found


if __name__ == "__main__":
    main(sys.argv[1:])
