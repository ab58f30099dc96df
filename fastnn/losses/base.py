"""The base class of losses, and functions for weights of rows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np

from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float_pair
from fastnn.kernels.step.parts import Part


class Loss(ABC):
    """Base class; calling a loss is :meth:`forward`. Models identify a loss by its ``name``.

    Compiled steps take a loss whose class itself defines ``part(fused, n_out)``. The method returns the
    loss as a part of a step (:mod:`fastnn.kernels.step.losses`). The part takes the last layer's output
    or, if ``fused``, the input of the activation ``fuses``.

    Attributes
    ----------
    fuses : type, optional
        The last layer's activation that the loss can be computed together with, by ``from_logits``.
    error_by_rows : bool
        Whether the error is a mean over rows; otherwise it is a mean over all outputs.
    linear_in_targets : bool
        Whether multiplying a row's targets by its weight weights the row's loss.
    plain : bool
        Whether the loss uses the targets unchanged.
    outputs_each : int
        Number of network outputs for each column of targets.
    """

    name: str
    fuses: ClassVar[type | None] = None
    error_by_rows: ClassVar[bool] = False
    linear_in_targets: ClassVar[bool] = False
    outputs_each: int = 1

    @property
    def plain(self) -> bool:
        return True

    def part(self, fused: bool, n_out: int) -> Part:
        raise NotImplementedError(f"{type(self).__name__} has no compiled step")

    def __repr__(self) -> str:
        return as_call(self)

    def __call__(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        return self.forward(Y, Y_hat)

    def parameters(self, n_out: int) -> Sequence[float]:
        """Return the parameters of the loss's part of a compiled step."""
        return ()

    def check_classes(self, k: int) -> None:  # noqa: B027
        """Raise ``ValueError`` if the loss does not fit a network of ``k`` outputs."""

    def expand(self, Y: Array, n_out: int | None = None) -> Array:
        """Return targets in the shape of the outputs of a network of ``n_out`` outputs."""
        return Y

    @abstractmethod
    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        """Return the mean loss of the predictions ``Y_hat`` given the targets ``Y``."""

    @abstractmethod
    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        """Return the gradient of the mean loss with respect to ``Y_hat``, in its shape."""


def batch(
    Y: ArrayLike, Y_hat: ArrayLike, names: tuple[str, str] = ("Y", "Y_hat")
) -> tuple[Array, Array, int]:
    """Return targets and predictions as arrays for kernels, and the number of rows."""
    y, y_hat = as_float_pair(Y, Y_hat, names)
    if y.ndim == 0:
        raise ValueError(f"{names[0]} and {names[1]} need a batch axis, got two numbers")
    return y, y_hat, y.shape[0]


def target_rows(y: Array, smoothing: float, weights: Array | float) -> Array:
    """Return ``weights ((1 - smoothing) y + smoothing sum(y) / k)``, the sums over the last axis."""
    even = smoothing / max(y.shape[-1], 1)
    rows = (1 - smoothing) * y + even * y.sum(axis=-1, keepdims=True)
    return np.ascontiguousarray(rows * weights, dtype=y.dtype)


def relative(weights: Array, rows: Array | int) -> Array:
    """Return weights scaled so that their sums over the last axis are ``rows``.

    Weights whose sum is 0 stay zeros: such a batch has no effect. Sums neither overflow nor underflow,
    however large or small the weights are.
    """
    scaled, _ = _scaled(weights)
    total = scaled.sum(axis=-1)
    factor = np.divide(rows, total, out=np.zeros_like(total), where=total != 0)
    return np.asarray(scaled * factor[..., None])


def rows_by_weight(weights: Array, rows: Array | int) -> Array:
    """Return ``rows / sum(weights)``, the sums over the last axis; 0 for a sum of 0, never infinite.

    Weights may be negative, as scikit-learn's are.
    """
    scaled, largest = _scaled(weights)
    total = scaled.sum(axis=-1)
    found = np.divide(rows, total, out=np.zeros_like(total), where=total != 0)
    with np.errstate(over="ignore"):
        found = np.divide(found, largest, out=found, where=largest != 0)
    limit = np.finfo(np.float64).max
    return np.asarray(np.clip(found, -limit, limit))


def _scaled(weights: Array) -> tuple[Array, Array]:
    """Return weights as fractions of the largest one along the last axis, and the largest."""
    largest = np.asarray(np.abs(weights).max(axis=-1, initial=0.0))
    each = largest[..., None]
    return np.divide(weights, each, out=np.zeros_like(weights), where=each != 0), largest


def weighted(
    loss: Callable[[Array, Array], tuple[float, Array]], Y: Array, P: Array, weights: Array
) -> tuple[float, Array]:
    """Return the mean of a loss over rows, weighted ``(n,)``, and its gradient with respect to ``P``.

    ``loss(Y, P)`` returns both without weights.
    """
    n = len(Y)
    each = relative(weights, n)
    losses = [loss(Y[i : i + 1], P[i : i + 1])[0] for i in range(n)]
    _, gradient = loss(Y, P)
    factors = each.reshape(-1, *[1] * (P.ndim - 1))
    return float(each @ losses) / max(n, 1), (gradient * factors).astype(gradient.dtype, copy=False)
