"""How the reference and fastnn, which share their API, are asked for a case."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from fastnn import reference
from fastnn._typing import Array
from fastnn.activations import ACTIVATIONS
from fastnn.bench import layers, networks
from fastnn.bench.blocks import Elman
from fastnn.bench.cases import KernelCase
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.layers import LayerCase, Stack, Stacked, StackInference
from fastnn.bench.networks import Dense, Epochs, Inference


def activation(module: ModuleType, kernel: str) -> Any | None:
    """Return a module's activation that a kernel belongs to, or None if it has none."""
    name = kernel.removesuffix("_backward")
    return module.initialize_activation(name) if name in ACTIVATIONS else None


def method(module: ModuleType, kernel: str) -> Callable[..., Any] | None:
    """Return ``forward`` or ``backward`` of that activation, or None if there is none."""
    found = activation(module, kernel)
    return getattr(found, "backward" if kernel.endswith("_backward") else "forward", None)


def bind(function: Callable[..., Any] | None, case: KernelCase) -> Call | None:
    """Return a call of a function with the case's inputs; None if there is no function."""
    return None if function is None else functools.partial(function, *case.inputs())


@dataclass(frozen=True)
class Trained:
    """A training step's second result: the network, and a function that reads its parameters."""

    network: Any
    parameters: Callable[[Any], list[Array]]


class ByMethods(Contestant):
    """A contestant with fastnn's methods: fastnn or its reference."""

    def arrays(self, result: Any) -> tuple[Array, ...]:
        if isinstance(result, tuple) and isinstance(result[1], Trained):
            loss, trained = result
            result = loss, trained.parameters(trained.network)
        return super().arrays(result)


def stacked(case: Stacked, module: ModuleType) -> Call:
    """Return a call of a layer's ``forward`` and ``backward``, or of a network's methods."""
    X = case.batch()
    if isinstance(case, LayerCase):
        return _forward_backward(case, X, module)
    assert isinstance(case, Stack)
    made = case.network(module)
    if isinstance(case, StackInference):
        return functools.partial(made.forward if module is reference else made.predict, X)
    Y, trained = case.one_hot(), Trained(made, layers.parameters_of)
    return lambda: (made.train_step(X, Y), trained)


def _forward_backward(case: LayerCase, X: Array, module: ModuleType) -> Call:
    layer, dY = case.made(module), case.gradient()
    backward = layer.backward
    if case.first:  # the reference has no backward_parameters
        backward = getattr(layer, "backward_parameters", backward)
    adds = isinstance(case.layer, Elman)  # its backward adds to the gradients

    def call() -> Any:
        if adds:
            layer.clear_gradients()
        Y = layer.forward(X)
        return case.results(layer, Y, backward(dY))

    return call


def network(case: Dense, module: ModuleType) -> Call | None:
    """Return a call of ``train_step``, ``fit``, or ``predict``, which in the reference is ``forward``.

    The reference has no ``fit``.
    """
    if isinstance(case, Epochs):
        return None if module is reference else _epochs(case, module)
    made = case.network(module)
    X, Y = case.batch()[0], case.one_hot()
    if isinstance(case, Inference):
        return functools.partial(made.forward if module is reference else made.predict, X)
    trained = Trained(made, networks.parameters_of)
    return lambda: (made.train_step(X, Y), trained)


def _epochs(case: Epochs, module: ModuleType) -> Call:
    made, (X, labels) = case.network(module), case.data()
    Y = np.eye(case.widths[-1], dtype=case.dtype)[labels]
    fit = functools.partial(made.fit, X, Y, case.at_once, case.n, verbose=False)
    return lambda: np.asarray(fit().loss[-1])
