"""The number of threads: how it is set, and that results do not depend on it."""

import os
import subprocess
import sys

import numpy as np
import pytest
from processes import PATIENCE
from threadpoolctl import threadpool_info

import fastnn
from fastnn import functional, pace
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.step import threads

COUNTS = (1, 2, 3, 7)


@pytest.fixture(autouse=True)
def restored():
    with fastnn.set_num_threads(fastnn.get_num_threads()):
        yield


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_the_setting_holds_for_fastnn_and_blas():
    fastnn.set_num_threads(3)
    assert fastnn.get_num_threads() == threads.pool().n_threads == 3
    assert blas_threads() == {3}
    fastnn.set_num_threads(np.int64(1))
    assert fastnn.get_num_threads() == threads.pool().n_threads == 1
    assert blas_threads() == {1}


def test_a_with_block_restores_what_was_before():
    fastnn.set_num_threads(2)
    with fastnn.set_num_threads(3):
        with fastnn.set_num_threads(1):
            assert fastnn.get_num_threads() == 1
        assert (fastnn.get_num_threads(), blas_threads()) == (3, {3})
    assert (fastnn.get_num_threads(), blas_threads()) == (2, {2})


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "n must be at least 1, got 0"),
        (-2, ValueError, "n must be at least 1, got -2"),
        (10**6, ValueError, "n must be at most 1024, got 1000000"),
        (True, TypeError, "n must be an integer, got True"),
        (2.0, TypeError, "n must be an integer, got 2.0"),
        ("2", TypeError, "n must be an integer, got '2'"),
        (None, TypeError, "n must be an integer, got None"),
    ],
)
def test_what_is_no_number_of_threads(n, error, message):
    before = fastnn.get_num_threads(), blas_threads()
    with pytest.raises(error, match=message):
        fastnn.set_num_threads(n)
    assert (fastnn.get_num_threads(), blas_threads()) == before


def count_in_a_process(**variables):
    kept = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    code = "import fastnn, sys; print(fastnn.get_num_threads(), 'threadpoolctl' in sys.modules)"
    return subprocess.run(
        [sys.executable, "-c", code],
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize(
    ("variables", "n"),
    [
        ({"FASTNN_NUM_THREADS": "3", "NUMBA_NUM_THREADS": "2"}, 3),
        ({"FASTNN_NUM_THREADS": " ", "NUMBA_NUM_THREADS": "1"}, 1),
    ],
)
def test_the_environment_sets_it(variables, n):
    assert count_in_a_process(**variables).stdout == f"{n} False\n"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_without_a_setting_it_is_the_cores_of_the_process():
    assert count_in_a_process().stdout == f"{len(os.sched_getaffinity(0))} False\n"
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import fastnn; "
    code += "assert fastnn.get_num_threads() == 1"
    kept = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    subprocess.run([sys.executable, "-c", code], env=kept, check=True, timeout=PATIENCE)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "4096"])
def test_a_variable_that_is_no_number_of_threads(value):
    done = count_in_a_process(FASTNN_NUM_THREADS=value)
    assert done.returncode == 1
    assert f"FASTNN_NUM_THREADS must be a whole number from 1 to 1024, got '{value}'" in done.stderr


def bits(compute):
    """Return the set of results, as bits, with every number of threads."""
    found = set()
    for n in COUNTS:
        with fastnn.set_num_threads(n):
            found.add(tuple(np.asarray(array).tobytes() for array in compute()))
    return found


@pytest.mark.parametrize("shape", [(5000, 10), (300, 400), (3, 50_000)])
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "tanh", "gelu"])
def test_activations_are_the_same_bits(name, shape, dtype, rng):
    Z, dY = rng.normal(size=(2, *shape)).astype(dtype)
    f = fastnn.initialize_activation(name)
    assert len(bits(lambda: (f.forward(Z), f.backward(Z, dY)))) == 1


@pytest.mark.parametrize("shape", [(2000, 10), (300, 200), (5, 9000)])
def test_losses_are_the_same_bits(shape, dtype, rng):
    Z, (n, k) = rng.normal(size=shape).astype(dtype), shape
    labels, weights = rng.integers(0, k, n), rng.uniform(size=k)
    Y = rng.uniform(size=shape)
    for losses in (
        lambda: functional.softmax_cross_entropy(Z, Y),
        lambda: functional.softmax_cross_entropy(Z, labels, class_weight=weights, label_smoothing=0.1),
        lambda: functional.binary_cross_entropy(Z, Y),
    ):
        assert len(bits(losses)) == 1


def network(optimizer, dtype):
    layers = [
        {"name": "fully_connected", "n_out": n, "activation": activation}
        for n, activation in ((100, "relu"), (40, "tanh"), (10, "softmax"))
    ]
    return fastnn.NeuralNetwork("cross_entropy", layers, optimizer, seed=0, dtype=dtype)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "SGD", "lr": 0.1, "momentum": 0.9},
        {"name": "Adam", "lr": 0.01, "clip_norm": 0.1},
    ],
    ids=lambda optimizer: optimizer["name"],
)
@pytest.mark.parametrize("n", [32, 150])
@pytest.mark.skipif(not COMPILED, reason="layers train by BLAS, whose bits depend on its threads")
def test_whole_fits_are_the_same_bits(optimizer, n, dtype, rng, monkeypatch):
    monkeypatch.setattr(pace, "_WAKING", np.inf)  # no trial: steps are always shared
    X, Y = rng.normal(size=(400, 70)), rng.integers(0, 10, 400)

    def fit():
        net = network(optimizer, dtype)
        history = net.fit(X, Y, epochs=3, batch_size=n, verbose=False)
        parameters = [p for layer in net.layers for p in layer.parameters.values()]
        return [*parameters, history.loss, history.error]

    assert len(bits(fit)) == 1


@pytest.mark.skipif(not COMPILED, reason="layers train by BLAS, whose bits depend on its threads")
@pytest.mark.parametrize("rule", ["SGD", "Adam"])
@pytest.mark.parametrize("columns", [1, 2])
def test_fewer_inputs_than_threads(columns, rule, dtype, rng, monkeypatch):
    monkeypatch.setattr(pace, "_WAKING", np.inf)
    X, Y = rng.normal(size=(64, columns)), rng.normal(size=(64, 100))

    def fit():
        layers = [fastnn.FullyConnected(100, "relu"), fastnn.FullyConnected(100, "linear")]
        net = fastnn.NeuralNetwork("l2", layers, {"name": rule, "lr": 0.01}, seed=0, dtype=dtype)
        net.fit(X, Y, epochs=3, batch_size=64, verbose=False)
        return [net.flat_parameters]

    assert len(bits(fit)) == 1
