"""The residual layer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, Self

import numpy as np

from fastnn._arrays import unlocked
from fastnn._changes import watched
from fastnn._own import says
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, restore
from fastnn.blueprint import Blueprint
from fastnn.kernels.layers import residual as kernels
from fastnn.layers.base import Layer
from fastnn.layers.nested import Nested, place_of, split
from fastnn.layers.state import Parameters
from fastnn.weights import WeightInitializer


def _layer(i: int, given: Any) -> Layer:
    if isinstance(given, Layer):
        return given
    raise TypeError(
        f"layers[{i}] must be a Layer, got {given!r}; initialize_layer('residual', layers=[...]) takes "
        "mappings too"
    )


def _block(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Return the layers of a block, having checked them."""
    block = tuple(_layer(i, given) for i, given in enumerate(layers))
    if not block:
        raise ValueError("layers is empty: a block needs at least one layer")
    if len({id(layer) for layer in block}) < len(block):
        raise ValueError("layers holds one Layer object twice; make one for each place")
    for i, layer in enumerate(block):
        if layer.chooses_width and layer.n_out is None:
            raise ValueError(f"layers[{i}] has n_out=None; give it a width")
    return block


def _dict_of(kind: str, doc: str) -> Any:
    """Return a property: one of the dicts of the layers of a block."""

    def get(self: Residual) -> OrderedDict[str, Any]:
        return Nested(self.layers, kind)

    def put(self: Residual, values: Mapping[str, Any]) -> None:
        layers = vars(self).get("layers", ())  # none yet while the layer is made
        for layer, part in zip(layers, split(values, len(layers)), strict=True):
            setattr(layer, kind, OrderedDict(part))

    return property(get, put, doc=doc)


class Residual(Layer):
    """``Y = X + F(X)``, where F is a block of layers, one after the other.

    The block's output must have the shape of its input. The parameters, buffers, gradients and cache
    are those of the block's layers, under names such as ``0.W``, layer 0's ``W``. Networks train, save
    and count them as those of any layer.

    Parameters
    ----------
    layers : sequence of Layer
        The block. ``initialize_layer("residual", layers=[...])`` also takes mappings, of the arguments
        of ``initialize_layer``.

    Attributes
    ----------
    layers : tuple of Layer
    training : bool
        If False, no layer of the block is in training, whatever its own ``training`` says.

    Raises
    ------
    TypeError
        If ``layers`` holds something other than layers.
    ValueError
        If ``layers`` is empty, holds one object twice, or a layer whose ``n_out`` is None.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", arXiv:1512.03385.

    Examples
    --------
    >>> block = [fastnn.FullyConnected(8, "relu"), fastnn.FullyConnected(3, "linear")]
    >>> layer = fastnn.Residual(block)
    >>> layer.forward(np.ones((2, 3))).shape
    (2, 3)
    >>> list(layer.parameters)
    ['0.W', '0.b', '1.W', '1.b']
    """

    keeps_width = True
    layers: tuple[Layer, ...] = watched(_block)
    parameters = _dict_of("parameters", "The block's parameters by name, as ``0.W``.")
    buffers = _dict_of("buffers", "The block's buffers by name, as ``0.running_mu``.")
    gradients = _dict_of("gradients", "The block's gradients, under the names of ``parameters``.")
    cache = _dict_of("cache", "The block's caches.")

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = layers

    def __copy__(self) -> Self:
        """Return a layer that shares parameters and buffers and has caches of its own."""
        made = object.__new__(type(self))
        vars(made).update(vars(self))
        vars(made)["layers"] = tuple(copy(layer) for layer in self.layers)
        for layer in made.layers:
            layer.cache = OrderedDict(layer.cache)
        return made

    @property
    def nested(self) -> tuple[Layer, ...]:
        return self.layers

    @property
    def is_initialized(self) -> bool:
        return all(layer.is_initialized for layer in self.layers)

    @property
    def penalised(self) -> tuple[str, ...]:
        """The names of the parameters that their own layers' ``l2`` applies to."""
        return tuple(f"{i}.{name}" for i, layer in enumerate(self.layers) for name in layer.penalised)

    def penalty(self, name: str) -> float:
        i, own = place_of(name, len(self.layers))
        return self.layers[i].penalty(own)

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's shape, which is the input's, or raise ``ValueError``."""
        shape: tuple[int, ...] | None = X_shape
        for i, layer in enumerate(self.layers):
            assert shape is not None
            try:
                shape = layer.check_input(shape)
            except ValueError as error:
                raise ValueError(f"layers[{i}] ({type(layer).__name__}): {error}") from None
            if shape is None:
                raise ValueError(
                    f"layers[{i}] ({type(layer).__name__}) does not say its output's shape, which a block "
                    "needs: give its class a check_input(X_shape) that returns it"
                )
        if shape is None or shape != X_shape:
            raise ValueError(
                f"the block's input has shape {X_shape} and its output {shape}; "
                "they are added, so give the last layers the input's shape"
            )
        return shape

    def _with_shapes(self, X_shape: tuple[int, ...]) -> Iterator[tuple[Layer, tuple[int, ...]]]:
        """Yield each layer with the shape of its input."""
        shape: Any = X_shape
        for layer in self.layers:
            yield layer, shape
            shape = layer.check_input(shape)

    def _with_widths(self, arrays: Mapping[str, Any], n_in: int) -> Iterator[tuple[Layer, Any, int]]:
        """Yield each layer with its arrays and the width of its input."""
        width = n_in
        for layer, own in zip(self.layers, split(arrays, len(self.layers)), strict=True):
            width = layer.width_of(own) or width
            yield layer, own, width
            width = layer.n_out or width

    def parameter_shapes(self, X_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the block's parameters for inputs of a shape."""
        return {
            f"{i}.{name}": own
            for i, (layer, shape) in enumerate(self._with_shapes(X_shape))
            for name, own in layer.parameter_shapes(shape).items()
        }

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return new parameters for inputs of a shape, drawn in the order of the layers."""
        self.check_input(X_shape)
        made = Parameters()
        for i, (layer, shape) in enumerate(self._with_shapes(X_shape)):
            if isinstance(layer.init_weights, WeightInitializer) and self.rng is not None:
                layer.init_weights.rng = self.rng
            layer.rng = layer.rng or self.rng
            drawn = layer.parameters if layer.is_initialized else layer.initial_parameters(shape, dtype)
            made.update({f"{i}.{name}": array for name, array in drawn.items()})
        return made

    def adopt(self, parameters: Mapping[str, Array], n_in: int, dtype: np.dtype[Any]) -> None:
        """Take over the block's parameters, made for inputs of ``n_in`` values and a dtype."""
        self.n_in = self.n_out = n_in
        self.dtype = dtype
        for layer, own, width in self._with_widths(parameters, n_in):
            if not (says(layer, "initial_parameters") or says(layer, "compile")):
                continue  # it makes its parameters when it goes forward
            if not layer.is_initialized or own.keys() != layer.parameters.keys():
                layer.adopt(Parameters(own), width, dtype)
            else:
                layer.replace_parameters(own)

    def take(self, other: Self) -> None:
        self.n_in, self.n_out, self.dtype = other.n_in, other.n_out, other.dtype
        for layer, source in zip(self.layers, other.layers, strict=True):
            layer.take(source)

    def replace_parameters(self, arrays: Mapping[str, Array]) -> None:
        for layer, own in zip(self.layers, split(arrays, len(self.layers)), strict=True):
            layer.replace_parameters(own)

    def width_of(self, arrays: Mapping[str, Array]) -> int | None:
        try:
            parts = split(arrays, len(self.layers))
        except KeyError:
            return None
        for layer, own in zip(self.layers, parts, strict=True):
            width = layer.width_of(own)
            if width is not None or not layer.keeps_width:
                return width
        return None

    def restore(self, arrays: Mapping[str, Array], n_in: int | None) -> None:
        n_in = self.width_of(arrays) if n_in is None else n_in
        if not isinstance(n_in, int) or self.dtype is None:
            raise ValueError(f"no block of {n_in} inputs and dtype {self.dtype} has these arrays")
        try:
            found = [*self._with_widths(arrays, n_in)]
        except KeyError as error:
            raise ValueError(error.args[0]) from None
        for i, (layer, own, width) in enumerate(found):
            layer.dtype = self.dtype
            try:
                layer.restore(own, width)
            except ValueError as error:
                raise ValueError(f"layers[{i}] ({type(layer).__name__}): {error}") from None
        self.n_in = self.n_out = n_in

    def buffer_forms(self) -> dict[str, tuple[tuple[int, ...], type]]:
        forms = [layer.buffer_forms() for layer in self.layers]
        return {f"{i}.{name}": form for i, own in enumerate(forms) for name, form in own.items()}

    def check_buffers(self) -> None:
        for i, layer in enumerate(self.layers):
            try:
                layer.check_buffers()
            except ValueError as error:
                raise ValueError(f"layers[{i}] ({type(layer).__name__}): {error}") from None

    def obstacle(self) -> str | None:
        for i, layer in enumerate(self.layers):
            reason = layer.obstacle()
            if reason is None and len({layer.dtype, self.dtype, *_dtypes(layer)}) > 1:
                reason = "mixes dtypes"
            if reason is not None:
                return f"has a block whose layer {i} {reason}"
        return super().obstacle()

    def cost(self, X_shape: tuple[int, ...]) -> int:
        return sum(layer.cost(shape) for layer, shape in self._with_shapes(X_shape))

    def compile(self, to: Blueprint) -> None:
        """Write the block's compiled step, and the sums of what goes through it and past it."""
        source, width = to.input, to.input.width
        with self._modes():
            block = to.block(self.layers, gradient=source.gradient != 0)
        inner, output = block.input, block.output
        to.output = to.port(source.shape, output.blocks, gradient=output.gradient != 0)
        row = to.record(kernels.Sum, x=source, y=output, out=to.output, width=width)
        to.forward_rows(kernels.add_rows, row)
        if not output.gradient:
            return
        d_output = to.output.gradient
        row = to.record(kernels.Sum, x=d_output, out=output.gradient, width=width)
        to.backward_rows(kernels.assign_rows, row)
        to.backward_block(block)
        if source.gradient:
            row = to.record(kernels.Sum, x=d_output, y=inner.gradient, out=source.gradient, width=width)
            to.backward_rows(kernels.add_rows, row)

    @contextmanager
    def _modes(self) -> Iterator[None]:
        """Have no layer of the block in training if this layer is not."""
        training = [layer for layer in self.layers if layer.training and not self.training]
        try:
            for layer in training:
                vars(layer)["training"] = False  # not counted as a change
            yield
        finally:
            for layer in training:
                vars(layer)["training"] = True

    def forward(self, X: ArrayLike) -> Array:
        """Return ``X + F(X)``, of the shape of ``X``; the block's layers cache what they need.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If a layer of the block cannot take what it would get, or the block's output would not have
            the shape of ``X``.
        """
        x = as_float(X, "X", self.dtype)
        self.check_input(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        A = x
        with self._modes():
            for layer in self.layers:
                A = layer.forward(A)
        return restore(_sum(x, A), X)

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        dtype = self.dtype or np.dtype(np.float64)
        self.adopt(self.initial_parameters(X_shape, dtype), X_shape[-1], dtype)

    def backward(self, dLdY: ArrayLike) -> Array:
        """Store the gradients of the block's parameters; return ``dX = dLdY + F'(X; dLdY)``.

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        dy = as_float(dLdY, "dLdY", self.dtype)
        dA: Array = dy
        for layer in reversed(self.layers):
            dA = layer.backward(dA)
        return restore(_sum(dy, dA), dLdY)

    def clear_gradients(self) -> None:
        """Empty the caches of the block's layers and zero their gradients."""
        for layer in self.layers:
            layer.clear_gradients()

    def forward_with_param(self, name: str, X: ArrayLike) -> Callable[[ArrayLike], Array]:
        i, own = place_of(name, len(self.layers))
        held = self.layers[i].parameters

        def forward(value: ArrayLike) -> Array:
            current = held[own]
            held[own] = np.asarray(value)
            try:
                return self.forward(X)
            finally:
                OrderedDict.__setitem__(held, own, current)  # the very same array

        return forward


def _dtypes(layer: Layer) -> set[Any]:
    return {array.dtype for array in layer.parameters.values()}


def _sum(x: Array, y: Array) -> Array:
    if y.shape != x.shape:
        raise ValueError(f"the block's input has shape {x.shape} and its output {y.shape}")
    out = np.empty(x.shape, x.dtype)
    flat = (unlocked(np.ascontiguousarray(array, x.dtype)).reshape(-1) for array in (x, y))
    kernels.add(*flat, out.reshape(-1))
    return out
