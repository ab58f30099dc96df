"""Training, validation and test data, from arrays."""

from typing import Any

import numpy as np

from fastnn._typing import Array, ArrayLike, DTypeLike
from fastnn._validation import (
    are_labels,
    as_float,
    as_real,
    one_hot,
    require_finite,
    require_float_dtype,
    require_number,
    require_unmasked,
)
from fastnn.datasets.data import Data


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
