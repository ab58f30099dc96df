"""The cache of an Elman layer: lists of arrays by time step, which are made when they are read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from operator import is_
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.layers.base import Layer
from fastnn.layers.time_plans import Plan


class Pass:
    """A forward pass: its memory, which lists of a layer's cache are views of once they are made."""

    def __init__(self, plan: Plan, shape: tuple[int, ...], memory: Array, begin: int) -> None:
        self.plan, self.shape, self.memory, self.begin = plan, shape, memory, begin
        self.given = False  # whether the state before the first step may not be zeros
        self._made: dict[str, tuple[Array, ...]] | None = None

    def array(self, name: str) -> Array:
        """Return one of the arrays ``x``, ``z``, ``s``."""
        return self.plan.array(self.memory, self.begin, name)

    def lists(self) -> dict[str, list[Array]]:
        """Return the cache's lists, made anew."""
        x = self.array("x").transpose(1, 2, 0)
        self._made = {"s": (*self.array("s"),), "X": (*x,), "Z": (*self.array("z"),)}
        return {name: [*views] for name, views in self._made.items()}

    @property
    def listed(self) -> bool:
        """Whether lists were made, so that their arrays may have been changed."""
        return self._made is not None

    def fits(self, W: Array, cache: Mapping[str, Any]) -> bool:
        """Return whether the pass was done with parameters like W, and is what the cache's lists hold.

        The lists' arrays are no views of the memory in a deep copy.
        """
        d = self.shape[1]
        if W.shape != (d, self.plan.shapes["s"][2]) or W.dtype != self.memory.dtype:
            return False
        return self._made is None or all(
            len(found := cache.get(name) or ()) == len(views)
            and all(map(is_, found, views))
            and views[0].base is self.memory
            for name, views in self._made.items()
        )


class Listed(Layer):
    """A layer whose cache is made of the memory of its last forward pass when it is first read."""

    @property
    def cache(self) -> OrderedDict[str, Any]:
        """What ``backward`` needs of the last ``forward``: lists of arrays in the order of time."""
        own = vars(self)
        found: OrderedDict[str, Any] = own["cache"]
        own["_shown"] = found
        made = self.last_pass()
        if made is not None and not made.listed:
            found.update(made.lists())
        return found

    @cache.setter
    def cache(self, value: OrderedDict[str, Any]) -> None:
        vars(self).update(cache=value, _shown=None, _last=None)

    @property
    def shown_cache(self) -> OrderedDict[str, Any]:
        """The cache as it is, whose lists may not have been made yet."""
        found: OrderedDict[str, Any] = vars(self)["cache"]
        return found

    def last_pass(self) -> Pass | None:
        """Return the last forward pass, if its results belong to the cache."""
        made: Pass | None
        owner, made = vars(self).get("_last") or (None, None)
        return made if owner is vars(self)["cache"] else None

    def keep_pass(self, made: Pass | None) -> None:
        """Make a forward pass, or none, the cache's content."""
        own = vars(self)
        found = self.shown_cache
        own["_last"] = None if made is None else (found, made)
        if made is not None and own.get("_shown") is found:  # somebody may hold the dict
            found.update(made.lists())

    def clear_gradients(self) -> None:
        """Empty the cache (to ``[]``) and zero the gradients."""
        self.cache = OrderedDict((name, []) for name in self.shown_cache)
        zeros = ((name, np.zeros(g.shape, g.dtype)) for name, g in self.gradients.items())
        self.gradients = OrderedDict(zeros)
