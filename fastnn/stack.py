"""Layers in a row under a loss: forward, backward, and whether shapes fit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from operator import is_not
from typing import Any, Never

import numpy as np

from fastnn import _own
from fastnn._arrays import aligned_views, of_steps
from fastnn._changes import watched
from fastnn._turn import Turn
from fastnn._typing import Array, ArrayLike, DTypeLike
from fastnn._validation import as_float, as_real, require_float_dtype, restore
from fastnn.checks import CheckedLayers
from fastnn.layers import Layer, initialize_layer
from fastnn.logs import History, Logger
from fastnn.losses import Loss, initialize_loss
from fastnn.optimizers import Optimizer, initialize_optimizer
from fastnn.weights import WeightInitializer


class LayerStack(CheckedLayers):
    """A network's state: layers, loss, optimiser, random generator, logger.

    It goes forward, backward, and updates its parameters, by its layers' methods.
    :class:`fastnn.NeuralNetwork` is one that is trained.
    """

    optimizer: Optimizer = watched()

    def __init__(
        self,
        loss: str | Loss,
        layer_args: Sequence[Mapping[str, Any] | Layer],
        optimizer_args: str | Mapping[str, Any] | Optimizer,
        logger: Logger | None = None,
        seed: int | np.random.Generator | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.optimizer = _own.as_part(
            {"name": optimizer_args} if isinstance(optimizer_args, str) else optimizer_args,
            lambda mapping: initialize_optimizer(**mapping),
            "update",
        )
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
            if isinstance(layer, Layer) and layer.rng is None:
                layer.rng = self.rng
        self.logger = logger
        self.history = History()
        self.epoch_log: dict[str, Any] = {"loss": {}, "error": {}}
        self.turn = Turn()

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
        for i, layer in enumerate(self.layers):
            unknown = _own.flag(layer, "chooses_width") and layer.n_out is None
            if unknown and layer is not self.width_layer:
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
        return restore(self.layers[-1].forward(self.forward_hidden(X)), X)

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
        last = self.fused_layer()
        if last is not None and isinstance(last.cache.get("Z"), np.ndarray):
            Z = last.cache["Z"]
            P, given = last.activation.forward(Z), as_real(out, "out")
            if given.dtype.kind == "f" and np.array_equal(given, P.astype(given.dtype), equal_nan=True):
                loss, dZ = self.loss_from_logits(as_float(target, "target", Z.dtype), Z)
                self.backward_from(dZ)
                return loss
        loss = self.loss.forward(target, out)
        self.backward_through(self.loss.backward(target, out))
        return loss

    def forward_hidden(self, X: ArrayLike) -> Array:
        A = as_float(X, "X", self.dtype)
        self.check_input(A.shape)
        self.make_parameters(A)
        for layer in self.layers[:-1]:
            A = layer.forward(A)
        return A

    def fused_layer(self) -> Any:
        """Return the last layer if its activation and the loss are computed together, else None.

        The loss's class names the activation that it ``fuses``, and has ``from_logits``; the layer's
        has ``preactivation`` and ``parameter_gradients``.
        """
        last, fuses = self.layers[-1], _own.says(self.loss, "fuses")
        known = fuses is not None and type(getattr(last, "activation", None)) is fuses
        return last if known and _own.says(last, "preactivation") else None

    def loss_from_logits(self, target: Array, Z: Array) -> tuple[float, Array]:
        """Return the loss and the gradient of the :meth:`fused_layer`'s pre-activation ``Z``."""
        self.check_target(target, Z)
        loss: Any = self.loss
        found: tuple[float, Array] = loss.from_logits(target, Z)
        return found

    def backward_from(self, dZ: Array) -> None:
        """Backpropagate from the gradient of the last layer's pre-activation."""
        last: Any = self.layers[-1]
        last.parameter_gradients(dZ)
        if self.n_layers > 1:
            self.backward_through(last.input_gradient(dZ), self.layers[:-1])

    def backward_through(self, dLdY: Array, layers: Sequence[Layer] | None = None) -> None:
        layers = self.layers if layers is None else layers
        for layer in reversed(layers[1:]):
            dLdY = of_steps(layer.backward(dLdY))
        first: Any = layers[0]
        if _own.says(first, "backward_parameters"):  # the gradient of the network's input is not needed
            first.backward_parameters(dLdY)
        else:
            first.backward(dLdY)

    def update(self, epoch: int | None = None) -> None:
        """Subtract the optimiser's step from every parameter, in place; clear the gradients.

        Raises ``ValueError`` if a parameter is read-only; nothing has changed.
        """
        for i, layer in enumerate(self.layers):
            for name, param in layer.parameters.items():
                if isinstance(param, np.ndarray) and not param.flags.writeable:
                    raise ValueError(f"layer {i}: parameters[{name!r}] is read-only")
        named = [
            (f"{name}{i}", param, layer.gradients[name])
            for i, layer in enumerate(self.layers)
            for name, param in layer.parameters.items()
        ]
        gradients: Any = [gradient for _, _, gradient in named]
        if _own.offers(self.optimizer, "clip_jointly"):
            gradients = self.optimizer.clip_jointly(gradients)
        steps = [
            (param, _own.update(self.optimizer, name, param, gradient, epoch))
            for (name, param, _), gradient in zip(named, gradients, strict=True)
        ]
        with np.errstate(all="ignore"):  # NaN and infinity are values here, not events
            for param, step in steps:
                param -= step
        for layer in self.layers:
            if _own.offers(layer, "clear_gradients"):
                layer.clear_gradients()
        self.log_parameters()

    def log_parameters(self) -> None:
        """Note the extreme values of all parameters for the logger."""
        if self.logger is not None:
            self.epoch_log["params"] = {
                f"{name}{i}": {"max": float(np.max(param)), "min": float(np.min(param))}
                for i, layer in enumerate(self.layers)
                for name, param in layer.parameters.items()
            }

    @property
    def is_made(self) -> bool:
        """Whether all layers have their parameters."""
        return all(_own.flag(layer, "is_initialized") for layer in self.layers)

    def make_parameters(self, x: Array) -> None:
        """Make all layers' parameters, if they are of kinds that know their shapes beforehand."""
        if all(map(_own.is_made, self.layers)) or not all(
            _own.says(layer, "initial_parameters") or _own.says(layer, "compile")
            for layer in self.layers
        ):
            return
        shape: Any = x.shape
        made = []
        for layer in self.layers:
            if not _own.is_made(layer):
                dtype = layer.dtype or x.dtype
                made.append((layer, layer.initial_parameters(shape, dtype), shape[-1], dtype))
            shape = layer.check_input(shape)
        for layer, parameters, n_in, dtype in made:
            layer.adopt(parameters, n_in, dtype)
        if made and len({layer.dtype for layer in self.layers}) == 1:
            self.gather_parameters()

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
            self.gather_parameters()
        return self._flat

    def gather_parameters(self) -> None:
        """Move all parameters into one array."""
        arrays = [p for layer in self.layers for p in layer.parameters.values()]
        if not arrays:
            return
        if len({p.dtype for p in arrays}) > 1:
            raise ValueError("layers differ in dtype; one flat array cannot hold their parameters")
        self._flat, self._views = aligned_views([p.shape for p in arrays], arrays[0].dtype)
        views = iter(self._views)
        for layer in self.layers:
            moved = {name: next(views) for name in layer.parameters}
            for name, view in moved.items():
                view[...] = layer.parameters[name]
            layer.replace_parameters(moved)

    def evaluate_rows(self, X: Array, Y: Array) -> tuple[float, float, Array]:
        """Return loss, error and output for a batch of target rows."""
        if self.has_own("forward", "error"):
            with self.evaluating():
                out = self.forward(X)
            return self.loss.forward(Y, out), self.own_error(Y, out), out
        out, last = self.outputs_of(X)
        self.check_target(Y, out)
        if self.fused_layer() is None:
            loss = self.loss.forward(Y, out)
        else:
            Z = last.cache["Z"]
            loss, _ = self.loss_from_logits(as_float(Y, "Y", Z.dtype), Z)
        return loss, self.error_of(Y, out), out

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Have no layer in training during a block, for passes that go through the layers."""
        training = [layer for layer in self.layers if isinstance(layer, Layer) and layer.training]
        try:
            for layer in training:
                layer.training = False
            yield
        finally:
            for layer in training:
                layer.training = True

    def outputs_of(self, X: ArrayLike) -> tuple[Array, Layer]:
        """Return the output for X, and the last layer with the cache of this forward pass.

        The pass goes through shallow copies of the layers, which share the parameters and have caches
        of their own: the layers' caches stay as they are, and several threads may do this at once.
        """
        A = as_float(X, "X", self.dtype)
        self.check_input(A.shape)
        self.make_parameters(A)
        layers = [copy(layer) for layer in self.layers]
        for layer in layers:
            layer.cache = OrderedDict(layer.cache)
            if isinstance(layer, Layer):
                vars(layer)["training"] = False  # of the copy, so it is not counted as a change
        for layer in layers:
            A = layer.forward(A)
        for layer, passed in zip(self.layers, layers, strict=True):
            if _own.is_made(passed) and not _own.is_made(layer):  # its parameters are new
                cache: Any = OrderedDict((n, []) for n in passed.cache)
                own = {"cache": cache, "training": layer.training}
                vars(layer).update(vars(passed) | own)
        return restore(A, X), layers[-1]

    def own_error(self, y: Array, y_hat: Array) -> float:
        return self.error(y, y_hat) if self.has_own("error") else self.error_of(y, y_hat)
