"""Callbacks that show or write down how a run goes."""

from __future__ import annotations

import csv
import io
import math
import os
import sys
import threading
import time
from abc import abstractmethod
from pathlib import Path
from typing import Any

from fastnn import logs
from fastnn._typing import Array
from fastnn._validation import require_number
from fastnn._writing import require_writable, to_json
from fastnn.callbacks.base import Callback
from fastnn.callbacks.run import Run


def _unlock_bars() -> None:
    """Give tqdm a new lock in a forked child, which lacks the thread that may have held the old one."""
    auto, std = sys.modules.get("tqdm.auto"), sys.modules.get("tqdm.std")
    lock = threading.RLock()
    for kind in auto.tqdm.__mro__ if auto and std else ():
        if std and isinstance(vars(kind).get("_lock"), std.TqdmDefaultWriteLock):
            kind.set_lock(lock)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_bars)


class ProgressBar(Callback):
    """One tqdm bar for the whole run, and a line for every epoch that is done: ``verbose=True``.

    In a notebook the bar is a widget, with ipywidgets; without, it is text among the lines.
    """

    _bar: Any = None

    def on_epoch_begin(self, run: Run) -> None:
        name = f"epoch {run.epoch + 1}/{run.epochs}"
        if self._bar is None:
            from tqdm.auto import tqdm  # slow to import

            self._bar = tqdm(
                total=run.epochs * run.steps,
                initial=run.epoch * run.steps + len(run.losses),
                desc=name,
                leave=False,
                file=sys.stdout if _notebook() else sys.stderr,  # which a notebook paints red
            )
        self._bar.set_description(name, refresh=False)

    def on_batches_end(self, run: Run, losses: Array, errors: Array) -> None:
        self._bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
        self._bar.update(len(losses))

    def on_epoch_end(self, run: Run) -> None:
        self._bar.clear()
        print(f"epoch {run.epoch + 1}: {run.summary}")

    def on_train_end(self, run: Run) -> None:
        if self._bar is not None:
            if run.stopped is not None:
                self._bar.total = self._bar.n  # there is no more to come
            self._bar.close()
            self._bar = None  # which cannot be copied
        if run.stopped is not None:
            print(f"stopped after {len(run.history.loss)} epochs: {run.stopped}")


class LearningRateLog(Callback):
    """Keeps the learning rate of every epoch in ``rates``."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def on_train_begin(self, run: Run) -> None:
        self.rates = []

    def on_epoch_begin(self, run: Run) -> None:
        self.rates.append(run.learning_rate)


class _LineLog(Callback):
    """Appends a line to a file at the end of every epoch; the file is closed in between.

    A process that dies loses nothing of the epochs it finished. Runs follow one another in the file,
    each counts its epochs from 1.
    """

    _header = ""

    def __init__(self, path: str | Path) -> None:
        self.path = path

    @abstractmethod
    def _line(self, figures: dict[str, float]) -> str:
        """Return an epoch's line."""

    def on_train_begin(self, run: Run) -> None:
        self._began = time.perf_counter()
        with Path(self.path).open("a+b") as file:
            file.seek(0)
            if not file.readline():
                file.write(self._header.encode())
                return
            file.seek(0)
            if not file.readline().startswith(self._header.encode()):
                raise ValueError(f"{self.path} is another file: it does not begin {self._header!r}")
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # what a failing machine left of a line
                file.write(b"\n")

    def on_epoch_end(self, run: Run) -> None:
        figures = {
            "epoch": run.epoch + 1,
            "seconds": round(time.perf_counter() - self._began, 6),
            "learning_rate": run.learning_rate,
        }
        with Path(self.path).open("ab", buffering=0) as file:
            file.write(self._line({**figures, **run.figures}).encode())


class CSVLog(_LineLog):
    """Appends epoch, seconds, learning rate, losses and errors to a CSV file, epoch by epoch.

    A process that dies loses nothing of the epochs it finished. Runs follow one another in the file,
    each counts its epochs from 1. Raises ``ValueError`` for a file with other columns.
    """

    _columns = ("epoch", "seconds", "learning_rate", *vars(logs.History()))
    _header = ",".join(_columns) + "\n"

    def _line(self, figures: dict[str, float]) -> str:
        line = io.StringIO()
        csv.DictWriter(line, self._columns, lineterminator="\n").writerow(figures)
        return line.getvalue()


class JSONLog(_LineLog):
    """Appends what :class:`CSVLog` does as a line of JSON; what is not finite is ``null``."""

    def _line(self, figures: dict[str, float]) -> str:
        return to_json(figures) + "\n"


class LiveCurve(Callback):
    """A learning curve that redraws itself in a notebook while the network trains.

    Elsewhere nothing is shown; with ``path`` the picture is written to that file, here and there.

    Parameters
    ----------
    path : str or Path, optional
    seconds : float
        That pass between two drawings at least; one takes about a tenth.

    Raises
    ------
    ImportError
        If matplotlib is not installed: ``pip install 'fastnn-cpu[plot]'``.
    OSError
        If ``path`` cannot be written, before anything is trained.
    """

    def __init__(self, path: str | Path | None = None, seconds: float = 1.0) -> None:
        logs.pyplot()
        self.path = path
        self.seconds = require_number("seconds", seconds, low=0)

    def on_train_begin(self, run: Run) -> None:
        if self.path is not None and not Path(self.path).is_file():
            require_writable(self.path)
        self._handle: Any = None
        self._drawn, self._epochs = -math.inf, 0

    def on_epoch_end(self, run: Run) -> None:
        if time.perf_counter() - self._drawn >= self.seconds:
            self._draw(run.history)

    def on_train_end(self, run: Run) -> None:
        if len(run.history.loss) > self._epochs:
            self._draw(run.history)

    def _draw(self, history: logs.History) -> None:
        notebook = _notebook()
        if notebook is None and self.path is None:
            return
        figure = history.plot(self.path)
        if notebook is not None and self._handle is None:
            self._handle = notebook.display(figure, display_id=True)
        elif notebook is not None:
            self._handle.update(figure)
        logs.pyplot().close(figure)
        self._drawn, self._epochs = time.perf_counter(), len(history.loss)


def _notebook() -> Any:
    """Return the module ``IPython.display`` where there is a notebook to draw in, else None."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython import display

    return display
