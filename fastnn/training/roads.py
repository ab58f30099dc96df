"""A batch's two roads: the engine's compiled step, or the layers' methods. The numbers are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fastnn import _own, losses
from fastnn._typing import Array, ArrayLike, DTypeLike
from fastnn._validation import as_float
from fastnn.activations import SoftMax
from fastnn.datasets import Data
from fastnn.engine import Engine
from fastnn.layers import Layer
from fastnn.logs import Logger
from fastnn.losses import Loss
from fastnn.optimizers import Optimizer
from fastnn.stack import LayerStack


class Trainable(LayerStack):
    """A network's state with an engine: it trains on batches, and evaluates them."""

    def __init__(
        self,
        loss: str | Loss,
        layer_args: Sequence[Mapping[str, Any] | Layer],
        optimizer_args: str | Mapping[str, Any] | Optimizer,
        logger: Logger | None = None,
        seed: int | np.random.Generator | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(loss, layer_args, optimizer_args, logger, seed, dtype)
        self.engine = Engine()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state of a pickle, of an earlier version too."""
        vars(self).update(state)
        if "_engine" in state:  # as it was called
            self.engine = vars(self).pop("_engine")

    def train_batch(self, X: Array, Y: Array, epoch: int | None = None) -> tuple[float, float]:
        """Train on one batch of target rows, checked by :meth:`prepare`; return its loss and error."""
        repeated = self.engine.repeat(self, X, Y, epoch)
        if repeated is not None:
            self.log_parameters()
            return repeated
        x = as_float(X, "X", self.layers[0].dtype or self.dtype)
        if len(x):
            self.make_parameters(x)
            result = self.engine.step(self, x, as_float(Y, "Y"), epoch)
            if result is not None:
                self.log_parameters()
                return result
        return self.train_by_layers(x, Y, epoch)

    def train_batches(
        self, data: Data, shuffle: bool, epoch: int, steps: int
    ) -> Iterator[tuple[Sequence[float] | Array, Sequence[float] | Array]]:
        """Train on a dataset's next batches; yield losses and errors, of some at a time.

        If a pass is under way, it is finished, and what is missing comes from the next.
        """
        if not isinstance(data, Data) or type(data).sample is not Data.sample:
            yield from self._own_batches(data, shuffle, epoch, steps)
            return
        while steps > 0:
            made = self.is_made  # drawn after the first shuffle
            stretches = self.engine.epoch(self, data, shuffle, epoch, steps) if made else None
            if stretches is not None:
                for losses, errors in stretches:
                    self.log_parameters()
                    steps -= len(losses)
                    yield losses, errors
                continue
            X, Y, weights = data.sample_weighted(shuffle, self.rng)
            if weights is None:
                loss, error = self.train_batch(X, Y, epoch)
            else:
                loss, error = self.train_by_layers(X, Y, epoch, weights)
            steps -= 1
            yield [loss], [error]

    def train_passes(self, data: Data, shuffle: bool, epoch: int, most: int) -> Array | None:
        """Train for several passes over a dataset, at most ``most``, in one compiled call.

        Returns the mean losses and errors of the batches, ``(passes, batches, 2)``. Returns None and
        does nothing if the engine cannot train on the data, or if one pass takes too long for a call
        of several.
        """
        if not isinstance(data, Data) or type(data).sample is not Data.sample or not self.is_made:
            return None
        return self.engine.passes(self, data, shuffle, epoch, most)

    def _own_batches(
        self, data: Any, shuffle: bool, epoch: int, steps: int
    ) -> Iterator[tuple[Sequence[float], Sequence[float]]]:
        """Train on batches of data of a program's own class, by its ``sample()``."""
        for _ in range(steps):
            X, Y = _own.labelled(data, shuffle, self.rng)
            x, y = self.checked_batch(X, Y)
            self.prepare(self.n_out or y.shape[-1], x.shape)
            loss, error = self.train_batch(x, y, epoch)
            yield [loss], [error]

    def train_by_layers(
        self, X: Array, Y: Array, epoch: int | None, weights: Array | None = None
    ) -> tuple[float, float]:
        with self.turn.held():
            return self._step_of_layers(X, Y, epoch, weights)

    def _step_of_layers(
        self, X: Array, Y: Array, epoch: int | None, weights: Array | None
    ) -> tuple[float, float]:
        if self.has_own("forward", "backward", "error"):
            return self._own_step(X, Y, epoch, weights)
        last = self.fused_layer()
        if last is None:
            out = self.forward(X)
            self.check_target(Y, out)
            loss, dY = self._weighted(self._loss_of_outputs, Y, out, weights)
            self.backward_through(dY)
        else:
            Z = last.preactivation(self.forward_hidden(X))
            target = as_float(Y, "Y", Z.dtype)
            loss, dZ = self._weighted(self.loss_from_logits, target, Z, weights)
            self.backward_from(dZ)
            out = Z if type(last.activation) is SoftMax else last.activation.forward(Z)
        if weights is not None:
            self._weigh_penalties(weights)
        error = self.error_of(Y, out)
        self.update(epoch)
        return loss, error

    def _own_step(
        self, X: Array, Y: Array, epoch: int | None, weights: Array | None
    ) -> tuple[float, float]:
        """Train on one batch as the teaching library does, through methods of a subclass's own."""
        if weights is not None:
            raise ValueError(
                f"{type(self).__name__} overrides forward, backward or error, "
                "which do not support sample_weight, the weights of rows"
            )
        out = self.forward(X)
        loss, error = self.backward(Y, out), self.own_error(Y, out)
        self.update(epoch)
        return loss, error

    def _loss_of_outputs(self, Y: Array, out: Array) -> tuple[float, Array]:
        return self.loss.forward(Y, out), self.loss.backward(Y, out)

    @staticmethod
    def _weighted(
        loss: Callable[[Array, Array], tuple[float, Array]], Y: Array, P: Array, weights: Array | None
    ) -> tuple[float, Array]:
        return loss(Y, P) if weights is None else losses.weighted(loss, Y, P, weights)

    def _weigh_penalties(self, weights: Array) -> None:
        """Make penalties' gradients, which are a batch's of n rows, those of the sum of its weights."""
        factor = float(losses.rows_by_weight(weights, 1)) - 1.0 / len(weights)
        for layer in self.layers:
            for name in getattr(layer, "penalised", ()):
                if not layer.penalty(name):
                    continue
                with np.errstate(all="ignore"):
                    gradient = layer.penalty(name) * factor * layer.parameters[name]
                    layer.gradients[name] += gradient.astype(layer.dtype, copy=False)

    def evaluate(self, X: ArrayLike, Y: ArrayLike) -> tuple[float, float]:
        """Return loss and error on a batch; ``Y`` as in :meth:`fit`. Nothing is cached."""
        x = self.checked_features(X)
        return self.evaluate_batch(x, self.checked_targets(Y, len(x)))

    def evaluate_batch(self, X: Array, Y: Array) -> tuple[float, float]:
        """Return loss and error on a batch of target rows."""
        found = self.engine.evaluate(self, as_float(X, "X"), as_float(Y, "Y"))
        return self.evaluate_rows(X, Y)[:2] if found is None else found
