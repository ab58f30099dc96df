"""Activations. Each is two methods, ``forward(Z)`` and ``backward(Z, dY)``, over compiled kernels."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from fastnn._counterpart import Counterpart
from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike
from fastnn._validation import (
    as_float,
    as_float_pair,
    as_rows,
    choose,
    require_classes,
    require_number,
    restore,
)
from fastnn.kernels import activations as kernels
from fastnn.kernels import softmax as softmax_kernels
from fastnn.kernels.emitted.tile import PLAIN, RELU
from fastnn.kernels.parallel import SMALL, by_rows, elementwise


class Activation(ABC):
    """Base class; calling an activation is :meth:`forward`.

    Compiled steps take a class that has, itself, a ``kernel`` and a ``gradient_kernel``; or a ``tile``,
    what a matrix product's tile does to be this activation, and ``tile_gradient``, the kernel of its
    gradient by the activation's output (None: the gradient is handed on).

    ``torch`` and ``onnx`` say which PyTorch module and which ONNX operator compute the same.
    """

    torch: ClassVar[Counterpart | None] = None
    onnx: ClassVar[Counterpart | None] = None

    def __repr__(self) -> str:
        return as_call(self)

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

    kernel: ClassVar[Any]
    gradient_kernel: ClassVar[Any]
    output_gradient: ClassVar[Any] = None  # a kernel that takes the output in place of the input
    rowwise = False
    _parameter: float | None = None

    @property
    def parameter(self) -> float | None:
        """A number that the kernels take too, or None."""
        return self._parameter

    def forward(self, Z: ArrayLike) -> Array:
        z = as_float(Z, "Z", unlock=True)
        out = np.empty(z.shape, z.dtype)
        if z.nbytes < SMALL and self._parameter is None:
            self.kernel(z.ravel(), out.ravel())  # what `elementwise` comes to, in half the time
        else:
            elementwise(self.kernel, z, out, parameter=self._parameter)
        return out if out.ndim and z is Z else restore(out, Z)

    def backward(self, Z: ArrayLike, dY: ArrayLike) -> Array:
        z, dy = as_float_pair(Z, dY, ("Z", "dY"))
        out = np.empty(z.shape, z.dtype)
        if z.nbytes < SMALL and self._parameter is None:
            self.gradient_kernel(z.ravel(), dy.ravel(), out.ravel())
        else:
            elementwise(self.gradient_kernel, z, dy, out, parameter=self._parameter)
        return out if out.ndim and z is Z else restore(out, Z, dY)


class Linear(Activation):
    """``f(z) = z``, with gradient ``dY``; both hand their argument on, float and uncopied."""

    tile, tile_gradient = PLAIN, None

    def forward(self, Z: ArrayLike) -> Array:
        return restore(as_float(Z, "Z"), Z)

    def backward(self, Z: ArrayLike, dY: ArrayLike) -> Array:
        z, _ = as_float_pair(Z, dY, ("Z", "dY"))
        return restore(as_float(dY, "dY", z.dtype), Z, dY)


Identity = Linear


class Sigmoid(_Elementwise):
    """``f(z) = 1 / (1 + exp(-z))``, with gradient ``dY f(z) (1 - f(z))``."""

    kernel = staticmethod(kernels.sigmoid)
    gradient_kernel = staticmethod(kernels.sigmoid_backward)
    torch = Counterpart("Sigmoid")
    onnx = Counterpart("Sigmoid")


class TanH(_Elementwise):
    """``f(z) = tanh(z)``, with gradient ``dY (1 - f(z)**2)``."""

    kernel = staticmethod(kernels.tanh)
    gradient_kernel = staticmethod(kernels.tanh_backward)
    output_gradient = staticmethod(kernels.tanh_gradient)
    torch = Counterpart("Tanh")
    onnx = Counterpart("Tanh")


class ReLU(_Elementwise):
    """``f(z) = max(z, 0)``, with gradient ``dY (z >= 0)``: 1 at 0, where PyTorch has 0."""

    kernel = staticmethod(kernels.relu)
    gradient_kernel = staticmethod(kernels.relu_backward)
    tile, tile_gradient = RELU, staticmethod(kernels.relu_gradient)
    torch = Counterpart("ReLU")
    onnx = Counterpart("Relu")


class LeakyReLU(_Elementwise):
    """``f(z) = z``, times ``negative_slope`` where z is negative; the gradient at 0 is ``dY``.

    Source: A. Maas, A. Hannun, A. Ng, "Rectifier nonlinearities improve neural network acoustic
    models", ICML 2013.
    """

    kernel = staticmethod(kernels.leaky_relu)
    gradient_kernel = staticmethod(kernels.leaky_relu_backward)
    torch = Counterpart("LeakyReLU", parameter="negative_slope")
    onnx = Counterpart("LeakyRelu", parameter="alpha", second_input="PRelu")

    def __init__(self, negative_slope: float = 0.01) -> None:
        self._slope = self._parameter = require_number("negative_slope", negative_slope, low=-math.inf)

    @property
    def negative_slope(self) -> float:
        """The slope where z is negative; for another one make a new activation."""
        return self._slope


class ELU(_Elementwise):
    """``f(z) = z`` where z is positive, else ``alpha (exp(z) - 1)``; the gradient at 0 is ``alpha dY``.

    Source: D. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by
    exponential linear units", ICLR 2016.
    """

    kernel = staticmethod(kernels.elu)
    gradient_kernel = staticmethod(kernels.elu_backward)
    torch = Counterpart("ELU", parameter="alpha")
    onnx = Counterpart("Elu", parameter="alpha")

    def __init__(self, alpha: float = 1.0) -> None:
        self._alpha = self._parameter = require_number("alpha", alpha, low=-math.inf)

    @property
    def alpha(self) -> float:
        """Minus the limit for negative z; for another one make a new activation."""
        return self._alpha


class GELU(_Elementwise):
    """``f(z) = z Phi(z)``, Phi the normal distribution function; to the last places in the tail too.

    Source: D. Hendrycks, K. Gimpel, "Gaussian error linear units", 2016.
    """

    kernel = staticmethod(kernels.gelu)
    gradient_kernel = staticmethod(kernels.gelu_backward)
    torch = Counterpart("GELU", {"approximate": "none"})
    onnx = Counterpart(
        "Gelu", {"approximate": "none"}, also={"approximate": (None,)}, single_constants=True
    )


class GELUTanh(_Elementwise):
    """``f(z) = z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z**3))) / 2``, an approximation of :class:`GELU`.

    Source: as of :class:`GELU`.
    """

    kernel = staticmethod(kernels.gelu_tanh)
    gradient_kernel = staticmethod(kernels.gelu_tanh_backward)
    torch = Counterpart("GELU", {"approximate": "tanh"})
    onnx = Counterpart("Gelu", {"approximate": "tanh"}, single_constants=True)


class SiLU(_Elementwise):
    """``f(z) = z sigmoid(z)``, also called swish.

    Source: S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning", Neural Networks 107, 2018.
    """

    kernel = staticmethod(kernels.silu)
    gradient_kernel = staticmethod(kernels.silu_backward)
    torch = Counterpart("SiLU")
    onnx = Counterpart("Sigmoid", times_input=True)


class HardSwish(_Elementwise):
    """``f(z) = z relu6(z + 3) / 6`` with ``relu6(x) = min(max(x, 0), 6)``.

    The gradient is ``dY (2 z + 3) / 6`` between -3 and 3, 0 for smaller z and ``dY`` for larger z.
    At -3 and 3, where f has no derivative, it is 0 and ``dY``, as in PyTorch.

    Source: A. Howard et al., "Searching for MobileNetV3", ICCV 2019.
    """

    kernel = staticmethod(kernels.hard_swish)
    gradient_kernel = staticmethod(kernels.hard_swish_backward)
    torch = Counterpart("Hardswish")
    onnx = Counterpart("HardSwish", single_constants=True)


class Softplus(_Elementwise):
    """``f(z) = log(1 + exp(z))``, with gradient ``dY sigmoid(z)``.

    Source: C. Dugas et al., "Incorporating second-order functional knowledge for better option
    pricing", NIPS 2000.
    """

    kernel = staticmethod(kernels.softplus)
    gradient_kernel = staticmethod(kernels.softplus_backward)
    # PyTorch's is the identity beyond its threshold, with an error of exp(-threshold).
    torch = Counterpart("Softplus", {"beta": 1.0, "threshold": 40.0}, also={"threshold": (20.0,)})
    onnx = Counterpart("Softplus")


class ArcTan(_Elementwise):
    """``f(z) = arctan(z)``, with gradient ``dY / (1 + z**2)``."""

    kernel = staticmethod(kernels.arctan)
    gradient_kernel = staticmethod(kernels.arctan_backward)
    torch = Counterpart("ArcTan")
    onnx = Counterpart("Atan")


class _Rowwise(Activation):
    """An activation over the last axis, given as two kernels over rows."""

    kernel: ClassVar[Any]
    gradient_kernel: ClassVar[Any]
    rowwise, parameter = True, None

    def forward(self, Z: ArrayLike) -> Array:
        z = as_rows(Z, "Z")
        out = np.empty_like(z)
        by_rows(self.kernel, z, out)
        return restore(out, Z)

    def backward(self, Z: ArrayLike, dY: ArrayLike) -> Array:
        z, dy = as_float_pair(Z, dY, ("Z", "dY"))
        require_classes(z, "Z")
        out = np.empty_like(z)
        by_rows(self.gradient_kernel, z, dy, out)
        return restore(out, Z, dY)


class SoftMax(_Rowwise):
    """``f(z)_i = exp(z_i) / sum_j exp(z_j)`` over the last axis.

    The gradient is the Jacobian-vector product ``P * (dY - sum(dY * P))`` with ``P = f(Z)``, for any
    ``dY``, without ever forming the ``k x k`` Jacobian (J. Bridle, "Probabilistic interpretation of
    feedforward classification network outputs", 1990). A row with NaN, with +inf or of nothing but
    -inf gives a row of NaN; -inf beside finite entries gives exactly 0.
    """

    kernel = staticmethod(softmax_kernels.softmax)
    gradient_kernel = staticmethod(softmax_kernels.softmax_backward)
    torch = Counterpart("Softmax", {"dim": -1}, also={"dim": (1, None)})
    onnx = Counterpart("Softmax", {"axis": -1}, also={"axis": (1, None)})


class LogSoftMax(_Rowwise):
    """``f(z)_i = z_i - log(sum_j exp(z_j))`` over the last axis, the logarithm of :class:`SoftMax`.

    The gradient is ``dY - P sum(dY)`` with ``P = softmax(Z)``. The largest entry comes from ``log1p``
    of the others' sum, so that it keeps its digits near 0.
    """

    kernel = staticmethod(softmax_kernels.log_softmax)
    gradient_kernel = staticmethod(softmax_kernels.log_softmax_backward)
    torch = Counterpart("LogSoftmax", {"dim": -1}, also={"dim": (1, None)})
    onnx = Counterpart("LogSoftmax", {"axis": -1}, also={"axis": (1, None)})


ACTIVATIONS: dict[str, type[Activation]] = {
    "linear": Linear,
    "identity": Linear,
    "sigmoid": Sigmoid,
    "tanh": TanH,
    "relu": ReLU,
    "softmax": SoftMax,
    "log_softmax": LogSoftMax,
    "arctan": ArcTan,
    "leaky_relu": LeakyReLU,
    "elu": ELU,
    "gelu": GELU,
    "gelu_tanh": GELUTanh,
    "silu": SiLU,
    "hard_swish": HardSwish,
    "softplus": Softplus,
}


def initialize_activation(name: Any) -> Activation:
    """Return a new activation of that name.

    Raises
    ------
    NotImplementedError
        If no activation has that name; the message lists those there are.
    """
    return choose("activation", name, ACTIVATIONS)()
