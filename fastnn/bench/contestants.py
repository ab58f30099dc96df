"""Who takes part: a class each, in the file that ``TABLE`` names, imported in its own process only."""

import importlib
import importlib.metadata
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fastnn._typing import Array
from fastnn.bench import timing
from fastnn.bench.cases import Case

Call: TypeAlias = Callable[[], Any]

# contestant: the class, and the distribution whose version it goes by
TABLE = {
    "naive": ("plain:Naive", "numpy"),
    "numpy": ("plain:NumPy", "numpy"),
    "scipy": ("plain:SciPy", "scipy"),
    "torch": ("pytorch:Torch", "torch"),
    "torch.compile": ("pytorch:Compiled", "torch"),
    "jax": ("xla:Jax", "jax"),
    "fastnn": ("fast:Fast", "fastnn-cpu"),
}
OURS = ("naive", "fastnn")
PEERS = tuple(name for name in TABLE if name not in OURS)  # what one would use instead


class Contestant(ABC):
    """Runs cases with one library.

    Parameters
    ----------
    threads : int
        How many threads the library may use.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @abstractmethod
    def call(self, case: Case) -> Call | None:
        """Return what runs the case once, on the library's own arrays; None if it has no such thing."""

    def arrays(self, result: Any) -> tuple[Array, ...]:
        """Return what a call returned as NumPy arrays."""
        results = result if isinstance(result, tuple) else (result,)
        return tuple(np.asarray(r) for r in results)


def load(name: str, threads: int) -> Contestant:
    """Return a contestant, its library imported and held to that many threads.

    Peers find the allocator at its best; the reference and fastnn take it as a process starts.
    """
    file, cls = TABLE[name][0].split(":")
    make: type[Contestant] = getattr(importlib.import_module(f"fastnn.bench.{file}"), cls)
    contestant = make(threads)
    if name in PEERS:
        timing.settle_allocator()
    return contestant


def version(name: str) -> str | None:
    """Return the version of a contestant's library, or None where it is absent."""
    from fastnn import __version__

    distribution = TABLE[name][1]
    if distribution == "fastnn-cpu":
        return __version__
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
