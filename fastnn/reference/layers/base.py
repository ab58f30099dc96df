"""Layers: ``forward(X)``, and ``backward(dLdY)``, which returns the gradient of the input."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._typing import Array


class Layer(ABC):
    """Base class: parameters, their gradients, and the cache between forward and backward."""

    def __init__(self) -> None:
        self.n_in: int | None = None
        self.n_out: int | None = None
        self.parameters: OrderedDict[str, Array] = OrderedDict()
        self.cache: OrderedDict[str, Any] = OrderedDict()
        self.gradients: OrderedDict[str, Array] = OrderedDict()

    @abstractmethod
    def forward(self, X: Array) -> Array:
        """Return the output and cache what ``backward`` needs."""

    @abstractmethod
    def backward(self, dLdY: Array) -> Array:
        """Store the parameters' gradients and return the input's."""

    def clear_gradients(self) -> None:
        """Empty the cache and zero the gradients."""
        self.cache = OrderedDict((name, []) for name in self.cache)
        self.gradients = OrderedDict((n, np.zeros_like(g)) for n, g in self.gradients.items())

    def forward_with_param(self, name: str, X: Array) -> Callable[[Array], Array]:
        """Return ``forward(X)`` as a function of the parameter ``name``."""

        def forward(value: Array) -> Array:
            current = self.parameters[name]
            self.parameters[name] = value
            out = self.forward(X)
            self.parameters[name] = current
            return out

        return forward
