"""Trained networks that take features and return targets in the units of the data."""

from __future__ import annotations

import numpy as np

from fastnn._typing import Array
from fastnn.cli.problem import Problem
from fastnn.models import NeuralNetwork


def folded(net: NeuralNetwork, blank: NeuralNetwork, problem: Problem) -> NeuralNetwork:
    """Return a network for data that are not standardised: its weights do that.

    With ``X`` standardised as ``(X - m) / s``, the first layer's ``W`` becomes ``W / s`` and its ``b``
    becomes ``b - (m / s) W``; with targets standardised as ``(y - m) / s``, the last layer, which is
    linear, is multiplied by ``s``, and ``m`` added. It is in float64, as ``m / s`` may be large.

    Parameters
    ----------
    net : NeuralNetwork
        Trained on standardised data.
    blank : NeuralNetwork
        Of the same layers, in float64, not trained: what is returned.
    """
    parameters: list[dict[str, Array]] = [
        {name: np.asarray(array, np.float64) for name, array in layer.parameters.items()}
        for layer in net.layers
    ]
    data = problem.dataset
    if data.feature_mean is not None and data.feature_std is not None:
        mean, std = (np.asarray(a, np.float64) for a in (data.feature_mean, data.feature_std))
        first = parameters[0]
        first["b"] = first["b"] - (mean / std) @ first["W"]
        first["W"] = first["W"] / std[:, None]
    if problem.is_regression:
        last = parameters[-1]
        last["W"] = last["W"] * problem.std
        last["b"] = last["b"] * problem.std + problem.mean
    blank.forward(np.zeros((1, *data.train.data_.shape[1:])))  # makes its parameters
    for layer, arrays in zip(blank.layers, parameters, strict=True):
        for name, array in arrays.items():
            layer.parameters[name][...] = array
    return blank
