"""The plans that a network has, kept as long as what they were made from is the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import is_
from typing import Any, TypeVar

import numpy as np

from fastnn._changes import Changes, watched_names
from fastnn.kernels.step import threads
from fastnn.stack import LayerStack

_T = TypeVar("_T")
Parts = list[tuple[Any, str, Any]]  # entries of mappings: (mapping, key, value)


class Plans:
    """Plans of one kind, by number of rows or the input's shape, and what they were made from.

    That is looked at only if anything that is watched, of whatever network, was replaced.
    """

    def __init__(self) -> None:
        self._plans: dict[Any, Any] = {}
        self._layers: list[Any] = []
        self._changes = -1
        self._threads: int | None = None
        self._made_from: Sequence[Any] = ()
        self._counts: list[int] = []  # of each layer's parameters
        self.get = self._plans.get

    def fresh(self, model: LayerStack) -> bool:
        """Return whether all that plans are made from is where it was, the very same objects."""
        changes = Changes.count
        if not self._layers or model.layers != self._layers or threads.chosen != self._threads:
            return False
        if changes != self._changes:
            if not _unchanged(*self._made_from) or _counts(model) != self._counts:
                return False
            self._changes = changes
        return True

    def renew(self, model: LayerStack, possible: bool, others: Callable[[], Parts] = list) -> bool:
        """Forget all plans; return whether new ones are possible."""
        self._layers = []
        plans: dict[Any, Any] = {}  # another one, as other threads may still add to the last
        if possible:
            changes, layers = Changes.count, list(model.layers)
            made_from = tuple(zip(*_parts(model), *others(), strict=True))
            self._made_from, self._counts = made_from, _counts(model)
            self._threads, self._changes = threads.count(), changes
            self._plans, self.get = plans, plans.get
            self._layers = layers  # last: now plans count as fresh
        else:
            self._plans, self.get = plans, plans.get
        return possible

    def add(self, key: Any, plans: _T) -> _T:
        if len(self._plans) == 8:
            self._plans.clear()
        self._plans[key] = plans
        return plans


def take(free: list[_T]) -> _T | None:
    """Take a plan that no other thread has, or None if there is none."""
    try:
        return free.pop()
    except IndexError:
        return None


def _unchanged(mappings: Sequence[Any], keys: Sequence[str], values: Sequence[Any]) -> bool:
    return all(map(is_, map(dict.get, mappings, keys), values))


def _parts(model: LayerStack) -> Parts:
    """Return what of a network's layers plans are made from."""
    parts: Parts = []
    for layer in model.layers:
        parts += _watched(layer)
        for arrays in (layer.parameters, layer.buffers):
            parts += [(arrays, name, value) for name, value in arrays.items()]
    return parts


def _watched(thing: Any) -> Parts:
    """Return the watched attributes of an object, which is of one of fastnn's classes."""
    own = vars(thing)
    return [(own, name, own[name]) for name in watched_names(thing.__class__) if name in own]


def _counts(model: LayerStack) -> list[int]:
    return [len(layer.parameters) for layer in model.layers]


def is_made(model: LayerStack) -> bool:
    """Return whether all layers have their parameters."""
    return all(layer.made for layer in model.layers)


def trained_parts(model: LayerStack) -> Parts:
    """Return what plans of training are made from besides the layers."""
    optimizer = model.optimizer
    parts: Parts = [(vars(model), name, getattr(model, name)) for name in ("loss", "optimizer")]
    parts += _watched(optimizer)
    names = [f"{name}{i}" for i, layer in enumerate(model.layers) for name in layer.parameters]
    arrays = [p for layer in model.layers for p in layer.parameters.values()]
    for name, state in zip(names, optimizer.states(names, arrays), strict=True):
        parts.append((optimizer.cache, name, state))
        if not isinstance(state, np.ndarray):
            parts += _watched(state)
    return parts
