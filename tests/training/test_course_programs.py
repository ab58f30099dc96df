"""Convolutional and recurrent programs of the teaching library: its numbers, in compiled steps."""

import numpy as np
import pytest

import fastnn
from fastnn import engine, reference
from fastnn.kernels.compiling.jit import COMPILED

LENET = [
    {
        "name": "conv2d",
        "n_out": 3,
        "kernel_shape": (5, 5),
        "activation": "relu",
        "stride": 1,
        "pad": "same",
    },
    {"name": "pool2d", "kernel_shape": (2, 2), "mode": "max", "stride": 2, "pad": 0},
    {
        "name": "conv2d",
        "n_out": 4,
        "kernel_shape": (3, 3),
        "activation": "relu",
        "stride": 1,
        "pad": "valid",
    },
    {"name": "pool2d", "kernel_shape": (2, 2), "mode": "average", "stride": 2, "pad": 0},
    {"name": "flatten"},
    {"name": "fully_connected", "n_out": 9, "activation": "tanh"},
    {"name": "batchnorm1d"},
    {"name": "fully_connected", "n_out": None, "activation": "softmax"},
]
ELMAN = [
    {"name": "elman", "n_out": 7, "activation": "tanh", "weight_init": "xavier_normal"},
    {"name": "fully_connected", "n_out": None, "activation": "linear"},
]
SGD = {
    "name": "SGD", "lr": 0.05, "momentum": 0.9, "clip_norm": 1.0, "lr_scheduler": "exponential",
    "lr_decay": 0.9, "stage_length": 10, "staircase": True,
}  # fmt: skip


def images():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 12, 10, 1)), np.eye(3)[rng.integers(0, 3, 60)]


def waves():
    at = np.random.default_rng(0).uniform(0, 6, (60, 1, 1)) + np.arange(9) / 3
    return np.sin(at[..., :-1]), np.sin(at[:, 0, -1:])


@pytest.mark.parametrize(
    ("loss", "layers", "data"),
    [("cross_entropy", LENET, images), ("l2", ELMAN, waves)],
    ids=["lenet", "elman"],
)
def test_three_epochs_are_the_plain_library_s(loss, layers, data):
    X, Y = data()
    nets, curves = [], []
    for package in (reference, fastnn):
        np.random.seed(0)
        net = package.NeuralNetwork(loss, layers, dict(SGD))
        dataset = fastnn.Dataset(X[:48], Y[:48], 10)
        curves.append(net.train(dataset, 3))
        nets.append(net)
    plain, fast = nets
    assert not COMPILED or engine.obstacle(fast) is None
    for name in ("loss", "error"):
        np.testing.assert_allclose(getattr(curves[1], name), curves[0][name], atol=5e-5)
    for a, b in zip(fast.layers, plain.layers, strict=True):
        for name, array in a.parameters.items():
            np.testing.assert_allclose(array, b.parameters[name], rtol=1e-9, atol=1e-12)
