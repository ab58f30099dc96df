"""Instruction sets that contestants can be held to, as if the machine had nothing newer.

Most libraries have an environment variable for it, which they read at start. A library without one uses
all instructions of the machine; a note below the tables names it.
"""

from fastnn.kernels.compiling.target import host_has

_AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+popcnt",
    "OPENBLAS_CORETYPE": "Haswell",  # NumPy's and SciPy's
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL",
    "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's, and what its compiler writes
    "TORCHINDUCTOR_CPP_MARCH": "haswell",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",  # JAX's
    "FASTNN_BENCH_MARCH": "haswell",  # of emlearn's C
}
VARIABLES = {"avx2": _AVX2}
WITHOUT_SWITCH = {"onnxruntime": "it has no switch", "openvino": "only its oneDNN kernels are"}


def require(name: str) -> None:
    """Raise ``ValueError`` if contestants cannot be held to this instruction set here."""
    if name not in VARIABLES:
        raise ValueError(f"no such instruction set: {name!r}; choose from {', '.join(VARIABLES)}")
    if not host_has(name):
        raise ValueError(f"this machine does not have {name.upper()}")
