"""Passes over the training rows that the engine cannot do: of sparse rows, and with Poisson's loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.datasets import Data, Dataset
from fastnn.sklearn.networks import Network
from fastnn.sklearn.rows import is_thin, rows_at_once

Results = Iterator[tuple["Sequence[float] | Array", "Sequence[float] | Array"]]  # losses, errors
_Loss = Callable[[Array, Array, "Array | None"], float]  # of targets, outputs, weights


def as_dataset(
    network: Network,
    X: Any,
    y: Array,
    weights: Array | None,
    size: int,
    validation: tuple[Any, Array, Array | None] | None,
) -> tuple[Dataset, Any]:
    """Return the data of a run, and the rows that :func:`batches` has to train on, or None.

    If there are such rows, the dataset holds row numbers of X in place of features.
    """
    X_val, y_val = validation[:2] if validation else (None, None)
    rows = None
    if type(X) is not np.ndarray or not network.trains_compiled:
        rows, X = X, np.arange(X.shape[0])[:, np.newaxis]
        X_val = None if y_val is None else np.arange(len(y_val))[:, np.newaxis]
    dataset = Dataset(X, y, size, X_val, y_val)
    dataset.train = Data(X, size, y, y.shape[1], weights)
    return dataset, rows


def batches(
    network: Network, X: Any, data: Data, shuffle: bool, epoch: int, alpha: float, loss: _Loss
) -> Results:
    """Train on a pass; yield losses and errors of some batches at a time.

    Parameters
    ----------
    X : array or CSR matrix ``(n, d)``
    data : Data
        With row numbers of X in place of features.
    loss : callable
        Of targets, outputs and weights: the loss to report, without the penalty.
    """
    if type(X) is np.ndarray or is_thin(X) or not network.trains_compiled:
        yield from _by_gradients(network, X, data, shuffle, epoch, alpha, loss)
        return
    net = network.net
    _, Y, weights, order = data.start_pass(shuffle, net.rng)
    count = max(rows_at_once(X) // data.batch_size, 1) * data.batch_size
    for first in range(0, len(order), count):
        rows = order[first : first + count]
        part = None if weights is None else weights[rows]
        dense = Data(X[rows].toarray(), data.batch_size, Y[rows], data.out_dim, part)
        yield from net.train_batches(dense, False, epoch, dense.samples_per_epoch)


def _by_gradients(
    network: Network, X: Any, data: Data, shuffle: bool, epoch: int, alpha: float, loss: _Loss
) -> Results:
    _, Y, weights, order = data.start_pass(shuffle, network.net.rng)
    for first in range(0, len(order), data.batch_size):
        rows = order[first : first + data.batch_size]
        y, part = Y[rows], None if weights is None else weights[rows]
        out = network.gradients(X[rows], y, part, alpha)
        network.net.update(epoch)
        nothing = part is not None and not part.sum()
        yield [0.0 if nothing else loss(y, out, part)], [network.net.error_of(y, out)]
    network.penalise(alpha)  # which weights change
