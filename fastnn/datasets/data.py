"""Batches of arrays: :class:`Data`, one part of a :class:`Dataset`, and where datasets come from."""

from pathlib import Path
from typing import Any

import numpy as np

from fastnn import _own
from fastnn._threads import get_num_threads
from fastnn._typing import Array, ArrayLike, DTypeLike
from fastnn._validation import (
    are_labels,
    as_float,
    as_real,
    choose,
    one_hot,
    require_count,
    require_finite,
    require_float_dtype,
    require_number,
    require_unmasked,
)
from fastnn.datasets import files
from fastnn.losses import rows_by_weight
from fastnn.utils.data_structures import integers_to_one_hot


class Data:
    """Arrays handed out in batches, reshuffled at the start of every pass.

    Parameters
    ----------
    data : array (n, ...)
    batch_size : int
        The last batch of a pass has what is left.
    labels : array (n, ...), optional
    out_dim : int, optional
        Number of outputs a model of the labels needs.
    weights : array (n,), optional
        What each row counts in training.
    """

    def __init__(
        self,
        data: ArrayLike,
        batch_size: int = 50,
        labels: ArrayLike | None = None,
        out_dim: int | None = None,
        weights: ArrayLike | None = None,
    ) -> None:
        self._batch_size: int
        self._order: Array | None = None  # of the rows, where shuffled and not yet moved
        require_unmasked(data, "data")
        require_unmasked(labels, "labels")
        self._data: Array = np.asarray(data)
        if self._data.ndim == 0:
            raise ValueError("data needs a batch axis, got a number")
        self._labels = None if labels is None else np.asarray(labels)
        if self._labels is not None and len(self._labels) != len(self._data):
            raise ValueError(f"data has {len(self._data)} rows, labels have {len(self._labels)}")
        self._weights = None if weights is None else np.asarray(weights, np.float64)
        self.out_dim = out_dim
        self.iteration = 0
        self._batch_size = require_count("batch_size", batch_size)
        self._count_rows()

    @property
    def data_(self) -> Array:
        """The rows, in the order of the last shuffle."""
        self._move()
        return self._data

    @data_.setter
    def data_(self, data: ArrayLike) -> None:
        self._move()
        self._data = self._replacement("data_", data)
        self._count_rows()

    @property
    def labels(self) -> Array | None:
        """Their labels, in the same order, or None."""
        self._move()
        return self._labels

    @labels.setter
    def labels(self, labels: ArrayLike | None) -> None:
        self._move()
        self._labels = None if labels is None else self._replacement("labels", labels)

    @property
    def batch_size(self) -> int:
        """How many rows a batch has; setting it, between two passes, sets ``samples_per_epoch`` too."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, batch_size: int) -> None:
        size = require_count("batch_size", batch_size)
        if "_data" not in vars(self):  # a subclass's own __init__ makes all itself
            self._batch_size = size
        elif size != self._batch_size:
            if self.iteration != 0:
                raise ValueError("batch_size cannot be set in the middle of a pass; call reset() first")
            self._batch_size = size
            self._count_rows()

    @property
    def _all_batches(self) -> int:
        return int(-(-self.n_samples // self.batch_size))

    def _replacement(self, name: str, value: ArrayLike) -> Array:
        array = np.asarray(value)
        if array.ndim == 0:
            raise ValueError(f"{name} needs a batch axis, got a number")
        if self.iteration != 0 and len(array) != self.n_samples:
            raise ValueError(
                f"{name} of {len(array)} rows cannot replace {self.n_samples} rows in the middle of a "
                "pass; call reset() first"
            )
        return array

    def _count_rows(self) -> None:
        self.n_samples = self._data.shape[0]
        self.samples_per_epoch = self._all_batches

    def _check_rows(self) -> None:
        """Raise ``ValueError`` if what can be set from outside does not fit together."""
        for name, array in (("labels", self._labels), ("weights", self._weights)):
            if array is not None and len(array) != self.n_samples:
                raise ValueError(f"data_ has {self.n_samples} rows, {name} have {len(array)}")
        count, most = self.samples_per_epoch, self._all_batches
        if count > most or not 0 <= self.iteration < max(count, 1):
            raise ValueError(
                f"samples_per_epoch is {count} and iteration {self.iteration}; "
                f"there are {most} batches of {self.batch_size} rows, counted from 0"
            )

    def _move(self) -> None:
        order, self._order = self._order, None
        if order is not None:
            self._data = self._data[order]
            self._labels = None if self._labels is None else self._labels[order]
            self._weights = None if self._weights is None else self._weights[order]

    def in_memory(self, dtype: np.dtype[Any], n_features: int, n_outputs: int) -> bool:
        """Return whether a pass is through all of matrices in memory of such a dtype and such widths.

        False for a subclass with a ``sample`` or ``shuffle`` of its own.
        """
        if type(self).sample is not Data.sample or type(self).shuffle is not Data.shuffle:
            return False
        if self.samples_per_epoch < self._all_batches:
            return False
        X, Y = self._data, self._labels
        if Y is None or X.ndim != 2 or Y.ndim != 2:
            return False
        ready = type(X) is np.ndarray and X.flags.c_contiguous and X.flags.aligned
        fits = X.shape[1] == n_features and Y.shape[1] == n_outputs
        return ready and fits and X.dtype == dtype and Y.dtype.kind in "fiub"

    def batch_sizes(self) -> Array:
        """Return how many rows each batch of a pass has."""
        sizes = np.full(self.samples_per_epoch, self.batch_size)
        sizes[-1:] = min(
            self.batch_size, self.n_samples - (self.samples_per_epoch - 1) * self.batch_size
        )
        return sizes

    def rows_per_weight(self) -> Array:
        """Return for each batch of the pass under way how many rows there are to a weight of 1."""
        if self._weights is None:
            return np.ones(self.samples_per_epoch)
        return rows_by_weight(self._weights_of_batches(self._weights), self.batch_sizes())

    def batch_weights(self) -> Array:
        """Return the relative weight of each batch of the pass under way."""
        if self._weights is None:
            return self.batch_sizes()
        largest = float(self._weights.max(initial=0.0)) or 1.0
        return np.asarray(self._weights_of_batches(self._weights / largest).sum(axis=1))

    def _weights_of_batches(self, weights: Array) -> Array:
        """Return weights as ``(batches, batch_size)``, zeros for the rows that the last one lacks."""
        ordered = weights if self._order is None else weights[self._order]
        rows = np.zeros((self.samples_per_epoch, self.batch_size))
        flat = rows.reshape(-1)
        flat[: self.n_samples] = ordered[: flat.size]
        return rows

    def start_pass(
        self, shuffle: bool, rng: np.random.Generator | None
    ) -> tuple[Array, Array, Array | None, Array]:
        """Return data, labels, weights, and the order to take rows in, new at a pass's start."""
        self._check_rows()
        if self.iteration == 0 and shuffle:
            _own.call(self.shuffle, rng=rng)
        assert self._labels is not None
        order = np.arange(self.n_samples, dtype=np.int64) if self._order is None else self._order
        return self._data, self._labels, self._weights, order

    def shuffle(self, rng: np.random.Generator | None = None) -> None:
        """Permute data and labels, by NumPy's global generator unless ``rng`` is given."""
        order = np.arange(self.n_samples, dtype=np.int64)  # on Windows, NumPy 1 would give int32
        (np.random.shuffle if rng is None else rng.shuffle)(order)
        self._order = order if self._order is None else self._order[order]

    def sample(self, shuffle: bool = True, rng: np.random.Generator | None = None) -> Any:
        """Return the next batch: ``(data, labels)``, or ``data`` alone if there are no labels."""
        X, Y, _ = self.sample_weighted(shuffle, rng)
        return X if self._labels is None else (X, Y)

    def sample_weighted(self, shuffle: bool = True, rng: np.random.Generator | None = None) -> Any:
        """Return the next batch ``(data, labels, weights)``, None for what there is not."""
        self._check_rows()
        if self.iteration == 0 and shuffle:
            _own.call(self.shuffle, rng=rng)
        batch = slice(self.iteration * self.batch_size, (self.iteration + 1) * self.batch_size)
        self.iteration = (self.iteration + 1) % max(self.samples_per_epoch, 1)
        rows = batch if self._order is None else self._order[batch]
        parts = (self._data, self._labels, self._weights)
        return tuple(None if part is None else part[rows] for part in parts)

    def reset(self) -> None:
        """Start a new pass at the next :meth:`sample`."""
        self.iteration = 0


class Dataset:
    """The parts ``train``, ``validate`` and ``test``, each a :class:`Data`, the last two or None.

    ``feature_mean`` and ``feature_std`` are what :meth:`from_arrays` standardised with, else None.
    """

    feature_mean: Array | None = None
    feature_std: Array | None = None

    def __init__(
        self,
        training_set: ArrayLike,
        training_labels: ArrayLike,
        batch_size: int,
        validation_set: ArrayLike | None = None,
        validation_labels: ArrayLike | None = None,
        test_set: ArrayLike | None = None,
        test_labels: ArrayLike | None = None,
    ) -> None:
        require_unmasked(training_labels, "training_labels")
        labels = np.asarray(training_labels)
        if labels.ndim != 2:
            raise ValueError(
                f"training_labels must be rows (n, outputs), got shape {labels.shape}; "
                "fastnn.integers_to_one_hot makes rows of class numbers"
            )
        self.batch_size = batch_size
        self.out_dim = labels.shape[1]

        def part(name: str, data: ArrayLike | None, labels: ArrayLike | None) -> Data | None:
            if data is None:
                return None
            if labels is not None and np.shape(labels)[1:] != (self.out_dim,):
                raise ValueError(
                    f"{name}_labels must be rows (n, {self.out_dim}) as training_labels are, "
                    f"got shape {np.shape(labels)}"
                )
            return Data(data, batch_size, labels, self.out_dim)

        if validation_set is not None and validation_labels is None:
            raise ValueError("validation_set needs validation_labels")

        self.train = Data(training_set, batch_size, labels, self.out_dim)
        self.validate = part("validation", validation_set, validation_labels)
        self.test = part("test", test_set, test_labels)
        self.n_training = self.train.n_samples
        self.n_validation = self.validate.n_samples if self.validate else 0

    @classmethod
    def from_arrays(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        batch_size: int = 50,
        validation_size: float = 0.1,
        test_size: float = 0.2,
        standardize: bool = True,
        seed: int | None = 0,
        dtype: DTypeLike | None = None,
    ) -> "Dataset":
        """Split ``X (n, d)`` and ``y`` at random into training, validation and test parts.

        Parameters
        ----------
        y : array_like
            Class numbers ``(n,)`` or ``(n, 1)`` of an integer dtype, which become one-hot rows; or
            targets ``(n,)`` of a float dtype, or ``(n, k)``.
        validation_size, test_size : float
            Fractions of the rows; 0 leaves the part out.
        standardize : bool
            Shift and scale every feature to mean 0 and standard deviation 1 over the *training*
            part, in float64, before ``dtype`` rounds it; a constant feature is only shifted.
        seed : int, optional
            Of the split, which does not touch NumPy's global generator.
        dtype : float32 or float64, optional
            By default that of ``X``.

        Raises
        ------
        TypeError, ValueError
            For data that are not real numbers, lengths that differ, sizes that leave no rows to train
            on, or NaN or infinity among features to standardise.
        """
        rounded = require_float_dtype("dtype", dtype)
        features = as_float(X, "X", None if standardize else rounded)
        if features.ndim != 2 or features.shape[1] == 0:
            raise ValueError(f"X must have shape (n, features), got {features.shape}")
        rounded = rounded or features.dtype
        labels = _label_rows(y, rounded)
        n = len(features)
        if len(labels) != n:
            raise ValueError(f"X has {n} rows, y has {len(labels)}")
        n_validation = round(n * require_number("validation_size", validation_size, low=0, high=1))
        n_test = round(n * require_number("test_size", test_size, low=0, high=1))
        if n_validation + n_test >= n:
            raise ValueError(
                f"validation_size={validation_size} and test_size={test_size} leave none of "
                f"{n} rows to train on"
            )
        order = np.random.default_rng(seed).permutation(n)
        test, validation, train = np.split(order, [n_test, n_test + n_validation])
        mean = std = None
        if standardize:
            require_finite(features, "X", "standardize=False")
            known = features[train].astype(np.float64)
            mean, std = mean_and_std(known)
            centred = features - mean
            centred /= std
            features = centred.astype(rounded, copy=False)
        dataset = cls(
            features[train],
            labels[train],
            batch_size,
            features[validation] if n_validation else None,
            labels[validation] if n_validation else None,
            features[test] if n_test else None,
            labels[test] if n_test else None,
        )
        dataset.feature_mean, dataset.feature_std = mean, std
        return dataset


def mean_and_std(known: Array) -> tuple[Array, Array]:
    """Return columns' means and standard deviations, 1 for a constant one.

    Squares of very large or small numbers overflow or vanish: they are scaled before.
    """
    with np.errstate(all="ignore"):
        mean, std = known.mean(axis=0), known.std(axis=0)
        constant = np.ptp(known, axis=0) == 0
        for j in np.flatnonzero(~np.isfinite(mean) | ~np.isfinite(std) | ((std == 0) & ~constant)):
            scale = np.abs(known[:, j]).max()
            mean[j] = (known[:, j] / scale).mean() * scale
            apart = known[:, j] / 2 - mean[j] / 2  # which does not overflow
            scale = np.abs(apart).max()
            std[j] = np.sqrt(np.mean((apart / scale) ** 2)) * scale * 2 if scale else 1.0
    std[constant | (std == 0)] = 1
    return mean, std


def _label_rows(y: ArrayLike, dtype: np.dtype[Any]) -> Array:
    labels = as_real(y, "y")
    if labels.ndim not in (1, 2) or 0 in labels.shape[1:]:
        raise ValueError(f"y must have shape (n,) or (n, outputs), got {labels.shape}")
    if are_labels(labels):
        return one_hot(labels, None, "y", dtype)
    rows = as_float(y, "y", dtype)
    return rows.reshape(-1, 1) if rows.ndim == 1 else rows


_NAMES = dict.fromkeys(("iris", "higgs", "sinewave", "mnist"))


def initialize_dataset(name: str, batch_size: int = 50) -> Dataset:
    """Return a dataset kept as six arrays ``datasets/NAME/NAME_{train,val,test}_{data,labels}.npy``.

    The folder ``datasets`` is looked for under the working directory. The test labels of ``"higgs"``
    are unknown; rows of zeros stand in when their file is missing. ``"mnist"`` has no test part: its
    images become ``(n, 28, 28, 1)``, divided by 255 in float32 and then kept as float64, its labels
    one-hot rows of 10 classes.

    Raises
    ------
    NotImplementedError
        If ``name`` is not ``"iris"``, ``"higgs"``, ``"sinewave"`` or ``"mnist"``.
    FileNotFoundError
        If an array is missing; the message says where it was looked for.
    """
    choose("dataset", name, _NAMES)
    folder = Path("datasets") / name
    if name == "mnist":
        return _mnist_arrays(folder, batch_size)
    parts: list[Array] = []
    for part in ("train", "val", "test"):
        parts.append(files.load_npy(folder / f"{name}_{part}_data.npy"))
        path = folder / f"{name}_{part}_labels.npy"
        if name == "higgs" and part == "test" and not path.exists():
            parts.append(np.zeros((len(parts[-1]), parts[1].shape[1])))
        else:
            parts.append(files.load_npy(path))
    return Dataset(parts[0], parts[1], batch_size, *parts[2:])


def _mnist_arrays(folder: Path, batch_size: int) -> Dataset:
    parts: list[Array] = []
    for part in ("train", "val"):
        images = files.load_npy(folder / f"mnist_{part}_data.npy")
        labels = files.load_npy(folder / f"mnist_{part}_labels.npy")
        if images.size != 28 * 28 * len(images):
            raise ValueError(f"{folder}: mnist_{part}_data has shape {images.shape}, no 28 x 28 images")
        scaled = np.divide(images.reshape(-1, 28, 28, 1), np.float32(255), dtype=np.float32)
        parts.append(scaled.astype(np.float64))
        whole = labels.ndim == 2 and labels.shape[1] == 10
        parts.append(labels if whole else integers_to_one_hot(labels, 9))
    return Dataset(parts[0], parts[1], batch_size, parts[2], parts[3])


def load_digits(
    batch_size: int = 50,
    *,
    validation_size: float = 0.1,
    test_size: float = 0.2,
    seed: int | None = 0,
    dtype: DTypeLike = "float64",
) -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits: 8 x 8 pixels, 10 classes, standardised.

    Raises
    ------
    ImportError
        If scikit-learn is not installed; the message says how to install it.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise ImportError("load_digits needs scikit-learn: pip install 'fastnn-cpu[demo]'") from None
    X, y = load(return_X_y=True)
    return Dataset.from_arrays(
        X,
        y,
        batch_size=batch_size,
        validation_size=validation_size,
        test_size=test_size,
        seed=seed,
        dtype=dtype,
    )


def load_mnist(
    folder: str | Path | None = None,
    batch_size: int = 50,
    *,
    validation_size: float = 0.1,
    download: bool = False,
    seed: int | None = 0,
    dtype: DTypeLike = "float32",
) -> Dataset:
    """Return MNIST: 60,000 training and 10,000 test images, 784 pixels in [0, 1], 10 classes.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".

    Parameters
    ----------
    folder : path, optional
        Where the four IDX files are, gzipped or not, under their original names. With ``download``,
        where to put them: by default the user's cache folder.
    validation_size : float
        The fraction of the training images to validate with, drawn by ``seed``.
    download : bool
        Fetch what is missing from a public mirror through ``pooch``, and check its SHA-256.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message names it.
    ValueError
        If a file is truncated or not in IDX format; the message names it.
    ImportError
        If ``download`` is asked for and ``pooch`` is not installed.
    """
    from concurrent.futures import ThreadPoolExecutor  # takes milliseconds to import

    resolved = files.fetch_mnist(folder) if download else folder
    if resolved is None:
        raise ValueError("load_mnist needs the folder of its files, or download=True")
    float_dtype = require_float_dtype("dtype", dtype) or np.dtype(np.float32)
    fraction = require_number("validation_size", validation_size, low=0, high=0.99)

    def part(name: str) -> tuple[Array, Array]:
        images = files.read_idx(Path(resolved), f"{name}-images-idx3-ubyte", 3)
        labels = files.read_idx(Path(resolved), f"{name}-labels-idx1-ubyte", 1)
        if len(images) != len(labels):
            raise ValueError(f"{resolved}: {name} has {len(images)} images and {len(labels)} labels")
        rows = one_hot(labels.astype(np.int64), 10, f"{name} labels", float_dtype)
        return images.reshape(len(images), -1), rows

    def pixels(images: Array) -> Array:
        scaled: Array = np.divide(images, float_dtype.type(255), dtype=float_dtype)
        return scaled

    with ThreadPoolExecutor(get_num_threads()) as readers:  # decompressing needs no GIL
        (X, Y), (X_test, Y_test) = readers.map(part, ("train", "t10k"))
    order = np.random.default_rng(seed).permutation(len(X))
    validation, train = np.split(order, [round(len(X) * fraction)])
    has_validation = len(validation) > 0
    return Dataset(
        pixels(X[train]),
        Y[train],
        batch_size,
        pixels(X[validation]) if has_validation else None,
        Y[validation] if has_validation else None,
        pixels(X_test),
        Y_test,
    )
