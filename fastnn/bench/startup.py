"""How long fresh processes take: to import, and to have done one training step.

Times are of whole processes, interpreter and all, so the first step includes the import. "Empty cache"
is the first process ever: fastnn compiles its kernels; "later" finds them on disk. Python's own
bytecode is on disk for everybody, as pip leaves it.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from fastnn.bench import record, runner
from fastnn.bench.contestants import version
from fastnn.bench.record import Result

IMPORTS = {
    "numba": "import numba",
    "fastnn": "import fastnn",
    "torch": "import torch",
    "jax": "import jax.numpy",
    "sklearn": "from sklearn.neural_network import MLPClassifier",
}
_BATCH = """
import numpy as np
X = np.ones((32, 784), np.float32)
labels = np.arange(32) % 10
"""
FIRST_STEPS = {
    "fastnn": _BATCH
    + """
import fastnn
layers = [{"name": "fully_connected", "n_out": n, "activation": "relu"} for n in (256, 128, 10)]
layers[-1]["activation"] = "softmax"
net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.01}, dtype="float32")
net.train_step(X, labels)
""",
    "torch": _BATCH
    + """
import torch
from torch.nn import Linear, ReLU, Sequential, functional
net = Sequential(Linear(784, 256), ReLU(), Linear(256, 128), ReLU(), Linear(128, 10))
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, foreach=True)
functional.cross_entropy(net(torch.from_numpy(X)), torch.from_numpy(labels)).backward()
optimizer.step()
""",
    "jax": _BATCH
    + """
import jax, jax.numpy as jnp
rng = np.random.default_rng(0)
shapes = (784, 256), (256, 128), (128, 10)
net = [(rng.normal(0, 0.05, s).astype(X.dtype), np.zeros(s[1], X.dtype)) for s in shapes]

def loss(net, x, y):
    for W, b in net[:-1]:
        x = jax.nn.relu(x @ W + b)
    log_p = jax.nn.log_softmax(x @ net[-1][0] + net[-1][1])
    return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], 1))

@jax.jit
def step(net, x, y):
    return jax.tree.map(lambda p, g: p - 0.01 * g, net, jax.grad(loss)(net, x, y))

jax.block_until_ready(step(net, X, labels))
""",
    "sklearn": _BATCH
    + """
from sklearn.neural_network import MLPClassifier
net = MLPClassifier((256, 128), solver="sgd", batch_size=32, learning_rate_init=0.01)
net.partial_fit(X, labels, classes=np.arange(10))
""",
}


def measure(
    threads: int, rounds: int = 3, show: Callable[[str], None] = lambda status: None
) -> list[Result]:
    """Return the start-up rows, everybody in turn, so many processes each."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        run_process([sys.executable, "-c", FIRST_STEPS["fastnn"]], threads, Path(folder, "later"))
        for number in range(rounds):
            show(f"start-up, round {number + 1} of {rounds}")
            caches = {"empty cache": Path(folder, str(number)), "later process": Path(folder, "later")}
            results.append(_row("import", IMPORTS, threads, caches["later process"]))
            results += [
                _row(f"first step, {name}", FIRST_STEPS, threads, cache)
                for name, cache in caches.items()
            ]
    return record.merge(results)


def _row(what: str, programs: dict[str, str], threads: int, cache: Path) -> Result:
    result = Result(f"startup {what}", threads)
    for name, program in programs.items():
        if name != "numba" and version(name) is None:
            continue
        seconds, done = run_process([sys.executable, "-c", program], threads, cache)
        if done.returncode:
            result.failed[name] = last_line(done.stderr)
        else:
            result.us[name] = [1e6 * seconds]
    return result


def run_process(
    command: list[str], threads: int, cache: Path
) -> tuple[float, "subprocess.CompletedProcess[str]"]:
    """Return a process's seconds from start to end, and what it said; it caches code in ``cache``."""
    kept = {
        "NUMBA_CACHE_DIR": str(cache / "numba"),
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    start = time.perf_counter()
    done = subprocess.run(
        command, env=runner.environment(threads) | kept, capture_output=True, text=True
    )
    return time.perf_counter() - start, done


def last_line(text: str) -> str:
    """Return the line that says what went wrong."""
    return (text.strip().splitlines() or ["no message"])[-1]
