"""Train a dense network on iris; draw ``iris.png``. ``data.py`` writes the data."""

import numpy as np

from fastnn.datasets import initialize_dataset
from fastnn.models import initialize_model

np.random.seed(0)

layer_args = [
    {"name": "fully_connected", "activation": "relu", "weight_init": "he_normal", "n_out": 25},
    {"name": "fully_connected", "activation": "relu", "weight_init": "he_normal", "n_out": 16},
    {
        "name": "fully_connected",
        "activation": "softmax",
        "weight_init": "xavier_uniform",
        "n_out": None,
    },
]
optimizer_args = {
    "name": "SGD",
    "lr": 0.02,
    "lr_scheduler": "constant",
    "momentum": 0.9,
    "clip_norm": 1.0,
}

dataset = initialize_dataset("iris", batch_size=25)
model = initialize_model("iris", "cross_entropy", layer_args, optimizer_args)
model.train(dataset, epochs=50)
model.test(dataset)
model.history.plot("iris.png")
