"""Activations. Each is two methods, ``forward(Z)`` and ``backward(Z, dY)``, over compiled kernels.

To add an elementwise one: a kernel and its ``_backward`` in ``kernels/activations.py``, its plain
NumPy twin in ``fastnn/reference/activations.py``, a class and a row in the table below.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, as_float_pair, as_rows, choose, restore
from fastnn.kernels import activations as kernels
from fastnn.kernels import softmax as softmax_kernels
from fastnn.kernels.parallel import by_rows, elementwise


class Activation(ABC):
    """Base class; calling an activation is :meth:`forward`."""

    def __call__(self, Z: ArrayLike) -> Array:
        return self.forward(Z)

    @abstractmethod
    def forward(self, Z: ArrayLike) -> Array:
        """Return the activation of ``Z``, an array of any shape, as a new array."""

    @abstractmethod
    def backward(self, Z: ArrayLike, dY: ArrayLike) -> Array:
        """Return the gradient of the loss with respect to ``Z``.

        Parameters
        ----------
        Z : array_like, any shape
            What :meth:`forward` was given.
        dY : array_like, shape of ``Z``
            Gradient of the loss with respect to the activation's output.

        Raises
        ------
        TypeError
            If either holds something other than real numbers.
        ValueError
            If the shapes differ.
        """


class _Elementwise(Activation):
    """An activation that acts on each element by itself, given as two kernels over flat arrays."""

    _forward: ClassVar[Any]
    _backward: ClassVar[Any]

    def forward(self, Z: ArrayLike) -> Array:
        z = as_float(Z, "Z")
        out = np.empty_like(z)
        elementwise(type(self)._forward, z, out)
        return restore(out, Z)

    def backward(self, Z: ArrayLike, dY: ArrayLike) -> Array:
        z, dy = as_float_pair(Z, dY, ("Z", "dY"))
        out = np.empty_like(z)
        elementwise(type(self)._backward, z, dy, out)
        return restore(out, Z, dY)


class Linear(Activation):
    """``f(z) = z``, with gradient ``dY``; both hand their argument on, float and uncopied."""

    def forward(self, Z: ArrayLike) -> Array:
        return restore(as_float(Z, "Z"), Z)

    def backward(self, Z: ArrayLike, dY: ArrayLike) -> Array:
        return restore(as_float_pair(Z, dY, ("Z", "dY"))[1], Z, dY)


Identity = Linear


class Sigmoid(_Elementwise):
    """``f(z) = 1 / (1 + exp(-z))``, with gradient ``dY f(z) (1 - f(z))``."""

    _forward = staticmethod(kernels.sigmoid)
    _backward = staticmethod(kernels.sigmoid_backward)


class TanH(_Elementwise):
    """``f(z) = tanh(z)``, with gradient ``dY (1 - f(z)**2)``."""

    _forward = staticmethod(kernels.tanh)
    _backward = staticmethod(kernels.tanh_backward)


class ReLU(_Elementwise):
    """``f(z) = max(z, 0)``, with gradient ``dY (z >= 0)``: 1 at 0, where PyTorch has 0."""

    _forward = staticmethod(kernels.relu)
    _backward = staticmethod(kernels.relu_backward)


class ArcTan(_Elementwise):
    """``f(z) = arctan(z)``, with gradient ``dY / (1 + z**2)``."""

    _forward = staticmethod(kernels.arctan)
    _backward = staticmethod(kernels.arctan_backward)


class SoftMax(Activation):
    """``f(z)_i = exp(z_i) / sum_j exp(z_j)`` over the last axis.

    The gradient is the Jacobian-vector product ``P * (dY - sum(dY * P))`` with ``P = f(Z)``, for any
    ``dY``, without ever forming the ``k x k`` Jacobian (J. Bridle, "Probabilistic interpretation of
    feedforward classification network outputs", 1990). A row with NaN, with +inf or of nothing but
    -inf gives a row of NaN; -inf beside finite entries gives exactly 0.
    """

    def forward(self, Z: ArrayLike) -> Array:
        z = as_rows(Z, "Z")
        out = np.empty_like(z)
        by_rows(softmax_kernels.softmax, z, out)
        return restore(out, Z)

    def backward(self, Z: ArrayLike, dY: ArrayLike) -> Array:
        z, dy = as_float_pair(as_rows(Z, "Z"), dY, ("Z", "dY"))
        out = np.empty_like(z)
        by_rows(softmax_kernels.softmax_backward, z, dy, out)
        return restore(out, Z, dY)


ACTIVATIONS: dict[str, type[Activation]] = {
    "linear": Linear,
    "identity": Linear,
    "sigmoid": Sigmoid,
    "tanh": TanH,
    "relu": ReLU,
    "softmax": SoftMax,
    "arctan": ArcTan,
}


def initialize_activation(name: Any) -> Activation:
    """Return a new activation of that name.

    Raises
    ------
    NotImplementedError
        If no activation has that name; the message lists those there are.
    """
    return choose("activation", name, ACTIVATIONS)()
