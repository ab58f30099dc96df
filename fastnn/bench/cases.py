"""What is timed: kernels at sizes and dtypes, and whole networks (``networks``).

A case draws its inputs from a fixed seed, knows the right results, and counts the work that no
implementation gets around: each array read or written once, and the arithmetic of its formula. An
elementary function (exp, log, erf, ...) counts as a polynomial of the degree that its dtype needs with
the range reduction: 20 operations in float32, 30 in float64; divisions are counted apart, since they
have a unit of their own.
"""

import functools
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from fastnn._typing import Array
from fastnn.bench.layers import LAYERS, STACK_INFERENCES, STACK_STEPS
from fastnn.bench.networks import EPOCHS, INFERENCES, STEPS
from fastnn.reference.formulas import FORMULAS, ORACLES

_ELEMENTARY = {"float32": 20, "float64": 30}
_TOLERANCE = {"float32": 2e-5, "float64": 1e-8}  # the reference's loss has an eps of 2e-16 in it


class Case(Protocol):
    """What every case has, whatever is timed."""

    @property
    def key(self) -> str:
        """Name the case: one benchmark, one row of a table."""

    @property
    def kernel(self) -> str:
        """Name what is timed, without sizes."""

    @property
    def dtype(self) -> str:
        """Name the dtype."""

    @property
    def tolerance(self) -> float:
        """Return how far results may lie off, relative to the largest entry."""

    @property
    def calls(self) -> int:
        """Count the calls of which the last one's results are verified."""

    @property
    def at_once(self) -> int:
        """Count how many times a call does what is timed."""

    @property
    def bytes(self) -> int:
        """Count the bytes read and written."""

    @property
    def reads(self) -> int:
        """Count the arrays read for one that is written; 0 if next to nothing is written."""

    @property
    def flops(self) -> int:
        """Count the operations, without divisions."""

    @property
    def divisions(self) -> int:
        """Count the divisions."""

    def expected(self) -> tuple[Array, ...]:
        """Return the right results in float64."""


@dataclass(frozen=True)
class Kernel:
    """A kernel's arguments, and its work for each element.

    Parameters
    ----------
    arguments : str
        Letters as in ``ORACLES`` of ``fastnn.reference.formulas``, one array each.
    operations, elementary, divisions : int
        Plain operations, elementary functions, divisions.
    """

    arguments: str
    operations: int
    elementary: int = 0
    divisions: int = 0

    @property
    def reads(self) -> int:
        """Count the arrays of full size it reads; labels are a column."""
        return len(set(self.arguments.split()) - {"labels"})


SOFTMAX = {
    "softmax": Kernel("z", 3, 1),
    "log_softmax": Kernel("z", 3, 1),
    "softmax_jvp": Kernel("p dy", 4),
    "softmax_backward": Kernel("z dy", 7, 1),
    "log_softmax_backward": Kernel("z dy", 5, 1),
    "softmax_cross_entropy": Kernel("z y", 8, 1),
    "softmax_cross_entropy_labels": Kernel("z labels", 4, 1),
}
ACTIVATIONS: dict[str, Kernel] = {}
for _name, _row in FORMULAS.items():
    ACTIVATIONS[_name] = Kernel("z", *_row.function.work)
    ACTIVATIONS[f"{_name}_backward"] = Kernel("z dy", *_row.slope.work)
KERNELS = SOFTMAX | ACTIVATIONS


@dataclass(frozen=True)
class KernelCase:
    """A kernel over ``(n, k)`` arrays; its result is a new array, or fills a buffer if ``ready``."""

    kernel: str
    n: int
    k: int
    dtype: str
    ready: bool = False

    calls: ClassVar[int] = 1
    at_once: ClassVar[int] = 1

    @property
    def key(self) -> str:
        return f"{self.kernel} {self.n}x{self.k} {self.dtype}{' ready' if self.ready else ''}"

    @property
    def tolerance(self) -> float:
        return _TOLERANCE[self.dtype]

    @property
    def reads(self) -> int:
        return KERNELS[self.kernel].reads

    @property
    def bytes(self) -> int:
        arrays = self.reads + 1
        return arrays * self.n * self.k * np.dtype(self.dtype).itemsize

    @property
    def flops(self) -> int:
        work = KERNELS[self.kernel]
        return self.n * self.k * (work.operations + work.elementary * _ELEMENTARY[self.dtype])

    @property
    def divisions(self) -> int:
        return self.n * self.k * KERNELS[self.kernel].divisions

    def inputs(self) -> tuple[Array, ...]:
        """Return the kernel's arguments, the same at every call."""
        rng = np.random.default_rng(0)
        return tuple(self._draw(letter, rng) for letter in KERNELS[self.kernel].arguments.split())

    def _draw(self, letter: str, rng: np.random.Generator) -> Array:
        if letter == "labels":
            return rng.integers(0, self.k, self.n)
        if letter == "y":
            one_hot = np.zeros((self.n, self.k), self.dtype)
            one_hot[np.arange(self.n), rng.integers(0, self.k, self.n)] = 1
            return one_hot
        drawn = rng.standard_normal((self.n, self.k), np.float32)
        drawn[drawn == 0] = 1  # at 0 the gradient of relu is a convention, and not everybody's
        if letter == "p":
            drawn = ORACLES["softmax"](drawn)  # type: ignore[assignment]
        return (drawn * (3 if letter == "z" else 1)).astype(self.dtype)

    def expected(self) -> tuple[Array, ...]:
        arrays = [a.astype(float) if a.dtype.kind == "f" else a for a in self.inputs()]
        results = ORACLES[self.kernel](*arrays)
        return results if isinstance(results, tuple) else (results,)


_DTYPES = ("float32", "float64")
_SMALL = [(64, 10), (128, 10), (200, 37), (1024, 10), (256, 1000), (1024, 1000)]
# At these sizes calls by themselves, short rows, and caches show; for activations used most.
_ACTIVATED = [(50, 7), (200, 37), (700, 333)]
_USED_MOST = ("relu", "sigmoid", "tanh")


def _ordinary() -> list[Case]:
    sizes = dict.fromkeys(SOFTMAX, _SMALL) | {kernel: [(256, 1000)] for kernel in ACTIVATIONS}
    for name in _USED_MOST:
        for kernel in (name, f"{name}_backward"):
            sizes[kernel] = [*_ACTIVATED, (256, 1000)]
    kernels: list[Case] = [
        KernelCase(kernel, n, k, dtype)
        for kernel in KERNELS
        for dtype in _DTYPES
        for n, k in sizes[kernel]
    ]
    return [*kernels, *STEPS, *EPOCHS, *INFERENCES, *LAYERS, *STACK_STEPS, *STACK_INFERENCES]


def _slow() -> list[Case]:
    """Return the cases beyond the caches, the softmax family into new arrays and into ready ones."""
    rows: list[Case] = [
        KernelCase(kernel, 512, 32000, dtype, ready)
        for kernel in SOFTMAX
        for dtype in _DTYPES
        for ready in (False, True)
    ]
    return rows + [KernelCase(kernel, 4096, 4096, "float32", True) for kernel in ACTIVATIONS]


def _quick() -> list[Case]:
    rows: list[Case] = [
        KernelCase(kernel, n, k, "float32")
        for kernel in ("softmax", "softmax_backward", "softmax_cross_entropy")
        for n, k in ((128, 10), (256, 1000))
    ]
    others = ("softmax_jvp", "relu", "sigmoid", "tanh")
    rows += [KernelCase(kernel, 256, 1000, "float32") for kernel in others]
    return [*rows, *STEPS[:5], *INFERENCES[2:4]]


QUICK = _quick()
ORDINARY = _ordinary()
SLOW = _slow()


@functools.cache
def by_key() -> dict[str, Case]:
    """Return all cases by their keys."""
    return {case.key: case for case in (*ORDINARY, *SLOW)}
