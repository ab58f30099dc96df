"""How a training run is shown: a line that is redrawn, or, without a terminal, at most ten lines."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fastnn import training
from fastnn._typing import Array
from fastnn.callbacks import Callback
from fastnn.cli.problem import Problem

_LINES = 10


class Reporter(Callback):
    """Shows a run's figures, and ends it once its loss is not finite."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._loss, self._error = 0.0, 0.0
        self.diverged: int | None = None  # in this epoch, counted from 1

    def on_batches_end(self, run: training.Run, losses: Array, errors: Array) -> None:
        if not np.isfinite(losses).all():
            self._end(run)
            return
        weight = 1 - 0.95 ** len(losses)  # a running mean, so that the figures can be read
        loss, error = float(np.mean(losses)), float(np.mean(errors))
        self._loss += weight * (loss - self._loss) if self._loss else loss
        self._error += weight * (error - self._error) if self._error else error
        self.show(run, len(losses))

    def on_epoch_end(self, run: training.Run) -> None:
        if not all(math.isfinite(figure) for figure in run.figures.values()):
            self._end(run)
            return
        self.show_epoch(run)

    def _end(self, run: training.Run) -> None:
        self.diverged = run.epoch + 1
        run.stop("the loss is not finite")

    def show(self, run: training.Run, steps: int) -> None:
        """Show the figures after some steps."""

    def show_epoch(self, run: training.Run) -> None:
        """Show the figures after an epoch."""


class BarReporter(Reporter):
    """A bar with the running loss and accuracy, or error."""

    def __init__(self, problem: Problem, bar: Progress, steps: int) -> None:
        super().__init__(problem)
        self._bar = bar
        self._task = bar.add_task("training", total=steps, status="")
        self._pending, self._shown = 0, 0.0

    def show(self, run: training.Run, steps: int) -> None:
        self._pending += steps
        if time.perf_counter() - self._shown > 0.05:  # drawing costs more than a training step
            self._draw(run)

    def show_epoch(self, run: training.Run) -> None:
        self._draw(run)

    def _draw(self, run: training.Run) -> None:
        status = (
            f"epoch {run.epoch + 1}/{run.epochs}, {figures(self._problem, self._loss, self._error)}"
        )
        if run.history.validation_error:
            status += f", validation {metric(self._problem, run.history.validation_error[-1])}"
        self._bar.update(self._task, advance=self._pending, status=status)
        self._pending, self._shown = 0, time.perf_counter()


class LineReporter(Reporter):
    """A line for every tenth of the epochs."""

    def __init__(self, problem: Problem, console: Console) -> None:
        super().__init__(problem)
        self._console = console

    def show_epoch(self, run: training.Run) -> None:
        done = run.epoch + 1
        if done * _LINES // run.epochs == run.epoch * _LINES // run.epochs and done > 1:
            return
        found = run.figures
        line = f"epoch {done}/{run.epochs}: {figures(self._problem, found['loss'], found['error'])}"
        if "validation_error" in found:
            line += f", validation {metric(self._problem, found['validation_error'])}"
        self._console.print(line, highlight=False, soft_wrap=True)


@contextmanager
def reporting(problem: Problem, console: Console, epochs: int) -> Iterator[Reporter]:
    """Yield what shows a run on this console."""
    if not console.is_terminal:
        yield LineReporter(problem, console)
        return
    bar = Progress(
        TextColumn("training"), BarColumn(), TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(), console=console, transient=True,
    )  # fmt: skip
    with bar:
        yield BarReporter(problem, bar, epochs * problem.dataset.train.samples_per_epoch)


def figures(problem: Problem, loss: float, error: float) -> str:
    """Return a loss and an error in words; of a regression, whose loss is half the error, the error."""
    return ("" if problem.is_regression else f"loss {loss:.4f}, ") + metric(problem, error)


def metric(problem: Problem, error: float) -> str:
    """Return an error in words: accuracy for classes, else the root mean square in targets' units."""
    if not problem.is_regression:
        return f"accuracy {1 - error:.3f}"
    what = "RMSE" if len(problem.std) == 1 else "standardised RMSE"
    return f"{what} {in_digits(math.sqrt(error) * problem.unit)}"


def in_digits(value: float) -> str:
    """Return a number with four significant digits, and all before its decimal point."""
    if not 1e-4 <= abs(value) < 1e12:
        return f"{value:.4g}"
    return f"{value:,.{max(3 - math.floor(math.log10(abs(value))), 0)}f}"
