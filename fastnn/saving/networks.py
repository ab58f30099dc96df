"""Networks in files: ``net.save(path)`` and ``fastnn.load``.

A file is a safetensors file: arrays by name, ``layers.0.W``, ``optimizer.W0``, and in its metadata the
architecture as JSON. Reading it runs no code of the file's and allocates nothing but what it holds;
names, shapes, dtypes and numbers are checked against the architecture, and all of it against a digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from fastnn._typing import Array
from fastnn._validation import require_number
from fastnn._version import __version__
from fastnn.optimizers import Moments, Optimizer
from fastnn.saving import architecture, random_state, tensors
from fastnn.saving.tensors import SavedModelError
from fastnn.schedulers import Scheduler
from fastnn.stack import LayerStack

_N = TypeVar("_N", bound=LayerStack)
FORMAT = 1  # the version of what is in the files


def save(model: LayerStack, path: str | Path) -> None:
    """Write a network to a file; see ``LayerStack.save``."""
    tensors.write(Path(path), *captured(model))


def load(path: Path, kind: type[_N]) -> _N:
    """Return the network of a file, made as one of a class; see ``fastnn.load``."""
    model, _, others = read(path, kind)
    unknown = [name for name in others if not name.startswith("run.")]
    if unknown:
        raise SavedModelError(f"{path} holds arrays that belong to nothing: {', '.join(unknown)}")
    return model


def captured(model: LayerStack) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what is written of a network: a description for JSON, and arrays by name, not copied."""
    arrays: dict[str, Array] = {}
    description = {
        "format": FORMAT,
        "fastnn": __version__,
        "network": architecture.describe(model, arrays),
        "epoch": int(model.optimizer.epoch),
        "updates": model.optimizer.updates,
        "random": None if model.rng is None else random_state.describe(model.rng),
    }
    if isinstance(model.optimizer.lr_scheduler, Scheduler) and model.optimizer.lr_scheduler.progress:
        description["scheduler"] = model.optimizer.lr_scheduler.progress
    for i, layer in enumerate(model.layers):
        arrays |= {f"layers.{i}.{name}": buffer for name, buffer in layer.buffers.items()}
    for label, name, parameter in _parameters(model):
        arrays[label] = parameter
        state = model.optimizer.cache.get(name)
        if state is not None and model.optimizer.arrays_of(state)[0].shape == parameter.shape:
            arrays |= _optimizer_arrays(name, state, parameter.dtype)
    return description, arrays


def _parameters(model: LayerStack) -> Iterator[tuple[str, str, Array]]:
    """Yield each parameter with its name in a file and that of its optimiser's state."""
    for i, layer in enumerate(model.layers):
        for name, parameter in layer.parameters.items():
            yield f"layers.{i}.{name}", f"{name}{i}", parameter


def _optimizer_arrays(name: str, state: Any, dtype: np.dtype[Any]) -> dict[str, Array]:
    label = f"optimizer.{name}"
    if isinstance(state, np.ndarray):
        return {label: np.asarray(state, dtype)}
    arrays = {f"{label}.{name}": np.asarray(getattr(state, name), dtype) for name in state.names}
    if isinstance(state, Moments):
        arrays[f"{label}.t"] = np.array(state.t, np.int64)
    return arrays


def read(path: Path, kind: type[_N]) -> tuple[_N, dict[str, Any], dict[str, Array]]:
    """Return a file's network, its description, and the arrays that are not the network's.

    Raises :class:`SavedModelError` if the network is not whole.
    """
    description, arrays = tensors.read(path)
    found = description.get("format")
    if found != FORMAT:
        shown = repr(found) if isinstance(found, (int, float, str)) else f"of a {type(found).__name__}"
        raise SavedModelError(f"{path} has the format {shown}; this version reads {FORMAT}")
    with refused(path, "holds no network"):
        return _network(description, arrays, kind), description, arrays


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


def _network(description: Mapping[str, Any], arrays: dict[str, Array], kind: type[_N]) -> _N:
    """Return the network, whose arrays it takes out of ``arrays``."""
    state = description["random"]
    rng = None if state is None else random_state.generator(state)
    model = architecture.build(description["network"], arrays, rng, kind)
    width: int | None = None
    for i, (layer, entry) in enumerate(
        zip(model.layers, description["network"]["layers"], strict=True)
    ):
        label = f"layers.{i}."
        own = {name: arrays.pop(name) for name in [*arrays] if name.startswith(label)}
        n_in = entry.get("n_in", width)
        if own or "n_in" in entry:
            try:
                layer.restore({name.removeprefix(label): array for name, array in own.items()}, n_in)
            except ValueError as error:
                raise ValueError(f"layers.{i}: {error}") from None
        width = width if layer.n_out is None and layer.keeps_width else layer.n_out
    if width is not None:
        model.loss.check_classes(width)
    gather(model)
    model.optimizer.epoch = int(require_number("epoch", description["epoch"], low=0))
    model.optimizer.updates = description.get("updates", 0)  # files of earlier versions have no count
    if "scheduler" in description:
        scheduler: Any = model.optimizer.lr_scheduler
        scheduler.progress = description["scheduler"]
    for _, name, parameter in _parameters(model):
        _fill_optimizer(model.optimizer, name, parameter, arrays)
    return model


def _fill_optimizer(
    optimizer: Optimizer, name: str, parameter: Array, arrays: dict[str, Array]
) -> None:
    label = f"optimizer.{name}"
    own = [key for key in arrays if key == label or key.startswith(f"{label}.")]
    kept = [key for key in own if key != f"{label}.t"]
    if not kept:
        return
    (state,) = optimizer.states([name], [parameter])
    names = [] if isinstance(state, np.ndarray) else state.names
    expected = [f"{label}.{name}" for name in names] or [label]
    if sorted(kept) != sorted(expected):
        raise ValueError(f"the optimizer needs {', '.join(expected)}, not {', '.join(kept)}")
    for key, held in zip(expected, optimizer.arrays_of(state), strict=False):
        array = arrays.pop(key)
        if (array.shape, array.dtype) != (held.shape, held.dtype):
            raise ValueError(f"{key} is {array.dtype} {array.shape}, not {held.dtype} {held.shape}")
        held[...] = array
    if isinstance(state, Moments):
        state.t = _updates(arrays.pop(f"{label}.t"), f"{label}.t")


def _updates(t: Array, label: str) -> int:
    if t.shape or t.dtype != np.int64 or t < 0:
        raise ValueError(f"{label} must be a count, got {t.dtype} {t.shape}")
    return int(t)


def gather(model: LayerStack) -> None:
    """Lay all parameters in one array, as a network's first batch does, if there are all."""
    if model.is_made and len({layer.dtype for layer in model.layers}) == 1:
        model.gather_parameters()
