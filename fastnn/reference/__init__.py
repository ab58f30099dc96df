"""The library in plain NumPy: the specification the fast code must agree with.

Read it top to bottom: ``activations``, ``losses``, ``layers``, ``optimizers``, ``models``. It does
what the formulas say and nothing more: no checks, no kernels, no tricks. What is not hot (weights,
schedulers, datasets, logs, utilities) exists once and is shared.
"""

from fastnn.reference.activations import (
    ELU,
    GELU,
    Activation,
    ArcTan,
    GELUTanh,
    LeakyReLU,
    Linear,
    LogSoftMax,
    ReLU,
    Sigmoid,
    SiLU,
    SoftMax,
    Softplus,
    TanH,
    initialize_activation,
)
from fastnn.reference.layers import Dropout, FullyConnected, Layer, LayerNorm, initialize_layer
from fastnn.reference.losses import L2, BinaryCrossEntropy, CrossEntropy, Loss, initialize_loss
from fastnn.reference.models import NeuralNetwork, initialize_model
from fastnn.reference.optimizers import SGD, Adam, Optimizer, initialize_optimizer

__all__ = [
    "ELU",
    "GELU",
    "L2",
    "SGD",
    "Activation",
    "Adam",
    "ArcTan",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Dropout",
    "FullyConnected",
    "GELUTanh",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftMax",
    "Loss",
    "NeuralNetwork",
    "Optimizer",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "SoftMax",
    "Softplus",
    "TanH",
    "initialize_activation",
    "initialize_layer",
    "initialize_loss",
    "initialize_model",
    "initialize_optimizer",
]
