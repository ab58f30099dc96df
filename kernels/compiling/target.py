"""What numba compiles for: the processor, its features, and the widths of vectors that LLVM uses.

The list of features does not determine the widths. A processor's name (``NUMBA_CPU_NAME``) implies
features, a feature implies others, even those that are switched off (``fma`` implies ``avx``, which
``NUMBA_ENABLE_AVX=0`` leaves out), and LLVM does not use every width that a processor has. So LLVM
compiles a few lines, and the widths are read off its assembly.
"""

import functools
import re
from typing import Any

import llvmlite.binding as llvm
import numba
from numba.core.codegen import get_host_cpu_features

_config: Any = numba.config  # its attributes are made at run time
COMPILED = not _config.DISABLE_JIT

_STEPS = """
define <16 x float> @probe_sum(<16 x float> %a, <16 x float> %b) {
  %c = fadd <16 x float> %a, %b
  ret <16 x float> %c
}
declare double @llvm.fma.f64(double, double, double)
define double @probe_product(double %a, double %b, double %c) {
  %d = call double @llvm.fma.f64(double %a, double %b, double %c)
  ret double %d
}
"""
_LOOP = """
define void @probe_loop(float* noalias %z, float* noalias %out, i64 %n) {
entry:
  br label %loop
loop:
  %i = phi i64 [0, %entry], [%next, %loop]
  %from = getelementptr float, float* %z, i64 %i
  %to = getelementptr float, float* %out, i64 %i
  %x = load float, float* %from
  %y = fadd float %x, %x
  store float %y, float* %to
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


def cpu() -> str:
    """Return the name of the processor that numba compiles for."""
    return str(_config.CPU_NAME or llvm.get_host_cpu_name())


def _feature_string() -> str:
    chosen = _config.CPU_FEATURES
    return str(get_host_cpu_features() if chosen is None else chosen)


def features() -> list[str]:
    """Return the features that numba asks LLVM for, beyond those that the processor's name brings."""
    return sorted(name[1:] for name in _feature_string().split(",") if name.startswith("+"))


def host_has(feature: str) -> bool:
    """Return whether this machine has a feature, by LLVM's name, whatever numba compiles for."""
    return bool(llvm.get_host_cpu_features().get(feature, False))


@functools.cache
def _machine() -> Any:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=cpu(), features=_feature_string(), opt=3)


def _widest(assembly: str) -> int:
    """Return the bytes of the widest vector register; where it is not known 16, which always work."""
    widths = {"z": 64, "y": 32}
    return max((widths[letter] for letter in re.findall(r"%([yz])mm", assembly)), default=16)


_ASSEMBLY = _machine().emit_assembly(llvm.parse_assembly(_STEPS)) if COMPILED else ""
VECTOR_BYTES = _widest(_ASSEMBLY)  # of one register, for code that is written in vectors
FUSED = COMPILED and not re.search(r"\bfma\b", _ASSEMBLY)  # else a fused multiply-add is a call
VECTOR_REGISTERS = 16 if re.search(r"%[xy]mm", _ASSEMBLY) and VECTOR_BYTES < 64 else 32


@functools.cache
def loop_bytes() -> int:
    """Return the width of the vectors that LLVM makes of a loop over floats, given a choice.

    That may be less than ``VECTOR_BYTES``: for Intel's processors with AVX-512 it prefers 32 bytes.
    """
    module = llvm.parse_assembly(_LOOP)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = True
    builder = llvm.create_pass_builder(_machine(), options)
    builder.getModulePassManager().run(module, builder)
    return _widest(_machine().emit_assembly(module))
