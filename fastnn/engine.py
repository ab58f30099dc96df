"""The engine: a whole training step of a fully connected network in one compiled call.

It takes the networks that are made of fastnn's own fully connected layers, activations, losses and
optimisers; whatever else a network holds, ``NeuralNetwork`` trains over its layers' methods, with the
same numbers. Parameters stay where the layers keep them: the compiled step is told their addresses
anew whenever one was replaced, so an assignment into ``layer.parameters`` needs no synchronising.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import activations, losses, optimizers
from fastnn._typing import Array
from fastnn.kernels import dense
from fastnn.kernels._jit import COMPILED
from fastnn.layers import FullyConnected

if TYPE_CHECKING:
    from fastnn.models import NeuralNetwork

_ACTIVATIONS = {
    activations.Linear: dense.LINEAR,
    activations.ReLU: dense.RELU,
    activations.Sigmoid: dense.SIGMOID,
    activations.TanH: dense.TANH,
    activations.ArcTan: dense.ARCTAN,
    activations.SoftMax: dense.SOFTMAX,
}
_LOSSES = {losses.CrossEntropy: dense.CROSS_ENTROPY, losses.L2: dense.L2}
_RULES = {optimizers.SGD: dense.SGD, optimizers.Adam: dense.ADAM}


def obstacle(model: NeuralNetwork) -> str | None:
    """Return why the engine cannot train this network, or None if it can."""
    if not COMPILED:
        return "compilation is switched off"
    if type(model.loss) not in _LOSSES:
        return f"loss {type(model.loss).__name__}"
    if type(model.optimizer) not in _RULES:
        return f"optimizer {type(model.optimizer).__name__}"
    for i, layer in enumerate(model.layers):
        if type(layer) is not FullyConnected:
            return f"layer {i} is a {type(layer).__name__}"
        if type(layer.activation) not in _ACTIVATIONS:
            return f"layer {i} has the activation {type(layer.activation).__name__}"
        if len({layer.dtype, *(p.dtype for p in layer.parameters.values())}) > 1:
            return f"layer {i} mixes dtypes"
    if len({layer.dtype for layer in model.layers}) > 1:
        return "layers differ in dtype"
    return None


class Engine:
    """The compiled step for one network; it keeps scratch arrays, no parameters of its own."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] = ()
        self._arrays: list[Array] = []
        self._state: list[Array] = []
        self._work = np.empty(0)

    def __reduce__(self) -> tuple[type[Engine], tuple[()]]:
        """Copy and pickle as a new engine: addresses hold in one process, for one set of arrays."""
        return Engine, ()

    def step(
        self, model: NeuralNetwork, X: Array, Y: Array, epoch: int | None
    ) -> tuple[float, float] | None:
        """Train on one batch, X ``(n, d)`` and rows Y ``(n, k)``; return mean loss and error.

        Returns None, having done nothing, for a network it cannot train.
        """
        layers = model.layers
        key = (
            type(model.loss),
            type(model.optimizer),
            *((type(layer), type(layer.activation), layer.dtype) for layer in layers),
        )
        if key != self._key:
            self._arrays = []
            if obstacle(model) is not None:
                return None
            self._key = key
        arrays = [p for layer in layers for p in layer.parameters.values()]
        if not _same(arrays, self._arrays):
            self._adopt(model, arrays)
        n, dtype = len(X), arrays[0].dtype
        if X.shape != (n, self._widths[0]) or Y.shape != (n, self._widths[-1]):  # no bounds below
            raise ValueError(
                f"X has shape {X.shape} and Y {Y.shape}; "
                f"the network needs (n, {self._widths[0]}) and (n, {self._widths[-1]})"
            )
        needed = dense.workspace(n, self._widths)
        if self._work.size < needed or self._work.dtype != dtype:
            self._work = np.empty(needed, dtype)
        optimizer = model.optimizer
        if epoch is not None:
            optimizer.epoch = epoch
        state, rates = self._optimizer_state(optimizer, arrays)
        loss, error = dense.train_step(
            _plain(X, dtype),
            _plain(Y, dtype),
            self._widths,
            self._activations,
            self._addresses,
            state,
            self._work,
            _LOSSES[type(model.loss)],
            _RULES[type(optimizer)],
            rates,
            np.inf if optimizer.clip_norm is None else optimizer.clip_norm,
        )
        outputs = Y.shape[1] if type(model.loss) is losses.L2 else 1
        return loss / n, error / (n * outputs)

    def _adopt(self, model: NeuralNetwork, arrays: list[Array]) -> None:
        self._arrays = arrays
        self._names = [f"{'Wb'[i % 2]}{i // 2}" for i in range(len(arrays))]
        widths = [arrays[0].shape[0], *(W.shape[1] for W in arrays[::2])]
        self._widths = np.array(widths, np.int64)
        self._activations = np.array(
            [_ACTIVATIONS[type(layer.activation)] for layer in model.layers], np.int64
        )
        self._addresses = _addresses(arrays).reshape(-1, 2)

    def _optimizer_state(
        self, optimizer: optimizers.Optimizer, arrays: list[Array]
    ) -> tuple[Array, Array]:
        """Return the addresses of the optimiser's arrays, and the rule's rates for this step."""
        lr = optimizer.lr_scheduler(optimizer.epoch)
        if isinstance(optimizer, optimizers.Adam):
            t = 0
            state = []
            for name, array in zip(self._names, arrays, strict=True):
                m, v, t = optimizer.moments(name, array)
                optimizer.cache[name] = (m, v, t + 1)
                state += [m, v]
            size, eps = optimizer.corrected(lr, t + 1)
            rates = np.array([size, optimizer.beta_1, optimizer.beta_2, eps])
        else:
            assert isinstance(optimizer, optimizers.SGD)
            state = []
            for name, array in zip(self._names, arrays, strict=True):
                velocity = optimizer.cache[name] = optimizer.velocity(name, array)
                state += [velocity, velocity]
            rates = np.array([lr, optimizer.momentum])
        if not _same(state, self._state):
            self._state = state
            self._state_addresses = _addresses(state).reshape(-1, 2, 2)
        return self._state_addresses, rates


def _same(new: list[Array], known: list[Array]) -> bool:
    """Return whether two lists hold the very same arrays."""
    return len(new) == len(known) and all(map(operator.is_, new, known))


def _plain(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return an array in the one form the step is compiled for; a read-only one would be another."""
    return array if array.dtype == dtype and array.flags.writeable else array.astype(dtype)


def _addresses(arrays: list[Array]) -> Array:
    return np.array([array.ctypes.data for array in arrays], np.int64)
