"""Kernels by name, and each one's plain NumPy twin with arguments to run both on: one row a kernel."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

import fastnn.kernels
from fastnn import reference
from fastnn._typing import Array
from fastnn.kernels.compiling import jit
from fastnn.reference import kernels as naive
from fastnn.reference.activations import ACTIVATIONS
from fastnn.reference.formulas import FORMULAS

Draw: TypeAlias = Callable[[np.random.Generator, int, int], Any]


@dataclass(frozen=True)
class Twin:
    """``naive``: takes a kernel's inputs, returns what it returns and writes; ``uses``: what it calls.

    ``inputs``: how to draw them, or numbers; ``fixed``: numbers that the kernel takes after its first
    input and the twin has already; ``outputs``: how to draw arrays of the shapes that the kernel fills,
    by default one like its first input if it has an ``out``.
    """

    naive: Callable[..., Any]
    inputs: tuple[Draw | float, ...]
    uses: tuple[Callable[..., Any], ...] = ()
    fixed: tuple[float, ...] = ()
    outputs: tuple[Draw, ...] = ()

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The twin and what it calls."""
        return [self.naive, *self.uses]

    def case(self, kernel: Any, n: int, k: int, dtype: str) -> Case:
        """Draw arguments for ``n`` rows of ``k``."""
        rng = np.random.default_rng(0)
        inputs = [draw(rng, n, k) if callable(draw) else draw for draw in self.inputs]
        for i, value in enumerate(inputs):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                inputs[i] = value.astype(dtype)
        like = [draw(rng, n, k) for draw in self.outputs]
        if not like and "out" in _parameters(kernel):
            like = [inputs[0]]
        outputs = [np.full(np.shape(array), np.nan, dtype) for array in like]
        return Case(kernel, inputs, [inputs[0], *self.fixed, *inputs[1:], *outputs])


@dataclass(frozen=True)
class Case:
    """A kernel's arguments and, of these, the inputs that its twin takes."""

    kernel: Any
    inputs: list[Any]
    arguments: list[Any]

    def run(self) -> Any:
        """Call the kernel."""
        return self.kernel(*self.arguments)

    @property
    def elements(self) -> int:
        """Size of the largest array."""
        return max(np.size(argument) for argument in self.arguments)

    @cached_property
    def _results(self) -> tuple[list[Any], list[Array]]:
        """What the kernel returns, and the arrays that it changes."""
        copies = [np.copy(a) if isinstance(a, np.ndarray) else a for a in self.arguments]
        value = self.kernel(*copies)
        pairs = zip(copies, self.arguments, strict=True)
        changed = [copy for copy, before in pairs if not np.array_equal(copy, before)]
        return [] if value is None else [value], changed

    @cached_property
    def moved(self) -> int:
        """Bytes that it reads and writes, each once."""
        read = sum(value.nbytes for value in self.inputs if isinstance(value, np.ndarray))
        return read + sum(array.nbytes for array in self._results[1])

    def verify(self, twin: Twin) -> float:
        """Return the largest difference from the twin's results, relative to the largest value.

        Raises
        ------
        ValueError
            If they are not equal to rounding.
        """
        expected = twin.naive(*self.inputs)
        expected = list(expected) if isinstance(expected, tuple) else [expected]
        value, changed = self._results
        worst = 0.0
        for got, want in zip([*value, *changed], expected, strict=True):
            worst = max(worst, float(np.max(np.abs(got - want)) / (np.max(np.abs(want)) or 1)))
        tolerance = 1e-4 if self.inputs[0].dtype == np.float32 else 1e-10
        if not worst <= tolerance:
            name = getattr(self.kernel, "__name__", self.kernel)
            raise ValueError(f"{name} differs from its naive twin by {worst:.2g} of the largest value")
        return worst


def _parameters(kernel: Any) -> list[str]:
    return list(inspect.signature(getattr(kernel, "py_func", kernel)).parameters)


def rows(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``(n, k)`` normal numbers."""
    return rng.normal(size=(n, k))


def flat(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``n k`` normal numbers."""
    return rng.normal(size=n * k)


def positive(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``n k`` numbers between 0.1 and 1."""
    return rng.uniform(0.1, 1, n * k)


def probabilities(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``n`` distributions over ``k`` classes."""
    return rng.dirichlet(np.ones(k), n)


def one_hot(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``n`` classes as rows of zeros with a one."""
    return np.eye(k)[rng.integers(k, size=n)]


def labels(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``n`` class numbers."""
    return rng.integers(k, size=n)


def many_labels(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``n k`` class numbers."""
    return rng.integers(k, size=n * k)


def sample_weight(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``n`` weights."""
    return rng.uniform(0.5, 1.5, n)


def class_weight(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``k`` weights."""
    return rng.uniform(0.5, 1.5, k)


def square(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``(k, k)`` normal numbers."""
    return rng.normal(size=(k, k))


def row(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``(1, k)`` normal numbers."""
    return rng.normal(size=(1, k))


def batch(rng: np.random.Generator, n: int, k: int) -> int:
    """Return the batch size."""
    return n


_SOFTMAX, _CE = reference.SoftMax, reference.CrossEntropy
_STEPS = (_SOFTMAX.forward, _CE.forward, _CE.backward, _SOFTMAX.backward)

_ROWS: dict[str, Twin] = {
    "activations.relu_gradient": Twin(naive.relu_gradient, (flat, flat)),
    "softmax.softmax_jvp": Twin(naive.softmax_jvp, (probabilities, rows)),
    "losses.cross_entropy": Twin(naive.cross_entropy, (positive, positive)),
    "losses.cross_entropy_backward": Twin(naive.cross_entropy_backward, (positive, positive, batch)),
    "cross_entropy.softmax_cross_entropy": Twin(
        naive.softmax_cross_entropy,
        (rows, one_hot, batch),
        _STEPS,
    ),
    "cross_entropy.softmax_cross_entropy_short": Twin(
        naive.softmax_cross_entropy, (rows, one_hot, batch), _STEPS
    ),
    "cross_entropy.softmax_cross_entropy_long": Twin(
        naive.softmax_cross_entropy, (rows, one_hot, batch), _STEPS
    ),
    "cross_entropy.softmax_cross_entropy_labels": Twin(
        naive.softmax_cross_entropy_labels,
        (rows, labels, sample_weight, class_weight, 0.1, batch),
        (naive.softmax_cross_entropy, *_STEPS),
    ),
    "cross_entropy.strangers": Twin(naive.strangers, (many_labels, 3)),
    "losses.binary_cross_entropy": Twin(
        naive.binary_cross_entropy, (flat, positive, batch), (reference.Sigmoid.forward,)
    ),
    "losses.yes_no_cross_entropy": Twin(naive.yes_no_cross_entropy, (positive, positive)),
    "losses.yes_no_cross_entropy_backward": Twin(
        naive.yes_no_cross_entropy_backward, (positive, positive, batch)
    ),
    "losses.wrong_answers": Twin(naive.wrong_answers, (positive, flat, 0.0)),
    "losses.target_rows": Twin(naive.target_rows, (one_hot, 0.1, class_weight)),
    "losses.weigh_rows": Twin(naive.weigh_rows, (rows, sample_weight)),
    "losses.l2": Twin(naive.l2, (flat, flat)),
    "losses.l2_backward": Twin(naive.l2_backward, (flat, flat, batch)),
    "losses.misclassified": Twin(naive.misclassified, (one_hot, rows)),
    "products.affine": Twin(naive.affine, (rows, square, row), outputs=(rows,)),
    "products.weight_gradient": Twin(naive.weight_gradient, (rows, rows), outputs=(square, row)),
    "products.input_gradient": Twin(naive.input_gradient, (rows, square), outputs=(rows,)),
    "optimizers.norm": Twin(naive.norm, (flat,)),
    "optimizers.sgd_momentum": Twin(naive.sgd_momentum, (flat, flat, 0.1, 0.9)),
    "optimizers.add_penalty": Twin(naive.add_penalty, (flat, 0.1, flat)),
    "optimizers.adam": Twin(naive.adam, (flat, flat, positive, 0.001, 0.9, 0.999, 1e-8)),
}


def twin(kernel: str) -> Twin | None:
    """Return the row of a kernel, by its full name; None if it has none."""
    file, _, name = kernel.partition(".")
    if file not in ("activations", "softmax"):
        return _ROWS.get(kernel)
    kind = ACTIVATIONS.get(name.removesuffix("_backward"))
    if kernel in _ROWS or kind is None:
        return _ROWS.get(kernel)
    draw = rows if file == "softmax" else flat
    fixed = FORMULAS[kind.name].parameter if kind.name in FORMULAS else ()
    activation = kind(*fixed)
    if kind.name == name:
        return Twin(activation.forward, (draw,), fixed=fixed)
    uses = (kind.forward,) if "forward" in kind.backward.__code__.co_names else ()
    return Twin(activation.backward, (draw, draw), uses, fixed)


def kernels() -> dict[str, Any]:
    """Return the public kernels, as ``softmax.softmax_jvp``, in the order of their files."""
    found = {}
    for module in pkgutil.walk_packages(fastnn.kernels.__path__, "fastnn.kernels."):
        if module.ispkg or module.name.startswith("fastnn.kernels.compiling."):
            continue
        file = module.name.rpartition(".")[2]
        for name, function in vars(import_module(module.name)).items():
            python = getattr(function, "py_func", function)
            home = getattr(python, "__module__", "")
            compiled = hasattr(function, "py_func") or not jit.COMPILED
            public = not name.startswith("_") and home == module.name
            if inspect.isfunction(python) and compiled and public:
                found[f"{file}.{name}"] = function
    return found


def find(name: str) -> list[str]:
    """Return the kernels that ``name`` may mean: one if it is clear, several or none if not."""
    known = kernels()
    if name in known:
        return [name]
    ends = [known_name for known_name in known if known_name.endswith(f".{name}")]
    return ends or [known_name for known_name in known if known_name.endswith(name)]
