"""Layers under a loss: whether data fit them, and how wrong outputs are."""

from __future__ import annotations

from typing import Any

from fastnn import _own
from fastnn._changes import watched
from fastnn._typing import Array, ArrayLike
from fastnn._validation import ONE_CLASS, ONE_COLUMN, as_batch, as_float_pair, as_targets
from fastnn.activations import SoftMax
from fastnn.kernels import losses as kernels
from fastnn.layers import Layer
from fastnn.losses import CLASSIFICATION, LOSSES, BinaryCrossEntropy, CrossEntropy, Loss, MeanLoss

_ERRORS = (*CLASSIFICATION, "l2")  # the losses whose error is known


class CheckedLayers:
    """What a network's data are checked against; :class:`fastnn.stack.LayerStack` is one."""

    loss: Loss = watched()
    layers: list[Layer]
    dtype: Any

    @property
    def width_layer(self) -> Layer:
        """The layer that sets the output's width: the last one that does not keep its input's."""
        return next(
            (x for x in reversed(self.layers) if not _own.flag(x, "keeps_width")), self.layers[-1]
        )

    @property
    def n_out(self) -> int | None:
        """The width of the output, None if it is to be inferred from targets."""
        return self.width_layer.n_out

    def checked_features(self, X: ArrayLike, name: str = "X") -> Array:
        """Return a batch of features as a float array of the network's dtype."""
        return as_batch(X, name, self.dtype)

    def checked_targets(
        self, Y: ArrayLike, n: int, names: tuple[str, str] = ("X", "Y"), n_out: int | None = None
    ) -> Array:
        """Return targets, class numbers too, as rows ``(n, k)`` of floats.

        ``names``: of the features and the targets in messages.
        """
        classes = isinstance(self.loss, CrossEntropy) or _own.name_of(self.loss) == "cross_entropy"
        n_out = n_out or self.n_out
        self.check_classes(n_out)
        each = self.loss.outputs_each if isinstance(self.loss, Loss) else 1
        classes = classes and (n_out != 1 or self.ends_in_softmax())
        rows = as_targets(Y, n, names, n_out if each == 1 else None, classes)
        if each > 1:
            rows = self.loss.expand(rows, n_out)
            if n_out is not None and rows.shape[1] != n_out:
                raise ValueError(
                    f"{names[1]} has {rows.shape[1] // each} columns; the last layer's {n_out} outputs "
                    f"are {each} quantiles each of {n_out / each:g} targets"
                )
        self.check_classes(rows.shape[1])
        if type(self.loss) is BinaryCrossEntropy and rows.size and (rows.min() < 0 or rows.max() > 1):
            raise ValueError(f"{names[1]} must lie between 0 and 1, got {rows.min()} to {rows.max()}")
        return rows

    def checked_batch(self, X: ArrayLike, Y: ArrayLike) -> tuple[Array, Array]:
        """Return a batch of a program's own data as float arrays, targets as the loss needs them."""
        names = "the batch's data", "its labels"
        x = self.checked_features(X, names[0])
        if type(self.loss) in LOSSES.values():
            return x, self.checked_targets(Y, len(x), names)
        return x, as_batch(Y, names[1], None)

    def ends_in_softmax(self) -> bool:
        """Return whether the last activation is softmax."""
        return type(getattr(self.layers[-1], "activation", None)) is SoftMax

    def check_classes(self, n_out: int | None) -> None:
        """Raise ``ValueError`` for a softmax of one output."""
        if n_out == 1 and self.ends_in_softmax():
            raise ValueError(f"the targets are of one class or column; {ONE_CLASS}")

    def require_columns(self, n_out: int) -> None:
        """Raise ``ValueError`` if the loss is cross-entropy of one output, whatever its activation."""
        if n_out == 1 and type(self.loss) is CrossEntropy:
            raise ValueError(f"the targets are of one class or column; {ONE_COLUMN}")

    def prepare(self, n_out: int, *X_shapes: tuple[int, ...]) -> None:
        """Give the last layer its width if it has none; check that all layers fit the data.

        Raises ``ValueError``, and changes nothing, if they do not, or the data not one another.
        """
        if isinstance(self.loss, Loss):
            self.loss.check_classes(n_out)
        self.check_classes(n_out)
        last = self.width_layer
        before = last.n_out
        if last.n_out is None or (last.n_in is None and _own.flag(last, "chooses_width")):
            last.n_out = n_out
        elif last.n_out not in (None, n_out):
            raise ValueError(f"the last layer has {last.n_out} outputs, the targets have {n_out}")
        try:
            for X_shape in X_shapes:
                out_shape = self.check_input(X_shape)
                if out_shape and len(out_shape) != 2 and type(self.loss) in LOSSES.values():
                    raise ValueError(
                        f"the network's output has shape {out_shape}; its loss needs rows "
                        "(n, outputs): end the network with Flatten() or a fully connected layer"
                    )
                if X_shape[1:] != X_shapes[0][1:]:
                    ours, theirs = (
                        f"{shape[1]} features" if len(shape) == 2 else f"rows of shape {shape[1:]}"
                        for shape in (X_shapes[0], X_shape)
                    )
                    raise ValueError(f"the validation data have {theirs}, the training data {ours}")
        except ValueError:
            last.n_out = before
            raise

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the output's shape for an input's shape; None if a layer does not return its own.

        Raises ``ValueError`` if a layer cannot take the shape of its input.
        """
        shape = X_shape
        for i, layer in enumerate(self.layers):
            if not _own.offers(layer, "check_input"):
                return None
            try:
                output_shape = layer.check_input(shape)
            except ValueError as error:
                raise ValueError(f"layer {i} ({type(layer).__name__}): {error}") from None
            if output_shape is None:
                return None
            shape = output_shape
        return shape

    @staticmethod
    def check_target(target: Array, out: Array) -> None:
        """Raise ``ValueError`` if targets and outputs differ in shape."""
        if target.shape != out.shape:
            raise ValueError(f"the targets have shape {target.shape}, the output {out.shape}")

    def error(self, target: ArrayLike, out: ArrayLike) -> float:
        """Return 1 - accuracy for cross-entropy, the mean squared error for l2, mse; NaN for no rows.

        For cross-entropy, the class is the arg-max of the probabilities or logits. For binary
        cross-entropy, each entry counts by itself, and an output above 1/2 is a yes. For other losses
        the error is the mean absolute error, for quantiles the loss. If an output is NaN, the error is
        NaN.

        Raises
        ------
        ValueError
            If the shapes differ.
        NotImplementedError
            If the loss goes by neither name.
        """
        if isinstance(self.loss, MeanLoss):
            return self.loss.error(target, out)
        y, y_hat = as_float_pair(target, out, ("target", "out"))
        name = _own.name_of(self.loss)
        if name not in _ERRORS:
            raise NotImplementedError(f"no error is defined for the loss {name!r}")
        if name == "cross_entropy" and y.ndim != 2:
            raise ValueError(f"target and out must have shape (n, classes), got {y.shape}")
        return self.error_of(y, y_hat)

    def error_of(self, y: Array, y_hat: Array) -> float:
        """Return :meth:`error` for arrays that are checked; NaN where none is defined."""
        if isinstance(self.loss, MeanLoss):
            return self.loss.error(y, y_hat)
        name = _own.name_of(self.loss)
        if not y.size or name not in _ERRORS:
            return float("nan")
        y, y_hat = as_float_pair(y, y_hat, ("target", "out"))
        if name == "l2":
            return float(kernels.l2(y.reshape(-1), y_hat.reshape(-1))) / y.size
        if name == "binary_cross_entropy":
            return float(kernels.wrong_answers(y.reshape(-1), y_hat.reshape(-1), 0.5)) / y.size
        return float(kernels.misclassified(y, y_hat)) / len(y)
