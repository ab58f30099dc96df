"""The library in plain NumPy: the specification the fast code must agree with.

Read it top to bottom: ``activations``, ``losses``, ``layers``, ``optimizers``, ``models``. It does
what the formulas say and nothing more: no checks, no kernels, no tricks. What is not hot (weights,
schedulers, datasets, logs, utilities) exists once and is shared.
"""

from fastnn.reference import activations
from fastnn.reference.activations import *  # noqa: F403  # all that its __all__ names
from fastnn.reference.layers import (
    BatchNorm1D,
    BatchNorm2D,
    Conv2D,
    Dropout,
    Elman,
    Embedding,
    Flatten,
    FullyConnected,
    GlobalAveragePool2D,
    Layer,
    LayerNorm,
    Pool2D,
    initialize_layer,
)
from fastnn.reference.losses import (
    L2,
    MAE,
    MSE,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    Poisson,
    Quantile,
    initialize_loss,
)
from fastnn.reference.models import NeuralNetwork, initialize_model
from fastnn.reference.optimizers import (
    SGD,
    Adam,
    AdamW,
    Nadam,
    Optimizer,
    RMSProp,
    initialize_optimizer,
)

__all__ = [
    "Quantile",
    "Poisson",
    "Huber",
    "MSE",
    "MAE",
    *activations.__all__,
    "L2",
    "SGD",
    "Adam",
    "AdamW",
    "BatchNorm1D",
    "BatchNorm2D",
    "BinaryCrossEntropy",
    "Conv2D",
    "CrossEntropy",
    "Dropout",
    "Elman",
    "Embedding",
    "Flatten",
    "FullyConnected",
    "GlobalAveragePool2D",
    "Layer",
    "LayerNorm",
    "Loss",
    "Nadam",
    "NeuralNetwork",
    "Optimizer",
    "Pool2D",
    "RMSProp",
    "initialize_layer",
    "initialize_loss",
    "initialize_model",
    "initialize_optimizer",
]
