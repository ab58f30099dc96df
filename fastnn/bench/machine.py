"""The machine of a run, and whether it was busy with something else."""

import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from fastnn.kernels.compiling.jit import machine

_BUSY = 0.3  # of all cores: what other work may take before figures are doubted


def describe() -> dict[str, Any]:
    """Return what figures depend on: processor, system, libraries, load when the run began."""
    kernels = machine()
    return {
        "processor": _processor(),
        "kernels for": kernels["CPU"],
        "cores": cores(),
        "caches": caches(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "numba": kernels["numba"],
        "load": load_average(),
    }


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def caches() -> dict[str, int]:
    """Return the bytes of a core's data caches by level, as far as the system tells."""
    sizes = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (
            (folder / name).read_text(encoding="utf-8").strip() for name in ("type", "level", "size")
        )
        if kind != "Instruction" and size.endswith("K"):
            sizes[f"L{level}"] = 1024 * int(size[:-1])
    return sizes


def load_average() -> float | None:
    """Return how many processes wanted to run in the last minute; None where that is unknown."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def busy(load: float | None) -> str | None:
    """Return a warning if a load average means that others use the machine."""
    if load is None or load <= _BUSY * cores():
        return None
    return f"the machine is busy: load average {load} on {cores()} cores; figures may be off"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), "unknown")
