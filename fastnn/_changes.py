"""Whether anything was replaced that plans are made from.

A plan of the engine holds addresses, so it is good as long as layers, losses and optimisers hold the
very arrays and settings they held when it was made. Whatever may be replaced counts the replacement
here; a step that finds the count where it was has nothing to look at.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any


class Changes:
    """How often a watched attribute or entry, of any object, was set."""

    count = 0


class _Watched:
    """An attribute that counts how often it is set; reading it costs what any attribute does."""

    def __init__(self, check: Callable[[Any], Any] | None) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, instance: object, value: Any) -> None:
        vars(instance)[self._name] = value if self._check is None else self._check(value)
        Changes.count += 1


def watched(check: Callable[[Any], Any] | None = None) -> Any:
    """Return the attribute of a class whose setting is to be counted.

    ``check(value)`` returns the value to keep. If it raises an error, nothing is set.
    """
    return _Watched(check)


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
