"""What a network is made of, as JSON and back.

A part is its class's name and the arguments of its constructor, which its attributes of the same names
hold: a new activation, loss or initialiser can be saved as soon as it is in its table. Arguments that
are arrays are kept beside the JSON.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from fastnn import weights
from fastnn._own import says
from fastnn._typing import Array
from fastnn._validation import require_float_dtype
from fastnn.activations import ACTIVATIONS
from fastnn.layers import LAYERS, Layer
from fastnn.losses import LOSSES
from fastnn.optimizers import OPTIMIZERS
from fastnn.schedulers import SCHEDULERS
from fastnn.stack import LayerStack

# The parts that there are, by the name of the argument they are given as.
_TABLES: dict[str, Iterable[type]] = {
    "layer": LAYERS.values(),
    "activation": ACTIVATIONS.values(),
    "weight_init": weights.INITIALIZERS.values(),
    "loss": LOSSES.values(),
    "optimizer": OPTIMIZERS.values(),
    "lr_scheduler": SCHEDULERS.values(),
}
_N = TypeVar("_N", bound=LayerStack)
_PARTS = {argument: {part.__name__: part for part in parts} for argument, parts in _TABLES.items()}
_ATTRIBUTES = {"weight_init": "init_weights"}  # where they have other names than arguments
# Arguments that files of earlier versions lack.
_LATER = {"eps_hat", "global_clip_norm", "weight_decay", "class_weight"}
_NEW = {"global_clip_norm", "weight_decay"}  # arguments that are written only if not the default
_PAIRS = {"kernel_shape", "pad"}  # arguments that may be a pair of integers
_ANY = {"keep_dim"}  # arguments that may be a number or a string, whatever the default is
_OF_SCHEDULERS = ("lr_decay", "stage_length", "staircase")  # optimisers hand them on


def describe(model: LayerStack, arrays: dict[str, Array]) -> dict[str, Any]:
    """Return a network's architecture as JSON takes it; its arguments that are arrays go to ``arrays``.

    Raises ``TypeError`` for a part that is not one of fastnn's own.
    """
    if not says(model, "is_saved"):
        raise TypeError(f"cannot save a {type(model).__name__}: only NeuralNetwork itself")
    layers = _describe_layers(model.layers, "layers", arrays)
    return {
        "loss": _describe(model.loss, "loss", "loss", arrays),
        "layers": layers,
        "optimizer": _describe(model.optimizer, "optimizer", "optimizer", arrays),
        "dtype": None if model.dtype is None else model.dtype.name,
        "seed": int(model.seed) if isinstance(model.seed, (int, np.integer)) else None,
    }


def build(
    description: Mapping[str, Any],
    arrays: dict[str, Array],
    rng: np.random.Generator | None,
    kind: type[_N],
) -> _N:
    """Return the network of a description, of a class; its arguments are taken out of ``arrays``."""
    model = kind(
        _build(description["loss"], "loss", "loss", arrays),
        _build_layers(description["layers"], "layers", arrays),
        _build(description["optimizer"], "optimizer", "optimizer", arrays),
        seed=rng,
        dtype=description["dtype"],
    )
    seed = description["seed"]
    if seed is not None and type(seed) is not int:
        raise ValueError(f"the seed cannot be {seed!r}")
    model.seed = rng if seed is None else seed
    return model


def _describe_layers(
    layers: Sequence[Layer], label: str, arrays: dict[str, Array]
) -> list[dict[str, Any]]:
    described = []
    for i, layer in enumerate(layers):
        dtype = None if layer.dtype is None else layer.dtype.name
        entry = {**_describe(layer, "layer", f"{label}.{i}", arrays), "dtype": dtype}
        if layer.is_initialized and not layer.parameters:  # from which a width could be told
            entry["n_in"] = layer.n_in
        if not layer.training:
            entry["training"] = False
        described.append(entry)
    return described


def _build_layers(
    entries: Iterable[Mapping[str, Any]], label: str, arrays: dict[str, Array]
) -> list[Layer]:
    layers = []
    for i, entry in enumerate(entries):
        layer: Layer = _build(entry, "layer", f"{label}.{i}", arrays)
        layer.dtype = require_float_dtype(f"{label}.{i}.dtype", entry["dtype"])
        layer.training = entry.get("training", True)
        layers.append(layer)
    return layers


def _describe(part: Any, kind: str, label: str, arrays: dict[str, Array]) -> dict[str, Any]:
    name = type(part).__name__
    if _PARTS[kind].get(name) is not type(part):
        raise TypeError(f"cannot save {label}, a {name}: it is not one of fastnn's own")
    arguments: dict[str, Any] = {}
    for argument, default in _arguments(type(part)):
        value = getattr(part, _ATTRIBUTES.get(argument, argument))
        if argument in _NEW and value == default:
            continue
        where = f"{label}.{argument}"
        if isinstance(value, np.generic):
            value = value.item()
        if argument in _PAIRS and isinstance(value, tuple):
            value = list(value)
        if argument == "layers":
            arguments[argument] = _describe_layers(value, where, arrays)
        elif argument in _PARTS and not isinstance(value, (str, type(None))):
            arguments[argument] = _describe(value, argument, where, arrays)
        elif isinstance(value, np.ndarray) and default is None:
            arrays[where] = value
            arguments[argument] = {"array": where}
        elif isinstance(value, float) and not math.isfinite(value):  # JSON has none of these
            arguments[argument] = {"float": repr(value)}
        elif _fits(value, default, argument):
            arguments[argument] = value
        else:
            raise TypeError(f"cannot save {where}: {value!r}")
    return {"name": name, "arguments": arguments}


def _build(entry: Mapping[str, Any], kind: str, label: str, arrays: dict[str, Array]) -> Any:
    part = _PARTS[kind].get(entry["name"])
    if part is None:
        raise ValueError(f"{label} is an unknown {kind} {entry['name']!r}")
    given, arguments = entry["arguments"], dict[str, Any]()
    expected = dict(_arguments(part))
    if not expected.keys() - _LATER <= given.keys() <= expected.keys():
        raise ValueError(f"{label}, a {entry['name']}, has the arguments {', '.join(given)}")
    for argument, value in given.items():
        where = f"{label}.{argument}"
        if isinstance(value, dict) and value.get("float") in ("nan", "inf", "-inf"):
            value = float(value["float"])
        if argument == "layers":
            arguments[argument] = _build_layers(value, where, arrays)
        elif value == {"array": where} and expected[argument] is None:
            arguments[argument] = arrays.pop(where)
        elif argument in _PARTS and isinstance(value, dict):
            arguments[argument] = _build(value, argument, where, arrays)
        elif _fits(value, expected[argument], argument):
            arguments[argument] = tuple(value) if isinstance(value, list) else value
        else:
            raise ValueError(f"{where} cannot be {value!r}")
    return part(**arguments)


def _arguments(part: type) -> Iterator[tuple[str, Any]]:
    """Yield the constructor's arguments with their defaults, except those that follow from arrays."""
    if part.__init__ is object.__init__:  # type: ignore[misc]
        return
    for name, parameter in inspect.signature(part).parameters.items():
        optimizers = _PARTS["optimizer"].values()
        unsaved = _OF_SCHEDULERS if part in optimizers else getattr(part, "unsaved", ())
        if name not in unsaved:
            yield name, parameter.default


def _fits(value: Any, default: Any, argument: str) -> bool:
    """Return whether a value has the kind of the default: bool, number or string; else any of these.

    Some arguments may also be pairs of integers.
    """
    if isinstance(value, list):
        return argument in _PAIRS and len(value) == 2 and all(type(number) is int for number in value)
    if argument in _ANY:
        default = None
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, (int, float)):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, str):
        return isinstance(value, str)
    return value is None or isinstance(value, (int, float, str))
