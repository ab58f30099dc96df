"""Multilayer perceptrons in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastnn._typing import DTypeLike
from fastnn._validation import canonical, require_count, require_float_dtype
from fastnn.activations import Activation
from fastnn.layers import Dropout, FullyConnected, Layer
from fastnn.losses import Loss
from fastnn.models import NeuralNetwork
from fastnn.optimizers import Optimizer

_TASKS = {  # the last activation and the loss
    "class": ("softmax", "cross_entropy"),
    "binary": ("sigmoid", "binary_cross_entropy"),
    "regression": ("linear", "mse"),
}
_RECTIFIERS = ("relu", "leaky_relu", "leakyrelu", "elu", "gelu", "gelu_tanh", "gelutanh", "silu")


def mlp(
    inputs: int,
    hidden: Sequence[int],
    outputs: int,
    task: str = "class",
    activation: str | Activation = "relu",
    optimizer: str | Mapping[str, Any] | Optimizer = "adam",
    loss: str | Loss | None = None,
    dropout: float = 0.0,
    seed: int | np.random.Generator | None = None,
    dtype: DTypeLike = "float32",
) -> NeuralNetwork:
    """Return a multilayer perceptron: fully connected hidden layers and an output layer.

    Parameters
    ----------
    inputs : int
        Number of input features.
    hidden : sequence of int
        Widths of the hidden layers, from the first to the last; may be empty.
    outputs : int
        Number of classes, or of numbers to predict.
    task : {"class", "binary", "regression"}
        ``"class"``: one of several classes, with softmax and cross-entropy. ``"binary"``: each output
        is a binary decision, with sigmoid and binary cross-entropy. ``"regression"``: numbers, with a
        linear output layer and mean squared error.
    activation : str or Activation
        Activation of the hidden layers. Initial weights are ``"he_uniform"`` for relu and similar
        activations, ``"xavier_uniform"`` for others.
    optimizer : str, mapping or Optimizer
        As for ``NeuralNetwork``.
    loss : str or Loss, optional
        Replaces the loss of the task.
    dropout : float
        Fraction of each hidden layer's outputs that is dropped in training.
    seed : int or Generator, optional
        Seed or generator for the initial weights and for training.
    dtype : "float32" or "float64"
        Dtype of the parameters.

    Returns
    -------
    NeuralNetwork
        A network whose parameters are drawn.

    Raises
    ------
    NotImplementedError
        For an unknown task, activation, optimiser or loss; the message lists the known names.
    TypeError, ValueError
        If ``inputs``, ``outputs`` or a width is not a positive integer.

    Example
    -------
    >>> net = fastnn.mlp(64, [128, 64], 10)
    >>> net.fit(X, labels, epochs=20, validation_split=0.1)
    """
    last, usual = _TASKS[canonical("task", task, _TASKS)]
    d, k = require_count("inputs", inputs), require_count("outputs", outputs)
    if np.ndim(hidden) != 1:
        raise TypeError(f"hidden must be a sequence of widths, such as [128, 64], got {hidden!r}")
    name = activation if isinstance(activation, str) else type(activation).__name__
    init = "he_uniform" if name.lower() in _RECTIFIERS else "xavier_uniform"
    layers: list[Layer] = []
    for i, width in enumerate(hidden):
        layers.append(FullyConnected(require_count(f"hidden[{i}]", width), activation, init))
        if dropout:
            layers.append(Dropout(dropout))
    layers.append(FullyConnected(k, last))
    kind = require_float_dtype("dtype", dtype)
    net = NeuralNetwork(usual if loss is None else loss, layers, optimizer, seed=seed, dtype=kind)
    net.prepare(k, (1, d))
    net.make_parameters(np.zeros((1, d), kind))
    return net
