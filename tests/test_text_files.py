"""Text files are read and written as UTF-8, which is not every system's default."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    path
    for folder in ("fastnn", "kernels", "tests", "benchmarks", "docs")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "_build" not in path.parts
]
ENCODING_AT = {"read_text": 0, "write_text": 1, "open": 2}  # its place among a method's arguments
OTHERS = {
    "archive",
    "gzip",
    "Image",
    "os",
    "source",
    "tarfile",
    "webbrowser",
    "zipfile",
}  # other `open`s


def without_encoding(source: str) -> list[int]:
    """Return the lines of calls that open a text file and name no encoding."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if opens_text(call) and not names_encoding(call)]


def opens_text(call: ast.Call) -> bool:
    method = isinstance(call.func, ast.Attribute)
    name = call.func.attr if method else getattr(call.func, "id", "")
    if name != "open":
        return method and name in ENCODING_AT
    if method and isinstance(call.func.value, ast.Name) and call.func.value.id in OTHERS:
        return False
    modes = [k.value for k in call.keywords if k.arg == "mode"] + call.args[0 if method else 1 :][:1]
    return not (modes and isinstance(modes[0], ast.Constant) and "b" in str(modes[0].value))


def names_encoding(call: ast.Call) -> bool:
    method = isinstance(call.func, ast.Attribute)
    at = ENCODING_AT[call.func.attr] if method else 3
    return len(call.args) > at or any(k.arg in ("encoding", None) for k in call.keywords)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_is_opened_with_an_encoding(path):
    assert without_encoding(path.read_text(encoding="utf-8")) == []


def test_calls_without_an_encoding_are_found():
    source = 'p.read_text()\np.write_text("a")\nopen(p)\np.open("w")\np.open()\nopen(p, mode="a")\n'
    assert without_encoding(source) == [1, 2, 3, 4, 5, 6]
    source = 'p.read_text("utf-8")\np.write_text("a", encoding="utf-8")\nopen(p, "rb")\nos.open(p, 0)\n'
    assert without_encoding(source) == []
