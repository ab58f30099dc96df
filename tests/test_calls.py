"""How many Python functions a warm call goes through: each costs time on a small network."""

import gc
import sys

import numpy as np
import pytest

import fastnn
from fastnn.kernels.compiling.jit import COMPILED

pytestmark = pytest.mark.skipif(not COMPILED, reason="no compiled step here")


def calls(function):
    """Return the files of the Python functions that are called, the outermost first."""
    found = []

    def note(frame, event, argument):
        if event == "call":
            found.append(frame.f_code.co_filename)

    gc.disable()  # a collection calls other libraries' functions
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
        gc.enable()
    return found[1:]  # the lambda


@pytest.fixture(params=["SGD", "Adam"])
def warm(request, rng):
    layers = [fastnn.FullyConnected(8, "relu"), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": request.param, "lr": 0.01}, seed=0)
    X, Y = rng.normal(size=(5, 4)), np.eye(3)[rng.integers(0, 3, 5)]
    for _ in range(3):
        net.train_step(X, Y)
        net.predict(X)
    return net, X, Y


def test_a_warm_prediction(warm):
    net, X, _ = warm
    found = calls(lambda: net.predict(X))
    assert len(found) <= 6
    assert len(set(found)) <= 4


def test_a_warm_training_step(warm):
    net, X, Y = warm
    assert len(calls(lambda: net.train_step(X, Y))) <= 12
