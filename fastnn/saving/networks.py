"""Networks in files: ``net.save(path)`` and :func:`load`.

A file is a safetensors file: arrays by name, ``layers.0.W``, ``optimizer.W0``, and in its metadata the
architecture as JSON. Reading it runs no code of the file's and allocates nothing but what it holds;
names, shapes, dtypes and numbers are checked against the architecture, and all of it against a digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn._validation import require_number
from fastnn._version import __version__
from fastnn.layers import FullyConnected, Layer
from fastnn.layers.base import Parameters
from fastnn.losses import CrossEntropy
from fastnn.models import NeuralNetwork
from fastnn.optimizers import Moments, Optimizer
from fastnn.saving import architecture, random_state, tensors
from fastnn.saving.tensors import SavedModelError

FORMAT = 1  # the version of what is in the files


def save(model: NeuralNetwork, path: str | Path) -> None:
    """Write a network to a file; see ``NeuralNetwork.save``."""
    tensors.write(Path(path), *captured(model))


def load(path: str | Path) -> NeuralNetwork:
    """Return the network that ``net.save(path)`` wrote, or that a checkpoint holds.

    It predicts and goes on training with the same bits: parameters, the optimiser's state and that of
    a seeded network's generator are back. A logger and the history are not.

    Raises
    ------
    SavedModelError
        A ``ValueError``: for a folder, or a file that is no saved network, is truncated, altered, or
        written by a later version. Loading runs no code of the file's: files of strangers may be
        loaded.
    FileNotFoundError
        If there is no such file.
    ImportError
        If safetensors is not installed; the message says how to install it.

    Examples
    --------
    >>> net.save("digits.safetensors")
    >>> fastnn.load("digits.safetensors").predict(X)
    """
    model, _, others = read(Path(path))
    unknown = [name for name in others if not name.startswith("run.")]
    if unknown:
        raise SavedModelError(f"{path} holds arrays that belong to nothing: {', '.join(unknown)}")
    return model


def captured(model: NeuralNetwork) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what is written of a network: a description for JSON, and arrays by name, not copied."""
    arrays: dict[str, Array] = {}
    description = {
        "format": FORMAT,
        "fastnn": __version__,
        "network": architecture.describe(model, arrays),
        "epoch": int(model.optimizer.epoch),
        "random": None if model.rng is None else random_state.describe(model.rng),
    }
    for label, name, parameter in _parameters(model):
        arrays[label] = parameter
        state = model.optimizer.cache.get(name)
        if state is not None and model.optimizer.arrays_of(state)[0].shape == parameter.shape:
            arrays |= _optimizer_arrays(name, state, parameter.dtype)
    return description, arrays


def _parameters(model: NeuralNetwork) -> Iterator[tuple[str, str, Array]]:
    """Yield each parameter with its name in a file and that of its optimiser's state."""
    for i, layer in enumerate(model.layers):
        for name, parameter in layer.parameters.items():
            yield f"layers.{i}.{name}", f"{name}{i}", parameter


def _optimizer_arrays(name: str, state: Any, dtype: np.dtype[Any]) -> dict[str, Array]:
    label = f"optimizer.{name}"
    if not isinstance(state, Moments):
        return {label: np.asarray(state, dtype)}
    m, v = (np.asarray(array, dtype) for array in (state.m, state.v))
    return {f"{label}.m": m, f"{label}.v": v, f"{label}.t": np.array(state.t, np.int64)}


def read(path: Path) -> tuple[NeuralNetwork, dict[str, Any], dict[str, Array]]:
    """Return a file's network, its description, and the arrays that are not the network's.

    Raises :class:`SavedModelError` if the network is not whole.
    """
    description, arrays = tensors.read(path)
    found = description.get("format")
    if found != FORMAT:
        shown = repr(found) if isinstance(found, (int, float, str)) else f"of a {type(found).__name__}"
        raise SavedModelError(f"{path} has the format {shown}; this version reads {FORMAT}")
    with refused(path, "holds no network"):
        return _network(description, arrays), description, arrays


@contextmanager
def refused(path: Path, why: str) -> Iterator[None]:
    """Raise the errors that untrusted content can cause as :class:`SavedModelError`."""
    try:
        yield
    except KeyError as error:
        raise SavedModelError(f"{path} has no {error}") from None
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RuntimeError,  # NotImplementedError, RecursionError
        TypeError,
        ValueError,
    ) as error:
        raise SavedModelError(f"{path} {why}: {error}") from None


def _network(description: Mapping[str, Any], arrays: dict[str, Array]) -> NeuralNetwork:
    """Return the network, whose arrays it takes out of ``arrays``."""
    state = description["random"]
    rng = None if state is None else random_state.generator(state)
    model = architecture.build(description["network"], arrays, rng)
    width: int | None = None
    for i, layer in enumerate(model.layers):
        if f"layers.{i}.W" in arrays:
            layer_arrays = {name: arrays.pop(f"layers.{i}.{name}") for name in ("W", "b")}
            width = _fill(layer, f"layers.{i}", layer_arrays, width)
        else:
            width = layer.n_out
    if isinstance(model.loss, CrossEntropy) and width is not None:
        model.loss.check_classes(width)
    gather(model)
    model.optimizer.epoch = int(require_number("epoch", description["epoch"], low=0))
    for _, name, parameter in _parameters(model):
        _fill_optimizer(model.optimizer, name, parameter, arrays)
    return model


def _fill(layer: Layer, label: str, arrays: Mapping[str, Array], n_in: int | None) -> int:
    """Give a layer its parameters, for inputs ``(n, n_in)`` if that is known; return its width."""
    W, b = arrays["W"], arrays["b"]
    n_out = layer.n_out
    fits = W.ndim == 2 and W.size > 0 and n_in in (None, W.shape[0]) and b.shape == (1, W.shape[1])
    if n_out is None or not fits or W.shape[1] != n_out:
        raise ValueError(f"{label} has W {W.shape} and b {b.shape} for {n_in} inputs, {n_out} outputs")
    if layer.dtype is None or not W.dtype == b.dtype == layer.dtype:
        raise ValueError(f"{label} has W {W.dtype} and b {b.dtype}, not {layer.dtype}")
    assert isinstance(layer, FullyConnected)
    layer.adopt(Parameters(arrays))
    return n_out


def _fill_optimizer(
    optimizer: Optimizer, name: str, parameter: Array, arrays: dict[str, Array]
) -> None:
    label = f"optimizer.{name}"
    kept = [key for key in (label, f"{label}.m", f"{label}.v") if key in arrays]
    if not kept:
        return
    (state,) = optimizer.states([name], [parameter])
    expected = [f"{label}.m", f"{label}.v"] if isinstance(state, Moments) else [label]
    if kept != expected:
        raise ValueError(f"the optimizer needs {', '.join(expected)}, not {', '.join(kept)}")
    for key, own in zip(expected, optimizer.arrays_of(state), strict=False):
        array = arrays.pop(key)
        if (array.shape, array.dtype) != (own.shape, own.dtype):
            raise ValueError(f"{key} is {array.dtype} {array.shape}, not {own.dtype} {own.shape}")
        own[...] = array
    if isinstance(state, Moments):
        state.t = _updates(arrays.pop(f"{label}.t"), f"{label}.t")


def _updates(t: Array, label: str) -> int:
    if t.shape or t.dtype != np.int64 or t < 0:
        raise ValueError(f"{label} must be a count, got {t.dtype} {t.shape}")
    return int(t)


def gather(model: NeuralNetwork) -> None:
    """Lay all parameters in one array, as a network's first batch does, if there are all."""
    if all(layer.parameters for layer in model.layers) and len({x.dtype for x in model.layers}) == 1:
        model._flatten()
