"""Losses: ``forward(Y, Y_hat)`` is the mean over the batch, ``backward(Y, Y_hat)`` its gradient.

Both take targets and predictions of one shape, ``(n, ...)``. An empty batch has a NaN loss.
"""

from typing import Any

from fastnn._validation import canonical
from fastnn.losses.base import Loss, relative, rows_by_weight, target_rows, weighted
from fastnn.losses.classification import BinaryCrossEntropy, CrossEntropy
from fastnn.losses.regression import L2, MAE, MSE, Huber, MeanLoss, Poisson, Quantile

__all__ = [
    "CLASSIFICATION",
    "L2",
    "LOSSES",
    "MAE",
    "MSE",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Huber",
    "Loss",
    "MeanLoss",
    "Poisson",
    "Quantile",
    "initialize_loss",
    "relative",
    "rows_by_weight",
    "target_rows",
    "weighted",
]

LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "l2": L2,
    "mse": MSE,
    "mae": MAE,
    "huber": Huber,
    "poisson": Poisson,
    "quantile": Quantile,
}
CLASSIFICATION = ("cross_entropy", "binary_cross_entropy")  # their error is 1 - accuracy


def initialize_loss(name: Any) -> Loss:
    """Return the loss called ``name``, in upper or lower case.

    Raises
    ------
    NotImplementedError
        If no loss has that name; the message lists the known names.
    """
    name = canonical("loss", name, LOSSES)
    kind: Any = LOSSES[name]
    loss: Loss = kind(name=name)
    return loss
