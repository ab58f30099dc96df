"""The pool under conditions that abort or hang others, each in a process with a time limit."""

import os
import subprocess
import sys

import pytest

SETUP = """
import os, sys, threading
import numpy as np
import fastnn
from fastnn.kernels import threads

def train(seed=0, steps=200, n=128):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, 20)), rng.integers(0, 3, n)
    layers = [fastnn.FullyConnected(64, "relu"), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.1}, seed=0)
    for _ in range(steps):
        net.train_step(X, y)
    return [p.tobytes() for layer in net.layers for p in layer.parameters.values()]

expected = train()
"""


def run(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", SETUP + code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_results_are_the_same_bits_for_any_number_of_threads():
    run("""
for n_threads in (1, 2, 3, 7):
    threads._pools[:] = [threads.Pool(n_threads)]
    assert train() == expected, n_threads
""")


def test_many_python_threads_at_once():
    run("""
results = []
workers = [threading.Thread(target=lambda: results.append(train())) for _ in range(8)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
assert results == [expected] * 8
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_fork():
    run("""
import warnings
warnings.simplefilter("ignore")  # Python says that forking with threads may hang: here it must not
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if train() == expected else 1)
    assert train() == expected
    assert os.waitpid(child, 0)[1] == 0
""")


def test_beside_blas():
    run("""
A = np.random.default_rng(0).normal(size=(300, 300))
product = A @ A
stop = []
def multiply():
    while not stop:
        assert np.allclose(A @ A, product)
other = threading.Thread(target=multiply)
other.start()
for _ in range(3):
    assert train() == expected
stop.append(1)
other.join()
""")


def test_in_spawned_processes(tmp_path):
    script = tmp_path / "spawned.py"
    body = (
        SETUP.replace("expected = train()", "")
        + """
import multiprocessing
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(train, [0] * 4)
    assert results == [train()] * 4
"""
    )
    script.write_text(body)
    subprocess.run([sys.executable, script], check=True, timeout=120, capture_output=True)
