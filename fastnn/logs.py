"""Learning curves: :class:`History`, kept by every training run, and :class:`Logger`, on disk."""

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastnn._writing import to_json, write_atomically


@dataclass(repr=False)
class History:
    """What a training run measured, one entry an epoch; validation lists are empty without data.

    ``loss`` and ``error`` are means over the epoch's rows in ``fit``, over its batches in ``train``;
    ``error`` is 1 - accuracy for cross-entropy and the mean squared error for l2, NaN where an output
    is NaN.
    """

    loss: list[float] = field(default_factory=list)
    error: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_error: list[float] = field(default_factory=list)

    def __repr__(self) -> str:
        last = (f"{name}={values[-1]:.4g}" for name, values in vars(self).items() if values)
        return f"<{', '.join([f'History of {len(self.loss)} epochs', *last])}>"

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the learning curves; write them to ``path`` if given. Returns the figure.

        In a notebook with pictures between its cells it is shown where it is a cell's value.

        Raises ``ImportError`` if matplotlib is not installed.
        """
        figure, axes = _figure(1, 2)
        panels = (
            (axes[0], "loss", self.loss, self.validation_loss),
            (axes[1], "error", self.error, self.validation_error),
        )
        for axis, name, train, validation in panels:
            _curves(axis, name, {"training": train, "validation": validation})
        if path is not None:
            figure.savefig(path)
        if "inline" in pyplot().get_backend():  # which shows open figures, this one a second time
            pyplot().close(figure)
        return figure

    def to_json(self, path: str | Path) -> None:
        """Write the four lists to a JSON file; what is not finite is ``null``."""
        write_atomically(path, (to_json(asdict(self), indent=1) + "\n").encode())


class Logger:
    """Keeps what a model's training logs, and with ``save`` writes it to a folder.

    ``log`` holds ``loss`` and ``error``, each ``{"train": [...], "validate": [...]}``, and
    ``params``, ``{name: {"max": [...], "min": [...]}}``.

    Parameters
    ----------
    model_name : str
        Name of the folder, under ``save_dir``.
    model_args, data_args : mappings
        Kept with the log, pickled, as the files ``model_args`` and ``data_args``.
    save : bool
        Rewrite the log (a pickled dict, file ``log``) at every epoch.
    plot : bool
        With ``save``, redraw a picture of each curve at every epoch.
    save_dir : str
        The folder of all experiments.

    Raises
    ------
    ImportError
        If ``plot`` is asked for and matplotlib is not installed.
    """

    def __init__(
        self,
        model_name: str,
        model_args: Any,
        data_args: Any,
        save: bool = False,
        plot: bool = False,
        save_dir: str = "experiments/",
    ) -> None:
        self.model_name = model_name
        self.model_args = model_args
        self.data_args = data_args
        self.save = save
        self.plot = plot
        self.save_dir = str(Path(save_dir) / model_name) + "/"
        self.reset()
        if plot:
            pyplot()
        if save:
            self.write("model_args", model_args)
            self.write("data_args", data_args)

    def reset(self) -> None:
        """Forget what was logged; files stay."""
        self.log: dict[str, Any] = {}
        self.counter = 0

    def push(self, log: dict[str, Any]) -> None:
        """Append one epoch's ``{"loss": {...}, "error": {...}, "params": {...}}``."""
        self.counter += 1
        for key, entry in log.items():
            if key == "params":
                for name, extremes in entry.items():
                    _append(self.log.setdefault("params", {}).setdefault(name, {}), extremes)
            else:
                _append(self.log.setdefault(key, {}), entry)
        if self.save:
            self.write("log", self.log)
            if self.plot:
                self._plot()

    def write(self, name: str, value: Any) -> None:
        """Pickle ``value`` to the file ``name`` in this logger's folder, atomically."""
        write_in_folder(self.save_dir, name, pickle.dumps(value))

    def write_text(self, name: str, text: str) -> None:
        """Write ``text`` to the file ``name`` in this logger's folder, atomically."""
        write_in_folder(self.save_dir, name, text.encode())

    def _plot(self) -> None:
        for key, entry in self.log.items():
            curves = entry if key == "params" else {key: entry}
            for name, lines in curves.items():
                figure, axes = _figure(1, 1)
                _curves(axes[0], name, lines)
                figure.suptitle(self.model_name)
                figure.savefig(Path(self.save_dir) / f"{name}.png")
                pyplot().close(figure)


def write_in_folder(folder: str | Path, name: str, content: bytes) -> None:
    """Write a file in a folder, which is made if it does not exist, atomically."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    write_atomically(Path(folder) / name, content)


def _append(lists: dict[str, list[float]], values: dict[str, float]) -> None:
    for name, value in values.items():
        lists.setdefault(name, []).append(value)


def pyplot() -> Any:
    """Return matplotlib's ``pyplot``, or raise ``ImportError`` that says how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'fastnn-cpu[plot]'") from None
    return plt


def _figure(rows: int, columns: int) -> tuple[Any, Any]:
    figure, axes = pyplot().subplots(
        rows,
        columns,
        figsize=(5.2 * columns, 3.8 * rows),
        squeeze=False,
        layout="constrained",
        dpi=120,
    )
    return figure, axes[0]


def _curves(axis: Any, name: str, lines: dict[str, list[float]]) -> None:
    for label, values in lines.items():
        if values:
            marker = "o" if len(values) < 30 else None
            axis.plot(range(1, len(values) + 1), values, label=label, marker=marker, markersize=3)
    axis.set_xlabel("epoch")
    axis.set_ylabel(name)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.grid(alpha=0.3)
    if axis.lines:
        axis.legend()
