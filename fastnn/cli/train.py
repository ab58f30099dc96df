"""``fastnn train``: train, compare with the reference, report, write files."""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from fastnn import evaluation, training
from fastnn._typing import Array
from fastnn.callbacks import Callback, EarlyStopping
from fastnn.cli.folding import folded
from fastnn.cli.problem import Problem, count
from fastnn.cli.progress import Reporter, in_digits, reporting
from fastnn.datasets import Data, Dataset
from fastnn.logs import History
from fastnn.models import NeuralNetwork
from fastnn.reference import NeuralNetwork as NaiveNetwork

_PENALISED = ("fully_connected", "conv2d")  # layers with an argument ``l2``


@dataclass(frozen=True)
class Run:
    """What to train, enough to build it twice."""

    layers: list[dict[str, Any]]
    optimizer: dict[str, Any]
    l2: float
    dtype: str
    seed: int
    epochs: int
    patience: int | None

    def layer_args(self, loss: str, n_out: int | None = None) -> list[dict[str, Any]]:
        """Return the layers, the output layer last, by default of a width to be inferred."""
        output = "softmax" if loss == "cross_entropy" else "linear"
        layers = [*self.layers, {"name": "fully_connected", "n_out": n_out, "activation": output}]
        return [layer | ({"l2": self.l2} if layer["name"] in _PENALISED else {}) for layer in layers]

    def fast(self, loss: str, n_out: int | None = None) -> NeuralNetwork:
        """Return the network on compiled kernels."""
        layers = self.layer_args(loss, n_out)
        return NeuralNetwork(loss, layers, self.optimizer, seed=self.seed, dtype=self.dtype)

    def naive(self, loss: str) -> NaiveNetwork:
        """Return the same network in plain NumPy."""
        return NaiveNetwork(loss, self.layer_args(loss), self.optimizer, seed=self.seed)


@dataclass(frozen=True)
class Outputs:
    """The files to write."""

    plot: Path | None
    history: Path | None
    save: Path | None


def train(
    run: Run, problem: Problem, console: Console, errors: Console, outputs: Outputs, compare: bool
) -> None:
    """Train, write the files asked for, print the closing table."""
    dataset = problem.dataset
    if run.patience is not None and dataset.validate is None:
        n = dataset.train.n_samples
        raise ValueError(f"--patience needs rows to validate with, and {n} rows to train on leave none")
    for line in problem.understood:
        _say(console, line)
    start = _state(dataset)
    with console.status("loading the kernels; compiled the first time, which takes a while ..."):
        compile_seconds = _compile(run, problem)
    model = run.fast(problem.loss)
    stopping = EarlyStopping("validation_loss", run.patience) if run.patience is not None else None
    reporter, seconds, interrupted = _train(run, model, problem, console, stopping)
    epochs = len(model.history.loss)
    _write_files(run, model, problem, console, errors, outputs, reporter.diverged)
    if interrupted:
        console.print(f"Interrupted after {epochs} of {run.epochs} epochs.")
        raise typer.Exit(130)
    if stopping is not None and epochs < run.epochs:
        _say(
            console,
            f"stopped after {epochs} of {run.epochs} epochs: the validation loss did not fall for "
            f"{run.patience}; the weights are those of epoch {stopping.best_epoch + 1}",
        )
    test = evaluation.require_part(dataset.test, "test")
    results = {"fastnn": (seconds, _scores(problem, test, model.predict(test.data_)))}
    if compare:
        _restore(dataset, start)
        naive = run.naive(problem.loss)
        with console.status("training the plain NumPy reference ..."):
            began = time.perf_counter()
            naive.train(dataset, run.epochs)
            naive_seconds = time.perf_counter() - began
        results["plain NumPy"] = naive_seconds, _scores(problem, test, naive.forward(test.data_))
    console.print(_table(results, epochs, dataset.train.n_samples, run.dtype))
    console.print(f"compiling or loading the kernels took {compile_seconds:.2f} s more", style="dim")
    if compare:
        largest, relative = _difference(model, naive)
        console.print(f"speed-up {naive_seconds / seconds:.1f}x")
        console.print(f"largest parameter difference {largest:.2g} (relative {relative:.2g})")


def _train(
    run: Run,
    model: NeuralNetwork,
    problem: Problem,
    console: Console,
    stopping: EarlyStopping | None,
) -> tuple[Reporter, float, bool]:
    """Train; return what reported, the seconds, and whether Ctrl-C ended it."""
    interrupted = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the error that ends a diverged run says it
        with reporting(problem, console, run.epochs) as reporter:
            callbacks: list[Callback] = [reporter, *([] if stopping is None else [stopping])]
            began = time.perf_counter()
            try:
                training.run(model, problem.dataset, run.epochs, True, callbacks)
            except KeyboardInterrupt:
                interrupted = True
            seconds = time.perf_counter() - began
    return reporter, seconds, interrupted


def _compile(run: Run, problem: Problem) -> float:
    """Train a throwaway network on three batches; return the seconds it took."""
    began = time.perf_counter()
    dataset = problem.dataset
    n = dataset.train.batch_size
    X, Y = dataset.train.data_[: 3 * n], dataset.train.labels
    assert Y is not None
    Y = Y[: 3 * n]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        run.fast(problem.loss).fit(X, Y, epochs=1, batch_size=n, validation_data=(X, Y), verbose=False)
    return time.perf_counter() - began


def _state(dataset: Dataset) -> list[tuple[Data, Any, Any]]:
    """Return the order the rows are in, which training changes."""
    parts = (dataset.train, dataset.validate)
    return [(part, part.data_, part.labels) for part in parts if part is not None]


def _restore(dataset: Dataset, state: list[tuple[Data, Any, Any]]) -> None:
    for part, data, labels in state:
        part.data_, part.labels = data, labels
        part.reset()


def _in_units(history: History, problem: Problem) -> History:
    """Return losses and errors, which are of standardised targets, in the targets' units squared."""
    scale = problem.unit**2
    curves = {name: [scale * value for value in curve] for name, curve in asdict(history).items()}
    return History(**curves)


def _write_files(
    run: Run,
    model: NeuralNetwork,
    problem: Problem,
    console: Console,
    errors: Console,
    outputs: Outputs,
    diverged: int | None,
) -> None:
    """Write the files asked for; of a run that diverged only the history, and exit with 1."""
    history = _in_units(model.history, problem)
    if outputs.history is not None:
        history.to_json(outputs.history)
        _say(console, f"history: {outputs.history}")
    if diverged is not None:
        lr = run.optimizer["lr"]
        errors.print(
            f"error: the loss is not finite in epoch {diverged}: the steps are too large; "
            f"try a smaller learning rate, such as --lr {min(lr / 10, 0.01):.2g}",
            style="red", markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
        raise typer.Exit(1)
    if outputs.plot is not None and history.loss:
        history.plot(outputs.plot)
        _say(console, f"learning curve: {outputs.plot}")
    if outputs.save is not None and history.loss:
        _save(run, model, problem, outputs.save, console)


def _save(run: Run, model: NeuralNetwork, problem: Problem, path: Path, console: Console) -> None:
    data = problem.dataset
    if problem.is_regression or data.feature_mean is not None:
        blank = replace(run, dtype="float64").fast(problem.loss, data.out_dim)
        model = folded(model, blank, problem)
        takes = "features as they are in the data"
    else:
        takes = "pixels between 0 and 1"
    model.save(path)
    if problem.classes is None:
        gives = f"the {problem.target} in its units"
    else:
        names = [*problem.classes[:10], *["..."] * (len(problem.classes) > 10)]
        gives = f"the probabilities of the classes {', '.join(names)}"
    _say(console, f"network: {path}; fastnn.load(FILE).predict(X) takes {takes} and returns {gives}")


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _table(
    results: dict[str, tuple[float, dict[str, str]]], epochs: int, rows: int, dtype: str
) -> Table:
    """Return a table of seconds and scores by contestant."""
    samples = epochs * rows
    table = Table(title=f"{samples:,} samples, {count(epochs, 'epoch')}, {dtype}", title_justify="left")
    for heading in ("", "time", "samples/s", *results["fastnn"][1]):
        table.add_column(heading, justify="right" if heading else "left", overflow="fold")
    for name, (seconds, scores) in results.items():
        pace = f"{samples / max(seconds, 1e-9):,.0f}"
        table.add_row(name, f"{seconds:.3f} s", pace, *scores.values())
    return table


def _scores(problem: Problem, test: Data, outputs: Array) -> dict[str, str]:
    """Return how good outputs are on the test part, by the names of the figures."""
    targets = np.asarray(test.labels, np.float64)
    if not problem.is_regression:
        right = np.argmax(targets, axis=1) == np.argmax(outputs, axis=1)
        return {"test accuracy": f"{np.mean(right):.2%}"}
    squares = np.mean((targets - outputs) ** 2, axis=0)
    spread = targets.var(axis=0)
    r2 = "undefined" if (spread == 0).any() else f"{np.mean(1 - squares / spread):.4f}"
    if len(problem.std) > 1:
        return {"test R2": r2}
    return {"test RMSE": in_digits(np.sqrt(squares[0]) * problem.unit), "test R2": r2}


def _difference(model: NeuralNetwork, naive: NaiveNetwork) -> tuple[float, float]:
    """Return the largest absolute difference of two networks' parameters, and the relative."""
    largest = scale = 0.0
    for fast, slow in zip(model.layers, naive.layers, strict=True):
        for name, values in slow.parameters.items():
            largest = max(largest, float(np.max(np.abs(fast.parameters[name] - values))))
            scale = max(scale, float(np.max(np.abs(values))))
    return largest, largest / scale if scale else 0.0
