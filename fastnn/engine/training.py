"""Plans of whole training steps: forward, loss, backward, update."""

from __future__ import annotations

from functools import partial
from struct import Struct

import numpy as np

from fastnn import pace
from fastnn._arrays import aligned_views, extent, extents
from fastnn._changes import Changes
from fastnn._typing import Array
from fastnn.blueprint import Learning
from fastnn.engine.plans import PICKED, LossPlan, as_rows
from fastnn.kernels.step import parts, phases, steps
from fastnn.stack import LayerStack


class TrainingPlan(LossPlan):
    """A whole step.

    Attributes
    ----------
    states : list
        What the optimiser keeps of each parameter.
    at_once : int
        How many batches the next stretch is to have.
    """

    def _learning(self, model: LayerStack) -> Learning:
        optimizer = model.optimizer
        optimizer.check_clipping()
        self.arrays = [p for layer in model.layers for p in layer.parameters.values()]
        self._names = [(i, name) for i, layer in enumerate(model.layers) for name in layer.parameters]
        self.check_writable()
        self.states = optimizer.states([f"{name}{i}" for i, name in self._names], self.arrays)
        kept = [optimizer.arrays_of(state) for state in self.states]
        buffers = [b for layer in model.layers for b in layer.buffers.values()]
        self._changed = self._changed_memory([a for arrays in kept for a in arrays], buffers)
        rows = phases.Parameter.make(len(self.arrays))
        distances = np.zeros((len(self.arrays), max(map(len, kept))), np.int64)
        penalised = [model.layers[i].penalty(name) for i, name in self._names]
        for j, (array, arrays) in enumerate(zip(self.arrays, kept, strict=True)):
            rows[j]["values"], rows[j]["size"] = array.ctypes.data, array.size
            distances[j, : len(arrays)] = [a.ctypes.data - array.ctypes.data for a in arrays]
            rows[j]["distances"] = distances[j:].ctypes.data
        rows["l2"], self._distances = penalised, distances
        norm, joint = optimizer.clip_norm, optimizer.global_clip_norm
        clip = next((float(value) for value in (norm, joint) if value is not None), np.inf)
        if clip != np.inf:
            gradients = aligned_views([a.shape for a in self.arrays], self.dtype)[1]
            rows["gradient"] = [g.ctypes.data for g in gradients]
            self._gradients = gradients
        plain = optimizer.is_descent and not any(penalised)
        return Learning(rows, optimizer.rule, plain, clip, norm is None)

    def _write(self, model: LayerStack) -> None:
        self._turn, self._linear = model.turn, model.loss
        super()._write(model)
        count = model.optimizer.rule.count
        numbers = np.zeros(count)
        self.step["numbers"] = self.to.keep(numbers)
        # Faster than an assignment to the array.
        self._write_numbers = partial(Struct(f"{count}d").pack_into, numbers.data, 0)
        self._numbers_written: tuple[float, ...] = ()
        assert self.to.learning is not None
        self.step["clip"] = self.to.learning.clip
        self.step["changed"] = self._changed.ctypes.data
        self.step["changed_count"] = len(self._changed)
        self.at_once = pace.first_count(self.work)
        self.picking: Array | None = None
        self._changes = -1  # when caches were last cleared

    def _changed_memory(self, state: list[Array], buffers: list[Array]) -> Array:
        """Return where the memory that a step changes begins and ends, ``(count, 2)``."""
        arrays = {id(array): array for array in (*self.arrays, *state, *buffers)}
        try:
            return extents([*arrays.values()])
        except ValueError:
            raise ValueError("two of the network's parameters share memory") from None

    def check_writable(self) -> None:
        """Raise ``ValueError`` if a parameter is read-only; the message names it."""
        for (i, name), array in zip(self._names, self.arrays, strict=True):
            if not array.flags.writeable:
                raise ValueError(f"layer {i}: parameters[{name!r}] is read-only")

    def apart(self, array: Array) -> Array:
        """Return the array, or a copy if it lies in memory that the plan's steps change."""
        begin, end = extent(array)
        shared = (begin < self._changed[:, 1]) & (end > self._changed[:, 0])
        return array.copy() if shared.any() else array

    def train(self, model: LayerStack, X: Array, Y: Array, epoch: int | None) -> tuple[float, float]:
        """Do the step; return mean loss and error.

        Raises ``RuntimeError`` if another thread trains the network.
        """
        optimizer = model.optimizer
        over = self._turn.free
        try:
            del over[0]
        except IndexError:
            over = self._turn.again()
        try:
            if epoch is not None:
                optimizer.epoch = epoch
            numbers = optimizer.advance(self.states)
            if numbers != self._numbers_written:
                self._numbers_written = numbers
                self._write_numbers(*numbers)
            result = self.run(X, Y)
            if result[1] == steps.NOT_DONE:
                result = self.run(X.copy(), Y.copy())
            if self._changes != Changes.count:
                self.clear(model)
        finally:
            over.append(None)
        return result

    def clear(self, model: LayerStack) -> None:
        """Leave layers' caches and gradients as after an update."""
        if self._changes != Changes.count:
            self._changes = Changes.count
            for layer in model.layers:
                if any(type(value) is np.ndarray for value in layer.cache.values()):
                    layer.clear_gradients()

    def check_data(self, X: Array, Y: Array, order: Array) -> None:
        """Raise ``ValueError`` unless rows of these numbers can be picked out of these arrays."""
        if self.check_values is not None:
            self.check_values(X)
        for name, array, shape in (("X", X, self.X_shape), ("Y", Y, self.Y_shape)):
            if array.shape[1:] != shape[1:] or array.dtype != self.dtype:
                raise ValueError(
                    f"{name} has shape {array.shape} and dtype {array.dtype}; the network needs "
                    f"{as_rows(shape)} and {self.dtype}"
                )
            if not (array.flags.c_contiguous and array.flags.aligned):
                raise ValueError(f"{name} is not C-contiguous")
        first, last = order.min(initial=0), order.max(initial=-1)
        if first < 0 or last >= min(len(X), len(Y)):
            raise ValueError(
                f"the batches are made of rows {first} to {last}; X has {len(X)} rows, Y has {len(Y)}"
            )

    def read_from(self, X: int, Y: int) -> None:
        """Take the batches that are picked by row numbers out of the arrays at these addresses."""
        if self.picking is None:
            self.picking = self._picked_batch()
        self.picking["all_X"], self.picking["all_Y"] = X, Y
        self.connect(self.picking["X"][0], self.picking["Y"][0])
        self._numbers_written = ()

    def _picked_batch(self) -> Array:
        """Return the record of batches that are picked out of a dataset, and where they go."""
        to, n, d, k = self.to, self.n, self.to.ports[0].width, self.Y_shape[1]
        picking = phases.Picking.make(
            part=parts.rows_picked.address(self.dtype),
            X=to.array(n, d),
            Y=to.array(n, k),
            width=d,
            classes=k,
        )
        to.finish_picking(to.keep(picking), n * d * self.dtype.itemsize >= PICKED)
        return picking

    def weigh_rows(self) -> None:
        """Be ready for batches with weights of rows."""
        if not self._loss["weighing"][0]:
            if self._linear.linear_in_targets and self._linear.plain:
                self._make_targets(self._linear)  # which are weighted
            self._loss["weighing"] = parts.weighing.address(self.dtype)
