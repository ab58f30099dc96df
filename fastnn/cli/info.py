"""``fastnn info``: what a bug report needs to know, as Markdown."""

import importlib.metadata
import platform
import sys
from typing import Any

import scipy.linalg.cython_blas  # noqa: F401  so that the BLAS the kernels call is listed
from threadpoolctl import threadpool_info

from fastnn._threads import get_num_threads
from fastnn._version import __version__
from fastnn.kernels.compiling.jit import machine

_SIMD = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512dq", "avx512vl", "neon", "sve")
_OPTIONAL = ("pandas", "scikit-learn", "matplotlib", "torch", "jax", "onnxruntime")


def report() -> str:
    """Return the report."""
    kernels = machine()
    rows: dict[str, Any] = {
        "fastnn": __version__,
        "Python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "NumPy": _version("numpy"),
        "SciPy": _version("scipy"),
        "numba": f"{kernels['numba']}, llvmlite {kernels['llvmlite']}, LLVM {kernels['LLVM']}",
        "compiled": "yes" if kernels["jit"] else "no: NUMBA_DISABLE_JIT is set",
        "CPU": kernels["CPU"],
        "CPU features": " ".join(f for f in _SIMD if f in kernels["CPU features"]) or "none",
        "vectors": _vectors(kernels),
        "threads": get_num_threads(),
        "cache folder": kernels["cache folder"],
    }
    for i, library in enumerate(threadpool_info()):
        rows[f"{library['user_api'].upper()} {i + 1}"] = (
            f"{library['internal_api']} {library.get('version') or '?'}, "
            f"kernel {library.get('architecture', '?')}, {library['num_threads']} threads, "
            f"{library['filepath']}"
        )
    for name in _OPTIONAL:
        rows[name] = _version(name)
    width = max(map(len, rows))
    return "\n".join(f"- {name:<{width}} : {value}" for name, value in rows.items())


def _vectors(kernels: dict[str, Any]) -> str:
    if not kernels["jit"]:
        return "none: nothing is compiled"
    return f"{kernels['vector bytes']} bytes, {kernels['loop bytes']} in loops that wait for memory"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
