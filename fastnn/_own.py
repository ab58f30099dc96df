"""Parts of a program's own classes, which may lack what fastnn's classes have.

Programs of the teaching library have their own ``Data`` whose ``sample()`` takes no argument,
optimisers without an epoch, loggers with no method but ``push``. What fastnn's classes have beyond that
is used where it is present.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastnn._typing import Array

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_LAYER: dict[str, Callable[[], Any]] = {  # what a network reads of a layer that is no `Layer`
    "n_in": lambda: None,
    "n_out": lambda: None,
    "dtype": lambda: None,
    "init_weights": lambda: None,
    "l2": float,
    "parameters": dict,
    "cache": dict,
    "gradients": dict,
}


def flag(thing: Any, name: str) -> bool:
    """Return a flag of an object of any class, False if it has none of that name."""
    return bool(getattr(thing, name, False))


def offers(thing: Any, *methods: str) -> bool:
    """Return whether an object of any class has these methods."""
    return not isinstance(thing, type) and all(callable(getattr(thing, m, None)) for m in methods)


def as_part(given: Any, make: Callable[[Any], Any], *methods: str) -> Any:
    """Return an object that has these methods as it is; else ``make(given)``."""
    own = not isinstance(given, (str, Mapping)) and offers(given, *methods)
    return given if own else make(given)


def says(thing: Any, name: str) -> Any:
    """Return what an object's very class has under a name, else None: subclasses do not inherit it."""
    return vars(type(thing)).get(name)


def is_made(layer: Any) -> bool:
    """Return whether a layer of any class has its parameters or needs none."""
    return bool(getattr(layer, "is_initialized", layer.n_in is not None))


def name_of(loss: Any) -> str:
    """Return a loss's name, or its class's if it has none."""
    return str(getattr(loss, "name", "") or type(loss).__name__)


def complete_layer(layer: Any) -> Any:
    """Return a layer of any class, with the attributes that networks read of every layer."""
    for name, default in _LAYER.items():
        if not hasattr(layer, name):
            setattr(layer, name, default())
    return layer


def update(optimizer: Any, name: str, param: Array, gradient: Array, epoch: int | None) -> Array:
    """Return the optimiser's step, whether or not its ``update`` takes an epoch."""
    way, required = _way_of_epoch(_function(optimizer.update))
    if epoch is None and required:
        epoch = getattr(optimizer, "epoch", 0)
    if way == "by name":
        step = optimizer.update(name, param, gradient, epoch=epoch)
    elif way == "by place":
        step = optimizer.update(name, param, gradient, epoch)
    else:
        step = optimizer.update(name, param, gradient)
    return step  # type: ignore[no-any-return]


def call(function: Callable[..., Any], **offered: Any) -> Any:
    """Call a function with those of the arguments that it takes."""
    known = _signature(_function(function))
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values()):
        offered = {name: value for name, value in offered.items() if name in known}
    return function(**offered)


def _function(method: Callable[..., Any]) -> Callable[..., Any]:
    return method.__func__ if inspect.ismethod(method) else method


@functools.lru_cache(256)
def _signature(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # of compiled code
        return {}


@functools.lru_cache(256)
def _way_of_epoch(function: Callable[..., Any]) -> tuple[str | None, bool]:
    """Return how an optimiser's ``update`` takes an epoch, if it does, and whether it needs one."""
    known = _signature(function)
    empty = inspect.Parameter.empty
    if "epoch" in known:
        return "by name", known["epoch"].default is empty
    places = [p for p in known.values() if p.kind in _POSITIONAL and p.name != "self"]
    if len(places) == 4 and places[3].default is empty:
        return "by place", True
    return None, False


def part(dataset: Any, name: str) -> Any:
    """Return a dataset's part, None if it has none, checked to have what every part needs.

    Raises ``TypeError`` if it lacks ``sample()`` or ``samples_per_epoch``.
    """
    data = getattr(dataset, name, None)
    if data is not None and not (offers(data, "sample") and hasattr(data, "samples_per_epoch")):
        raise TypeError(
            f"dataset.{name} needs sample() and samples_per_epoch, as fastnn.Data has them; "
            f"it is a {type(data).__name__}"
        )
    return data


def steps(data: Any) -> int:
    """Return how many batches a pass over a dataset's part has."""
    return int(data.samples_per_epoch)


def sample(data: Any, shuffle: bool, rng: np.random.Generator | None) -> tuple[Any, Any]:
    """Return the next batch ``(X, Y)`` of a part of any class; Y is None if it has no labels."""
    batch = call(data.sample, shuffle=shuffle, rng=rng)
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    return batch, None


def labelled(data: Any, shuffle: bool, rng: np.random.Generator | None) -> tuple[Any, Any]:
    """Return the next batch as :func:`sample` does, or raise ``ValueError`` if it has no labels."""
    X, Y = sample(data, shuffle, rng)
    if Y is None:
        raise ValueError(f"sample() of the dataset's {type(data).__name__} must return (X, Y)")
    return X, Y


def start_anew(data: Any) -> None:
    """Call ``data.reset()``, if there is one, so that the next batch begins a new pass."""
    if offers(data, "reset"):
        data.reset()
