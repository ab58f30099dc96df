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
_SERIAL = 250_000  # multiplications: below this a second core costs more than it brings
_RULES = {optimizers.SGD: dense.SGD, optimizers.Adam: dense.ADAM}


def obstacle(model: NeuralNetwork) -> str | None:
    """Return why the engine cannot train this network, or None if it can."""
    if not AVAILABLE:
        return "no compilation, or no vector unit that is known"
    if type(model.loss) not in _LOSSES:
        return f"loss {type(model.loss).__name__}"
    if isinstance(model.loss, losses.CrossEntropy) and not model.loss.plain:
        return "label smoothing or class weights"
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
    parts = [(vars(threads), "chosen", threads.count())]
    parts += [(vars(model), name, getattr(model, name)) for name in ("loss", "optimizer")]
    parts += [(vars(optimizer), name, getattr(optimizer, name)) for name in ("cache", "clip_norm")]
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
        self._job = dense.step_job(self.dtype).address
        self._kept: list[Array] = []
        self._parallel = n * sum(W.size for W in arrays[::2]) > _SERIAL
        self._words = self._write(model, arrays, n, clipped=model.optimizer.clip_norm is not None)

    def run(self, model: NeuralNetwork, X: Array, Y: Array, epoch: int | None) -> tuple[float, float]:
        """Do the step; return mean loss and error."""
        optimizer = model.optimizer
        if epoch is not None:
            optimizer.epoch = epoch
        rates = optimizer.advance(self._states)
        clip_norm = np.inf if optimizer.clip_norm is None else optimizer.clip_norm
        control = 0
        if self._parallel:
            pool = threads.pool()
            pool.wake()
            control = pool.control
        loss, error = dense.train_step(control, self._job, self._words, X, Y, *rates, clip_norm)
        for layer in model.layers:  # as after an update
            if type(layer.cache.get("Z")) is np.ndarray:
                layer.clear_gradients()
        return loss / self.X_shape[0], error / self._errors

    def _write(self, model: NeuralNetwork, arrays: list[Array], n: int, clipped: bool) -> Array:
        state = [array for state in self._states for array in optimizers.state_arrays(state)]
        n_layers = len(arrays) // 2
        shares = threads.pool().n_threads if self._parallel else 1
        words = np.zeros(dense.HEADER_WORDS + n_layers * dense.LAYER_WORDS, np.int64)
        layers = words[dense.HEADER_WORDS :].reshape(n_layers, dense.LAYER_WORDS)
        for i, (layer, W) in enumerate(zip(layers, arrays[::2], strict=True)):
            d, k = W.shape
            code = _ACTIVATIONS[type(model.layers[i].activation)]
            layer[dense.D], layer[dense.K], layer[dense.ACTIVATION] = d, k, code
            layer[dense.BLOCKS] = _column_blocks(k, self.dtype.itemsize, shares)
            parameters = (*arrays[2 * i : 2 * i + 2], *state[4 * i : 4 * i + 4])
            layer[dense.WEIGHTS : dense.BIAS_2 + 1] = [array.ctypes.data for array in parameters]
            layer[dense.A], layer[dense.DZ] = self._new((n, k)), self._new((n, k))
            layer[dense.WT] = self._new((k, d))
            if code not in dense.ON_TILE:
                layer[dense.Z] = self._new((n, k))
            if code not in dense.ON_TILE or i == n_layers - 1:
                layer[dense.DA] = self._new((n, k))
            if clipped or not isinstance(model.optimizer, optimizers.SGD):
                layer[dense.DW], layer[dense.DB] = self._new((d, k)), self._new((k,))
        rows = 16 if n <= 32 else 32 if n <= 256 else 64
        updates = _update_blocks(layers, self.dtype.itemsize, shares)
        phases = _phases(layers, -(-n // rows), len(updates), clipped)
        self._phases = np.array([(words.ctypes.data, *phase) for phase in phases], np.int64)
        header = {
            dense.N: n,
            dense.LAYERS: n_layers,
            dense.SIZE: self.dtype.itemsize,
            dense.LOSS: _LOSSES[type(model.loss)],
            dense.RULE: _RULES[type(model.optimizer)],
            dense.ROWS: rows,
            dense.STATS: self._new((n, 2), np.float64),
            dense.RATES: self._new((5,), np.float64),
            dense.ONE: self._keep(np.ones(1, self.dtype)),
            dense.PHASES: self._phases.ctypes.data,
            dense.PHASE_COUNT: len(phases),
            dense.UPDATES: self._keep(np.array(updates, np.int64)),
        }
        for word, value in header.items():
            words[word] = value
        return words

    def _keep(self, array: Array) -> int:
        self._kept.append(array)
        return array.ctypes.data

    def _new(self, shape: tuple[int, ...], dtype: Any = None) -> int:
        return self._keep(aligned_zeros(shape, np.dtype(dtype or self.dtype)))


def _column_blocks(width: int, itemsize: int, shares: int) -> int:
    """Return into how many blocks to cut columns: a multiple of the shares, of about 3 lines each."""
    lines = -(-width * itemsize // 64)
    return 1 if lines < 2 * shares else -(-lines // (3 * shares)) * shares


def _phases(layers: Array, row_blocks: int, updates: int, clipped: bool) -> list[tuple[int, int, int]]:
    """Return what to do with which layer in how many jobs, in the order of a step."""
    phases = []
    last = len(layers) - 1
    softmax = layers[:, dense.ACTIVATION] == dense.SOFTMAX
    blocks = layers[:, dense.BLOCKS]
    for i in range(last):
        phases.append((dense.FORWARD, i, blocks[i]))
        if softmax[i]:
            phases.append((dense.SOFTMAX_ROWS, i, row_blocks))
    if blocks[last] > 1:
        phases.append((dense.FORWARD, last, blocks[last]))
    phases.append((dense.LOSS_ROWS, last, row_blocks))
    for i in range(last, 0, -1):
        phases.append((dense.BACKWARD, i, blocks[i - 1]))
        if softmax[i - 1]:
            phases.append((dense.SOFTMAX_GRADIENT_ROWS, i - 1, row_blocks))
    phases.append((dense.UPDATE, 0, updates))
    if clipped:
        phases.append((dense.CLIPPED_UPDATE, 0, 2 * len(layers)))
    return phases


def _update_blocks(layers: Array, itemsize: int, shares: int) -> list[tuple[int, ...]]:
    """Cut all weights into blocks, so that each share holds the columns its thread computes.

    A layer too narrow for that is cut by rows instead.
    """
    found: list[tuple[int, ...]] = []
    for share in range(shares):
        for i, layer in enumerate(layers):
            d, k, blocks = layer[dense.D], layer[dense.K], layer[dense.BLOCKS]
            if blocks == 1:
                first, end = share * d // shares, (share + 1) * d // shares
                found.append((i, first, end - first, 0, k))
                continue
            for block in range(share * blocks // shares, (share + 1) * blocks // shares):
                begin, end = dense.cut(k, blocks, block, itemsize)
                found.append((i, 0, d, begin, end - begin))
    return found
