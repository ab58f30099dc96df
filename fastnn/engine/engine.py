"""The engine: whole steps of a network, in training and inference, in one compiled call.

It takes networks whose layers, loss and optimiser have compiled steps. Every other network is trained
by its layers' methods, with the same numbers. Parameters stay where the layers keep them: plans are
made anew whenever one was replaced, so an assignment into ``layer.parameters`` needs no synchronising.

Its matrix products are the micro-kernel's (``kernels/emitted/gemm.py``). The environment variable
``FASTNN_PRODUCTS=blas`` sends networks over their layers' methods instead, whose products are BLAS's,
for tests and comparison: ``docs/products.md``. It is read when a network takes its first step or is
first asked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from fastnn import pace
from fastnn._arrays import unlocked
from fastnn._changes import Changes
from fastnn._own import offers, says
from fastnn._typing import Array
from fastnn.datasets import Data
from fastnn.engine import made_from, stretches
from fastnn.engine.plans import InferencePlan, LossPlan, rows_at_once
from fastnn.engine.stretches import Stretch
from fastnn.engine.training import TrainingPlan
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.step import threads
from fastnn.stack import LayerStack

_T = TypeVar("_T")


def obstacle(model: LayerStack) -> str | None:
    """Return why the engine cannot train this network, or None if it can."""
    if not says(model.loss, "part"):
        return f"loss {type(model.loss).__name__}"
    if not says(model.optimizer, "rule"):
        return f"optimizer {type(model.optimizer).__name__}"
    if model.has_own("backward", "update", "error"):
        return f"{type(model).__name__} has methods of its own"
    return _obstacle_in_layers(model)


def _obstacle_in_layers(model: LayerStack) -> str | None:
    if not COMPILED:
        return "no compilation: NUMBA_DISABLE_JIT is set"
    if os.environ.get("FASTNN_PRODUCTS") == "blas":
        return "FASTNN_PRODUCTS asks for BLAS"
    if model.has_own("forward"):
        return f"{type(model).__name__} has a forward of its own"
    for i, layer in enumerate(model.layers):
        reason = layer.obstacle() if offers(layer, "obstacle") else f"is a {type(layer).__name__}"
        if reason is not None:
            return f"layer {i} {reason}"
        if len({layer.dtype, *(p.dtype for p in layer.parameters.values())}) > 1:
            return f"layer {i} mixes dtypes"
    if not any(layer.parameters for layer in model.layers) and model.is_made:
        return "no layer has parameters"
    if len({layer.dtype for layer in model.layers}) > 1:
        return "layers differ in dtype"
    return None


class Engine:
    """The compiled steps for one network; it keeps scratch arrays, no parameters of its own.

    A plan works for one thread at a time. Several may predict and evaluate at once: who asks takes a
    plan out of a list of free ones, or makes one, and puts it back. Only one may train.
    """

    def __init__(self) -> None:
        self._training = _Plans()
        self._evaluation = _Plans()
        self._inference = _Plans()

    def __reduce__(self) -> tuple[type[Engine], tuple[()]]:
        """Copy and pickle as a new engine: addresses hold in one process, for one set of arrays."""
        return Engine, ()

    def step(
        self, model: LayerStack, X: Array, Y: Array, epoch: int | None
    ) -> tuple[float, float] | None:
        """Train on one batch, X ``(n, d)`` and rows Y ``(n, k)``; return mean loss and error.

        Returns None, having done nothing, for a network it cannot train.
        """
        plan = self._training_plan(model, X.shape)
        if plan is None:
            return None
        if Y.shape != plan.Y_shape:
            raise ValueError(f"Y has shape {Y.shape}; the network needs {plan.Y_shape}")
        result: tuple[float, float] = plan.train(model, _checked(X, plan), _like(Y, plan), epoch)
        return result

    def repeat(
        self, model: LayerStack, X: Any, Y: Any, epoch: int | None
    ) -> tuple[float, float] | None:
        """Do a step like an earlier one, of which X and Y need nothing but to be like that one's.

        Returns None, having done nothing, if there was none: then they are to be checked.
        """
        if type(X) is not np.ndarray or type(Y) is not np.ndarray:
            return None
        plan = self._training.get(X.shape)
        if (
            plan is None
            or Y.shape != plan.Y_shape
            or X.dtype is not plan.dtype
            or Y.dtype is not plan.dtype
            or not self._training.fresh(model)
        ):
            return None
        if plan.check_values is not None or not (X.flags.carray and Y.flags.carray):
            X, Y = _checked(X, plan), _like(Y, plan)
        result: tuple[float, float] = plan.train(model, X, Y, epoch)
        return result

    def epoch(
        self, model: LayerStack, data: Data, shuffle: bool, epoch: int, steps: int
    ) -> Iterator[tuple[Array, Array]] | None:
        """Train on what is left of a pass over a dataset's part, at most so many batches.

        Returns an iterator of the mean losses and errors of a stretch of batches at a time, each
        stretch some hundredths of a second; or None, having done nothing, if it cannot. The iterator
        ends early if the network becomes one that the engine cannot train.
        """
        plan = self._plan_of_batches(model, data)
        return None if plan is None else self._epoch(model, data, shuffle, epoch, steps)

    def passes(
        self, model: LayerStack, data: Data, shuffle: bool, epoch: int, most: int
    ) -> Array | None:
        """Train on several whole passes over a dataset's part, at most so many, in one compiled call.

        Returns the batches' mean losses and errors, ``(passes, batches, 2)``. Returns None, having done
        nothing, if it cannot, or if a call has time for one pass only: see :meth:`epoch`.
        """
        plan = self._plan_of_batches(model, data)
        if plan is None:
            return None
        count = min(most, plan.at_once // data.samples_per_epoch)
        started = data.start_passes(count, shuffle, model.rng) if count > 1 else None
        if started is None:
            return None
        X, Y, rows = started
        return _timed(plan, model, X, np.ascontiguousarray(Y, X.dtype), rows, epoch)

    def _plan_of_batches(self, model: LayerStack, data: Data) -> Any:
        """Return the plan that trains on a dataset's batches, None if none can."""
        n = min(data.batch_size, data.n_samples)
        plan = self._training_plan(model, (n, *data.row_shape)) if n else None
        if plan is None or not data.in_memory(plan.dtype, plan.X_shape[1:], plan.Y_shape[1:]):
            return None
        if plan.check_values is not None:
            plan.check_values(data.stored)
        plan.check_writable()
        return plan

    def _epoch(
        self, model: LayerStack, data: Data, shuffle: bool, epoch: int, steps: int
    ) -> Iterator[tuple[Array, Array]]:
        X, Y, weights, order = data.start_pass(shuffle, model.rng)
        Y = np.ascontiguousarray(Y, X.dtype)
        n, done = min(data.batch_size, len(order)), data.iteration
        batches = -(-len(order) // n)
        end = min(batches, done + steps)
        while done < end:
            plan = self._training_plan(model, (n, *X.shape[1:]))
            if plan is None or plan.dtype != X.dtype:  # a callback has changed what is trained
                return
            rows = order[np.newaxis, done * n : min(done + plan.at_once, end) * n]
            (results,) = _timed(plan, model, X, Y, rows, epoch, weights)
            done += len(results)
            data.iteration = done % batches
            yield results[:, 0], results[:, 1]

    def predict(self, model: LayerStack, X: Any) -> Array | None:
        """Return the outputs for X, an array that is as it has to be; None if it is not, or unknown."""
        if type(X) is not np.ndarray:
            return None
        free = self._inference.get(X.shape)
        if free is None or not self._inference.fresh(model):
            if X.ndim < 2 or not len(X) or X.dtype.kind != "f" or not self._can_predict(model):
                return None
            most = rows_at_once(model, X.shape)
            if len(X) > most:
                parts = [self.predict(model, X[i : i + most]) for i in range(0, len(X), most)]
                return None if parts[0] is None else np.concatenate([p for p in parts if p is not None])
            free = self._inference.free(X.shape)
        plan = _take(free) or InferencePlan(model, X.shape)
        known = X.dtype is plan.dtype or X.dtype == plan.dtype
        if known:
            out = np.empty(plan.Y_shape, plan.dtype)
            ready = plan.check_values is None and X.flags.carray
            plan.run(X if ready else _checked(X, plan), out)
        free.append(plan)
        return out if known else None

    def evaluate(self, model: LayerStack, X: Array, Y: Array) -> tuple[float, float] | None:
        """Return mean loss and error on a batch; None for a network or arrays it cannot take."""
        if not len(X) or not self._can_evaluate(model):
            return None
        total, most = np.zeros(2), rows_at_once(model, X.shape)
        for i in range(0, len(X), most):
            x, y = X[i : i + most], Y[i : i + most]
            free = self._evaluation.free(x.shape)
            plan = _take(free) or LossPlan(model, x.shape)
            if y.shape != plan.Y_shape:
                free.append(plan)
                return None
            total += np.multiply(plan.run(_checked(x, plan), _like(y, plan)), len(x) / len(X))
            free.append(plan)
        return float(total[0]), float(total[1])

    def _training_plan(self, model: LayerStack, shape: tuple[int, ...]) -> Any:
        if not self._training.fresh(model) and not self._training.renew(
            model,
            model.is_made and obstacle(model) is None,
            lambda: made_from.trained_parts(model),
        ):
            return None
        plan = self._training.get(shape)
        if plan is None:
            plan = self._training.add(shape, TrainingPlan(model, shape))
        return plan

    def _can_evaluate(self, model: LayerStack) -> bool:
        return self._evaluation.fresh(model) or self._evaluation.renew(
            model,
            model.is_made and obstacle(model) is None,
            lambda: [(vars(model), "loss", model.loss)],
        )

    def _can_predict(self, model: LayerStack) -> bool:
        return self._inference.fresh(model) or self._inference.renew(
            model, model.is_made and _obstacle_in_layers(model) is None
        )


class _Plans:
    """Plans of one kind, by the input's shape, and what they were made from.

    That is looked at only if anything that is watched, of whatever network, was replaced.
    """

    def __init__(self) -> None:
        self._plans: dict[Any, Any] = {}
        self._layers: list[Any] = []
        self._changes = -1
        self._threads: int | None = None
        self._made_from: Sequence[Any] = ()
        self._counts: list[int] = []  # of each layer's parameters
        self.get = self._plans.get

    def fresh(self, model: LayerStack) -> bool:
        """Return whether all that plans are made from is where it was, the very same objects."""
        changes = Changes.count
        if not self._layers or model.layers != self._layers or threads.chosen != self._threads:
            return False
        if changes != self._changes:
            if not made_from.unchanged(*self._made_from) or made_from.counts(model) != self._counts:
                return False
            self._changes = changes
        return True

    def renew(
        self, model: LayerStack, possible: bool, others: Callable[[], made_from.Parts] = list
    ) -> bool:
        """Forget all plans; return whether new ones are possible."""
        self._layers = []
        plans: dict[Any, Any] = {}  # another one, as other threads may still add to the last
        if possible:
            changes, layers = Changes.count, list(model.layers)
            parts = [*made_from.parts_of(model), *others()]
            self._made_from = tuple(zip(*parts, strict=True))
            self._counts = made_from.counts(model)
            self._threads, self._changes = threads.count(), changes
            self._plans, self.get = plans, plans.get
            self._layers = layers  # last: now plans count as fresh
        else:
            self._plans, self.get = plans, plans.get
        return possible

    def free(self, key: Any) -> list[Any]:
        """Return the list of free plans of a key."""
        plans: list[Any] | None = self.get(key)
        return self.add(key, []) if plans is None else plans

    def add(self, key: Any, plans: _T) -> _T:
        if len(self._plans) == 8:
            self._plans.clear()
        self._plans[key] = plans
        return plans


def _take(free: list[_T]) -> _T | None:
    """Take a plan that no other thread has, or None if there is none."""
    try:
        return free.pop()
    except IndexError:
        return None


def _checked(X: Array, plan: Any) -> Array:
    """Return a batch in the form that compiled code takes, having checked its values."""
    if plan.check_values is not None:
        plan.check_values(X)
    return _like(X, plan)


def _like(array: Array, plan: Any) -> Array:
    """Return an array in the form that compiled code takes."""
    return unlocked(np.require(array, plan.dtype, ["C", "A"]))


def _timed(
    plan: TrainingPlan,
    model: LayerStack,
    X: Array,
    Y: Array,
    rows: Array,
    epoch: int,
    weights: Array | None = None,
) -> Array:
    """Train on a stretch of batches, given by row numbers ``(passes, m)``, and time it.

    Sets how many batches the plan's next stretch has. Returns the batches' mean losses and errors,
    ``(passes, batches, 2)``.
    """
    start = time.perf_counter()
    stretch, pool = Stretch(plan, model.optimizer, X, Y, rows, epoch, weights), plan.pool()
    (means,) = stretches.train([stretch], pool)
    plan.clear(model)
    seconds, done = time.perf_counter() - start, means[..., 0].size
    plan.at_once = pace.next_count(plan.at_once, done, seconds)
    if plan.trial:
        plan.trial.report(pool.control != 0, seconds / done)
        plan.at_once = int(min(plan.at_once, plan.trial.most))
    return means
