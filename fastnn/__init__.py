"""fastnn: small and medium neural networks on a CPU, a teaching library's API on compiled kernels."""

from fastnn._version import __version__
from fastnn.activations import (
    Activation,
    ArcTan,
    Linear,
    ReLU,
    Sigmoid,
    SoftMax,
    TanH,
    initialize_activation,
)
from fastnn.datasets import (
    Data,
    Dataset,
    initialize_dataset,
    load_digits,
    load_mnist,
)
from fastnn.layers import FullyConnected, Layer, initialize_layer
from fastnn.logs import History, Logger
from fastnn.losses import L2, CrossEntropy, Loss, initialize_loss
from fastnn.models import NeuralNetwork, initialize_model
from fastnn.optimizers import SGD, Adam, Optimizer, initialize_optimizer
from fastnn.schedulers import Exponential, Scheduler, initialize_scheduler
from fastnn.utils import (
    AttrDict,
    center,
    check_gradients,
    integers_to_one_hot,
    normalize,
    standardize,
)
from fastnn.weights import (
    HeNormal,
    HeUniform,
    Normal,
    Ones,
    Preset,
    Sparse,
    Uniform,
    WeightInitializer,
    XavierNormal,
    XavierUniform,
    Zeros,
    initialize_weights,
)

# `Constant` is a scheduler and an initialiser, `Identity` an activation and an initialiser: those
# two are imported from their modules.
__all__ = [
    "L2",
    "SGD",
    "Activation",
    "Adam",
    "ArcTan",
    "AttrDict",
    "CrossEntropy",
    "Data",
    "Dataset",
    "Exponential",
    "FullyConnected",
    "HeNormal",
    "HeUniform",
    "History",
    "Layer",
    "Linear",
    "Logger",
    "Loss",
    "NeuralNetwork",
    "Normal",
    "Ones",
    "Optimizer",
    "Preset",
    "ReLU",
    "Scheduler",
    "Sigmoid",
    "SoftMax",
    "Sparse",
    "TanH",
    "Uniform",
    "WeightInitializer",
    "XavierNormal",
    "XavierUniform",
    "Zeros",
    "__version__",
    "center",
    "check_gradients",
    "initialize_activation",
    "initialize_dataset",
    "initialize_layer",
    "initialize_loss",
    "initialize_model",
    "initialize_optimizer",
    "initialize_scheduler",
    "initialize_weights",
    "integers_to_one_hot",
    "load_digits",
    "load_mnist",
    "normalize",
    "standardize",
]
