"""Checkpoints: a training run in a file, from which it goes on with the same bits.

A checkpoint is a saved network (``fastnn.load`` reads it) and beside it, under names that begin with
``run.``, the history, the losses of the epoch under way, the order of the rows and, for a network
without a seed, the state of NumPy's global generator. What the run was started with is compared when it
is resumed: the network's architecture, batch size, whether to shuffle, and a digest of the data. What a
callback changed since, such as the learning rate, is in the saved network and is put back.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from fastnn._changes import watched_names
from fastnn._typing import Array
from fastnn._validation import require_number
from fastnn._writing import remove_leftovers, require_writable
from fastnn.callbacks.base import Callback
from fastnn.callbacks.run import Run
from fastnn.datasets import Data, Dataset
from fastnn.logs import History
from fastnn.saving import architecture, networks, random_state, tensors
from fastnn.saving.tensors import SavedModelError
from fastnn.stack import LayerStack

_Part = TypeVar("_Part")
# By networks whose run ended early in this process: their settings at its begin and at its end.
_BROKEN_OFF: WeakKeyDictionary[LayerStack, tuple[dict[str, Any], dict[str, Any]]] = WeakKeyDictionary()


class Checkpoint(Callback):
    """Writes a run's checkpoints, and puts a run where its last one was; see ``NeuralNetwork.fit``.

    Making one raises ``TypeError`` if the network has parts that cannot be saved, ``OSError`` if
    the file cannot be written: ``FileNotFoundError`` if there is no such folder; to resume,
    ``ValueError`` if the file belongs to another run, :class:`SavedModelError` if it is damaged.
    """

    def __init__(
        self,
        path: str | Path,
        every: float,
        resume: bool,
        net: LayerStack,
        dataset: Dataset,
        epochs: int,
        shuffle: bool,
    ) -> None:
        self._path = Path(path)
        self._every = require_number("checkpoint_every", every, low=0)
        self._data = _data_settings(dataset, shuffle)
        self._kept: _Kept | None = None
        tensors.require_safetensors()
        require_writable(self._path)
        self._begun = now = dict(_leaves(_network_settings(net)))
        if resume and self._path.exists():
            begun, left = _BROKEN_OFF.get(net, (now, now))
            self._kept = _read(
                self._path, type(net), dataset, begun if left == now else now, self._data
            )
            self._begun = self._kept.begun
            started = len(self._kept.history.loss) + (len(self._kept.losses) > 0)
            if started > epochs:
                raise ValueError(f"{path} has begun {started} epochs, more than the {epochs} asked for")

    def on_train_begin(self, run: Run) -> None:
        remove_leftovers(self._path)
        if self._kept is not None:
            self._kept.restore(run)
            if not run.losses:  # between two epochs: on_epoch_begin has not been called
                self._kept = None
        self._due = time.monotonic() + self._every

    def on_epoch_begin(self, run: Run) -> None:
        if self._kept is not None:  # callbacks got on_epoch_begin for this epoch a second time
            self._kept.restore(run)  # undoes what they changed
            self._kept = None

    def on_batches_end(self, run: Run, losses: Array, errors: Array) -> None:
        if run.dataset.train.iteration and time.monotonic() >= self._due:  # else the epoch is to end
            self._write(run, run.losses, run.errors)

    def on_epoch_end(self, run: Run) -> None:
        last = run.epoch + 1 == run.epochs or run.stopped is not None
        if last or time.monotonic() >= self._due:
            self._write(run, [], [])

    def on_train_end(self, run: Run) -> None:
        _BROKEN_OFF.pop(run.net, None)
        if len(run.history.loss) < run.epochs and run.stopped is None:
            with suppress(TypeError):  # a part that cannot be saved
                left = dict(_leaves(_network_settings(run.net)))
                _BROKEN_OFF[run.net] = self._begun, left

    def _write(self, run: Run, losses: Sequence[float], errors: Sequence[float]) -> None:
        description, arrays = networks.captured(run.net)
        description["run"] = {
            "data": self._data,
            "network": self._begun,
            "random": random_state.describe_global() if run.net.rng is None else None,
        }
        figures = {"losses": losses, "errors": errors, **vars(run.history)}
        arrays |= {f"run.{name}": np.array(values, np.float64) for name, values in figures.items()}
        for part, data in _parts(run.dataset):
            if data.row_order is not None:
                arrays[f"run.{part}_order"] = np.asarray(data.row_order, np.int64)
        tensors.write(self._path, description, arrays)
        self._due = time.monotonic() + self._every


class _Kept:
    """A checkpoint's content, checked to be whole."""

    def __init__(self, dataset: Dataset, net: LayerStack, run: Any, arrays: dict[str, Array]) -> None:
        self.net = net
        self.begun: dict[str, Any] = run["network"]
        if not net.is_made:
            raise ValueError("the network has no parameters")
        state = run["random"]
        if (state is None) != (net.rng is not None):
            raise ValueError("there is to be one random state, the network's or NumPy's")
        self.random = None if state is None else random_state.checked_global(state)
        self.history = History(*(_figures(arrays, field.name) for field in fields(History)))
        self.losses, self.errors = _figures(arrays, "losses"), _figures(arrays, "errors")
        self.orders = {name: arrays.pop(f"run.{name}_order", None) for name, _ in _parts(dataset)}
        if arrays:
            raise ValueError(f"arrays that belong to nothing: {', '.join(arrays)}")
        self._check_lengths(dataset)

    def _check_lengths(self, dataset: Dataset) -> None:
        history, epochs = self.history, len(self.history.loss)
        validated = 0 if dataset.validate is None else epochs
        lengths = [len(x) for x in (history.error, history.validation_loss, history.validation_error)]
        if lengths != [epochs, validated, validated]:
            raise ValueError("the histories differ in length")
        steps = dataset.train.samples_per_epoch
        if len(self.losses) != len(self.errors) or len(self.losses) >= steps:
            raise ValueError(f"{len(self.losses)} losses, {len(self.errors)} errors in {steps} steps")
        for name, data in _parts(dataset):
            order = self.orders[name]
            if order is not None and (
                order.dtype != np.int64 or not np.array_equal(np.sort(order), np.arange(data.n_samples))
            ):
                raise ValueError(f"{name}_order is no order of {data.n_samples} rows")
        out_shape = self.net.check_input(dataset.train.data_.shape)
        if out_shape is not None and out_shape[-1] != dataset.out_dim:
            raise ValueError(f"the network has {out_shape[-1]} outputs, the data {dataset.out_dim}")

    def restore(self, run: Run) -> None:
        """Put a run, its network and data where they were."""
        net, kept = run.net, self.net
        for layer, other in zip(net.layers, kept.layers, strict=True):
            layer.n_out = other.n_out
        self._restore_settings(net)
        for layer, other in zip(net.layers, kept.layers, strict=True):
            layer.take(other)
        networks.gather(net)
        net.optimizer.cache, net.optimizer.epoch = kept.optimizer.cache, kept.optimizer.epoch
        if net.rng is not None and kept.rng is not None:
            net.rng.bit_generator.state = kept.rng.bit_generator.state
        elif self.random is not None:
            np.random.set_state(self.random)
        for name, data in _parts(run.dataset):
            data.row_order = self.orders[name]
        run.dataset.train.iteration = len(self.losses)
        run.losses, run.errors, run.history = self.losses, self.errors, self.history
        run.epoch = len(self.history.loss)

    def _restore_settings(self, net: LayerStack) -> None:
        """Give a network the settings that callbacks may have changed: rates, penalties, the loss."""
        kept = self.net
        for layer, other in zip(net.layers, kept.layers, strict=True):
            for name in watched_names(type(layer)):
                setattr(layer, name, _with_settings(getattr(layer, name), getattr(other, name)))
        net.loss = _with_settings(net.loss, kept.loss)
        scheduler = _with_settings(net.optimizer.lr_scheduler, kept.optimizer.lr_scheduler)
        net.optimizer = _with_settings(net.optimizer, kept.optimizer)
        net.optimizer.lr_scheduler = scheduler


def _with_settings(own: _Part, kept: _Part) -> _Part:
    """Return a part with the attributes of another, in place if it is of the same class."""
    if not hasattr(kept, "__dict__"):  # a number
        return kept
    if type(own) is not type(kept):
        return copy.deepcopy(kept)
    vars(own).update(vars(kept))
    return own


def _read(
    path: Path,
    kind: type[LayerStack],
    dataset: Dataset,
    begun: Mapping[str, Any],
    data: Mapping[str, Any],
) -> _Kept:
    net, description, arrays = networks.read(path, kind)
    run = description.get("run")
    if not isinstance(run, dict) or not isinstance(run.get("data"), dict):
        raise SavedModelError(f"{path} is a saved network, no checkpoint")
    if "network" not in run:  # as in files of earlier versions
        run["network"] = dict(_leaves(_network_settings(net)))
    with networks.refused(path, "is no checkpoint"):
        run["network"] = dict(_leaves(run["network"]))
        kept = run["network"] | dict(_leaves(run["data"]))
    _compare(path, kept, {**begun, **data})
    with networks.refused(path, "is no checkpoint of such data"):
        return _Kept(dataset, net, run, arrays)


def _figures(arrays: dict[str, Array], name: str) -> list[float]:
    array = arrays.pop(f"run.{name}")
    if array.ndim != 1 or array.dtype != np.float64:
        raise ValueError(f"{name} is {array.dtype} {array.shape}")
    values: list[float] = array.tolist()
    return values


def _parts(dataset: Dataset) -> Iterator[tuple[str, Data]]:
    yield "training", dataset.train
    if dataset.validate is not None:
        yield "validation", dataset.validate


def _network_settings(net: LayerStack) -> dict[str, Any]:
    """Return what of a network must be as it was when a run began, parameters and data made or not."""
    arrays: dict[str, Array] = {}
    settings = architecture.describe(net, arrays)
    for entry, layer in zip(settings["layers"], net.layers, strict=True):  # what is made later
        entry["dtype"] = None
        entry.pop("n_in", None)
        if layer is net.width_layer:
            entry["arguments"]["n_out"] = None
    settings |= {name: _fingerprint(array) for name, array in arrays.items()}
    settings["random"] = None if net.rng is None else type(net.rng.bit_generator).__name__
    return settings


def _data_settings(dataset: Dataset, shuffle: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {"batch_size": dataset.train.batch_size, "shuffle": bool(shuffle)}
    for name, data in _parts(dataset):
        settings |= {
            f"{name} {what}": _fingerprint(array)
            for what, array in (
                ("data", data.data_),
                ("targets", data.labels),
                ("weights", data.row_weights),
            )
        }
    return settings


def _fingerprint(array: Array | None) -> str | None:
    if array is None:
        return None
    return f"{array.dtype} {array.shape} {tensors.digest('', {'': array})}"


def _compare(path: Path, kept: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    for name in {**kept, **asked}:
        if kept.get(name) != asked.get(name):
            raise ValueError(
                f"{path} belongs to another run: its {name} is {kept.get(name)!r}, "
                f"this one's {asked.get(name)!r}"
            )


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what nested mappings and lists hold, by a dotted name."""
    if not isinstance(value, (Mapping, list)):
        yield name, value
        return
    for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from _leaves(entry, f"{name}.{key}" if name else str(key))
