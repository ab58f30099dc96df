"""One line for an object: the call that makes one like it."""

import inspect
from typing import Any

import numpy as np

_ENTRIES = 20  # of an array that are worth a place in the line


def as_call(thing: Any, **given: Any) -> str:
    """Return ``Class(name=value, ...)``, with the arguments that differ from their defaults.

    The values are the attributes of the arguments' names, unless ``given``. ``...`` stands for one
    that has no such attribute and no default, and for an array that is too large.
    """
    shown = []
    for name, parameter in inspect.signature(type(thing)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = given[name] if name in given else getattr(thing, name, parameter.default)
        if value is parameter.empty:
            value = ...
        elif _same(value, parameter.default):
            continue
        shown.append(f"{name}={_text(value)}")
    return f"{type(thing).__name__}({', '.join(shown)})"


def _same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, (int, float, str)) and value == default)


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.tolist() if value.size <= _ENTRIES else ...
    return "..." if value is ... else repr(value)
