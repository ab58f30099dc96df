"""Stretches of batches of one dataset, for one or several networks, in one compiled call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.engine.training import TrainingPlan
from fastnn.kernels.emitted.rules import numbers_of
from fastnn.kernels.step import plan as step
from fastnn.kernels.step import steps
from fastnn.losses import relative, rows_by_weight
from fastnn.optimizers import Optimizer


class Stretch:
    """A network's next batches, and what came of them; making it counts their updates.

    ``means``: each batch's mean loss and error, ``(passes, batches, 2)``, once it has been trained on.

    Parameters
    ----------
    plan : TrainingPlan
    optimizer : Optimizer
    X, Y : arrays (n, d) and (n, k)
        The dataset, of the plan's dtype and C-contiguous.
    order : (passes, m) integers
        Row numbers of one or several epochs, a batch's after the other's. The last batch of each has
        what is left.
    epoch : int
        The first one.
    weights : (rows,), optional
        What each row of the data counts; a batch's mean is by these weights.

    Raises
    ------
    ValueError
        If the arrays do not fit the plan or have no rows of these numbers; nothing has changed.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        optimizer: Optimizer,
        X: Array,
        Y: Array,
        order: Array,
        epoch: int,
        weights: Array | None = None,
    ) -> None:
        self.plan = plan
        self._order = np.ascontiguousarray(order, np.int64)
        plan.check_data(X, Y, self._order)
        if weights is not None and len(weights) != len(X):
            raise ValueError(f"X has {len(X)} rows, there are {len(weights)} weights")
        self._arrays = plan.apart(X), plan.apart(Y)
        self.means = np.empty((len(order), -(-order.shape[1] // plan.n), 2))
        passes, batches, _ = self.means.shape
        self._numbers = np.empty((passes, batches), numbers_of(optimizer.rule).dtype)
        for i, optimizer.epoch in enumerate(range(epoch, epoch + passes)):
            self._numbers[i] = optimizer.advance_by(batches, plan.states)
        self._weights = None if weights is None else self._weights_of_batches(weights)

    def _weights_of_batches(self, weights: Array) -> Array:
        """Return each batch's rows by the sum of their weights, and the weights times that.

        ``(passes, batches, 1 + n)``; a batch of no weight has zeros, and so has what a last one lacks.
        """
        sizes = np.full(self.means.shape[1], self.plan.n)
        sizes[-1] = self._order.shape[1] - (len(sizes) - 1) * self.plan.n
        out = np.zeros((*self.means.shape[:2], 1 + self.plan.n))
        rows = np.pad(weights[self._order], ((0, 0), (0, len(sizes) * self.plan.n - sizes.sum())))
        rows = rows.reshape(out.shape[0], out.shape[1], -1)
        out[..., 0] = rows_by_weight(rows, sizes)
        out[..., 1:] = relative(rows, sizes)
        return out

    def record(self, control: int) -> Array:
        """Return what the compiled loop takes."""
        self.plan.read_from(*(array.ctypes.data for array in self._arrays))
        if self._weights is not None:
            self.plan.weigh_rows()
        passes, rows = self._order.shape
        return step.Stretch.make(
            step=self.plan.address,
            control=control,
            passes=passes,
            rows=rows,
            order=self._order.ctypes.data,
            numbers=self._numbers.ctypes.data,
            number_count=len(self._numbers.dtype.names or ()),
            results=self.means.ctypes.data,
            weights=0 if self._weights is None else self._weights.ctypes.data,
        )


def train(together: Sequence[Stretch], pool: Any) -> list[Array]:
    """Do all updates; return each stretch's mean losses and errors, ``(passes, batches, 2)``.

    The steps of a single stretch are shared by the pool's threads; several, of as many networks, go
    side by side, a thread each.
    """
    single = len(together) == 1
    records = np.concatenate([s.record(pool.control if single else 0) for s in together])
    job = step.phase_job(steps.stretch).address
    with pool.held():
        integers = records.view(np.int64).reshape(len(records), -1)
        steps.run_stretches(0 if single else pool.control, job, integers)
    return [stretch.means for stretch in together]
