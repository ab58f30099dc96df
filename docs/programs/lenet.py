"""Train LeNet-5 on MNIST; draw ``lenet.png``. ``data.py`` writes the data."""

import numpy as np

from fastnn.datasets import initialize_dataset
from fastnn.models import initialize_model

np.random.seed(0)

layer_args = [
    {
        "name": "conv2d",
        "activation": "relu",
        "weight_init": "he_normal",
        "n_out": 6,
        "kernel_shape": (5, 5),
        "stride": 1,
        "pad": "same",
    },
    {"name": "pool2d", "kernel_shape": (2, 2), "mode": "max", "stride": 2, "pad": 0},
    {
        "name": "conv2d",
        "activation": "relu",
        "weight_init": "he_normal",
        "n_out": 16,
        "kernel_shape": (5, 5),
        "stride": 1,
        "pad": "valid",
    },
    {"name": "pool2d", "kernel_shape": (2, 2), "mode": "max", "stride": 2, "pad": 0},
    {"name": "flatten", "keep_dim": "first"},
    {"name": "fully_connected", "activation": "relu", "weight_init": "he_normal", "n_out": 120},
    {"name": "fully_connected", "activation": "relu", "weight_init": "he_normal", "n_out": 84},
    {
        "name": "fully_connected",
        "activation": "softmax",
        "weight_init": "xavier_uniform",
        "n_out": None,
    },
]
optimizer_args = {
    "name": "SGD",
    "lr": 0.05,
    "lr_scheduler": "exponential",
    "lr_decay": 0.9,
    "stage_length": 1,
    "momentum": 0.9,
    "clip_norm": 1.0,
}

dataset = initialize_dataset("mnist", batch_size=128)
model = initialize_model("lenet", "cross_entropy", layer_args, optimizer_args)
model.train(dataset, epochs=10)
model.history.plot("lenet.png")
