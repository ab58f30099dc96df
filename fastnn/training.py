"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fastnn._interrupt import deferred_interrupt
from fastnn._typing import Array
from fastnn._validation import as_real, require_count
from fastnn.logs import History
from fastnn.testing import describe

if TYPE_CHECKING:
    from fastnn.callbacks import Callback
    from fastnn.datasets import Data, Dataset
    from fastnn.models import NeuralNetwork


@dataclass
class Run:
    """A training run under way: what callbacks are told of it, and how they end it.

    Attributes
    ----------
    net : NeuralNetwork
    dataset : Dataset
    epochs : int
        How many passes over ``dataset.train`` were asked for.
    epoch : int
        The one under way, counted from 0.
    losses : list of float
        Of its batches so far.
    errors : list of float
        Likewise.
    history : History
        Of the finished epochs; ``net.history`` as well.
    stopped : str or None
        Why :meth:`stop` was called, if it was.
    """

    net: NeuralNetwork
    dataset: Dataset
    epochs: int
    epoch: int = 0
    losses: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    history: History = field(default_factory=History)
    stopped: str | None = None

    @property
    def steps(self) -> int:
        """The number of batches of an epoch."""
        return int(self.dataset.train.samples_per_epoch)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the epoch under way."""
        return float(self.net.optimizer.lr_scheduler(self.epoch))

    @property
    def figures(self) -> dict[str, float]:
        """The last finished epoch's ``loss``, ``error`` and, if validated, ``validation_...``."""
        return {name: values[-1] for name, values in vars(self.history).items() if values}

    @property
    def summary(self) -> str:
        """The last finished epoch in words."""
        history = self.history
        line = "training " + describe(self.net, history.loss[-1], history.error[-1])
        if history.validation_loss:
            loss, error = history.validation_loss[-1], history.validation_error[-1]
            line += f"; validation {describe(self.net, loss, error)}"
        return line

    def stop(self, reason: str = "a callback asked for it") -> None:
        """End the run once all callbacks have been told what this one was just told.

        From ``on_batches_end`` an epoch is broken off, and does not count, unless that was its end.
        """
        self.stopped = reason


def run(
    net: NeuralNetwork, dataset: Dataset, epochs: int, shuffle: bool, callbacks: Sequence[Callback]
) -> History:
    """Train ``net`` for ``epochs`` passes over ``dataset``; see ``NeuralNetwork.fit``."""
    require_count("epochs", epochs, low=0)
    parts = [part for part in (dataset.train, dataset.validate) if part is not None]
    for part in parts:
        as_real(part.data_, "the dataset's data")
        as_real(part.labels, "the dataset's labels")
    net.prepare(dataset.out_dim, *(part.data_.shape for part in parts))
    run = Run(net, dataset, epochs)
    with under_way(run, callbacks) as check_interrupt:
        while run.epoch < epochs and run.stopped is None:
            _epoch(run, shuffle, callbacks, check_interrupt)
    return run.history


@contextmanager
def under_way(run: Run, callbacks: Sequence[Callback]) -> Iterator[Callable[[], None]]:
    """Tell callbacks of a run's begin and end; what is yielded raises a Ctrl-C that came meanwhile."""
    with ExitStack() as ends:
        for callback in callbacks:
            callback.on_train_begin(run)
            ends.callback(callback.on_train_end, run)
        run.net.history = run.history
        with deferred_interrupt() as check_interrupt:
            yield check_interrupt


def _epoch(
    run: Run, shuffle: bool, callbacks: Sequence[Callback], check_interrupt: Callable[[], None]
) -> None:
    history, validate = run.history, run.dataset.validate
    for callback in callbacks:
        callback.on_epoch_begin(run)
    if run.stopped is not None or not one_pass(run, shuffle, callbacks, check_interrupt):
        return
    history.loss.append(_mean(run.losses))
    history.error.append(_mean(run.errors))
    if validate is not None:
        loss, error = _validate(run.net, validate, shuffle)
        history.validation_loss.append(loss)
        history.validation_error.append(error)
    _log(run.net, history)
    for callback in callbacks:
        callback.on_epoch_end(run)
    run.epoch += 1
    run.losses, run.errors = [], []


def one_pass(
    run: Run,
    shuffle: bool,
    callbacks: Sequence[Callback],
    check_interrupt: Callable[[], None],
    batches: Iterator[tuple[Sequence[float] | Array, Sequence[float] | Array]] | None = None,
) -> bool:
    """Train on a pass over the training part; return whether it came to its end.

    ``batches`` trains on some batches at each turn, and yields their losses and errors; by default the
    network does.
    """
    train = run.dataset.train
    finished = False
    try:
        for losses, errors in batches or run.net._batches(train, shuffle, run.epoch):
            run.losses.extend(losses)
            run.errors.extend(errors)
            for callback in callbacks:
                callback.on_batches_end(run, np.asarray(losses), np.asarray(errors))
            check_interrupt()
            if run.stopped is not None and len(run.losses) < run.steps:
                return False
        finished = True
    finally:
        if not finished:  # the next run starts a new pass
            train.reset()
    return True


def _validate(model: NeuralNetwork, data: Data, shuffle: bool) -> tuple[float, float]:
    results = [model._evaluate(*data.sample(shuffle, model.rng)) for _ in range(data.samples_per_epoch)]
    return _mean([loss for loss, _ in results]), _mean([error for _, error in results])


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _log(model: NeuralNetwork, history: History) -> None:
    if model.logger is None:
        return
    for name in ("loss", "error"):
        validation = getattr(history, f"validation_{name}") or [float("nan")]
        model.epoch_log[name] = {
            "train": round(getattr(history, name)[-1], 4),
            "validate": round(validation[-1], 4),
        }
    model.logger.push(model.epoch_log)
    model.epoch_log = {"loss": {}, "error": {}}
