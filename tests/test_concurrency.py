"""One network, several Python threads: predictions and evaluations do not disturb each other."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest


@pytest.fixture
def often():
    """Let Python switch threads as often as it can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.parametrize("rows", [1, 7, 600])
def test_threads_that_ask_one_network_get_their_own_answers(rows, dtype, networks, rng, often):
    net, _ = networks([(64, "tanh"), (32, "gelu"), (10, "softmax")], seed=0, dtype=dtype)
    batches = [rng.normal(size=(rows, 64)).astype(dtype) for _ in range(8)]
    Y = np.eye(10, dtype=dtype)[rng.integers(0, 10, rows)]
    net.prepare(10, (rows, 64))
    net.forward(batches[0])
    wanted = [(net.predict(X), net.evaluate(X, Y)) for X in batches]

    def ask(i):
        for _ in range(150):
            np.testing.assert_array_equal(net.predict(batches[i]), wanted[i][0])
            assert net.evaluate(batches[i], Y) == wanted[i][1]

    with ThreadPoolExecutor(len(batches)) as pool:
        list(pool.map(ask, range(len(batches))))
