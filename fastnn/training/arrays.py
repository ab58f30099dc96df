"""Arrays to train on, checked and put into a dataset."""

from __future__ import annotations

import numpy as np

from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_weights, require_finite, rows_before
from fastnn.datasets import Data, Dataset
from fastnn.stack import LayerStack

_NAMES = "validation_data[0]", "validation_data[1]"


def dataset_of(
    net: LayerStack,
    X: ArrayLike,
    Y: ArrayLike,
    batch_size: int,
    validation_data: tuple[ArrayLike, ArrayLike] | None,
    validation_split: float,
    sample_weight: ArrayLike | None,
    check_finite: bool,
) -> Dataset:
    """Return the arguments of ``NeuralNetwork.fit`` as a dataset; it raises what that method says."""
    x = net.checked_features(X)
    if not len(x):
        raise ValueError("X has no rows to train on")
    y = net.checked_targets(Y, len(x))
    net.require_columns(y.shape[1])
    weights = None if sample_weight is None else as_weights(sample_weight, len(x))
    held_out = _validation(net, validation_data, y.shape[1])
    if check_finite:
        for array, name in zip((x, y, *held_out), ("X", "Y", *_NAMES), strict=False):
            require_finite(array, name)
    if validation_split:
        if validation_data is not None:
            raise ValueError(
                f"validation_split={validation_split!r} holds rows of X out, validation_data are "
                "others; give one of them"
            )
        kept = rows_before(validation_split, len(x))
        x, y, held_out = x[:kept], y[:kept], (x[kept:], y[kept:])
        weights = None if weights is None else weights[:kept]
    x, y = _apart(net, x), _apart(net, y)
    dataset = Dataset(x, y, batch_size, *held_out)
    if weights is not None:
        dataset.train = Data(x, batch_size, y, dataset.out_dim, weights)
    return dataset


def _validation(
    net: LayerStack, data: tuple[ArrayLike, ArrayLike] | None, n_out: int
) -> tuple[Array, ...]:
    """Return ``validation_data`` as arrays; none for None."""
    if data is None:
        return ()
    if len(data) != 2:
        raise ValueError(f"validation_data must be (X, Y), got {len(data)} parts")
    x = net.checked_features(data[0], _NAMES[0])
    return x, net.checked_targets(data[1], len(x), _NAMES, n_out=n_out)


def _apart(net: LayerStack, array: Array) -> Array:
    """Return the array, or a copy if it lies in the memory of parameters."""
    parameters = (p for layer in net.layers for p in layer.parameters.values())
    return array.copy() if any(np.may_share_memory(array, p) for p in parameters) else array
