"""Plans: a network's step, compiled for one number of rows.

A plan holds the addresses of the parameters where they lie, and the records and scratch arrays that the
layers have written into its blueprint.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn import pace
from fastnn._typing import Array
from fastnn.blueprint import Learning
from fastnn.engine.assembly import Assembly
from fastnn.kernels.step import parts, phases, steps, threads
from fastnn.stack import LayerStack

# Above so many rows of a batch a thread takes some of them through all layers; not if weights have more
# bytes than this, and so would come from memory for every few rows.
_BY_ROWS, _NEAR = 64, 8_000_000
# Least and largest number of rows in a call without updates; the size of a layer's output for them.
_FEWEST, _MOST, _AT_ONCE = 32, 1024, 4_000_000
PICKED = 100_000  # bytes of a batch from which on all threads pick its rows out of the dataset


def checked_shapes(model: LayerStack, X_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the shapes of a batch before and after each layer, having checked its parameters.

    Compiled code may trust their addresses and shapes.

    Raises
    ------
    ValueError
        If a layer's parameters do not fit one another or the layer before; the message names it.
    """
    shapes = [X_shape]
    for i, layer in enumerate(model.layers):
        try:
            shape = layer.check_input(shapes[-1])
            for name, array in layer.parameters.items():
                if not (array.flags.c_contiguous and array.flags.aligned):
                    raise ValueError(f"parameters[{name!r}] is not C-contiguous")
            layer.check_buffers()
        except ValueError as error:
            raise ValueError(f"layer {i} ({type(layer).__name__}): {error}") from None
        assert shape is not None
        shapes.append(shape)
    return shapes


def rows_at_once(model: LayerStack, X_shape: tuple[int, ...]) -> int:
    """Return how many rows of a batch without updates are taken at a time."""
    largest = max(math.prod(shape[1:]) for shape in checked_shapes(model, X_shape))
    return max(_FEWEST, min(_MOST, _AT_ONCE // largest))


def as_rows(shape: tuple[int, ...]) -> str:
    """Return the shape of a batch for messages: its number of rows is n."""
    return f"({', '.join(['n', *map(str, shape[1:])])})"


def one_dtype(model: LayerStack) -> np.dtype[Any]:
    """Return the dtype that all layers compute in; ``ValueError`` if there are several."""
    found = {array.dtype for layer in model.layers for array in layer.parameters.values()}
    found |= {layer.dtype for layer in model.layers if layer.dtype is not None}
    if len(found) > 1:
        raise ValueError("the layers differ in dtype")
    return found.pop()


class Plan:
    """What all plans have: the step's records, whether threads share the work."""

    _serial = pace.SERIAL

    def __init__(self, model: LayerStack, X_shape: tuple[int, ...], shared: bool = True) -> None:
        self._model_shapes = shapes = checked_shapes(model, X_shape)
        self.n, self.dtype = X_shape[0], one_dtype(model)
        self.X_shape, self.Y_shape = X_shape, shapes[-1]
        first = model.layers[0]
        self.check_values: Callable[[Array], None] | None = getattr(first, "check_values", None)
        self.work = sum(x.cost(shape) for x, shape in zip(model.layers, shapes[:-1], strict=True))
        self._shared = shared and self.work > self._serial
        count = threads.count() if self._shared else 1
        tries = count > 1 and self.work < pace.CLOSE * self._serial
        self.trial = self._trial(model, count) if tries else None
        large = any(len(shape) > 2 for shape in shapes)
        rows = pace.block_rows(self.n, self.work, self._shared, large)
        learning = self._learning(model)
        self.to = Assembly(X_shape, self.dtype, self._shared, rows, count, learning)
        self.step, self.address = self.to.step, self.to.step.ctypes.data
        self._write(model)

    def _write(self, model: LayerStack) -> None:
        raise NotImplementedError

    def _learning(self, model: LayerStack) -> Learning | None:
        """Return how the step changes parameters, None if it does not."""
        return None

    def _write_layers(self, model: LayerStack, fused: bool = False) -> None:
        """Let all layers write themselves; ``fused``: the last activation is left to the loss."""
        last, learning, begin = len(model.layers) - 1, self.to.learning, 0
        for i, layer in enumerate(model.layers):
            rows: dict[str, Array] = {}
            if learning is not None:
                end = begin + len(layer.parameters)
                places = range(begin, end)
                rows = {
                    name: learning.parameters[j : j + 1]
                    for name, j in zip(layer.parameters, places, strict=True)
                }
                begin = end
            self.to.leaves_activation = fused and i == last
            self.to.add(layer, rows, self._model_shapes[i + 1][1:])

    def _trial(self, model: LayerStack, count: int) -> pace.Trial:
        """Return that of all plans that do the same work."""
        made_of = tuple((type(x), type(getattr(x, "activation", None))) for x in model.layers)
        rule = type(model.optimizer), getattr(model.optimizer, "clip_norm", None) is None
        key = (type(self), *self._model_shapes, self.dtype, made_of, type(model.loss), rule, count)
        return pace.trial(key, min(max(pace.first_count(self.work) // 20, 1), 8))

    def pool(self) -> type[threads.Alone] | threads.Pool:
        """Return who shares the work, awake; to be held on to meanwhile, as it may be replaced."""
        if not self._shared or (self.trial and not self.trial.shared):
            return threads.Alone
        pool = threads.pool()
        pool.wake()
        return pool


class InferencePlan(Plan):
    """From X to the network's output."""

    _serial = pace.SERIAL_INFERENCE

    def _write(self, model: LayerStack) -> None:
        self._write_layers(model)
        near = self.work // self.n * self.dtype.itemsize <= _NEAR
        self.to.finish(by_rows=self.n > _BY_ROWS and near)

    def run(self, X: Array, out: Array) -> None:
        """Write the outputs for X."""
        if X.ndim != 2 or out.ndim != 2:  # compiled code takes matrices, so that it is compiled once
            X, out = X.reshape(self.n, -1), out.reshape(self.n, -1)
        pool = self.pool() if self._shared else threads.Alone
        if self.trial is None:
            steps.infer(pool.control, self.address, X, out)
        else:
            self.trial.time(pool.control != 0, steps.infer, pool.control, self.address, X, out)


class LossPlan(Plan):
    """From X and Y to the loss and error; :class:`TrainingPlan` goes on from there."""

    def _write(self, model: LayerStack) -> None:
        fused = model.fused_layer() is not None
        self._write_layers(model, fused)
        self._write_loss(model, fused)
        # Threads take rows through the layers, instead of columns of each, if a batch is more to pass
        # on than weights are, or if rows of activations are no whole cache lines.
        more = self.n * self.to.ports[0].width > self.work // self.n
        by_rows = self._shared and self.n > _BY_ROWS and (more or not self.to.apart())
        self.to.finish(by_rows=by_rows)

    def _write_loss(self, model: LayerStack, fused: bool) -> None:
        to, loss, k = self.to, model.loss, self.Y_shape[1]
        self._loss = phases.Loss.make(
            scores=to.output.address,
            gradient=to.output.gradient or to.array(*self.Y_shape),
            classes=k,
            part=loss.part(fused, k).address(self.dtype),
            parameters=to.keep(np.array(loss.parameters(k), np.float64)),
        )
        if not loss.plain:
            self._make_targets(loss)
        to.add_loss(to.keep(self._loss))
        self.step["stats"] = to.array(to.row_blocks, 2, dtype=np.float64)
        self.step["answers"] = 1 if loss.error_by_rows else k
        self._Y_fields = np.array([1, phases.Loss.place(self._loss, "Y")], np.int64)
        self.step["targets"] = self._Y_fields.ctypes.data

    def _make_targets(self, loss: Any) -> None:
        """Let the loss be of targets that are made of those given."""
        k = self.Y_shape[1]
        loss.check_classes(k)
        weights = loss.class_weight
        self._loss["targets"] = parts.targets.address(self.dtype)
        self._loss["T"] = self.to.array(*self.Y_shape)
        self._loss["smoothing"] = loss.label_smoothing
        self._loss["class_weights"] = self.to.keep(np.ones(k) if weights is None else weights)

    def connect(self, X: int, Y: int) -> None:
        """Let the step read the batch at these addresses."""
        self.to.connect(X)
        self._loss["Y"] = Y

    def run(self, X: Array, Y: Array) -> tuple[float, float]:
        """Return the mean loss and error of a batch, having done the plan's step on it."""
        if X.ndim != 2:
            X = X.reshape(self.n, -1)
        pool = self.pool() if self._shared else threads.Alone
        if self.trial is None:
            means: tuple[float, float] = steps.step(pool.control, self.address, X, Y)
        else:
            means = self.trial.time(pool.control != 0, steps.step, pool.control, self.address, X, Y)
        return means
