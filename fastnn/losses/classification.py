"""Cross-entropies."""

from collections.abc import Sequence

import numpy as np

from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_number, restore
from fastnn.activations import Sigmoid, SoftMax
from fastnn.kernels import losses as kernels
from fastnn.kernels.cross_entropy import softmax_cross_entropy
from fastnn.kernels.parallel import sum_by_rows, sum_elementwise
from fastnn.kernels.rows import SHORT
from fastnn.kernels.step import losses as parts
from fastnn.kernels.step.parts import Part
from fastnn.losses.base import Loss, batch, target_rows


def _class_weights(given: ArrayLike | None) -> Array | None:
    """Return the weights of classes as a read-only array, or None."""
    if given is None:
        return None
    weights = as_float(given, "class_weight", np.dtype(np.float64)).copy()
    if weights.ndim != 1:
        raise ValueError(f"class_weight must have shape (classes,), got {weights.shape}")
    weights.flags.writeable = False
    return weights


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
        The weight of each class's term in the sum. The sum is still divided by the number of rows.

    Raises
    ------
    TypeError, ValueError
        If ``label_smoothing`` is not a number from 0 to 1, or ``class_weight`` is not one-dimensional.
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
        self._class_weight = _class_weights(class_weight)

    @property
    def label_smoothing(self) -> float:
        """The part of each target row that is spread evenly over all classes."""
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
        y, y_hat, n = batch(Y, Y_hat)
        t = self._targets(y)
        return float(kernels.cross_entropy(t.reshape(-1), y_hat.reshape(-1))) / n if n else np.nan

    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        y, y_hat, n = batch(Y, Y_hat)
        t, out = self._targets(y), np.empty_like(y)
        kernels.cross_entropy_backward(t.reshape(-1), y_hat.reshape(-1), n, out.reshape(-1))
        return restore(out, Y, Y_hat)

    def from_logits(self, Y: Array, Z: Array) -> tuple[float, Array]:
        """Return loss and gradient with respect to Z of predictions ``softmax(Z)``; both ``(n, k)``.

        Raises ``ValueError`` if the shapes differ, or are not ``(n, k)``.
        """
        y, z, n = batch(Y, Z, ("Y", "Z"))
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
    """``-sum(Y log(Y_hat + eps) + (1 - Y) log(1 - Y_hat + eps)) / n``: binary cross-entropy.

    Targets and probabilities have any shape ``(n, ...)``; each entry is a binary decision of its own.
    The gradient is ``((1 - Y) / (1 - Y_hat) - Y / Y_hat) / n``, with ``eps`` and quotients 0 / 0
    as in :class:`CrossEntropy`. A model that ends in a sigmoid takes both from the logits, exactly.

    Parameters
    ----------
    class_weight : array_like (2,), optional
        The weights of the classes no and yes, which are factors of ``1 - Y`` and ``Y``. The sum is
        still divided by the number of rows.

    Raises
    ------
    TypeError, ValueError
        If ``class_weight`` is not two numbers.
    """

    fuses = Sigmoid

    def __init__(
        self, name: str = "binary_cross_entropy", *, class_weight: ArrayLike | None = None
    ) -> None:
        self.name = name
        self._class_weight = _class_weights(class_weight)
        if self._class_weight is not None and self._class_weight.size != 2:
            raise ValueError(
                f"class_weight of yes and no must be 2 numbers, got {self._class_weight.size}"
            )

    @property
    def class_weight(self) -> Array | None:
        """The weights of no and yes, read-only, or None."""
        return self._class_weight

    def part(self, fused: bool, n_out: int) -> Part:
        if self._class_weight is not None:
            return parts.weighted_sigmoid_loss if fused else parts.weighted_yes_no_loss
        return parts.sigmoid_loss if fused else parts.yes_no_loss

    def parameters(self, n_out: int) -> Sequence[float]:
        return () if self._class_weight is None else tuple(self._class_weight.tolist())

    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        y, y_hat, n = batch(Y, Y_hat)
        y, y_hat = y.reshape(-1), y_hat.reshape(-1)
        if self._class_weight is not None:
            no, yes = self.parameters(1)
            total = kernels.weighted_yes_no_cross_entropy(y, y_hat, no, yes)
            return float(total) / n if n else np.nan
        return float(kernels.yes_no_cross_entropy(y, y_hat)) / n if n else np.nan

    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        y, y_hat, n = batch(Y, Y_hat)
        out = np.empty_like(y)
        y, y_hat, flat = y.reshape(-1), y_hat.reshape(-1), out.reshape(-1)
        if self._class_weight is None:
            kernels.yes_no_cross_entropy_backward(y, y_hat, n, flat)
        else:
            no, yes = self.parameters(1)
            kernels.weighted_yes_no_cross_entropy_backward(y, y_hat, no, yes, n, flat)
        return restore(out, Y, Y_hat)

    def from_logits(self, Y: Array, Z: Array) -> tuple[float, Array]:
        """Return loss and gradient with respect to Z of predictions ``sigmoid(Z)``; any shape.

        Raises ``ValueError`` if the shapes differ.
        """
        y, z, n = batch(Y, Z, ("Y", "Z"))
        dZ = np.empty_like(z)
        if self._class_weight is None:
            total = sum_elementwise(kernels.binary_cross_entropy, z, y, dZ)
        else:
            (no, yes), flat = self.parameters(1), z.reshape(-1)
            found = kernels.weighted_binary_cross_entropy(
                flat, y.reshape(-1), no, yes, n, dZ.reshape(-1)
            )
            total = float(found)
        return (total / n if n else np.nan), dZ
