"""Other processors, by what numba is told to compile for; operations that one may lack."""

import json
import os
import platform
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from fastnn.kernels.compiling.jit import COMPILED, fma

pytestmark = pytest.mark.skipif(not COMPILED, reason="NUMBA_DISABLE_JIT is set")
on_x86 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="names processors of x86-64"
)


def in_process(program, tmp_path, **environment):
    """Run a program in a process of its own; return what its last line says in JSON."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), **environment}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout.splitlines()[-1])


_WIDTHS = """
import json
from fastnn.kernels.compiling import target as t
print(json.dumps([t.VECTOR_BYTES, t.loop_bytes(), t.FUSED, t.VECTOR_REGISTERS]))
"""
PROCESSORS = {
    "generic": [16, 16, False, 16],
    "nehalem": [16, 16, False, 16],
    "sandybridge": [32, 32, False, 16],
    "haswell": [32, 32, True, 16],
    "skylake-avx512": [64, 32, True, 32],
    "znver4": [64, 64, True, 32],
}


@on_x86
@pytest.mark.parametrize("name", PROCESSORS)
def test_what_a_processor_brings_is_known_by_its_name(name, tmp_path):
    found = in_process(_WIDTHS, tmp_path, NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES="")
    assert found == PROCESSORS[name]


@on_x86
def test_features_count_whatever_the_name(tmp_path):
    own = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx2,+fma"}
    assert in_process(_WIDTHS, tmp_path, **own) == [32, 32, True, 16]
    own = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "-fma"}
    assert in_process(_WIDTHS, tmp_path, **own) == [32, 32, False, 16]


_RESULTS = """
import json
import numpy as np
import fastnn
from fastnn import reference
from fastnn.kernels.compiling import target

rng = np.random.default_rng(0)
worst = 0.0
for name in ("SoftMax", "LogSoftMax"):
    fast, plain = getattr(fastnn, name)(), getattr(reference, name)()
    for k in (3, 64, 65):
        z, dy = rng.normal(size=(2, 70, k))
        worst = max(worst, np.max(abs(fast.forward(z) - plain.forward(z))))
        worst = max(worst, np.max(abs(fast.backward(z, dy) - plain.backward(z, dy))))
X, Y = rng.normal(size=(80, 6)), np.eye(3)[rng.integers(3, size=80)]
layers = [
    {"name": "fully_connected", "n_out": n, "activation": a, "weight_init": "xavier_uniform"}
    for n, a in ((19, "relu"), (3, "softmax"))
]
curves = []
for kind in (fastnn, reference):
    np.random.seed(0)
    net = kind.NeuralNetwork("cross_entropy", layers, {"name": "Adam", "lr": 0.01})
    curves.append([])
    for step in range(4):
        curves[-1].append(float(net.train_step(X, Y)))
worst = max(worst, np.max(abs(np.subtract(*curves))))
print(json.dumps([worst, target.VECTOR_BYTES]))
"""


@on_x86
def test_results_without_avx2_and_multiply_add(tmp_path):
    own = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    worst, width = in_process(_RESULTS, tmp_path, **own)
    assert width == 16
    assert worst < 1e-12


@pytest.mark.parametrize(
    ("a", "b", "c"),
    [
        (1 + 2**-52, 1 + 2**-52, -1.0),
        (1e200, 1e200, -np.inf),
        (1e200, 1e200, 1.0),
        (1e160, 1e150, -1e308),
        (-0.0, 1.0, -0.0),
        (2.0, 3.0, -6.0),
        (5e-324, 0.5, 5e-324),
        (np.nan, 1.0, 1.0),
        (0.0, np.inf, 1.0),
    ],
)
def test_fma_rounds_once(a, b, c):
    got = fma(*map(np.float64, (a, b, c)))
    assert type(got) is np.float64
    if np.isfinite([a, b, c]).all():
        exact = Fraction(a) * Fraction(b) + Fraction(c)
        wanted = float(exact) if abs(exact) < Fraction(1.79e308) else np.inf
        wanted = wanted or a * b + c  # a zero has a sign
    else:
        with np.errstate(all="ignore"):
            wanted = np.float64(a) * np.float64(b) + np.float64(c)
    np.testing.assert_equal(got, wanted)


def test_fma_in_float32_rounds_once():
    # just below the middle of two float32, so little that the nearest float64 is the middle
    a, b = np.float32(2**-24 * (1 + 2**-18)), np.float32(1 - 2**-18)
    c = np.float32(1 + 2**-23)
    got = fma(a, b, c)
    assert type(got) is np.float32
    assert got == c
    assert fma(np.float32(3e38), np.float32(2), np.float32(0)) == np.inf
