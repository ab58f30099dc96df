"""Start-up: compiling ahead, and what a first step need not load."""

import os
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import fastnn
from fastnn.activations import ACTIVATIONS
from fastnn.cli.app import app
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS

# Shapes and combinations that a warm-up does not use itself.
USE = """
import sys
import numpy as np
import fastnn
from fastnn.kernels.compiling import cache
X = np.random.default_rng(0).normal(size=(70, 784)).astype(sys.argv[1])
layers = [fastnn.FullyConnected(n, a) for n, a in ((100, "gelu"), (50, "tanh"), (10, "softmax"))]
for optimizer in ({"name": "SGD", "clip_norm": 1.0}, {"name": "Adam"}):
    net = fastnn.NeuralNetwork("cross_entropy", layers, optimizer, seed=1)
    net.fit(X, np.arange(70) % 10, epochs=1, verbose=False)
    net.predict(X)
    net.predict(X[:1])
print(cache.compiled, "scipy.linalg" in sys.modules)
"""
STEP = """
import sys
import numpy as np
import fastnn
from fastnn.kernels.compiling import cache
layers = [fastnn.FullyConnected(n, a) for n, a in ((8, "relu"), (3, "softmax"))]
net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD"}, dtype="float32")
net.train_step(np.ones((5, 4), np.float32), np.arange(5) % 3)
unneeded = {"scipy.linalg", "scipy.special", "numba.np.arraymath", "threadpoolctl", "matplotlib"}
print(len(cache.compiled), sorted(unneeded & set(sys.modules)))
"""


def run(program, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_every_part_is_compiled_once_and_random_draws_stay_what_they_were():
    np.random.seed(3)
    expected = np.random.random()
    np.random.seed(3)
    rows = fastnn.warmup(["float32"])
    assert np.random.random() == expected
    parts = {row.part for row in rows}
    aliases = {"identity"}
    assert parts >= (ACTIVATIONS.keys() | LOSSES.keys() | OPTIMIZERS.keys()) - aliases
    assert {row.dtype for row in rows} == {"float32"}
    assert sum(row.compiled for row in fastnn.warmup(["float32"])) == 0


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="float32"):
        fastnn.warmup(["float32", "float16"])


def test_the_command_shows_what_it_did():
    result = CliRunner().invoke(app, ["warmup", "--dtype", "float32"])
    assert result.exit_code == 0, result.output
    assert "gelu_tanh" in result.output
    assert "kernels compiled in" in result.output
    assert CliRunner().invoke(app, ["warmup", "--dtype", "float16"]).exit_code == 2


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
def test_a_later_process_loads_neither_the_compiler_nor_scipy():
    run(STEP)
    assert run(STEP) == "0 []\n"


@pytest.mark.slow
@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_after_a_warm_up_nothing_is_left_to_compile(dtype, tmp_path):
    folder = str(tmp_path)
    run(f"import fastnn; fastnn.warmup(['{dtype}'])", NUMBA_CACHE_DIR=folder)
    assert run(USE, dtype, NUMBA_CACHE_DIR=folder).startswith("[] ")
