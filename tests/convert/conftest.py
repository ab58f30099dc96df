import numpy as np
import pytest

import fastnn
from fastnn.activations import ACTIVATIONS

KINDS = list(dict.fromkeys(ACTIVATIONS.values()))
EVERY = [
    *(kind() for kind in KINDS),
    *(kind(0.75) for kind in KINDS if getattr(kind(), "parameter", None) is not None),
]


@pytest.fixture(params=EVERY, ids=lambda activation: type(activation).__name__)
def activation(request):
    return request.param


@pytest.fixture
def trained():
    """Make a network with an activation, after a step, and rows that it has not seen."""

    def make(activation, dtype, last="linear", loss="l2"):
        layers = [fastnn.FullyConnected(6, activation), fastnn.FullyConnected(4, last)]
        net = fastnn.NeuralNetwork(loss, layers, {"name": "SGD", "lr": 0.1}, seed=0, dtype=dtype)
        rng = np.random.default_rng(1)
        net.train_step(rng.standard_normal((8, 5)), rng.random((8, 4)))
        return net, 3 * rng.standard_normal((50, 5)).astype(dtype)

    return make


@pytest.fixture
def close():
    """Assert that results of two libraries are equal but for rounding."""

    def check(found, expected):
        assert found.dtype == expected.dtype
        tolerances = (1e-5, 3e-6) if found.dtype == np.float32 else (1e-11, 1e-13)
        np.testing.assert_allclose(found, expected, *tolerances)

    return check
