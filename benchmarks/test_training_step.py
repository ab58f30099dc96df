"""A training step, forward, backward and update: plain NumPy against fastnn."""

import numpy as np
import pytest

import fastnn
from fastnn import reference

SHAPES = [
    (25, (4, 25, 16, 3)),
    (32, (64, 128, 64, 10)),
    (128, (64, 128, 64, 10)),
    (32, (784, 256, 128, 10)),
    (128, (784, 256, 128, 10)),
]


def network(module, widths, **options):
    layers = [{"name": "fully_connected", "activation": "relu", "n_out": w} for w in widths[1:]]
    layers[-1]["activation"] = "softmax"
    optimizer = {"name": "SGD", "lr": 0.01}
    return module.NeuralNetwork("cross_entropy", layers, optimizer, seed=0, **options)


@pytest.mark.parametrize("contestant", ["naive", "fast"])
@pytest.mark.parametrize(("n", "widths"), SHAPES)
def test_training_step(benchmark, timed, rng, n, widths, contestant):
    name = "-".join(map(str, widths))
    benchmark.group = f"training step, batch {n}, {name} float64"
    X = rng.normal(size=(n, widths[0]))
    Y = np.eye(widths[-1])[rng.integers(0, widths[-1], n)]
    naive, fast = network(reference, widths), network(fastnn, widths)
    for _ in range(2):
        assert fast.train_step(X, Y) == pytest.approx(naive.train_step(X, Y), rel=1e-9)
    net = {"naive": naive, "fast": fast}[contestant]
    timed(lambda: net.train_step(X, Y), n)
