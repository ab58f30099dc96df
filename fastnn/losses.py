"""Losses: ``forward(Y, Y_hat)`` is the mean over the batch, ``backward(Y, Y_hat)`` its gradient.

Both take targets and predictions of one shape, ``(n, ...)``. An empty batch has a NaN loss.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, as_float_pair, choose, require_number, restore
from fastnn.activations import Sigmoid, SoftMax
from fastnn.kernels import losses as kernels
from fastnn.kernels.cross_entropy import softmax_cross_entropy
from fastnn.kernels.parallel import sum_by_rows, sum_elementwise
from fastnn.kernels.rows import SHORT
from fastnn.kernels.step import losses as parts
from fastnn.kernels.step.parts import Part


class Loss(ABC):
    """Base class; calling a loss is :meth:`forward`. ``name`` is what models go by.

    Compiled steps take a loss whose very class has a method ``part(fused, n_out)``. It returns the loss
    as a part of a step (:mod:`fastnn.kernels.step.losses`), of the last layer's output, or ``fused``,
    of what the activation ``fuses`` is applied to.

    Attributes
    ----------
    fuses : type, optional
        The activation of the last layer that the loss is computed together with, by ``from_logits``.
    error_by_rows : bool
        Whether the error is a mean over rows; else it is one over all outputs.
    linear_in_targets : bool
        Whether a row's weight may be multiplied into its targets.
    plain : bool
        Whether targets are taken as they are.
    """

    name: str
    fuses: ClassVar[type | None] = None
    error_by_rows: ClassVar[bool] = False
    linear_in_targets: ClassVar[bool] = False

    @property
    def plain(self) -> bool:
        return True

    def part(self, fused: bool, n_out: int) -> Part:
        raise NotImplementedError(f"{type(self).__name__} has no compiled step")

    def __repr__(self) -> str:
        return as_call(self)

    def __call__(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        return self.forward(Y, Y_hat)

    @abstractmethod
    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        """Return the mean loss of the predictions ``Y_hat`` given the targets ``Y``."""

    @abstractmethod
    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        """Return the gradient of the mean loss with respect to ``Y_hat``, in its shape."""


def _batch(
    Y: ArrayLike, Y_hat: ArrayLike, names: tuple[str, str] = ("Y", "Y_hat")
) -> tuple[Array, Array, int]:
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
    """Return weights as fractions of the largest along the last axis, and that."""
    largest = np.asarray(np.abs(weights).max(axis=-1, initial=0.0))
    each = largest[..., None]
    return np.divide(weights, each, out=np.zeros_like(weights), where=each != 0), largest


def weighted(
    loss: Callable[[Array, Array], tuple[float, Array]], Y: Array, P: Array, weights: Array
) -> tuple[float, Array]:
    """Return the mean of a loss over rows, weighted ``(n,)``, and its gradient with respect to ``P``.

    ``loss(Y, P)`` returns both for rows that all count the same.
    """
    n = len(Y)
    each = relative(weights, n)
    losses = [loss(Y[i : i + 1], P[i : i + 1])[0] for i in range(n)]
    _, gradient = loss(Y, P)
    factors = each.reshape(-1, *[1] * (P.ndim - 1))
    return float(each @ losses) / max(n, 1), (gradient * factors).astype(gradient.dtype, copy=False)


class CrossEntropy(Loss):
    """``-sum(T log(Y_hat + eps)) / n`` for rows of class weights and probabilities ``Y_hat``.

    ``T`` is ``Y``, or with the options ``class_weight ((1 - label_smoothing) Y + label_smoothing
    sum(Y) / k)`` by rows. ``eps`` is ``np.finfo(float).eps``, so one probability of 0 costs 36.04. The
    gradient is ``-T / (n Y_hat)``; where a weight and its probability are both 0 it is 0. A model that
    ends in a softmax takes loss and gradient from the logits instead, exactly:
    :meth:`fastnn.models.NeuralNetwork.backward`.

    Parameters
    ----------
    label_smoothing : float
        Between 0 and 1 (C. Szegedy et al., "Rethinking the Inception architecture", CVPR 2016).
    class_weight : array_like (k,), optional
        What an error in each class counts; the mean stays one over the rows.
    """

    fuses = SoftMax
    error_by_rows = linear_in_targets = True

    def __init__(
        self,
        name: str = "cross_entropy",
        *,
        label_smoothing: float = 0.0,
        class_weight: ArrayLike | None = None,
    ) -> None:
        self.name = name
        self._smoothing = require_number("label_smoothing", label_smoothing, low=0.0, high=1.0)
        self._class_weight = None
        if class_weight is not None:
            weights = as_float(class_weight, "class_weight", np.dtype(np.float64)).copy()
            if weights.ndim != 1:
                raise ValueError(f"class_weight must have shape (classes,), got {weights.shape}")
            weights.flags.writeable = False
            self._class_weight = weights

    @property
    def label_smoothing(self) -> float:
        """How much of each row's weight is shared by all classes."""
        return self._smoothing

    @property
    def class_weight(self) -> Array | None:
        """The weights of the classes, read-only, or None."""
        return self._class_weight

    @property
    def plain(self) -> bool:
        return self._smoothing == 0 and self._class_weight is None

    def part(self, fused: bool, n_out: int) -> Part:
        if not fused:
            return parts.probability_loss
        return parts.softmax_loss_short if n_out <= SHORT else parts.softmax_loss_long

    def check_classes(self, k: int) -> None:
        """Raise ``ValueError`` if the class weights are not those of ``k`` classes."""
        if self._class_weight is not None and self._class_weight.shape != (k,):
            raise ValueError(f"class_weight has {self._class_weight.size} entries for {k} classes")

    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        y, y_hat, n = _batch(Y, Y_hat)
        t = self._targets(y)
        return float(kernels.cross_entropy(t.reshape(-1), y_hat.reshape(-1))) / n if n else np.nan

    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        y, y_hat, n = _batch(Y, Y_hat)
        t, out = self._targets(y), np.empty_like(y)
        kernels.cross_entropy_backward(t.reshape(-1), y_hat.reshape(-1), n, out.reshape(-1))
        return restore(out, Y, Y_hat)

    def from_logits(self, Y: Array, Z: Array) -> tuple[float, Array]:
        """Return loss and gradient with respect to Z of predictions ``softmax(Z)``; both ``(n, k)``.

        Raises ``ValueError`` if the shapes differ, or are not ``(n, k)``.
        """
        y, z, n = _batch(Y, Z, ("Y", "Z"))
        if z.ndim != 2 or z.shape[1] == 0:
            raise ValueError(f"Y and Z must have shape (n, classes), got {z.shape}")
        dZ = np.empty_like(z)
        total = sum_by_rows(softmax_cross_entropy, z, self._targets(y), dZ)
        return (total / n if n else np.nan), dZ

    def _targets(self, y: Array) -> Array:
        if self.plain:
            return y
        if y.ndim < 2:
            raise ValueError(f"Y must be rows (n, classes), got shape {y.shape}")
        self.check_classes(y.shape[-1])
        return target_rows(
            y, self._smoothing, 1.0 if self._class_weight is None else self._class_weight
        )


class BinaryCrossEntropy(Loss):
    """``-sum(Y log(Y_hat + eps) + (1 - Y) log(1 - Y_hat + eps)) / n``: cross-entropy of yes and no.

    For targets and probabilities of any shape ``(n, ...)``; each entry of a row is a question of its
    own. The gradient is ``((1 - Y) / (1 - Y_hat) - Y / Y_hat) / n``, with ``eps`` and quotients 0 / 0
    as in :class:`CrossEntropy`. A model that ends in a sigmoid takes both from the logits, exactly.
    """

    fuses = Sigmoid

    def __init__(self, name: str = "binary_cross_entropy") -> None:
        self.name = name

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.sigmoid_loss if fused else parts.yes_no_loss

    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        y, y_hat, n = _batch(Y, Y_hat)
        y, y_hat = y.reshape(-1), y_hat.reshape(-1)
        return float(kernels.yes_no_cross_entropy(y, y_hat)) / n if n else np.nan

    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        y, y_hat, n = _batch(Y, Y_hat)
        out = np.empty_like(y)
        kernels.yes_no_cross_entropy_backward(y.reshape(-1), y_hat.reshape(-1), n, out.reshape(-1))
        return restore(out, Y, Y_hat)

    def from_logits(self, Y: Array, Z: Array) -> tuple[float, Array]:
        """Return loss and gradient with respect to Z of predictions ``sigmoid(Z)``; any shape.

        Raises ``ValueError`` if the shapes differ.
        """
        y, z, n = _batch(Y, Z, ("Y", "Z"))
        dZ = np.empty_like(z)
        total = sum_elementwise(kernels.binary_cross_entropy, z, y, dZ)
        return (total / n if n else np.nan), dZ


class L2(Loss):
    """``sum((Y - Y_hat)**2) / (2 n)``, with gradient ``(Y_hat - Y) / n``."""

    def __init__(self, name: str = "l2") -> None:
        self.name = name

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.l2_loss

    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        y, y_hat, n = _batch(Y, Y_hat)
        return float(kernels.l2(y.reshape(-1), y_hat.reshape(-1))) / (2 * n) if n else np.nan

    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        y, y_hat, n = _batch(Y, Y_hat)
        out = np.empty_like(y)
        kernels.l2_backward(y.reshape(-1), y_hat.reshape(-1), n, out.reshape(-1))
        return restore(out, Y, Y_hat)


LOSSES: dict[str, type[CrossEntropy] | type[BinaryCrossEntropy] | type[L2]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "l2": L2,
}
CLASSIFICATION = ("cross_entropy", "binary_cross_entropy")  # their error is 1 - accuracy


def initialize_loss(name: Any) -> Loss:
    """Return the loss called ``name``.

    Raises
    ------
    NotImplementedError
        If no loss has that name; the message lists those there are.
    """
    return choose("loss", name, LOSSES)(name=name)
