"""Many small networks at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property

import numpy as np

from fastnn import engine, pace
from fastnn._arrays import extents
from fastnn._typing import Array, ArrayLike
from fastnn._validation import require_count, require_finite
from fastnn.datasets import Data
from fastnn.engine import stretches
from fastnn.engine.stretches import Stretch
from fastnn.engine.training import TrainingPlan
from fastnn.kernels.step import threads
from fastnn.logs import History
from fastnn.schedulers import is_known_ahead
from fastnn.training import add_epochs, check_rates, report_loss, start_schedule
from fastnn.training.interrupt import deferred_interrupt
from fastnn.training.roads import Trainable


def fit_many(
    networks: Sequence[Trainable],
    X: ArrayLike,
    Y: ArrayLike,
    epochs: int = 10,
    batch_size: int = 32,
    rows: Sequence[ArrayLike] | None = None,
    shuffle: bool = True,
    check_finite: bool = True,
) -> list[History]:
    """Train independent networks side by side, each on a core of its own, inside compiled code.

    For seeds, folds, and hyper-parameters. Every network ends as it would after a ``fit`` of its own;
    those without a seed draw from NumPy's global generator in turn, an epoch at a time. Ctrl-C stops
    all of them within a tenth of a second.

    Parameters
    ----------
    networks : sequence of NeuralNetwork
        Networks that train in compiled code (``summary()`` says so), with an optimiser each, of one
        dtype.
    X, Y : array_like
        As for ``NeuralNetwork.fit``.
    epochs, batch_size, shuffle, check_finite
        As for ``NeuralNetwork.fit``.
    rows : sequence of (m,) integers, optional
        For each network the rows of X it is trained on, as of a fold.

    Returns
    -------
    list of History
        Loss and error of every epoch, for each network; also its ``history``.

    Raises
    ------
    TypeError, ValueError, IndexError
        As for ``NeuralNetwork.fit``; for a network that cannot train in compiled code, for networks
        that share an optimiser, a layer or an array, or are there twice, and for rows out of range.
        Nothing has changed.
    RuntimeError
        If another thread trains one of the networks; nothing has changed.
    """
    require_count("epochs", epochs, low=0)
    require_count("batch_size", batch_size)
    if not networks:
        raise ValueError("networks is empty")
    _check_apart(networks)
    x = networks[0].checked_features(X)
    y = networks[0].checked_targets(Y, len(x))
    chosen = _rows(rows, len(networks), len(x))
    for i, net in enumerate(networks):
        reason = engine.obstacle(net)
        if reason is not None:
            raise ValueError(f"networks[{i}] cannot train in compiled code: {reason}; use its fit")
        dtype = net.layers[0].dtype or net.dtype or x.dtype
        if dtype != x.dtype:
            raise ValueError(f"networks[{i}] computes in {dtype}, networks[0] in {x.dtype}")
    for array, name in ((x, "X"), (y, "Y")) if check_finite else ():
        require_finite(array, name)
    for net in networks:
        check_rates(net, epochs)
        net.require_columns(y.shape[1])
    for net in networks:
        net.prepare(y.shape[1], x.shape)
        start_schedule(net)
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y, dtype=x.dtype)
    with ExitStack() as turns:
        for net in networks:
            turns.enter_context(net.turn.held())
        members = [
            _Member(*pair, f"networks[{i}]", x, y, batch_size)
            for i, pair in enumerate(zip(networks, chosen, strict=True))
        ]
        _train(members, epochs, shuffle)
    return [net.history for net in networks]


def _train(members: Sequence[_Member], epochs: int, shuffle: bool) -> None:
    most = max(member.batches for member in members)
    begin = count = 0  # the epochs under way; how many batches to do next
    ahead = all(is_known_ahead(member.net.optimizer.lr_scheduler) for member in members)
    with deferred_interrupt() as check_interrupt:
        while begin < epochs:
            passes = min(max(1, count // most), epochs - begin) if ahead else 1
            for _ in range(passes):
                for member in members:
                    member.start_epoch(shuffle)
            count = count or pace.first_count(sum(member.plan.work for member in members))
            while left := [member for member in members if member.left]:
                start = time.perf_counter()
                done = _stretch(left, count, begin)
                seconds = time.perf_counter() - start
                count = pace.next_count(count, done, seconds)
                if any(member.left for member in left):
                    check_interrupt()
            for member in members:
                member.end_epochs()
            begin += passes
            for member in members:
                report_loss(member.net, member.net.history, begin - 1)
            check_interrupt()


def _check_apart(networks: Sequence[Trainable]) -> None:
    layers = [layer for net in networks for layer in net.layers]
    optimizers = [net.optimizer for net in networks]
    for what, parts in (("network", networks), ("optimizer", optimizers), ("layer", layers)):
        if len({id(part) for part in parts}) < len(parts):
            raise ValueError(f"networks holds one {what} twice; side by side each needs its own")
    try:
        extents([array for layer in layers for array in layer.parameters.values()])
    except ValueError:
        raise ValueError("networks share an array; side by side each needs its own") from None


def _rows(rows: Sequence[ArrayLike] | None, count: int, n: int) -> list[Array]:
    if rows is None:
        return [np.arange(n, dtype=np.int64)] * count
    if len(rows) != count:
        raise ValueError(f"rows has {len(rows)} entries for {count} networks")
    found = [np.array(part) for part in rows]  # copies, which the caller cannot change meanwhile
    for i, part in enumerate(found):
        if part.ndim != 1 or part.dtype.kind not in "iu" or not len(part):
            raise ValueError(f"rows[{i}] must be some row numbers (m,), got {part.dtype} {part.shape}")
        if part.min() < 0 or part.max() >= n:
            raise IndexError(f"rows[{i}] goes from {part.min()} to {part.max()}, X has {n} rows")
    return found


class _Member:
    """A network on its way through its rows."""

    def __init__(
        self, net: Trainable, rows: Array, name: str, X: Array, Y: Array, batch_size: int
    ) -> None:
        self.net, self._rows, self._name, self._X, self._Y = net, rows, name, X, Y
        self._data = Data(rows, batch_size, rows)
        self.batches = self._data.samples_per_epoch
        self._orders: list[Array] = []  # of the epochs under way
        self._done = 0  # rows of each
        self._results: list[Array] = []
        self.net.history = History()

    def start_epoch(self, shuffle: bool) -> None:
        """Draw an epoch's order, which follows those that are under way."""
        *_, order = self._data.start_pass(shuffle, self.net.rng)
        self._orders.append(self._rows[order])
        self.net.make_parameters(self._X)

    @cached_property
    def plan(self) -> TrainingPlan:
        """The network's, once its parameters are made."""
        n = min(self._data.batch_size, len(self._rows))
        return TrainingPlan(self.net, (n, *self._X.shape[1:]), shared=False)

    @property
    def left(self) -> int:
        """How many rows of each epoch under way are left."""
        return len(self._rows) - self._done

    def take(self, count: int, epoch: int) -> Stretch:
        """Return the next batches, at most so many of each epoch under way."""
        end = self._done + count * self.plan.n
        order = np.stack([order[self._done : end] for order in self._orders])
        self._done += order.shape[1]
        return Stretch(self.plan, self.net.optimizer, self._X, self._Y, order, epoch)

    def add(self, results: Array) -> None:
        self._results.append(results)

    def end_epochs(self) -> None:
        self.plan.clear(self.net)
        means, sizes = np.concatenate(self._results, axis=1), self._data.batch_sizes()
        what = f"the training loss of {self._name}"
        add_epochs(self.net.history, means, sizes, what, stacklevel=6)
        self._orders, self._done, self._results = [], 0, []


def _stretch(members: Sequence[_Member], count: int, epoch: int) -> int:
    """Do the members' next batches; return how many the longest stretch had."""
    together = [member.take(count, epoch) for member in members]
    found = stretches.train(together, threads.pool())
    for member, results in zip(members, found, strict=True):
        member.add(results)
    return max(results[..., 0].size for results in found)
