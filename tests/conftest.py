import os
import signal
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import reference

# A shell's background job ignores Ctrl-C, and so would the processes that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def mnist_folder():
    folder = Path(os.environ.get("FASTNN_DATA", "")) / "mnist"
    if "FASTNN_DATA" not in os.environ or not folder.is_dir():
        pytest.skip("set FASTNN_DATA to a folder that holds mnist/ to run this test")
    return folder


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


def dense(n_out, activation, weight_init="xavier_uniform"):
    return {
        "name": "fully_connected",
        "n_out": n_out,
        "activation": activation,
        "weight_init": weight_init,
    }


@pytest.fixture
def networks():
    """Make a network twice over: fast and plain NumPy, with the same arguments."""

    def make(layers, loss="cross_entropy", optimizer=None, **options):
        optimizer = optimizer or {"name": "SGD", "lr": 0.1}
        layers = [dense(*layer) for layer in layers]
        fast = fastnn.NeuralNetwork(loss, layers, optimizer, **options)
        options.pop("dtype", None)
        return fast, reference.NeuralNetwork(loss, layers, optimizer, **options)

    return make
