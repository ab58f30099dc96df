"""A kernel's plain NumPy twin, and arguments to run both on."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from fastnn._typing import Array

Draw: TypeAlias = Callable[[np.random.Generator, int, int], Any]


@dataclass(frozen=True)
class Twin:
    """``naive``: takes a kernel's inputs, returns what it returns and writes; ``uses``: what it calls.

    ``inputs``: how to draw them, or numbers; ``fixed``: numbers that the kernel takes after its first
    input and the twin has already; ``outputs``: how to draw arrays of the shapes that the kernel fills,
    by default one like its first input if it has an ``out``; ``updated``: which arguments the kernel
    changes in place.
    """

    naive: Callable[..., Any]
    inputs: tuple[Draw | float, ...]
    uses: tuple[Callable[..., Any], ...] = ()
    fixed: tuple[float, ...] = ()
    outputs: tuple[Draw, ...] = ()
    updated: tuple[int, ...] = ()

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


def large(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``n k`` numbers between 2 and 3."""
    return rng.uniform(2, 3, n * k)


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


def quantiles(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``k`` numbers between 0 and 1."""
    return rng.uniform(0.1, 0.9, k)


def square(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``(k, k)`` normal numbers."""
    return rng.normal(size=(k, k))


def row(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw ``(1, k)`` normal numbers."""
    return rng.normal(size=(1, k))


def batch(rng: np.random.Generator, n: int, k: int) -> int:
    """Return the batch size."""
    return n
