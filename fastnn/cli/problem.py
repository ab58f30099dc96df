"""The data of ``fastnn train``: read, described, split and standardised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastnn._csv.loading import load_columns
from fastnn._csv.target import are_classes
from fastnn._typing import Array
from fastnn.cli.usage import UsageError
from fastnn.datasets import Data, Dataset, files, load_digits, load_mnist
from fastnn.datasets.dataset import mean_and_std

_BUILT_IN = ("digits", "mnist", "sinewave")
_SERIES, _STEPS = 2000, 20  # number and length of the series of a sine wave
_CSV = re.compile(r".+\.(csv|tsv|tab|txt)(\.(gz|bz2|xz))?", re.IGNORECASE)
# Which options belong to which kinds of data.
_OPTIONS = {
    "target": ("csv",),
    "sep": ("csv",),
    "header": ("csv",),
    "encoding": ("csv",),
    "task": ("csv", "npz"),
    "data_folder": ("mnist",),
    "download": ("mnist",),
}
_NAMES = {"csv": "CSV files", "npz": ".npz files", "mnist": "mnist"}


@dataclass(frozen=True)
class Source:
    """Where the data are, and how to read them."""

    data: str
    target: str = "-1"
    task: str = "auto"
    sep: str | None = None
    header: bool | None = None
    encoding: str = "utf-8"
    folder: Path | None = None
    download: bool = False

    @property
    def kind(self) -> str:
        """``digits``, ``mnist``, ``sinewave``, ``npz`` or ``csv``."""
        if self.data.lower() in _BUILT_IN:
            return self.data.lower()
        if self.data.lower().endswith(".npz"):
            return "npz"
        if _CSV.fullmatch(Path(self.data).name):
            return "csv"
        if Path(self.data).is_dir():
            raise UsageError(f"{self.data} is a folder, not a file")
        raise UsageError(
            f"{self.data!r} is neither digits, mnist nor sinewave, nor a .npz or .csv file"
        )

    def check(self, given: set[str]) -> None:
        """Raise ``UsageError`` for files that are not there and options that would do nothing."""
        kind = self.kind
        for option, kinds in _OPTIONS.items():
            if option in given and kind not in kinds:
                name = f"--{option.replace('_', '-')}"
                raise UsageError(
                    f"{name} does nothing with {self.data}: it is for "
                    f"{' and '.join(_NAMES[k] for k in kinds)}"
                )
        if kind == "mnist":
            if self.folder is None and not self.download:
                raise UsageError("mnist needs --data-folder (or FASTNN_DATA), or --download")
            if self.folder is not None and not self.download and not self.folder.is_dir():
                raise UsageError(f"--data-folder: no folder {self.folder}")
        elif kind not in _BUILT_IN:
            if Path(self.data).is_dir():
                raise UsageError(f"{self.data} is a folder, not a file")
            if not Path(self.data).is_file():
                raise UsageError(f"no file {self.data}")


@dataclass(frozen=True)
class Problem:
    """A dataset, split and standardised.

    Attributes
    ----------
    dataset : Dataset
    loss : str
    understood : list of str
        How the data were read, in lines for the user.
    target : str
        What messages call the target.
    classes : array of str, or None
        The classes' labels.
    mean, std : array (k,)
        Of the targets of a regression, before they were standardised; empty for classes.
    """

    dataset: Dataset
    loss: str
    understood: list[str]
    target: str
    classes: Array | None
    mean: Array
    std: Array

    @property
    def is_regression(self) -> bool:
        """Whether the targets are numbers."""
        return self.loss == "l2"

    @property
    def unit(self) -> float:
        """A standardised target's 1 in the target's unit; 1 for several targets, whose units differ."""
        return float(self.std[0]) if len(self.std) == 1 else 1.0


def load(source: Source, batch_size: int, seed: int, dtype: str) -> Problem:
    """Read, split and standardise the data."""
    kind = source.kind
    if kind == "digits":
        return _built_in(kind, load_digits(batch_size, seed=seed, dtype=dtype))
    if kind == "mnist":
        folder = source.folder
        if folder is not None and (folder / "mnist").is_dir():
            folder = folder / "mnist"
        return _built_in(
            kind, load_mnist(folder, batch_size, download=source.download, seed=seed, dtype=dtype)
        )
    if kind == "sinewave":
        return _sine_wave(batch_size, seed, dtype)
    path = Path(source.data)
    if kind == "csv":
        X, y, _, labels, name = load_columns(
            path, source.target, source.task, source.sep, source.header, source.encoding
        )
        target = "target" if name is None else f"target {name!r}"
    else:
        target = "target y"
        X, y, labels = _from_npz(path, source.task)
    if labels is not None and len(labels) == 1:
        raise ValueError(f"{path}: {target} has one class, {labels[0]}; there is nothing to learn")
    if labels is None and (y == y[0]).all():
        raise ValueError(f"{path}: {target} is {y[0]} in all rows; there is nothing to learn")
    understood = [f"{target}: {_what(y, labels)}; {count(X.shape[1], 'feature')}, {len(X):,} rows"]
    if source.task == "auto" and y.ndim == 1 and _may_be_either(y, labels):
        this, other = ("numbers", "class") if labels is None else ("classes", "number")
        understood.append(f"whole numbers are taken as {this} here; --task {other} changes that")
    dataset = _split(path, X, y, batch_size, seed)
    mean, std = np.zeros(0), np.zeros(0)
    if labels is None:
        mean, std = _standardize_targets(dataset, f"{path}: {target}")
    for part in _parts(dataset):
        part.data_ = part.data_.astype(dtype, copy=False)
        part.labels = np.asarray(part.labels, dtype)
    loss = "l2" if labels is None else "cross_entropy"
    return Problem(dataset, loss, understood, target, labels, mean, std)


def _built_in(name: str, dataset: Dataset) -> Problem:
    n, d = sum(part.n_samples for part in _parts(dataset)), dataset.train.data_.shape[1]
    labels = np.array([str(i) for i in range(dataset.out_dim)])
    what = f"{name}: {len(labels)} classes; {count(d, 'feature')}, {n:,} rows"
    return Problem(dataset, "cross_entropy", [what], name, labels, np.zeros(0), np.zeros(0))


def as_images(problem: Problem) -> None:
    """Reshape rows of 784 pixels to images ``(28, 28, 1)``, in place."""
    for part in _parts(problem.dataset):
        part.data_ = part.data_.reshape(-1, 28, 28, 1)


def _sine_wave(batch_size: int, seed: int, dtype: str) -> Problem:
    """Return series ``(n, 1, t)`` of a noisy sine wave; targets are the next values, ``(n, 1)``."""
    rng = np.random.default_rng(seed)
    time = rng.uniform(0, 2 * np.pi, (_SERIES, 1)) + 0.3 * np.arange(_STEPS + 1)
    values = np.sin(time) + 0.01 * rng.standard_normal(time.shape)
    values = values.astype(dtype)
    X, Y = values[:, None, :-1], values[:, -1:]
    ends = _SERIES * 7 // 10, _SERIES * 8 // 10
    (x, *other), (y, *targets) = np.split(X, ends), np.split(Y, ends)
    dataset = Dataset(x, y, batch_size, other[0], targets[0], other[1], targets[1])
    what = f"sinewave: the next value; series of {_STEPS} steps, {_SERIES:,} rows"
    return Problem(dataset, "l2", [what], "value", None, np.zeros(1), np.ones(1))


def _parts(dataset: Dataset) -> list[Data]:
    parts = (dataset.train, dataset.validate, dataset.test)
    return [part for part in parts if part is not None]


def _from_npz(path: Path, task: str) -> tuple[Array, Array, Array | None]:
    """Return features, targets (class numbers or numbers) and the classes' labels or None."""
    X, y = files.load_npz(path)
    for name, array in (("X", X), ("y", y)):
        if array.dtype.kind not in "biuf":
            raise ValueError(f"{path}: {name} must hold real numbers, got dtype {array.dtype}")
        wrong = np.argwhere(~np.isfinite(array))
        if len(wrong):
            place, value = ", ".join(map(str, wrong[0])), array[tuple(wrong[0])]
            raise ValueError(f"{path}: {name}[{place}] is {value}; drop or fill such rows")
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(f"{path}: X must have shape (n, features), got {X.shape}")
    if y.ndim not in (1, 2) or 0 in y.shape[1:]:
        raise ValueError(f"{path}: y must have shape (n,) or (n, outputs), got {y.shape}")
    if len(y) != len(X):
        raise ValueError(f"{path}: X has {len(X)} rows, y has {len(y)}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if task == "auto":
        codes = y.ndim == 1 and y.dtype.kind in "biu"
        task = "class" if codes and (y.dtype.kind == "b" or are_classes(y)) else "number"
    if task == "number":
        return X, y.astype(np.float64), None
    if y.ndim == 2:
        raise ValueError(f"{path}: class numbers must have shape (n,), got {y.shape}")
    classes, numbers = np.unique(y, return_inverse=True)
    if len(classes) > 20 and 2 * len(classes) > len(y):
        raise ValueError(f"{path}: y has {len(classes):,} different values in {len(y):,} rows")
    return X, numbers.reshape(-1), classes.astype(np.str_)


def _split(path: Path, X: Array, y: Array, batch_size: int, seed: int) -> Dataset:
    dataset = Dataset.from_arrays(X, y, batch_size=batch_size, seed=seed, dtype="float64")
    if dataset.test is None:
        raise ValueError(f"{path} has {len(X)} rows: too few to leave some out for the test")
    return dataset


def _standardize_targets(dataset: Dataset, what: str) -> tuple[Array, Array]:
    """Standardise targets; return mean and standard deviation of those of the training part.

    Raises ``ValueError`` if the squares of errors in the targets' units overflow or vanish.
    """
    mean, std = mean_and_std(np.asarray(dataset.train.labels))
    for spread in std[(std < 1e-150) | (std > 1e150)]:
        raise ValueError(
            f"{what} has a standard deviation of {spread:.3g}, and squares of such numbers are beyond "
            "what floats can hold; multiply the target by a power of ten"
        )
    for part in _parts(dataset):
        part.labels = (np.asarray(part.labels) - mean) / std
    return mean, std


def _what(y: Array, labels: Array | None) -> str:
    if labels is not None:
        shown = [str(label) if len(label) <= 20 else f"{label[:17]}..." for label in labels[:5]]
        return f"{len(labels)} classes ({', '.join([*shown, *['...'] * (len(labels) > 5)])})"
    if y.ndim == 2:
        return f"{y.shape[1]} numbers"
    return f"a number, {len(np.unique(y)):,} values"


def count(number: int, what: str) -> str:
    """Return a number and what it counts, in the plural unless it is 1."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def _may_be_either(y: Array, labels: Array | None) -> bool:
    """Return whether a target is whole numbers with few enough values for classes."""
    if labels is None:
        distinct = np.unique(y)
        few = len(distinct) <= 100 and 2 * len(distinct) <= len(y)
        return few and bool((distinct == np.floor(distinct)).all())
    return all(re.fullmatch(r"[+-]?\d+", label) for label in labels)
