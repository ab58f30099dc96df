"""Imports go one way: no module imports one above it, and there is no circle."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the bottom to the top. A package stands for all that is in it; a module's own row comes first.
LEVELS = [
    # Helpers of the package.
    [
        "_version",
        "_typing",
        "_changes",
        "_counterpart",
        "_own",
        "_repr",
        "_arrays",
        "_validation",
        "_writing",
    ],
    ["kernels"],
    ["_turn", "_threads"],
    ["pace"],
    ["ports"],
    ["blueprint"],
    # Parts of networks and data.
    ["activations", "schedulers", "weights", "logs"],
    ["layers", "losses", "optimizers", "datasets", "functional", "utils"],
    # The state of a network, and what is done with it.
    ["checks"],
    ["stack"],
    ["engine", "saving", "evaluation"],
    ["summary", "callbacks"],
    ["training"],
    ["models", "many"],
    ["_mlp", "_warmup", "convert", "sklearn", "_csv", "tables"],
    ["reference"],
    ["bench"],
    ["cli"],
    ["__init__", "__main__"],
]
KERNELS = [
    ["compiling"],
    ["elementary", "emitted", "formulas", "rows", "random"],
    ["activations", "softmax", "cross_entropy", "losses", "optimizers", "regression"],
    ["step"],
    ["parallel", "layers"],
    ["__init__"],
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}


def source(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def modules():
    """Return the file of each module, by its name."""
    found = {}
    for folder, prefix in ((ROOT / "fastnn", "fastnn"), (ROOT / "kernels", "fastnn.kernels")):
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if "__pycache__" in parts or (folder.name == "fastnn" and parts[0] == "kernels"):
                continue
            name = ".".join((prefix, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


def imported(name):
    """Yield the modules that one imports anywhere, and the names that it takes from each."""
    for node in ast.walk(source(modules()[name])):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full, None) if full in modules() else (node.module, alias.name)


@cache
def arrows():
    """Return, for each module, those of the package that it imports."""
    return {
        name: {other for other, _ in imported(name) if other in modules() and other != name}
        for name in modules()
    }


def level(name, inside="fastnn."):
    return "__init__" if name == inside[:-1] else name.removeprefix(inside).split(".")[0]


def test_every_module_has_a_level():
    assert {level(name) for name in modules() if not name.startswith("fastnn.kernels.")} - set(
        LEVEL
    ) == set()


def test_no_module_imports_one_above_it():
    up = [
        (name, other)
        for name, others in arrows().items()
        for other in others
        if LEVEL[level(other)] > LEVEL[level(name)] and other != "fastnn"
    ]
    assert up == []


def test_no_kernel_imports_one_above_it():
    order = {name: i for i, names in enumerate(KERNELS) for name in names}
    inside = "fastnn.kernels."
    up = [
        (name, other)
        for name, others in arrows().items()
        for other in others
        if name.startswith(inside)
        and other.startswith(inside)
        and order[level(other, inside)] > order[level(name, inside)]
    ]
    assert up == []


def test_there_is_no_circle():
    # The package's own __init__ is imported before any module of it, and so counts for none.
    graph = {name: others - {"fastnn"} for name, others in arrows().items() if name != "fastnn"}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_numba_is_imported_where_kernels_are_compiled_and_emitted_only():
    places = ("fastnn.kernels.compiling", "fastnn.kernels.emitted")
    found = [
        name
        for name in modules()
        for other, _ in imported(name)
        if other.split(".")[0] in ("numba", "llvmlite") and not name.startswith(places)
    ]
    assert found == []


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def test_no_module_takes_a_private_name_of_another():
    found = [
        (name, other, taken)
        for name in modules()
        for other, taken in imported(name)
        if taken and is_private(taken) and other.split(".")[0] == "fastnn"
    ]
    assert found == []


def own_names(tree):
    """Return the private names that a file gives something itself."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_no_private_attribute_is_used_outside_its_file():
    # `bench` times other libraries, by names of theirs too.
    trees = {n: source(path) for n, path in modules().items() if not n.startswith("fastnn.bench")}
    known = {name: own_names(tree) for name, tree in trees.items()}
    somewhere = set().union(*known.values())  # else it is another library's
    found = [
        (name, node.lineno, ast.unparse(node))
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and node.attr in somewhere - known[name]
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    ]
    assert found == []
