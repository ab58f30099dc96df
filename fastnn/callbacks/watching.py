"""Callbacks that follow a figure, the smaller the better. What is not finite is never better."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from fastnn._typing import Array
from fastnn._validation import canonical, require_count, require_number
from fastnn._writing import require_writable
from fastnn.callbacks.base import Callback
from fastnn.callbacks.run import Run
from fastnn.logs import History
from fastnn.saving.tensors import require_safetensors
from fastnn.schedulers.plateau import Plateau, Reduces
from fastnn.stack import LayerStack


def require_validation(callback: Callback, monitor: Any, run: Run) -> None:
    """Raise ``ValueError`` if a callback follows figures of validation, and there is none."""
    validated = getattr(run.dataset, "validate", None) is not None
    if str(monitor).startswith("validation_") and not validated:
        raise ValueError(f"{callback!r} needs validation data, fit(..., validation_data=(X, y))")


class _Watching(Callback):
    """Follows one figure, the smaller the better."""

    def __init__(self, monitor: str | Callable[[LayerStack], float], min_delta: float) -> None:
        known = vars(History())
        self.monitor = monitor if callable(monitor) else canonical("figure to monitor", monitor, known)
        self.min_delta = require_number("min_delta", min_delta, low=0)
        self.best, self.best_epoch = math.inf, -1

    def on_train_begin(self, run: Run) -> None:
        require_validation(self, self.monitor, run)
        self.best, self.best_epoch = math.inf, -1

    def _improved(self, run: Run) -> bool:
        """Return whether the figure is better than ever, and note it if it is."""
        monitor = self.monitor
        value = float(monitor(run.net) if callable(monitor) else run.figures[monitor])
        if not (math.isfinite(value) and value < self.best - self.min_delta):
            return False
        self.best, self.best_epoch = value, run.epoch
        return True


class EarlyStopping(_Watching):
    """Ends the run when a figure has not fallen for some epochs.

    Parameters
    ----------
    monitor : str or callable
        ``"loss"``, ``"error"``, ``"validation_loss"`` or ``"validation_error"``, or a function of the
        network that returns a number; the smaller, the better. NaN and infinity are never better.
    patience : int
        How many epochs in a row may pass without a new best one.
    min_delta : float
        How much a new best one must be below the last.
    restore_best : bool
        At the end of the run, however it ends, put the best epoch's parameters back. The optimiser
        keeps what it has. If the figure was never finite, parameters stay as they are, with a warning.

    Attributes
    ----------
    best : float
        The best figure, infinite before there is one.
    best_epoch : int
        Its epoch, counted from 0; -1 before there is one.

    Example
    -------
    >>> stopping = fastnn.EarlyStopping("validation_error", patience=20)
    >>> net.fit(X, y, 1000, validation_data=(X_val, y_val), callbacks=[stopping])  # doctest: +SKIP
    """

    def __init__(
        self,
        monitor: str | Callable[[LayerStack], float] = "validation_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, min_delta)
        self.patience = require_count("patience", patience)
        self.restore_best = restore_best

    def on_train_begin(self, run: Run) -> None:
        super().on_train_begin(run)
        self._kept: list[dict[str, Array]] = []
        self._waited = 0

    def on_epoch_end(self, run: Run) -> None:
        self._waited += 1
        if self._improved(run):
            self._waited = 0
            if self.restore_best:
                self._kept = [
                    {name: parameter.copy() for name, parameter in layer.parameters.items()}
                    for layer in run.net.layers
                ]
        if self._waited >= self.patience:
            what = f"fallen below {self.best:.4g}" if math.isfinite(self.best) else "been finite"
            run.stop(f"{self.monitor} has not {what} for {self._waited} epochs")

    def on_train_end(self, run: Run) -> None:
        if self.restore_best and self._waited and not math.isfinite(self.best):
            warnings.warn(
                f"{self.monitor} was not finite in any of {self._waited} epochs: there are no best "
                "parameters to restore, and the network keeps its last ones",
                RuntimeWarning,
                stacklevel=2,
            )
        for layer, kept in zip(run.net.layers, self._kept, strict=False):
            for name, parameter in kept.items():
                layer.parameters[name][...] = parameter
        self._kept = []


class ModelCheckpoint(_Watching):
    """Saves the network after every epoch that is the best so far, or after each.

    Parameters
    ----------
    path : str or path
        Where ``net.save`` writes. What stands in braces is filled in as by ``str.format``: ``epoch``,
        counted from 1, and the epoch's figures, as in ``"{epoch:03d}-{loss:.3f}.safetensors"``.
    monitor, min_delta
        As for :class:`EarlyStopping`.
    save_best_only : bool
        If not, save after every epoch.

    Attributes
    ----------
    best, best_epoch
        As for :class:`EarlyStopping`.

    Raises
    ------
    ImportError
        If safetensors is not installed, before the first epoch.
    KeyError
        If a brace holds another name, before the first epoch.
    OSError
        If no file can be written there, before the first epoch: the path is a folder, or its folder
        does not exist or is not writable.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        monitor: str | Callable[[LayerStack], float] = "validation_loss",
        save_best_only: bool = True,
        min_delta: float = 0.0,
    ) -> None:
        super().__init__(monitor, min_delta)
        self.path = path
        self.save_best_only = save_best_only

    def on_train_begin(self, run: Run) -> None:
        require_safetensors()
        super().on_train_begin(run)
        names = [n for n in vars(History()) if run.dataset.validate or not n.startswith("validation_")]
        first = self._file(1, dict.fromkeys(names, 0.0))
        if "{" not in fspath(Path(self.path).parent):  # else each epoch has a folder of its own
            require_writable(first)

    def on_epoch_end(self, run: Run) -> None:
        if self._improved(run) or not self.save_best_only:
            net: Any = run.net
            net.save(self._file(run.epoch + 1, run.figures))

    def _file(self, epoch: int, figures: dict[str, float]) -> str:
        return fspath(self.path).format(epoch=epoch, **figures)


class ReduceLROnPlateau(Reduces, Callback):
    """Multiplies the learning rate by ``factor`` when a loss or error has stopped falling.

    A value improves if it is below ``best (1 - threshold)``. ``net.optimizer.lr`` is reduced after more
    than ``patience`` epochs in a row without an improvement; the next ``cooldown`` epochs are not
    counted. With a schedule, all its rates are multiplied. Epochs are counted as in
    ``torch.optim.lr_scheduler.ReduceLROnPlateau``. The counts follow from the history, so a resumed run
    gives the same rates as an uninterrupted one.

    Parameters
    ----------
    monitor : str
        ``"loss"``, ``"error"``, ``"validation_loss"`` or ``"validation_error"``. NaN and infinity are
        never better.
    factor : float
        Between 0 and 1.
    patience : int
        Number of epochs without an improvement that are tolerated.
    threshold : float
        Smallest relative improvement.
    cooldown : int
        Number of epochs after a reduction that are not counted.
    lr_min : float
        The rate is not reduced below this.

    Attributes
    ----------
    reduced : list of int
        The epochs, counted from 0, at whose end the rate was reduced.

    Raises
    ------
    AttributeError
        If the optimiser has no ``lr`` to set, as with a schedule that is a plain function; before the
        first epoch.

    Example
    -------
    >>> slower = fastnn.ReduceLROnPlateau("validation_loss", factor=0.5, patience=5)
    >>> net.fit(X, y, 100, validation_split=0.1, callbacks=[slower])  # doctest: +SKIP
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        lr_min: float = 0.0,
    ) -> None:
        self.monitor = canonical("figure to monitor", monitor, vars(History()))
        self.lr_min = require_number("lr_min", lr_min, low=0)
        self.plateau = Plateau(factor, patience, threshold, cooldown)
        self.reduced: list[int] = []

    def on_train_begin(self, run: Run) -> None:
        require_validation(self, self.monitor, run)
        optimizer: Any = run.net.optimizer
        optimizer.lr = optimizer.lr  # an AttributeError if there is none to set
        self._follow(0, run)

    def on_epoch_end(self, run: Run) -> None:
        if self._seen != run.epoch:  # the run was resumed, at an epoch of its own
            self._follow(run.epoch, run)
        if self._has_come(run.figures[self.monitor]):
            optimizer: Any = run.net.optimizer
            optimizer.lr = max(optimizer.lr * self.factor, min(optimizer.lr, self.lr_min))

    def _follow(self, epochs: int, run: Run) -> None:
        """Take the figures of the first epochs, at whose ends the rate was reduced already."""
        self.plateau.start()
        self._seen, self.reduced = 0, []
        for figure in getattr(run.history, self.monitor)[:epochs]:
            self._has_come(figure)

    def _has_come(self, figure: float) -> bool:
        come = self.plateau.has_come(figure)
        if come:
            self.reduced.append(self._seen)
        self._seen += 1
        return come
