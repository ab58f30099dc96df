"""The residual layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._arrays import of_steps, unlocked
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, restore
from fastnn.blueprint import Blueprint
from fastnn.kernels.layers import residual as kernels
from fastnn.layers.base import Layer
from fastnn.layers.composite import Composite


class Residual(Composite):
    """``Y = X + F(X)``, where F is a block: a sequence of layers.

    ``X`` has any shape ``(n, ...)`` that the block takes. The block's output must have the same shape.
    The parameters, buffers, gradients and cache of the block's layers have names such as ``0.W``, the
    ``W`` of layer 0. Networks train, save and count them like those of any layer.

    Parameters
    ----------
    layers : sequence of Layer
        The block. ``initialize_layer("residual", layers=[...])`` also takes mappings with the arguments
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
        If ``layers`` is empty, or contains one object twice or a layer whose ``n_out`` is None.

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

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__(layers)

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
                    f"layers[{i}] ({type(layer).__name__}) does not say its output's shape, which "
                    "a block needs: give its class a check_input(X_shape) that returns it"
                )
        if shape is None or shape != X_shape:
            raise ValueError(
                f"the block's input has shape {X_shape} and its output {shape}; "
                "they are added, so give the last layers the input's shape"
            )
        return shape

    def obstacle(self) -> str | None:
        for i, layer in enumerate(self.layers):
            reason = layer.obstacle()
            if reason is None and len({layer.dtype or self.dtype, self.dtype, *_dtypes(layer)}) > 1:
                reason = "mixes dtypes"
            if reason is not None:
                return f"has a block whose layer {i} {reason}"
        return super().obstacle()

    def cost(self, X_shape: tuple[int, ...]) -> int:
        return sum(layer.cost(shape) for layer, shape in self.with_shapes(X_shape))

    def compile(self, to: Blueprint) -> None:
        """Write the block's compiled step and the sums of its input and output."""
        source, width = to.input, to.input.width
        block = to.block(self.in_mode(), gradient=source.gradient != 0)
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

    def forward(self, X: ArrayLike) -> Array:
        """Return ``X + F(X)``, of the shape of ``X``; the block's layers cache what they need.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If a layer of the block cannot take its input's shape, or the block's output does not have
            the shape of ``X``.
        """
        x = as_float(X, "X", self.dtype)
        self.check_input(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        A = x
        with self.modes():
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
            dA = of_steps(layer.backward(dA))
        return restore(_sum(dy, dA), dLdY)


def _dtypes(layer: Layer) -> set[Any]:
    return {array.dtype for array in layer.parameters.values()}


def _sum(x: Array, y: Array) -> Array:
    if y.shape != x.shape:
        raise ValueError(f"the block's input has shape {x.shape} and its output {y.shape}")
    out = np.empty(x.shape, x.dtype)
    a, b = (unlocked(np.ascontiguousarray(array, x.dtype)).reshape(-1) for array in (x, y))
    kernels.add(a, b, out.reshape(-1))
    return out
