"""Whether anything was replaced that plans are made from.

A plan of the engine holds addresses, so it is good as long as layers, losses and optimisers hold the
very arrays and settings they held when it was made. Whatever may be replaced counts the replacement
here; a step that finds the count where it was has nothing to look at.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any


class Changes:
    """How often a watched attribute or entry, of any object, was set."""

    count = 0


class _Checked:
    """An attribute whose values are checked when they are set; reading it costs what any does."""

    def __init__(self, check: Callable[[Any], Any] | None) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, instance: object, value: Any) -> None:
        vars(instance)[self._name] = value if self._check is None else self._check(value)


class _Watched(_Checked):
    """One that also counts how often it is set."""

    def __set__(self, instance: object, value: Any) -> None:
        super().__set__(instance, value)
        Changes.count += 1


def checked(check: Callable[[Any], Any]) -> Any:
    """Return the attribute of a class whose values are checked.

    ``check(value)`` returns the value to keep. If it raises an error, nothing is set.
    """
    return _Checked(check)


def watched(check: Callable[[Any], Any] | None = None) -> Any:
    """Return the attribute of a class that plans are made from: it is counted how often it is set.

    ``check``: as of :func:`checked`.
    """
    return _Watched(check)


@functools.cache
def watched_names(cls: Any) -> list[str]:
    """Return the names of a class's watched attributes, its bases' included."""
    found = [name for base in cls.__mro__ for name, v in vars(base).items() if isinstance(v, _Watched)]
    return [*dict.fromkeys(found)]


class WatchedDict(OrderedDict[str, Any]):
    """A dict that counts how often an entry of it is set or removed."""

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        Changes.count += 1

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        Changes.count += 1

    def pop(self, *arguments: Any) -> Any:
        Changes.count += 1
        return super().pop(*arguments)

    def popitem(self, last: bool = True) -> tuple[str, Any]:
        Changes.count += 1
        return super().popitem(last)

    def clear(self) -> None:
        super().clear()
        Changes.count += 1
