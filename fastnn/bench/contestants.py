"""Who takes part: a class each, in the file that ``TABLE`` names, imported in its own process only."""

import importlib
import importlib.metadata
import importlib.util
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from fastnn._typing import Array
from fastnn.bench import timing
from fastnn.bench.cases import Case
from fastnn.bench.layers import Stacked
from fastnn.bench.networks import Dense

Call: TypeAlias = Callable[[], Any]

COMPILING = ("torch.compile", "AOTInductor", "emlearn")  # write C or C++, and compile that
_COMPILERS = (os.environ.get("CXX", "c++"), "g++", "clang++")

# Seconds that BLAS's threads spin on once verification has used them, on cores that others then miss.
_REST = 0.2

# contestant: the class, and the distribution whose version it goes by
TABLE = {
    "naive": ("plain:Naive", "numpy"),
    "numpy": ("plain:NumPy", "numpy"),
    "scipy": ("plain:SciPy", "scipy"),
    "blas": ("dense:BLAS", "numpy"),
    "sklearn": ("perceptron:SklearnMLP", "scikit-learn"),
    "onnxruntime": ("onnx_graph:OnnxRuntime", "onnxruntime"),
    "openvino": ("openvino_graph:OpenVINO", "openvino"),
    "emlearn": ("c_code:Emlearn", "emlearn"),
    "torch": ("pytorch:Torch", "torch"),
    "torch.compile": ("pytorch:Compiled", "torch"),
    "torch.jit": ("torch_frozen:Frozen", "torch"),
    "AOTInductor": ("torch_frozen:AheadOfTime", "torch"),
    "jax": ("xla:Jax", "jax"),
    "fastnn": ("fast:Fast", "fastnn-cpu"),
}
# "blas" does the matrix products and nothing else: a bound
PEERS = tuple(name for name in TABLE if name not in ("naive", "blas", "fastnn"))


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
        """Return what a call returned, also in lists, as NumPy arrays."""
        if isinstance(result, tuple | list):
            return tuple(array for part in result for array in self.arrays(part))
        return (np.asarray(result),)

    def verify(self, case: Case, call: Call) -> str | None:
        """Call as often as the case says; return what is wrong with the last results, or None."""
        for _ in range(case.calls):
            result = call()
        wrong = timing.verify(case, self.arrays(result))
        if isinstance(case, Dense | Stacked):
            time.sleep(_REST)
        return wrong


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

    if name in COMPILING and not any(map(shutil.which, _COMPILERS)):
        return None
    distribution = TABLE[name][1]
    if distribution == "fastnn-cpu":
        return __version__
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
