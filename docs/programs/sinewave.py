"""Train an Elman network to predict a sine wave; draw ``sinewave.png``. ``data.py`` writes the data."""

import numpy as np

from fastnn.datasets import initialize_dataset
from fastnn.models import initialize_model

np.random.seed(0)

layer_args = [
    {"name": "elman", "activation": "tanh", "weight_init": "xavier_uniform", "n_out": 32},
    {
        "name": "fully_connected",
        "activation": "linear",
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

dataset = initialize_dataset("sinewave", batch_size=50)
model = initialize_model("sinewave", "l2", layer_args, optimizer_args)
model.train(dataset, epochs=20)
model.test(dataset)
model.history.plot("sinewave.png")
