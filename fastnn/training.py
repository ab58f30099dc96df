"""The training loop, and how it reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastnn._interrupt import deferred_interrupt
from fastnn._typing import Array
from fastnn._validation import as_real, require_count
from fastnn.logs import History
from fastnn.losses import CLASSIFICATION

if TYPE_CHECKING:
    from fastnn.datasets import Data, Dataset
    from fastnn.models import NeuralNetwork


Figures: TypeAlias = "Sequence[float] | Array"


class Progress:
    """What a training run tells as it goes; this one says nothing."""

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Before the first step of an epoch, counted from 0."""

    def step(self, losses: Figures, errors: Figures) -> None:
        """After some more steps, with the loss and error of each."""

    def end_epoch(self, epoch: int, summary: str) -> None:
        """After validation, with one line on the epoch."""

    def close(self) -> None:
        """At the end of the run, also of one that was broken off."""


class Bar(Progress):
    """A tqdm bar per epoch, replaced by one line when the epoch is done."""

    def start_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        from tqdm.auto import tqdm  # slow to import

        self._bar: Any = tqdm(total=steps, desc=f"epoch {epoch + 1}/{epochs}", leave=False)

    def step(self, losses: Figures, errors: Figures) -> None:
        self._bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
        self._bar.update(len(losses))

    def end_epoch(self, epoch: int, summary: str) -> None:
        self.close()
        print(f"epoch {epoch + 1}: {summary}")

    def close(self) -> None:
        if hasattr(self, "_bar"):
            self._bar.close()


def run(
    model: NeuralNetwork, dataset: Dataset, epochs: int, shuffle: bool, progress: Progress
) -> History:
    """Train ``model`` for ``epochs`` passes over ``dataset``; see ``NeuralNetwork.fit``."""
    require_count("epochs", epochs, low=0)
    train, validate = dataset.train, dataset.validate
    parts = [part for part in (train, validate) if part is not None]
    for part in parts:
        as_real(part.data_, "the dataset's data")
        as_real(part.labels, "the dataset's labels")
    model.prepare(dataset.out_dim, *(part.data_.shape for part in parts))
    history = model.history = History()
    finished = False
    try:
        with deferred_interrupt() as check_interrupt:
            for epoch in range(epochs):
                progress.start_epoch(epoch, epochs, train.samples_per_epoch)
                losses: list[float] = []
                errors: list[float] = []
                for some_losses, some_errors in model._batches(train, shuffle, epoch):
                    losses.extend(some_losses)
                    errors.extend(some_errors)
                    progress.step(some_losses, some_errors)
                    check_interrupt()
                history.loss.append(_mean(losses))
                history.error.append(_mean(errors))
                if validate is not None:
                    loss, error = _validate(model, validate, shuffle)
                    history.validation_loss.append(loss)
                    history.validation_error.append(error)
                _log(model, history)
                progress.end_epoch(epoch, _summary(model, history))
        finished = True
    finally:
        progress.close()
        if not finished:  # the next run starts a new pass
            train.reset()
    return history


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


def describe(model: NeuralNetwork, loss: float, error: float) -> str:
    """Return a loss and an error in words: accuracy for cross-entropy."""
    if model.loss.name in CLASSIFICATION:
        return f"loss {loss:.4f}, accuracy {1 - error:.4f}"
    return f"loss {loss:.4f}, error {error:.4f}"


def _summary(model: NeuralNetwork, history: History) -> str:
    line = "training " + describe(model, history.loss[-1], history.error[-1])
    if history.validation_loss:
        validation = describe(model, history.validation_loss[-1], history.validation_error[-1])
        line += f"; validation {validation}"
    return line


def require_part(part: Data | None, name: str) -> Data:
    """Return a dataset's part, or raise ``ValueError`` if it has none."""
    if part is None:
        raise ValueError(f"the dataset has no {name} part")
    return part
