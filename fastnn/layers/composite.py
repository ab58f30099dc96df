"""Layers that are made of layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, Self

import numpy as np

from fastnn._changes import watched
from fastnn._own import says
from fastnn._typing import Array, ArrayLike
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
    """Check the layers of a block and return them."""
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

    def get(self: Composite) -> OrderedDict[str, Any]:
        return Nested(self.layers, kind)

    def put(self: Composite, values: Mapping[str, Any]) -> None:
        layers = vars(self).get("layers", ())  # none yet while the layer is made
        for layer, part in zip(layers, split(values, len(layers)), strict=True):
            setattr(layer, kind, OrderedDict(part))

    return property(get, put, doc=doc)


class Composite(Layer):
    """Base class of layers that are made of a sequence of layers.

    Parameters, buffers, gradients and caches have names such as ``0.W``, the ``W`` of layer 0.
    """

    layers: tuple[Layer, ...] = watched(_block)
    parameters = _dict_of("parameters", "The block's parameters by name, as ``0.W``.")
    buffers = _dict_of("buffers", "The block's buffers by name, as ``0.running_mu``.")
    gradients = _dict_of("gradients", "The block's gradients, under the names of ``parameters``.")
    cache = _dict_of("cache", "The block's caches.")

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.layers = tuple(layers)

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

    def with_shapes(self, X_shape: tuple[int, ...]) -> Iterator[tuple[Layer, tuple[int, ...]]]:
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
            for i, (layer, shape) in enumerate(self.with_shapes(X_shape))
            for name, own in layer.parameter_shapes(shape).items()
        }

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return new parameters for inputs of a shape, drawn in the order of the layers."""
        self.check_input(X_shape)
        made = Parameters()
        for i, (layer, shape) in enumerate(self.with_shapes(X_shape)):
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
                continue  # its first forward makes its parameters
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

    @contextmanager
    def modes(self) -> Iterator[None]:
        """Set ``training`` of the block's layers to False if this layer is not, for its own methods."""
        training = [layer for layer in self.layers if layer.training and not self.training]
        try:
            for layer in training:
                layer.training = False
            yield
        finally:
            for layer in training:
                layer.training = True

    def in_mode(self) -> Sequence[Layer]:
        """Return the block's layers for a plan; copies not in training if this layer is not.

        Plans may be made by several threads at once, so the layers themselves stay as they are.
        """
        if self.training:
            return self.layers
        layers = [copy(layer) for layer in self.layers]
        for layer in layers:
            vars(layer)["training"] = False  # of the copy, so it is not counted as a change
        return layers

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
                OrderedDict.__setitem__(held, own, current)  # the same array, not a copy

        return forward
