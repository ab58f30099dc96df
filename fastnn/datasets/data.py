"""Arrays in batches: one part of a :class:`fastnn.Dataset`."""

from typing import Any

import numpy as np

from fastnn import _own
from fastnn._typing import Array, ArrayLike
from fastnn._validation import require_count, require_unmasked
from fastnn.losses import rows_by_weight


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
    def row_weights(self) -> Array | None:
        """Weights of the rows in training ``(n,)``, float64, in the order of ``data_``, or None."""
        self._move()
        return self._weights

    @property
    def row_order(self) -> Array | None:
        """Order of the last shuffle ``(n,)``, int64, while the rows are not moved to it; else None."""
        return self._order

    @row_order.setter
    def row_order(self, order: Array | None) -> None:
        self._order = order

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

    @property
    def stored(self) -> Array:
        """The rows in the order in memory, which may differ from the order of the last shuffle."""
        return self._data

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of a row of the data."""
        return self._data.shape[1:]

    def in_memory(
        self, dtype: np.dtype[Any], X_shape: tuple[int, ...], Y_shape: tuple[int, ...]
    ) -> bool:
        """Return whether a pass takes all rows, from C-contiguous arrays of this dtype and row shapes.

        False for a subclass that overrides ``sample`` or ``shuffle``.
        """
        if type(self).sample is not Data.sample or type(self).shuffle is not Data.shuffle:
            return False
        if self.samples_per_epoch < self._all_batches:
            return False
        X, Y = self._data, self._labels
        if Y is None:
            return False
        ready = type(X) is np.ndarray and X.flags.c_contiguous and X.flags.aligned
        fits = X.shape[1:] == X_shape and Y.shape[1:] == Y_shape
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
        self._shuffle_at_start(shuffle, rng)
        assert self._labels is not None
        order = np.arange(self.n_samples, dtype=np.int64) if self._order is None else self._order
        return self._data, self._labels, self._weights, order

    def start_passes(
        self, count: int, shuffle: bool, rng: np.random.Generator | None
    ) -> tuple[Array, Array, Array] | None:
        """Start ``count`` passes; return data, labels, and the order of rows in each, ``(count, n)``.

        Returns None and does nothing in the middle of a pass, or if rows have weights.
        """
        if self.iteration != 0 or self._weights is not None:
            return None
        started = [self.start_pass(shuffle, rng) for _ in range(count)]
        X, Y, *_ = started[0]
        return X, Y, np.stack([order for *_, order in started])

    def _shuffle_at_start(self, shuffle: bool, rng: np.random.Generator | None) -> None:
        if self.iteration != 0 or not shuffle:
            return
        if type(self).shuffle is Data.shuffle:
            self.shuffle(rng)
        else:
            _own.call(self.shuffle, rng=rng)  # which may not take a generator

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
        self._shuffle_at_start(shuffle, rng)
        batch = slice(self.iteration * self.batch_size, (self.iteration + 1) * self.batch_size)
        self.iteration = (self.iteration + 1) % max(self.samples_per_epoch, 1)
        rows = batch if self._order is None else self._order[batch]
        parts = (self._data, self._labels, self._weights)
        return tuple(None if part is None else part[rows] for part in parts)

    def reset(self) -> None:
        """Start a new pass at the next :meth:`sample`."""
        self.iteration = 0
