"""The engine: a whole training step of a fully connected network in one compiled call.

It takes the networks that are made of fastnn's own fully connected layers, activations, losses and
optimisers; whatever else a network holds, ``NeuralNetwork`` trains over its layers' methods, with the
same numbers. Parameters stay where the layers keep them: the compiled step is told their addresses
anew whenever one was replaced, so an assignment into ``layer.parameters`` needs no synchronising.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import activations, losses, optimizers
from fastnn._arrays import aligned_zeros
from fastnn._typing import Array
from fastnn.kernels import dense, threads
from fastnn.kernels.gemm_microkernel import AVAILABLE
from fastnn.layers import FullyConnected

if TYPE_CHECKING:
    from fastnn.layers import Layer
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
        self._plans: dict[int, _Plan] = {}
        self._layers: list[Layer] = []
        self._parts: list[tuple[Any, str, Any]] = []

    def __reduce__(self) -> tuple[type[Engine], tuple[()]]:
        """Copy and pickle as a new engine: addresses hold in one process, for one set of arrays."""
        return Engine, ()

    def step(
        self, model: NeuralNetwork, X: Array, Y: Array, epoch: int | None
    ) -> tuple[float, float] | None:
        """Train on one batch, X ``(n, d)`` and rows Y ``(n, k)``; return mean loss and error.

        Returns None, having done nothing, for a network it cannot train.
        """
        plan = self._plan(model, len(X))
        if plan is None:
            return None
        if X.shape != plan.X_shape or Y.shape != plan.Y_shape:
            raise ValueError(
                f"X has shape {X.shape} and Y {Y.shape}; the network needs "
                f"(n, {plan.X_shape[1]}) and (n, {plan.Y_shape[1]})"
            )
        return plan.run(
            model, X.astype(plan.dtype, copy=False), Y.astype(plan.dtype, copy=False), epoch
        )

    def repeat(
        self, model: NeuralNetwork, X: Any, Y: Any, epoch: int | None
    ) -> tuple[float, float] | None:
        """Do a step like an earlier one, of which X and Y need nothing but to be like that one's.

        Returns None, having done nothing, if there was none: then they are to be checked.
        """
        if type(X) is not np.ndarray or type(Y) is not np.ndarray:
            return None
        plan = self._plans.get(X.shape[0] if X.ndim else 0)
        if (
            plan is None
            or X.dtype is not plan.dtype
            or Y.dtype is not plan.dtype
            or X.shape != plan.X_shape
            or Y.shape != plan.Y_shape
            or not (X.flags.carray and Y.flags.carray and self._unchanged(model))
        ):
            return None
        return plan.run(model, X, Y, epoch)

    def _unchanged(self, model: NeuralNetwork) -> bool:
        """Return whether all that plans are made from is where it was, the very same objects."""
        if model.layers != self._layers:
            return False
        return all(mapping.get(key) is value for mapping, key, value in self._parts)

    def _plan(self, model: NeuralNetwork, n: int) -> _Plan | None:
        if not self._layers or not self._unchanged(model):
            self._plans, self._layers = {}, []
            if obstacle(model) is not None:
                return None
            self._layers, self._parts = list(model.layers), _parts(model)
        plan = self._plans.get(n)
        if plan is None:
            if len(self._plans) == 8:
                self._plans.clear()
            plan = self._plans[n] = _Plan(model, n)
        return plan


def _parts(model: NeuralNetwork) -> list[tuple[Any, str, Any]]:
    """Return what a plan is made from, as entries of mappings: ``(mapping, key, value)``."""
    optimizer = model.optimizer
    parts = [(vars(model), name, getattr(model, name)) for name in ("loss", "optimizer")]
    parts.append((vars(optimizer), "cache", optimizer.cache))
    for i, layer in enumerate(model.layers):
        parts += [
            (vars(layer), name, vars(layer)[name]) for name in ("activation", "_parameters", "dtype")
        ]
        for name, value in layer.parameters.items():
            parts.append((layer.parameters, name, value))
            parts.append((optimizer.cache, f"{name}{i}", optimizer.state(f"{name}{i}", value)))
    return parts


class _Plan:
    """The plan of a step on ``n`` rows, with the arrays it needs; see ``kernels/dense.py``."""

    def __init__(self, model: NeuralNetwork, n: int) -> None:
        arrays = [p for layer in model.layers for p in layer.parameters.values()]
        names = [f"{name}{i}" for i, layer in enumerate(model.layers) for name in layer.parameters]
        self._states = [model.optimizer.state(*pair) for pair in zip(names, arrays, strict=True)]
        self.dtype = arrays[0].dtype
        self.X_shape, self.Y_shape = (n, arrays[0].shape[0]), (n, arrays[-1].shape[1])
        self._errors = n * (self.Y_shape[1] if type(model.loss) is losses.L2 else 1)
        self._zero = self.dtype.type(0)
        transpose, rows, weights = dense.jobs(self.dtype)
        self._jobs = (transpose.address, rows.address, weights.address)
        self._kept: list[Array] = []
        self._write(model, arrays, n)

    def run(self, model: NeuralNetwork, X: Array, Y: Array, epoch: int | None) -> tuple[float, float]:
        """Do the step; return mean loss and error."""
        optimizer = model.optimizer
        if epoch is not None:
            optimizer.epoch = epoch
        rates = optimizer.advance(self._states)
        clip_norm = np.inf if optimizer.clip_norm is None else optimizer.clip_norm
        pool = threads.pool()
        pool.wake()
        loss, error = dense.train_step(
            pool.control, self._words, X, Y, *rates, clip_norm, *self._jobs, self._zero
        )
        for layer in model.layers:  # as after an update
            if type(layer.cache.get("Z")) is np.ndarray:
                layer.clear_gradients()
        return loss / self.X_shape[0], error / self._errors

    def _write(self, model: NeuralNetwork, arrays: list[Array], n: int) -> None:
        dtype = self.dtype
        state = [array for state in self._states for array in optimizers.state_arrays(state)]
        n_layers = len(arrays) // 2
        self._words = np.zeros(dense.HEADER_WORDS + n_layers * dense.LAYER_WORDS, np.int64)
        transposes, updates = [], []
        for i, W in enumerate(arrays[::2]):
            d, k = W.shape
            layer = self._words[dense.HEADER_WORDS + i * dense.LAYER_WORDS :]
            layer[dense.D], layer[dense.K] = d, k
            code = layer[dense.ACTIVATION] = _ACTIVATIONS[type(model.layers[i].activation)]
            parameters = (*arrays[2 * i : 2 * i + 2], *state[4 * i : 4 * i + 4])
            layer[dense.WEIGHTS : dense.BIAS_2 + 1] = [array.ctypes.data for array in parameters]
            for word in (dense.A, dense.DZ, *([dense.Z] if code in dense.KEEP_Z else [])):
                layer[word] = self._new((n, k), dtype)
            layer[dense.WT] = self._new((k, d), dtype)
            layer[dense.DW], layer[dense.DB] = self._new((d, k), dtype), self._new((k,), dtype)
            updates += _blocks(i, d, 125_000 // (n * k))
            transposes += _blocks(i, d, 4096 // k) if i else []
        widest = max(W.shape[1] for W in arrays[::2])
        rows = 8 if n <= 64 else 16 if n <= 256 else 64
        header = {
            dense.N: n,
            dense.LAYERS: n_layers,
            dense.SIZE: dtype.itemsize,
            dense.LOSS: _LOSSES[type(model.loss)],
            dense.RULE: _RULES[type(model.optimizer)],
            dense.ROWS: rows,
            dense.WIDEST: widest,
            dense.STATS: self._new((n, 2), np.float64),
            dense.RATES: self._new((5,), np.float64),
            dense.SCRATCH: self._new((n, widest), dtype),
            dense.ONE: self._keep(np.ones(1, dtype)),
            dense.TRANSPOSES: self._keep(np.array(transposes, np.int64)),
            dense.TRANSPOSE_COUNT: len(transposes),
            dense.UPDATES: self._keep(np.array(updates, np.int64)),
            dense.UPDATE_COUNT: len(updates),
        }
        for word, value in header.items():
            self._words[word] = value

    def _keep(self, array: Array) -> int:
        self._kept.append(array)
        return array.ctypes.data

    def _new(self, shape: tuple[int, ...], dtype: Any) -> int:
        return self._keep(aligned_zeros(shape, np.dtype(dtype)))


def _blocks(layer: int, rows: int, wanted: int) -> list[tuple[int, int, int]]:
    """Cut a layer's weight rows into blocks of about ``wanted`` rows, a multiple of 8."""
    step = max(8, (wanted + 7) // 8 * 8)
    return [(layer, first, min(first + step, rows)) for first in range(0, rows, step)]
