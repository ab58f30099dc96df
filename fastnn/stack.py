"""Layers in a row under a loss: forward, backward, and whether shapes fit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from copy import copy
from operator import is_not
from typing import Any, Never

import numpy as np

from fastnn import _own
from fastnn._arrays import aligned_views
from fastnn._changes import watched
from fastnn._typing import Array, ArrayLike, DTypeLike
from fastnn._validation import (
    ONE_CLASS,
    ONE_COLUMN,
    as_batch,
    as_float,
    as_float_pair,
    as_real,
    as_targets,
    require_float_dtype,
    restore,
)
from fastnn.activations import Sigmoid, SoftMax
from fastnn.kernels import losses as kernels
from fastnn.layers import FullyConnected, Layer, initialize_layer
from fastnn.losses import (
    CLASSIFICATION,
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Loss,
    initialize_loss,
)
from fastnn.weights import WeightInitializer

# The losses that an activation before them fuses with: `from_logits` gives loss and gradient.
_FUSED: dict[type, type] = {CrossEntropy: SoftMax, BinaryCrossEntropy: Sigmoid}
_ERRORS = (*CLASSIFICATION, "l2")  # the losses whose error is known


class LayerStack:
    """A network as a function with a gradient; :class:`fastnn.NeuralNetwork` trains it."""

    loss: Loss = watched()

    def __init__(
        self,
        loss: str | Loss,
        layer_args: Sequence[Mapping[str, Any] | Layer],
        seed: int | np.random.Generator | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.loss = _own.as_part(loss, initialize_loss, "forward", "backward")
        self.layer_args = layer_args
        self.layers: list[Layer] = [
            _own.complete_layer(
                _own.as_part(args, lambda mapping: initialize_layer(**mapping), "forward", "backward")
            )
            for args in layer_args
        ]
        self.seed = seed
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.dtype = require_float_dtype("dtype", dtype)
        self._flat, self._views = np.zeros(0), list[Array]()
        self._check_layers()
        for layer in self.layers:
            layer.dtype = layer.dtype or self.dtype
            if isinstance(layer.init_weights, WeightInitializer) and self.rng is not None:
                layer.init_weights.rng = self.rng

    @property
    def n_layers(self) -> int:
        """How many layers there are."""
        return len(self.layers)

    def has_own(self, *methods: str) -> bool:
        """Return whether methods were overridden, by a subclass or in this object."""
        for name in methods:
            found = vars(self).get(name, getattr(type(self), name))
            if not getattr(found, "__module__", "").startswith("fastnn."):
                return True
        return False

    def __copy__(self) -> Never:
        raise TypeError(
            f"copy.copy of a {type(self).__name__} would share its layers: training one would change "
            "the other; use copy.deepcopy"
        )

    def _check_layers(self) -> None:
        if not self.layers:
            raise ValueError("layer_args is empty: a network needs at least one layer")
        if len({id(layer) for layer in self.layers}) < self.n_layers:
            raise ValueError("layer_args holds one Layer object twice; make one for each place")
        for i, layer in enumerate(self.layers[:-1]):
            if isinstance(layer, FullyConnected) and layer.n_out is None:
                raise ValueError(f"layer {i} has n_out=None; only the last layer's is inferred")

    # One step: forward, loss and its gradient, backward, update.

    def forward(self, X: ArrayLike) -> Array:
        """Return the output for a batch ``X``; each layer caches what ``backward`` needs.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If a layer cannot take what it would get, before any layer changes.
        """
        return restore(self.layers[-1].forward(self._forward_hidden(X)), X)

    def backward(self, target: ArrayLike, out: ArrayLike) -> float:
        """Store every parameter's gradient in ``layer.gradients``; return the loss.

        When the last activation is softmax and the loss cross-entropy, both come from the logits:
        with ``P = softmax(Z)`` the loss is ``sum(target * (logsumexp(Z) - Z)) / n`` and
        ``dZ = (P * sum(target) - target) / n`` by rows, which holds no quotient ``target / P`` and
        stays exact where ``P`` underflows. So do a sigmoid and binary cross-entropy, whose ``dZ`` is
        ``(sigmoid(Z) - target) / n``. An ``out`` that is not the last output goes the general way,
        through the gradients of the loss and of the activation.

        Parameters
        ----------
        target : array_like, shape of ``out``
        out : array_like
            What ``forward`` returned, or a copy of it.
        """
        last = self._fused_layer()
        if last is not None and isinstance(last.cache.get("Z"), np.ndarray):
            Z = last.cache["Z"]
            P, given = last.activation.forward(Z), as_real(out, "out")
            if given.dtype.kind == "f" and np.array_equal(given, P.astype(given.dtype), equal_nan=True):
                loss, dZ = self._loss_from_logits(as_float(target, "target", Z.dtype), Z)
                self._backward_from(dZ)
                return loss
        loss = self.loss.forward(target, out)
        self._backward_through(self.loss.backward(target, out))
        return loss

    def _forward_hidden(self, X: ArrayLike) -> Array:
        A = as_float(X, "X", self.dtype)
        self._check_input(A.shape)
        self._make_parameters(A)
        for layer in self.layers[:-1]:
            A = layer.forward(A)
        return A

    def _check_input(self, X_shape: tuple[int, ...]) -> None:
        shape = X_shape
        for i, layer in enumerate(self.layers):
            if not _own.offers(layer, "check_input"):
                return
            try:
                output_shape = layer.check_input(shape)
            except ValueError as error:
                raise ValueError(f"layer {i} ({type(layer).__name__}): {error}") from None
            if output_shape is None:
                return
            shape = output_shape

    def _fused_layer(self) -> FullyConnected | None:
        """Return the last layer if its activation and the loss fuse."""
        last = self.layers[-1]
        fuses = type(last) is FullyConnected and type(last.activation) is _FUSED.get(type(self.loss))
        return last if fuses and isinstance(last, FullyConnected) else None

    fused_layer = _fused_layer

    def _loss_from_logits(self, target: Array, Z: Array) -> tuple[float, Array]:
        self._check_target(target, Z)
        assert isinstance(self.loss, (CrossEntropy, BinaryCrossEntropy))
        return self.loss.from_logits(target, Z)

    @staticmethod
    def _check_target(target: Array, out: Array) -> None:
        if target.shape != out.shape:
            raise ValueError(f"the targets have shape {target.shape}, the output {out.shape}")

    def _backward_from(self, dZ: Array) -> None:
        """Backpropagate from the gradient of the last layer's pre-activation."""
        last = self.layers[-1]
        assert isinstance(last, FullyConnected)
        last.parameter_gradients(dZ)
        if self.n_layers > 1:
            self._backward_through(last.input_gradient(dZ), self.layers[:-1])

    def _backward_through(self, dLdY: Array, layers: Sequence[Layer] | None = None) -> None:
        layers = self.layers if layers is None else layers
        for layer in reversed(layers[1:]):
            dLdY = layer.backward(dLdY)
        first = layers[0]
        if type(first) is FullyConnected:  # nobody asks for the gradient of the network's input
            first.parameter_gradients(first.preactivation_gradient(dLdY))
        else:
            first.backward(dLdY)

    def _features(self, X: ArrayLike, name: str = "X") -> Array:
        return as_batch(X, name, self.dtype)

    def _targets(
        self, Y: ArrayLike, n: int, names: tuple[str, str] = ("X", "Y"), n_out: int | None = None
    ) -> Array:
        classes = isinstance(self.loss, CrossEntropy) or _own.name_of(self.loss) == "cross_entropy"
        n_out = n_out or self.layers[-1].n_out
        self._check_classes(n_out)
        rows = as_targets(Y, n, names, n_out, classes and (n_out != 1 or self._ends_in_softmax()))
        self._check_classes(rows.shape[1])
        if type(self.loss) is BinaryCrossEntropy and rows.size and (rows.min() < 0 or rows.max() > 1):
            raise ValueError(f"{names[1]} must lie between 0 and 1, got {rows.min()} to {rows.max()}")
        return rows

    def checked_batch(self, X: ArrayLike, Y: ArrayLike) -> tuple[Array, Array]:
        """Return a batch of a program's own data as float arrays, targets as the loss needs them."""
        names = "the batch's data", "its labels"
        x = self._features(X, names[0])
        if type(self.loss) in LOSSES.values():
            return x, self._targets(Y, len(x), names)
        return x, as_batch(Y, names[1], None)

    def _ends_in_softmax(self) -> bool:
        return type(getattr(self.layers[-1], "activation", None)) is SoftMax

    def _check_classes(self, n_out: int | None) -> None:
        """Raise ``ValueError`` for a softmax of one output."""
        if n_out == 1 and self._ends_in_softmax():
            raise ValueError(f"the targets are of one class or column; {ONE_CLASS}")

    def require_columns(self, n_out: int) -> None:
        """Raise ``ValueError`` if the loss is cross-entropy of one output, whatever its activation."""
        if n_out == 1 and type(self.loss) is CrossEntropy:
            raise ValueError(f"the targets are of one class or column; {ONE_COLUMN}")

    def prepare(self, n_out: int, *X_shapes: tuple[int, ...]) -> None:
        """Give the last layer its width if it has none; check that all layers fit the data.

        Raises ``ValueError``, and changes nothing, if they do not, or the data not one another.
        """
        if isinstance(self.loss, CrossEntropy):
            self.loss.check_classes(n_out)
        self._check_classes(n_out)
        last = self.layers[-1]
        before = last.n_out
        if last.n_out is None or (last.n_in is None and isinstance(last, FullyConnected)):
            last.n_out = n_out
        elif last.n_out not in (None, n_out):
            raise ValueError(f"the last layer has {last.n_out} outputs, the targets have {n_out}")
        try:
            for X_shape in X_shapes:
                self._check_input(X_shape)
                if X_shape[1:] != X_shapes[0][1:]:
                    raise ValueError(
                        f"the validation data have {X_shape[-1]} features, "
                        f"the training data {X_shapes[0][-1]}"
                    )
        except ValueError:
            last.n_out = before
            raise

    def _make_parameters(self, x: Array) -> None:
        """Make all layers' parameters, if they are of a kind that knows its shapes beforehand."""
        if not any(layer.n_in is None for layer in self.layers) or not all(
            type(layer) is FullyConnected for layer in self.layers
        ):
            return
        shape: Any = x.shape
        made = []
        for layer in self.layers:
            assert isinstance(layer, FullyConnected)
            if layer.n_in is None:
                made.append((layer, layer.initial_parameters(shape, layer.dtype or x.dtype)))
            shape = layer.check_input(shape)
        for layer, parameters in made:
            layer.adopt(parameters)
        if made and len({layer.dtype for layer in self.layers}) == 1:
            self._flatten()

    @property
    def flat_parameters(self) -> Array:
        """All parameters as one flat array, of which the arrays in ``layer.parameters`` are views.

        To copy, average or measure a whole network at once:
        ``net.flat_parameters[:] = (a.flat_parameters + b.flat_parameters) / 2``. Every array begins on
        a cache line; what lies between two of them is 0. An array that is assigned into
        ``layer.parameters`` lies elsewhere until the next look here, which gathers all anew.

        Raises ``RuntimeError`` while there are no parameters, ``ValueError`` if they differ in dtype.
        """
        arrays = [p for layer in self.layers for p in layer.parameters.values()]
        if not arrays:
            raise RuntimeError("the network has no parameters before its first batch")
        if len(arrays) != len(self._views) or any(map(is_not, arrays, self._views)):
            self._flatten()
        return self._flat

    def _flatten(self) -> None:
        """Move all parameters into one array."""
        arrays = [p for layer in self.layers for p in layer.parameters.values()]
        if len({p.dtype for p in arrays}) > 1:
            raise ValueError("layers differ in dtype; one flat array cannot hold their parameters")
        self._flat, self._views = aligned_views([p.shape for p in arrays], arrays[0].dtype)
        views = iter(self._views)
        for layer in self.layers:
            moved = {name: next(views) for name in layer.parameters}
            for name, view in moved.items():
                view[...] = layer.parameters[name]
            layer._parameters.adopt(moved)

    def evaluate_rows(self, X: Array, Y: Array) -> tuple[float, float, Array]:
        """Return loss, error and output for a batch of target rows."""
        if self.has_own("forward", "error"):
            out = self.forward(X)
            return self.loss.forward(Y, out), self._own_error(Y, out), out
        out, last = self._outputs(X)
        self._check_target(Y, out)
        if self._fused_layer() is None:
            loss = self.loss.forward(Y, out)
        else:
            Z = last.cache["Z"]
            loss, _ = self._loss_from_logits(as_float(Y, "Y", Z.dtype), Z)
        return loss, self._error(Y, out), out

    def _outputs(self, X: ArrayLike) -> tuple[Array, Layer]:
        """Return the output for X, and the last layer with the cache of this forward pass.

        The pass goes through shallow copies of the layers, which share the parameters and have caches
        of their own: the layers' caches stay as they are, and several threads may do this at once.
        """
        A = as_float(X, "X", self.dtype)
        self._check_input(A.shape)
        self._make_parameters(A)
        layers = [copy(layer) for layer in self.layers]
        for layer in layers:
            layer.cache = OrderedDict(layer.cache)
        for layer in layers:
            A = layer.forward(A)
        for layer, passed in zip(self.layers, layers, strict=True):
            if layer.n_in is None and passed.n_in is not None:  # its parameters were made here
                vars(layer).update(vars(passed), cache=OrderedDict((n, []) for n in passed.cache))
        return restore(A, X), layers[-1]

    def error(self, target: ArrayLike, out: ArrayLike) -> float:
        """Return 1 - accuracy for cross-entropy, the mean squared error for l2; NaN for no rows.

        The class is the arg-max, of probabilities or logits; for binary cross-entropy each entry is
        right or wrong by itself, a yes above 1/2. If an output is NaN, the error is NaN.

        Raises
        ------
        ValueError
            If the shapes differ.
        NotImplementedError
            If the loss goes by neither name.
        """
        y, y_hat = as_float_pair(target, out, ("target", "out"))
        name = _own.name_of(self.loss)
        if name not in _ERRORS:
            raise NotImplementedError(f"no error is defined for the loss {name!r}")
        if name == "cross_entropy" and y.ndim != 2:
            raise ValueError(f"target and out must have shape (n, classes), got {y.shape}")
        return self._error(y, y_hat)

    def _own_error(self, y: Array, y_hat: Array) -> float:
        return self.error(y, y_hat) if self.has_own("error") else self._error(y, y_hat)

    def _error(self, y: Array, y_hat: Array) -> float:
        """Return the error, NaN where none is defined."""
        name = _own.name_of(self.loss)
        if not y.size or name not in _ERRORS:
            return float("nan")
        y, y_hat = as_float_pair(y, y_hat, ("target", "out"))
        if name == "l2":
            return float(kernels.l2(y.reshape(-1), y_hat.reshape(-1))) / y.size
        if name == "binary_cross_entropy":
            return float(kernels.wrong_answers(y.reshape(-1), y_hat.reshape(-1), 0.5)) / y.size
        return float(kernels.misclassified(y, y_hat)) / len(y)
