"""The training loop."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from fastnn import _own
from fastnn._typing import Array
from fastnn._validation import as_real, require_count
from fastnn.callbacks import Callback, Run
from fastnn.datasets import Data, Dataset
from fastnn.logs import History
from fastnn.optimizers import Optimizer
from fastnn.schedulers import Exponential, LinearWarmup, Scheduler, is_known_ahead
from fastnn.training.interrupt import deferred_interrupt
from fastnn.training.roads import Trainable


def run(
    net: Trainable,
    dataset: Dataset,
    epochs: int,
    shuffle: bool,
    callbacks: Sequence[Callback],
    by_rows: bool = False,
) -> History:
    """Train ``net`` for ``epochs`` passes over ``dataset``; see ``NeuralNetwork.fit``."""
    require_count("epochs", epochs, low=0)
    _check_data(net, dataset)
    check_rates(net, epochs)
    start_schedule(net)
    run = Run(net, dataset, epochs, by_rows=by_rows)
    with under_way(run, callbacks) as check_interrupt:
        while run.epoch < epochs and run.stopped is None:
            if not callbacks and _epochs_at_once(net, run, shuffle):
                check_interrupt()
            else:
                _epoch(net, run, shuffle, callbacks, check_interrupt)
    return run.history


def _epochs_at_once(net: Trainable, run: Run, shuffle: bool) -> bool:
    """Train for several epochs in one compiled call, if nothing has to run between them.

    Returns whether it did. For short epochs, the work between epochs takes longer than the epochs.
    """
    train, scheduler = run.dataset.train, getattr(net.optimizer, "lr_scheduler", None)
    if _own.part(run.dataset, "validate") is not None or net.logger is not None or run.losses:
        return False
    if not is_known_ahead(scheduler):
        return False
    means = net.train_passes(train, shuffle, run.epoch, run.epochs - run.epoch)
    if means is None:
        return False
    run.epoch += len(means)
    weights = train.batch_sizes() if run.by_rows else np.ones(means.shape[1])
    add_epochs(run.history, means, weights, "the training loss", stacklevel=7)
    return True


def add_epochs(history: History, means: Array, weights: Array, what: str, stacklevel: int) -> None:
    """Add epochs to a history, given mean losses and errors of batches, ``(epochs, batches, 2)``.

    ``weights``: the weights of the batches. Warns as :func:`warn_if_lost` does.
    """
    losses, errors = weighted_mean(np.ascontiguousarray(means.transpose(2, 0, 1)), weights).tolist()
    history.loss += losses
    history.error += errors
    warn_if_lost(history, what, stacklevel, len(losses))


def _check_data(net: Trainable, dataset: Dataset) -> None:
    """Check shapes and dtypes before training; batches of a program's own data are checked later."""
    if _own.part(dataset, "train") is None:
        raise ValueError("the dataset has no train part")
    shapes = []
    for name in ("train", "validate"):
        part = _own.part(dataset, name)
        if isinstance(part, Data) and type(part).sample is Data.sample:
            as_real(part.data_, "the dataset's data")
            as_real(part.labels, "the dataset's labels")
            shapes.append(part.data_.shape)
    train: Any = dataset.train
    n_out = getattr(dataset, "out_dim", None) or getattr(train, "out_dim", None)
    labels: Any = getattr(train, "labels", None)
    if n_out is None and np.ndim(labels) == 2:
        n_out = np.shape(labels)[1]
    n_out = n_out or net.n_out
    if n_out is not None:
        net.prepare(int(n_out), *shapes)
    elif shapes:
        raise ValueError(
            "the last layer has n_out=None, and the dataset has no out_dim to infer it from"
        )


def check_rates(net: Trainable, epochs: int) -> None:
    """Raise ``ValueError`` if the learning rate overflows in one of the epochs."""
    scheduler = getattr(net.optimizer, "lr_scheduler", None)
    while type(scheduler) is LinearWarmup:
        scheduler = scheduler.lr_scheduler
    if epochs and isinstance(scheduler, Exponential):
        scheduler(epochs - 1)


def start_schedule(net: Trainable) -> None:
    """Reset the optimiser's count of updates and the state of its schedule."""
    if isinstance(net.optimizer, Optimizer):
        net.optimizer.updates = 0
        if isinstance(net.optimizer.lr_scheduler, Scheduler):
            net.optimizer.lr_scheduler.start()


def report_loss(net: Trainable, history: History, epoch: int) -> None:
    """Report an epoch's validation loss, or else its training loss, to the network's schedule."""
    scheduler = getattr(net.optimizer, "lr_scheduler", None)
    if isinstance(scheduler, Scheduler):
        scheduler.report((history.validation_loss or history.loss)[-1], epoch)


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
    net: Trainable,
    run: Run,
    shuffle: bool,
    callbacks: Sequence[Callback],
    check_interrupt: Callable[[], None],
) -> None:
    history, validate = run.history, _own.part(run.dataset, "validate")
    if run.by_rows and not run.losses:  # figures are by rows of a pass from its beginning
        _own.start_anew(run.dataset.train)
    for callback in callbacks:
        callback.on_epoch_begin(run)
    if run.stopped is not None:
        return
    steps = run.steps - len(run.losses)  # a run that was resumed has done some
    batches = net.train_batches(run.dataset.train, shuffle, run.epoch, steps)
    if not one_pass(run, callbacks, check_interrupt, batches):
        return
    if run.by_rows:
        history.loss.append(float(weighted_mean(run.losses, run.dataset.train.batch_weights())))
        history.error.append(float(weighted_mean(run.errors, run.dataset.train.batch_sizes())))
    else:
        history.loss.append(_mean(run.losses))
        history.error.append(_mean(run.errors))
    if validate is not None:
        if run.by_rows:
            loss, error = net.evaluate(validate.data_, validate.labels)
        else:
            loss, error = _validate(net, validate, shuffle)
        history.validation_loss.append(loss)
        history.validation_error.append(error)
    _log(net, history)
    report_loss(net, history, run.epoch)
    for callback in callbacks:
        callback.on_epoch_end(run)
    if run.losses:
        warn_if_lost(history, "the training loss", stacklevel=6)
    run.epoch += 1
    run.losses, run.errors = [], []


def warn_if_lost(history: History, what: str, stacklevel: int, new: int = 1) -> None:
    """Warn about the first epoch with a non-finite loss if it is one of the last ``new`` epochs."""
    losses = history.loss
    if all(map(math.isfinite, losses[-new:])):
        return
    lost = next(i for i, loss in enumerate(losses) if not math.isfinite(loss))
    if lost >= len(losses) - new:
        warnings.warn(
            f"{what} is {losses[lost]} in epoch {lost + 1}: the network has diverged, or its data are "
            "not finite. Train again with a lower learning rate, clip_norm, or smaller features",
            RuntimeWarning,
            stacklevel=stacklevel,
        )


def one_pass(
    run: Run,
    callbacks: Sequence[Callback],
    check_interrupt: Callable[[], None],
    batches: Iterator[tuple[Sequence[float] | Array, Sequence[float] | Array]],
) -> bool:
    """Train on a pass over the training part; return whether it came to its end.

    ``batches`` trains on some batches at each turn, and yields their losses and errors.
    """
    finished = False
    try:
        for losses, errors in batches:
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
            _own.start_anew(run.dataset.train)
    return True


def _validate(model: Trainable, data: Data, shuffle: bool) -> tuple[float, float]:
    results = []
    for _ in range(_own.steps(data)):
        X, Y = _own.labelled(data, shuffle, model.rng)
        batch = (X, Y) if isinstance(data, Data) else model.checked_batch(X, Y)
        results.append(model.evaluate_batch(*batch))
    return _mean([loss for loss, _ in results]), _mean([error for _, error in results])


def weighted_mean(values: Sequence[float] | Array, weights: Array) -> Any:
    """Return the means ``(...)`` of batches' figures ``(..., b)``, by weights that are not negative.

    They are NaN without any weight.
    """
    counted, figures = np.asarray(weights, np.float64), np.asarray(values, np.float64)
    if not figures.shape[-1]:
        return np.full(figures.shape[:-1], np.nan)
    if (counted == counted[0]).all():
        return figures.sum(axis=-1) / len(counted)
    with np.errstate(all="ignore"):  # infinity times 0
        return (figures * counted).sum(axis=-1) / counted.sum()


def _mean(values: Sequence[float]) -> float:
    return float(weighted_mean(values, np.ones(len(values))))


def _log(model: Trainable, history: History) -> None:
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
