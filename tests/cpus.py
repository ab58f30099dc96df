"""Run the tests whose results depend on the processor as other processors would compile them.

Numba compiles for the processor that NUMBA_CPU_NAME and NUMBA_CPU_FEATURES name. A processor that has
features which this one lacks is left out: its code would end with an illegal instruction.

    python tests/cpus.py [NAME ...] [-- ARGUMENTS OF PYTEST]
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import llvmlite.binding as llvm

ROOT = Path(__file__).parents[1]
CACHES = ROOT / "build" / "cpus"
TESTS = [
    "accuracy",
    "kernels",
    "test_activations.py",
    "test_concurrency.py",
    "engine",
    "layers/test_batch_norm.py",
    "layers/test_conv2d.py",
    "layers/test_elman.py",
    "layers/test_pool2d.py",
    "test_loss_options.py",
    "test_losses.py",
    "test_num_threads.py",
]
# What LLVM's processors of these names have of all that changes which instructions are emitted.
_HASWELL = (
    "64bit avx avx2 bmi bmi2 cmov crc32 cx16 cx8 f16c fma fxsr invpcid lzcnt mmx movbe pclmul popcnt "
    "sahf sse sse2 sse3 sse4.1 sse4.2 ssse3 xsave xsaveopt"
)
_SKYLAKE = f"{_HASWELL} adx aes avx512bw avx512cd avx512dq avx512f avx512vl rdseed xsavec xsaves"
_ZEN4 = (
    f"{_SKYLAKE} avx512bf16 avx512bitalg avx512ifma avx512vbmi avx512vbmi2 avx512vnni avx512vpopcntdq "
    "gfni sha vaes vpclmulqdq"
)
CPUS = {
    "haswell": _HASWELL.split(),
    "skylake-avx512": _SKYLAKE.split(),
    "znver4": _ZEN4.split(),
    "generic": [],
}


def missing(cpu: str, host: Mapping[str, bool]) -> list[str]:
    """Return the features of a processor that a host lacks."""
    return sorted(name for name in CPUS[cpu] if not host.get(name))


def environment(cpu: str, host: Mapping[str, bool]) -> dict[str, str]:
    """Return the variables with which numba compiles for a processor, into a cache of its own.

    A processor's name implies features too, so what the host lacks is switched off by name.
    """
    signs = dict.fromkeys(host, "-") | dict.fromkeys(CPUS[cpu], "+")
    features = ",".join(sign + name for name, sign in signs.items()) if CPUS[cpu] else ""
    variables = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    return variables | {"NUMBA_CACHE_DIR": str(CACHES / cpu)}


def run(cpu: str, host: Mapping[str, bool], arguments: list[str]) -> str:
    """Run the tests for a processor; return how they ended."""
    if lacking := missing(cpu, host):
        return f"not run, this processor lacks {' '.join(lacking)}"
    print(f"\n== {cpu} ==", flush=True)
    command = [sys.executable, "-m", "pytest", *(arguments or ["-q", "-n", "auto"])]
    if not any(argument.startswith("tests") for argument in arguments):
        command += [f"tests/{name}" for name in TESTS]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment(cpu, host))
    return "passed" if done.returncode == 0 else f"failed with code {done.returncode}"


def main(arguments: list[str]) -> int:
    """Run the tests for the processors named, or for all; return 1 if any failed."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    names, rest = arguments[:split] or list(CPUS), arguments[split + 1 :]
    if unknown := [name for name in names if name not in CPUS]:
        print(f"no processor {', '.join(unknown)} here, known are {', '.join(CPUS)}", file=sys.stderr)
        return 2
    host = llvm.get_host_cpu_features()
    results = {name: run(name, host, rest) for name in names}
    print()
    for name, result in results.items():
        print(f"{name}: {result}")
    return int(any(result.startswith("failed") for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
