"""The networks of ``fastnn train --model``, and the data that each takes."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

from fastnn.cli.usage import UsageError
from fastnn.weights import Normal


class ModelName(StrEnum):
    """Values of ``--model``."""

    MLP = "mlp"
    LENET = "lenet"
    ELMAN = "elman"


# For each network, its data and the default activation of its hidden layers, if not the usual one.
_DATA = {ModelName.LENET: "mnist", ModelName.ELMAN: "sinewave"}
_ACTIVATIONS = {ModelName.ELMAN: "tanh"}
_STATES = 32  # default width of the recurrent layer


def require(model: ModelName, kind: str, given: set[str], widths: list[int]) -> None:
    """Raise ``UsageError`` if a network does not take this kind of data or one of the given options."""
    wanted = _DATA.get(model)
    if wanted and kind != wanted:
        raise UsageError(f"--model {model.value} is for {wanted}")
    if kind == "sinewave" and model is not ModelName.ELMAN:
        raise UsageError("sinewave needs --model elman: its rows are series")
    if model is ModelName.LENET and "hidden" in given:
        raise UsageError("--hidden does nothing with --model lenet, whose layers are fixed")
    if model is ModelName.ELMAN and "hidden" in given and len(widths) != 1:
        raise UsageError("--hidden: --model elman has one hidden layer; give one width, such as 32")
    if model is ModelName.MLP and "activation" in given and not widths:
        raise UsageError("--activation does nothing without hidden layers")


def layers(
    model: ModelName, widths: list[int], activation: str, given: set[str]
) -> list[dict[str, Any]]:
    """Return the layers' arguments, without the output layer."""
    function = activation if "activation" in given else _ACTIVATIONS.get(model, activation)
    if model is ModelName.ELMAN:
        states = widths[0] if "hidden" in given else _STATES
        init = Normal(0.0, 0.1)  # with larger weights states are chaotic, and rounding errors grow
        return [{"name": "elman", "n_out": states, "activation": function, "weight_init": init}]
    if model is ModelName.LENET:
        return [*_images(function), *_dense([120, 84], function)]
    return _dense(widths, function)


def _dense(widths: list[int], function: str) -> list[dict[str, Any]]:
    return [{"name": "fully_connected", "n_out": w, "activation": function} for w in widths]


def _images(function: str) -> list[dict[str, Any]]:
    """Return LeNet-5's layers up to ``Flatten``: 28 x 28 pixels become 14 x 14, 10 x 10, 5 x 5."""

    def conv(n_out: int, inputs: int, pad: str) -> dict[str, Any]:
        # Initialisers by name use the kernel's rows as the number of inputs.
        init = Normal(0.0, math.sqrt(2 / inputs))
        sizes = {"n_out": n_out, "kernel_shape": (5, 5), "pad": pad}
        return {"name": "conv2d", "activation": function, "weight_init": init} | sizes

    pool = {"name": "pool2d", "kernel_shape": (2, 2), "mode": "max", "stride": 2}
    return [
        conv(6, 25, "same"),
        pool,
        conv(16, 150, "valid"),
        pool,
        {"name": "flatten"},
    ]
