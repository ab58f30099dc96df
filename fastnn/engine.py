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
from fastnn.kernels import dense, threads
from fastnn.kernels.gemm_microkernel import AVAILABLE
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
    if not AVAILABLE:
        return "no compilation, or no vector unit that is known"
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
        self._plans: dict[int, _Plan] = {}

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
            *((type(layer), type(getattr(layer, "activation", None)), layer.dtype) for layer in layers),
        )
        if key != self._key:
            self._arrays = []
            if obstacle(model) is not None:
                return None
            self._key = key
        arrays = [p for layer in layers for p in layer.parameters.values()]
        optimizer = model.optimizer
        if epoch is not None:
            optimizer.epoch = epoch
        if not _same(arrays, self._arrays):
            self._arrays, self._plans = arrays, {}
            self._names = [f"{'Wb'[i % 2]}{i // 2}" for i in range(len(arrays))]
        n, dtype = len(X), arrays[0].dtype
        if X.shape != (n, arrays[0].shape[0]) or Y.shape != (n, arrays[-1].shape[1]):
            raise ValueError(
                f"X has shape {X.shape} and Y {Y.shape}; the network needs "
                f"(n, {arrays[0].shape[0]}) and (n, {arrays[-1].shape[1]})"
            )
        state, rates = self._optimizer_state(optimizer, arrays)
        if not _same(state, self._state):
            self._state, self._plans = state, {}
        X, Y = X.astype(dtype, copy=False), Y.astype(dtype, copy=False)
        plan = self._plans.get(n)
        if plan is None:
            if len(self._plans) == 8:
                self._plans.clear()
            plan = self._plans[n] = _Plan(model, arrays, state, n)
        plan.rates[:4] = rates
        plan.rates[4] = np.inf if optimizer.clip_norm is None else optimizer.clip_norm
        plan.words[dense.X], plan.words[dense.Y] = X.ctypes.data, Y.ctypes.data
        workers = threads.pool()
        workers.wake()
        loss, error = dense.train_step(
            workers.control, plan.address, plan.jobs[0], plan.jobs[1], plan.jobs[2], plan.zero
        )
        outputs = Y.shape[1] if type(model.loss) is losses.L2 else 1
        return loss / n, error / (n * outputs)

    def _optimizer_state(
        self, optimizer: optimizers.Optimizer, arrays: list[Array]
    ) -> tuple[list[Array], tuple[float, ...]]:
        """Return the optimiser's arrays, two a parameter, and the rule's rates for this step."""
        lr = optimizer.lr_scheduler(optimizer.epoch)
        if isinstance(optimizer, optimizers.Adam):
            t = 0
            state = []
            for name, array in zip(self._names, arrays, strict=True):
                m, v, t = optimizer.moments(name, array)
                optimizer.cache[name] = (m, v, t + 1)
                state += [m, v]
            size, eps = optimizer.corrected(lr, t + 1)
            rates = (size, optimizer.beta_1, optimizer.beta_2, eps)
        else:
            assert isinstance(optimizer, optimizers.SGD)
            state = []
            for name, array in zip(self._names, arrays, strict=True):
                velocity = optimizer.cache[name] = optimizer.velocity(name, array)
                state += [velocity, velocity]
            rates = (lr, optimizer.momentum, 0.0, 0.0)
        return state, rates


def _same(new: list[Array], known: list[Array]) -> bool:
    """Return whether two lists hold the very same arrays."""
    return len(new) == len(known) and all(map(operator.is_, new, known))


class _Plan:
    """The plan of a step on ``n`` rows, with the arrays it needs; see ``kernels/dense.py``."""

    def __init__(self, model: NeuralNetwork, arrays: list[Array], state: list[Array], n: int) -> None:
        dtype = arrays[0].dtype
        self.zero = dtype.type(0)
        self.jobs = [job.address for job in dense.jobs(dtype)]
        self._kept: list[Array] = []
        n_layers = len(arrays) // 2
        self.words = np.zeros(dense.HEADER_WORDS + n_layers * dense.LAYER_WORDS, np.int64)
        self.address = self.words.ctypes.data
        self.rates = self._new((5,), np.float64)
        rows = 8 if n <= 64 else 16 if n <= 256 else 64
        transposes, updates = [], []
        for i, W in enumerate(arrays[::2]):
            d, k = W.shape
            layer = self.words[dense.HEADER_WORDS + i * dense.LAYER_WORDS :]
            layer[dense.D], layer[dense.K] = d, k
            code = layer[dense.ACTIVATION] = _ACTIVATIONS[type(model.layers[i].activation)]
            parameters = (*arrays[2 * i : 2 * i + 2], *state[4 * i : 4 * i + 4])
            layer[dense.WEIGHTS : dense.BIAS_2 + 1] = [array.ctypes.data for array in parameters]
            for word in (dense.A, dense.DZ, *([dense.Z] if code in dense.KEEP_Z else [])):
                layer[word] = self._new((n, k), dtype).ctypes.data
            layer[dense.WT] = self._new((k, d), dtype).ctypes.data
            layer[dense.DW] = self._new((d, k), dtype).ctypes.data
            layer[dense.DB] = self._new((k,), dtype).ctypes.data
            updates += _blocks(i, d, 125_000 // (n * k))
            transposes += _blocks(i, d, 4096 // k) if i else []
        widest = max(W.shape[1] for W in arrays[::2])
        self.words[: dense.HEADER_WORDS] = [
            n, n_layers, dtype.itemsize, _LOSSES[type(model.loss)], _RULES[type(model.optimizer)],
            rows, widest, 0, 0, self._new((n, 2), np.float64).ctypes.data, self.rates.ctypes.data,
            self._new((n, widest), dtype).ctypes.data, self._one(dtype),
            self._table(transposes), len(transposes), self._table(updates), len(updates),
        ]  # fmt: skip

    def _new(self, shape: tuple[int, ...], dtype: Any) -> Array:
        self._kept.append(np.zeros(shape, dtype))
        return self._kept[-1]

    def _one(self, dtype: np.dtype[Any]) -> int:
        self._kept.append(np.ones(1, dtype))
        return self._kept[-1].ctypes.data

    def _table(self, blocks: list[tuple[int, int, int]]) -> int:
        self._kept.append(np.array(blocks, np.int64).reshape(-1, 3))
        return self._kept[-1].ctypes.data


def _blocks(layer: int, rows: int, wanted: int) -> list[tuple[int, int, int]]:
    """Cut a layer's weight rows into blocks of about ``wanted`` rows, a multiple of 8."""
    step = max(8, (wanted + 7) // 8 * 8)
    return [(layer, first, min(first + step, rows)) for first in range(0, rows, step)]
