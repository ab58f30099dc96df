"""The Python in README.md and in docs/: every block of a page runs, in order, in one namespace."""

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if BLOCK.search(page.read_text(encoding="utf-8"))
]  # fmt: skip


def blocks(page):
    """Return a page's blocks, each with empty lines before it, so that errors have the page's lines."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, m.start(1)) + m[1] for m in BLOCK.finditer(text)]


def packages(tree):
    """Return the names of the packages that a block imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def absent_extra(error):
    """Return the package that an ImportError of fastnn asks to install, if it is absent, or None."""
    name = error.__context__.name if isinstance(error.__context__, ImportError) else None
    return name if name and find_spec(name.partition(".")[0]) is None else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_blocks(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for i, block in enumerate(blocks(page)):
        tree = ast.parse(block, str(page))
        absent = [name for name in packages(tree) if find_spec(name) is None]
        if absent:
            pytest.skip(f"block {i + 1} needs {', '.join(absent)}; the {i} before it ran")
        try:
            exec(compile(tree, str(page), "exec"), namespace)
        except ImportError as error:
            name = absent_extra(error)
            if name is None:
                raise
            pytest.skip(f"block {i + 1} needs {name}; the {i} before it ran")


def test_the_figures_that_fall_short_are_those_of_the_benchmark_page():
    page = (
        (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8").split(", 1 thread**")[0].splitlines()
    )
    missed = (ROOT / "docs/short-of-its-aims.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (?:training step|inference), (\d+) x ([\d-]+).*\| ([\d.]+) \| .*\|$", missed, re.M
    )
    assert len(rows) == 4
    for batch, layers, figure in rows:
        sources = [line for line in page if line.startswith(f"| batch {batch} {layers} float32 |")]
        ratios = [float(ratio) for line in sources for ratio in re.findall(r"\| ([\d.]+) [a-z]", line)]
        places = len(figure.partition(".")[2])
        assert any(round(ratio, places) == float(figure) for ratio in ratios), (batch, layers)


def test_the_figures_in_the_readme_are_those_of_the_benchmark_page():
    pages = [
        (ROOT / "docs" / name).read_text(encoding="utf-8").splitlines()
        for name in ("benchmarks.md", "benchmarks-avx2.md")
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    kinds = ("| training step,", "| epoch,", "| inference,")
    rows = [line for line in readme if line.startswith(kinds)]
    assert len(rows) == 16
    for row in rows:
        name, *figures, held = (cell.strip() for cell in row.strip("|").split("|"))
        batch, layers = re.findall(r"[\d,-]*\d", name.partition(", ")[2])[-2:]
        for page, wanted in zip(pages, (figures, [held]), strict=True):
            cells = [
                {cell.strip() for cell in line.split("|")}
                for line in page
                if f"batch {batch.replace(',', '')} {layers} float32 " in line
            ]
            assert any(set(filter(None, wanted)) <= found for found in cells), row
