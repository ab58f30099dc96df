"""The library in plain NumPy: the specification the fast code must agree with.

Read it top to bottom: ``activations``, ``losses``, ``layers``, ``optimizers``, ``models``. It does
what the formulas say and nothing more: no checks, no kernels, no tricks. What is not hot (weights,
schedulers, datasets, logs, utilities) exists once and is shared.
"""

from fastnn.reference import activations
from fastnn.reference.activations import *  # noqa: F403  # all that its __all__ names
from fastnn.reference.layers import (
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
from fastnn.reference.losses import L2, BinaryCrossEntropy, CrossEntropy, Loss, initialize_loss
from fastnn.reference.models import NeuralNetwork, initialize_model
from fastnn.reference.optimizers import SGD, Adam, Optimizer, initialize_optimizer

__all__ = [
    *activations.__all__,
    "L2",
    "SGD",
    "Adam",
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
    "NeuralNetwork",
    "Optimizer",
    "Pool2D",
    "initialize_layer",
    "initialize_loss",
    "initialize_model",
    "initialize_optimizer",
]
