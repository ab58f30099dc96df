"""fastnn: small and medium neural networks on a CPU, a teaching library's API on compiled kernels."""

from fastnn._threads import get_num_threads, set_num_threads
from fastnn._version import __version__
from fastnn._warmup import warmup
from fastnn.activations import (
    ELU,
    GELU,
    Activation,
    ArcTan,
    GELUTanh,
    HardSwish,
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
from fastnn.callbacks import (
    Callback,
    CSVLog,
    EarlyStopping,
    JSONLog,
    LearningRateLog,
    LiveCurve,
    ModelCheckpoint,
    ProgressBar,
)
from fastnn.convert import export_onnx, from_onnx, from_torch, to_torch
from fastnn.datasets import (
    Data,
    Dataset,
    initialize_dataset,
    load_digits,
    load_mnist,
)
from fastnn.layers import FullyConnected, Layer, initialize_layer
from fastnn.logs import History, Logger
from fastnn.losses import L2, BinaryCrossEntropy, CrossEntropy, Loss, initialize_loss
from fastnn.many import fit_many
from fastnn.models import NeuralNetwork, initialize_model
from fastnn.optimizers import SGD, Adam, Optimizer, initialize_optimizer
from fastnn.saving.networks import load
from fastnn.saving.tensors import SavedModelError
from fastnn.schedulers import Exponential, Scheduler, initialize_scheduler
from fastnn.tables import load_csv
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
    "ELU",
    "GELU",
    "L2",
    "SGD",
    "Activation",
    "Adam",
    "ArcTan",
    "AttrDict",
    "BinaryCrossEntropy",
    "CSVLog",
    "Callback",
    "CrossEntropy",
    "Data",
    "Dataset",
    "EarlyStopping",
    "Exponential",
    "FullyConnected",
    "GELUTanh",
    "HardSwish",
    "HeNormal",
    "HeUniform",
    "History",
    "JSONLog",
    "Layer",
    "LeakyReLU",
    "LearningRateLog",
    "Linear",
    "LiveCurve",
    "LogSoftMax",
    "Logger",
    "Loss",
    "ModelCheckpoint",
    "NeuralNetwork",
    "Normal",
    "Ones",
    "Optimizer",
    "Preset",
    "ProgressBar",
    "ReLU",
    "SavedModelError",
    "Scheduler",
    "SiLU",
    "Sigmoid",
    "SoftMax",
    "Softplus",
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
    "export_onnx",
    "fit_many",
    "from_onnx",
    "from_torch",
    "get_num_threads",
    "initialize_activation",
    "initialize_dataset",
    "initialize_layer",
    "initialize_loss",
    "initialize_model",
    "initialize_optimizer",
    "initialize_scheduler",
    "initialize_weights",
    "integers_to_one_hot",
    "load",
    "load_csv",
    "load_digits",
    "load_mnist",
    "normalize",
    "set_num_threads",
    "standardize",
    "to_torch",
    "warmup",
]
