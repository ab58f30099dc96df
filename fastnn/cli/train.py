"""``fastnn train``: load, train, compare with the reference, report."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fastnn import _files, testing, training
from fastnn._typing import Array
from fastnn.callbacks import Callback
from fastnn.datasets import Data, Dataset, load_digits, load_mnist
from fastnn.models import NeuralNetwork
from fastnn.reference import NeuralNetwork as NaiveNetwork


@dataclass(frozen=True)
class Run:
    """What to train, enough to build it twice."""

    loss: str
    layers: list[dict[str, Any]]
    optimizer: dict[str, Any]
    dtype: str
    seed: int
    epochs: int

    def layer_args(self) -> list[dict[str, Any]]:
        """Return the layers, the output layer last, its width to be inferred."""
        output = "softmax" if self.loss == "cross_entropy" else "linear"
        layers = [*self.layers, {"n_out": None, "activation": output}]
        return [{"name": "fully_connected", **layer} for layer in layers]

    def fast(self) -> NeuralNetwork:
        """Return the network on compiled kernels."""
        return NeuralNetwork(
            self.loss, self.layer_args(), self.optimizer, seed=self.seed, dtype=self.dtype
        )

    def naive(self) -> NaiveNetwork:
        """Return the same network in plain NumPy."""
        return NaiveNetwork(self.loss, self.layer_args(), self.optimizer, seed=self.seed)


def require_matplotlib() -> None:
    """Raise ``ImportError`` if plots cannot be drawn; draw them without a screen."""
    try:
        import matplotlib
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install 'fastnn-cpu[plot]'") from None
    matplotlib.use("Agg")


def load(
    data: str, batch_size: int, seed: int, dtype: str, folder: Path | None, download: bool
) -> tuple[Dataset, str]:
    """Return the dataset that ``data`` names and the loss that fits its targets."""
    if data == "digits":
        return load_digits(batch_size, seed=seed, dtype=dtype), "cross_entropy"
    if data == "mnist":
        if folder is not None and (folder / "mnist").is_dir():
            folder = folder / "mnist"
        if folder is None and not download:
            raise ValueError("mnist needs --data-folder (or FASTNN_DATA), or --download")
        return load_mnist(
            folder, batch_size, download=download, seed=seed, dtype=dtype
        ), "cross_entropy"
    path = Path(data)
    readers = {".npz": _files.load_npz, ".csv": _files.load_csv}
    if path.suffix not in readers:
        raise ValueError(f"{data!r} is neither digits nor mnist, nor a .npz or .csv file")
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    X, y = readers[path.suffix](path)
    dataset = Dataset.from_arrays(X, y, batch_size=batch_size, seed=seed, dtype=dtype)
    classes = y.ndim == 1 and y.dtype.kind in "iub"
    return dataset, "cross_entropy" if classes else "l2"


class _Reporter(Callback):
    """A rich progress bar with the running loss and accuracy (or error)."""

    def __init__(self, bar: Progress, steps: int, loss_name: str) -> None:
        self._bar = bar
        self._task = bar.add_task("fast", total=steps, status="")
        self._accuracy = loss_name == "cross_entropy"
        self._loss, self._error = 0.0, 0.0
        self._pending, self._shown = 0, 0.0

    def on_batches_end(self, run: training.Run, losses: Array, errors: Array) -> None:
        weight = 1 - 0.95 ** len(losses)  # a running mean, so that the figures can be read
        loss, error = float(np.mean(losses)), float(np.mean(errors))
        self._loss += weight * (loss - self._loss) if self._loss else loss
        self._error += weight * (error - self._error)
        self._pending += len(losses)
        if time.perf_counter() - self._shown > 0.05:  # drawing costs more than a training step
            self._show(run)

    def on_epoch_end(self, run: training.Run) -> None:
        self._show(run)

    def _show(self, run: training.Run) -> None:
        metric = f"accuracy {1 - self._error:.3f}" if self._accuracy else f"error {self._error:.4f}"
        status = f"epoch {run.epoch + 1}, loss {self._loss:.4f}, {metric}"
        self._bar.update(self._task, advance=self._pending, status=status)
        self._pending, self._shown = 0, time.perf_counter()


def train(
    run: Run,
    dataset: Dataset,
    console: Console,
    plot: Path | None,
    history: Path | None,
    compare_naive: bool,
) -> None:
    """Train, print the closing table, write the files asked for."""
    testing.require_part(dataset.test, "test")
    start = _state(dataset)
    with console.status("loading the kernels; compiled the first time, which takes a while ..."):
        compile_seconds = _compile(run, dataset)
    model = run.fast()
    seconds = 0.0
    interrupted = False
    bar = Progress(
        TextColumn("training"), BarColumn(), TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(), console=console, transient=True,
    )  # fmt: skip
    try:
        with bar:
            total = run.epochs * dataset.train.samples_per_epoch
            reporter = _Reporter(bar, total, run.loss)
            began = time.perf_counter()
            training.run(model, dataset, run.epochs, True, [reporter])
            seconds = time.perf_counter() - began
    except KeyboardInterrupt:
        interrupted = True
    epochs = len(model.history.loss)
    if history is not None:
        model.history.to_json(history)
        console.print(f"history: {history}")
    if plot is not None and epochs:
        model.history.plot(plot)
        console.print(f"learning curve: {plot}")
    if interrupted:
        console.print(f"Interrupted after {epochs} of {run.epochs} epochs.")
        raise typer.Exit(130)
    samples = run.epochs * dataset.train.n_samples
    table = Table(title=f"{samples:,} samples, {run.epochs} epochs, {run.dtype}", title_justify="left")
    for heading in ("", "time", "samples/s", _metric_name(run)):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("fastnn", f"{seconds:.3f} s", f"{samples / seconds:,.0f}", _score(model, dataset))
    if compare_naive:
        _restore(dataset, start)
        naive = run.naive()
        with console.status("training the plain NumPy reference ..."):
            began = time.perf_counter()
            naive.train(dataset, run.epochs)
            naive_seconds = time.perf_counter() - began
        table.add_row(
            "plain NumPy",
            f"{naive_seconds:.3f} s",
            f"{samples / naive_seconds:,.0f}",
            _naive_score(naive, dataset),
        )
    console.print(table)
    console.print(f"compiling or loading the kernels took {compile_seconds:.2f} s more", style="dim")
    if compare_naive:
        largest, relative = _difference(model, naive)
        console.print(f"speed-up {naive_seconds / seconds:.1f}x")
        console.print(f"largest parameter difference {largest:.2g} (relative {relative:.2g})")


def _compile(run: Run, dataset: Dataset) -> float:
    """Train a throwaway network on three batches; return the seconds it took."""
    began = time.perf_counter()
    n = dataset.train.batch_size
    X, Y = dataset.train.data_[: 3 * n], dataset.train.labels
    assert Y is not None
    Y = Y[: 3 * n]
    run.fast().fit(X, Y, epochs=1, batch_size=n, validation_data=(X, Y), verbose=False)
    return time.perf_counter() - began


def _state(dataset: Dataset) -> list[tuple[Data, Any, Any]]:
    """Return the order the rows are in, which training changes."""
    parts = (dataset.train, dataset.validate)
    return [(part, part.data_, part.labels) for part in parts if part is not None]


def _restore(dataset: Dataset, state: list[tuple[Data, Any, Any]]) -> None:
    for part, data, labels in state:
        part.data_, part.labels = data, labels
        part.reset()


def _metric_name(run: Run) -> str:
    return "test accuracy" if run.loss == "cross_entropy" else "test error"


def _score(model: NeuralNetwork, dataset: Dataset) -> str:
    test = testing.require_part(dataset.test, "test")
    error = model.evaluate(test.data_, test.labels)[1]  # type: ignore[arg-type]
    return f"{1 - error:.2%}" if model.loss.name == "cross_entropy" else f"{error:.4g}"


def _naive_score(model: NaiveNetwork, dataset: Dataset) -> str:
    test = testing.require_part(dataset.test, "test")
    error = model.error(test.labels, model.forward(test.data_))  # type: ignore[arg-type]
    return f"{1 - error:.2%}" if model.loss.name == "cross_entropy" else f"{error:.4g}"


def _difference(model: NeuralNetwork, naive: NaiveNetwork) -> tuple[float, float]:
    """Return the largest absolute difference of two networks' parameters, and the relative."""
    largest = scale = 0.0
    for fast, slow in zip(model.layers, naive.layers, strict=True):
        for name, values in slow.parameters.items():
            largest = max(largest, float(np.max(np.abs(fast.parameters[name] - values))))
            scale = max(scale, float(np.max(np.abs(values))))
    return largest, largest / scale
