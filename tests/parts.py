"""Small networks around any part of fastnn: a row of a table is a test case.

A part is named by the argument it is given as and its name in the table.
"""

from typing import NamedTuple

import numpy as np

import fastnn
from fastnn.activations import ACTIVATIONS
from fastnn.layers import LAYERS
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.weights import INITIALIZERS

N_IN, N_HIDDEN, N_OUT = 5, 5, 5  # of equal size, so that identity matrices fit


# What surrounds a layer that does not take rows of 5: the shape of the network's input, and its layers
# but the last.
SURROUNDINGS: dict[str, tuple[tuple[int, ...], list[dict]]] = {
    "batchnorm2d": (
        (2, 3, 2),
        [{"name": "batchnorm2d"}, {"name": "flatten"}, {"name": "fully_connected", "n_out": N_HIDDEN}],
    ),
    "residual": (
        (N_IN,),
        [
            {"name": "fully_connected", "n_out": N_HIDDEN, "activation": "relu"},
            {
                "name": "residual",
                "layers": [
                    {"name": "fully_connected", "n_out": 7, "activation": "sigmoid"},
                    {"name": "batchnorm1d"},
                    {"name": "dropout", "rate": 0.25},
                    {"name": "fully_connected", "n_out": N_HIDDEN, "activation": "relu"},
                ],
            },
        ],
    ),
    "pool2d": (
        (5, 4, 3),
        [{"name": "pool2d", "kernel_shape": 3, "stride": 2, "pad": (1, 0)}, {"name": "flatten"}],
    ),
    "flatten": (
        (2, 3, 2),
        [{"name": "flatten"}, {"name": "fully_connected", "n_out": N_HIDDEN}],
    ),
    "global_average_pool2d": ((3, 4, 2), [{"name": "layer_norm"}, {"name": "global_average_pool2d"}]),
    "embedding": (
        (3,),
        [{"name": "embedding", "n_in": 6, "n_out": 4, "padding_index": 2}, {"name": "flatten"}],
    ),
    "conv2d": (
        (6, 7, 2),
        [
            {"name": "conv2d", "n_out": 3, "kernel_shape": (3, 2)},
            {"name": "conv2d", "n_out": 2, "kernel_shape": 3, "stride": 2, "pad": "valid"},
            {"name": "flatten"},
        ],
    ),
    "elman": (
        (3, 4),
        [
            {"name": "layer_norm"},
            {"name": "elman", "n_out": 6, "return_sequences": True},
            {"name": "elman", "n_out": 5},
        ],
    ),
}


class Part(NamedTuple):
    """A row of a table."""

    kind: str
    name: str

    def __str__(self):
        return f"{self.kind} {self.name}"


TABLES = {
    "activation": ACTIVATIONS,
    "last": ACTIVATIONS,
    "layer": LAYERS,
    "loss": LOSSES,
    "optimizer": OPTIMIZERS,
    "weight_init": [name for name in INITIALIZERS if name != "preset"],  # which needs weights
}
PARTS = [Part(kind, name) for kind, table in TABLES.items() for name in table]


def network(part, dtype="float64", *, compiled=True):
    """Return a network of three layers that has a part; two of one part start with equal parameters.

    Its optimiser is of a class of its own unless ``compiled``, so that steps run by layers.
    """
    chosen = {"activation": "tanh", "layer": "fully_connected", "loss": "cross_entropy"}
    chosen |= {"last": "softmax", "optimizer": "SGD", "weight_init": "xavier_uniform"}
    chosen[part.kind] = part.name
    if part.kind == "last":
        chosen["loss"] = "l2"
    dense = {"name": "fully_connected", "weight_init": chosen["weight_init"]}
    dense["activation"] = chosen["activation"]
    layers = [
        {**dense, "n_out": N_HIDDEN},
        {**dense, "n_out": N_HIDDEN, "name": chosen["layer"]},
        {**dense, "n_out": N_OUT, "activation": chosen["last"]},
    ]
    if part.kind == "layer" and part.name in SURROUNDINGS:
        layers[:-1] = [{"activation": "tanh", **arguments} for arguments in SURROUNDINGS[part.name][1]]
    kind = type(fastnn.initialize_optimizer(chosen["optimizer"]))
    optimizer = (kind if compiled else type("Own", (kind,), {}))(lr=0.05)
    return fastnn.NeuralNetwork(chosen["loss"], layers, optimizer, seed=3, dtype=dtype)


def batch(n, dtype="float64", part=None):
    """Return X, rows of 5 unless a part needs others, and one-hot Y ``(n, 5)``."""
    rng = np.random.default_rng(7)
    shape, _ = SURROUNDINGS.get(part.name, ((N_IN,), [])) if part else ((N_IN,), [])
    numbers = part is not None and part.name == "embedding"
    X = (rng.integers(6, size=(n, *shape)) if numbers else rng.normal(size=(n, *shape))).astype(dtype)
    return X, np.eye(N_OUT, dtype=dtype)[rng.integers(0, N_OUT, n)]


def parameters(net):
    """Return all parameter arrays."""
    return [array for layer in net.layers for array in layer.parameters.values()]
