"""emlearn: a network as C source, compiled with all optimisations, and called through ctypes."""

import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import emlearn
import numpy as np
from sklearn.neural_network import MLPRegressor

from fastnn._typing import Array
from fastnn.bench.cases import Case
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.networks import Inference

# As Python calls it, a batch at a time; the generated function takes a row.
_CALLER = """
#include "network.h"
void run(const float *x, int rows, int inputs, float *y, int outputs) {
    for (int i = 0; i < rows; i++) {
        network_regress(x + (long)i * inputs, inputs, y + (long)i * outputs, outputs);
    }
}
"""
MARCH = "FASTNN_BENCH_MARCH"  # the processor to compile for, as gcc calls it


class Emlearn(Contestant):
    """A scikit-learn network with a case's parameters, which emlearn turns into C; float32 only.

    It uses one thread, whatever the others use.
    """

    def call(self, case: Case) -> Call | None:
        if not isinstance(case, Inference) or case.dtype != "float32":
            return None
        run = _compiled(_network(case))
        X, scores = case.batch()[0], np.zeros((case.n, case.widths[-1]), np.float32)
        arguments = X.ctypes.data, case.n, case.widths[0], scores.ctypes.data, case.widths[-1]

        def call(kept: tuple[Array, Array] = (X, scores)) -> Array:  # C has addresses only
            run(*arguments)
            return kept[1]

        return call


def _network(case: Inference) -> MLPRegressor:
    network = MLPRegressor(hidden_layer_sizes=case.widths[1:-1], max_iter=1, batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        network.fit(np.zeros((2, case.widths[0])), np.zeros((2, case.widths[-1])))
    parameters = case.parameters()
    network.coefs_, network.intercepts_ = parameters[::2], parameters[1::2]
    return network


def _compiled(network: Any) -> Any:
    """Return ``run`` of the compiled source."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or "cc"
    headers = Path(emlearn.__file__).parent
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # it writes to ./tmp
        code = emlearn.convert(network, return_type="regressor")
        code.save(name="network", file=str(Path(folder, "network.h")))
        source, library = Path(folder, "run.c"), Path(folder, "run.so")
        source.write_text(_CALLER, encoding="utf-8")
        command = [
            compiler, "-O3", "-ffast-math", f"-march={os.environ.get(MARCH, 'native')}", "-shared",
            "-fPIC", f"-I{headers}", str(source), "-o", str(library), "-lm",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        run = ctypes.CDLL(str(library)).run
    run.restype = None
    run.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    return run
