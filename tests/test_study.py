"""The study's chapters: their parts, their cells, and, slowly, their execution."""

import ast
import importlib
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "study"
CHAPTERS = sorted(FOLDER.glob("[0-9]*.md"))
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```", re.MULTILINE | re.DOTALL)
PARTS = (
    "The naive code", "Its profile", "The prediction", "The change", "The machine code", "The result",
    "What did not work", "Exercises",
)  # fmt: skip


def cells(page):
    return [re.sub(r"^:.*\n", "", cell) for cell in CELL.findall(page.read_text(encoding="utf-8"))]


def imports(trees):
    """Yield modules and the names taken from them."""
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


def names_of(module):
    """Return a module's names; those of the study's own are read, for it needs Jupyter."""
    if module != "common":
        return dir(importlib.import_module(module))
    tree = ast.parse((FOLDER / "common.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} | {"plt"}


def test_there_are_ten():
    assert [int(page.name[:2]) for page in CHAPTERS] == list(range(1, 11))


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_a_chapter_has_its_parts_in_order(page):
    headings = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    found = [part for heading in headings for part in PARTS if heading.startswith(part)]
    assert list(dict.fromkeys(found)) == list(PARTS)


@pytest.mark.parametrize("page", [*CHAPTERS, FOLDER / "index.md"], ids=lambda page: page.stem)
def test_cells_parse_and_their_imports_are_there(page):
    trees = [ast.parse(cell) for cell in cells(page)]
    for module, name in imports(trees):
        names = names_of(module)
        if name is not None and name not in names:
            importlib.import_module(f"{module}.{name}")


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_solutions_check_themselves(page):
    exercises = CELL.split(page.read_text(encoding="utf-8").partition("## Exercises")[2])[1::2]
    assert exercises
    assert all(re.search(r"\bassert|np\.testing", cell) and "seconds(" in cell for cell in exercises)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("myst_nb") is None, reason="needs the extra: fastnn-cpu[study]")
def test_every_cell_runs(tmp_path):
    subprocess.run([sys.executable, "-m", "sphinx", "-E", FOLDER, tmp_path / "html"], check=True)
    assert all((tmp_path / "html" / page.with_suffix(".html").name).is_file() for page in CHAPTERS)
