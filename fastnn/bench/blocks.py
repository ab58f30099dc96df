"""Layers of the benchmark cases for networks that are not dense, and their operation counts.

Shapes are of one row: ``(h, w, c)`` for images, ``(d, t)`` for series, ``(d,)`` otherwise. Parameters
have the names and shapes of ``fastnn``'s layers; contestants convert them to their own layout.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from fastnn._typing import Array

Shape: TypeAlias = tuple[int, ...]

_TANH = 20  # operations of an elementary function in float32, as in ``cases``
EPS = 1e-5  # epsilon of the normalisation layers


class Work(NamedTuple):
    """Operations for one row; products with a padding's zeros are not counted.

    Attributes
    ----------
    forward : int
        Operations of the forward pass.
    parameters : int
        Operations of the parameters' gradients, including intermediate gradients.
    input : int
        Additional operations of the input's gradient.
    """

    forward: int
    parameters: int
    input: int


class Block(ABC):
    """A layer of a case."""

    @property
    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``initialize_layer`` of fastnn and of its reference."""

    @property
    @abstractmethod
    def label(self) -> str:
        """Return the layer's settings, in a few characters."""

    @abstractmethod
    def output(self, shape: Shape) -> Shape:
        """Return the shape of a row of outputs."""

    @abstractmethod
    def work(self, shape: Shape) -> Work:
        """Return the operations for a row of inputs."""

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        """Return the parameters' shapes."""
        return {}

    def draw(self, shape: Shape, rng: np.random.Generator) -> dict[str, Array]:
        """Return new parameters: weights that keep the variance of activations, and small offsets."""
        return {
            name: rng.standard_normal(size)
            * (0.1 if size[0] == 1 else (1.5 / math.prod(size[:-1])) ** 0.5)
            for name, size in self.shapes(shape).items()
        }

    def layer(self, module: ModuleType) -> Any:
        """Return a layer of ``fastnn`` or ``fastnn.reference``."""
        return module.initialize_layer(**self.arguments)


@dataclass(frozen=True)
class Dense(Block):
    """``f(X W + b)``."""

    n_out: int
    activation: str = "relu"

    @property
    def arguments(self) -> dict[str, Any]:
        return {"name": "fully_connected", "n_out": self.n_out, "activation": self.activation}

    @property
    def label(self) -> str:
        return f"->{self.n_out}"

    def output(self, shape: Shape) -> Shape:
        return (self.n_out,)

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"W": (shape[0], self.n_out), "b": (1, self.n_out)}

    def work(self, shape: Shape) -> Work:
        product = 2 * shape[0] * self.n_out
        return Work(product, product, product)


@dataclass(frozen=True)
class Conv2D(Block):
    """A convolution of stride 1 with a square kernel."""

    n_out: int
    size: int
    pad: str = "same"
    activation: str = "linear"

    @property
    def arguments(self) -> dict[str, Any]:
        return {
            "name": "conv2d", "n_out": self.n_out, "kernel_shape": (self.size, self.size),
            "activation": self.activation, "stride": 1, "pad": self.pad,
        }  # fmt: skip

    @property
    def label(self) -> str:
        return f"->{self.n_out} {self.size}x{self.size}"

    @property
    def padding(self) -> int:
        """Count the rows and columns of zeros on each side."""
        return (self.size - 1) // 2 if self.pad == "same" else 0

    def output(self, shape: Shape) -> Shape:
        h, w, _ = shape
        less = self.size - 1 - 2 * self.padding
        return h - less, w - less, self.n_out

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"W": (self.size, self.size, shape[2], self.n_out), "b": (1, self.n_out)}

    def work(self, shape: Shape) -> Work:
        h, w, channels = shape
        p, k = self.padding, self.size
        taps = [
            sum(min(i - p + k, m) - max(i - p, 0) for i in range(m + 2 * p - k + 1)) for m in (h, w)
        ]
        products = 2 * math.prod(taps) * channels * self.n_out
        return Work(products, products, products)


@dataclass(frozen=True)
class MaxPool2D(Block):
    """Maximum pooling over squares of pixels that do not overlap."""

    size: int

    @property
    def arguments(self) -> dict[str, Any]:
        sizes = {"kernel_shape": (self.size, self.size), "stride": self.size, "pad": 0}
        return {"name": "pool2d", "mode": "max"} | sizes

    @property
    def label(self) -> str:
        return f" {self.size}x{self.size}"

    def output(self, shape: Shape) -> Shape:
        return shape[0] // self.size, shape[1] // self.size, shape[2]

    def work(self, shape: Shape) -> Work:
        compared = math.prod(self.output(shape)) * (self.size**2 - 1)
        return Work(compared, 0, compared)


@dataclass(frozen=True)
class Flatten(Block):
    """Reshape each row to one dimension."""

    @property
    def arguments(self) -> dict[str, Any]:
        return {"name": "flatten"}

    @property
    def label(self) -> str:
        return ""

    def output(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def work(self, shape: Shape) -> Work:
        return Work(0, 0, 0)


@dataclass(frozen=True)
class Elman(Block):
    """``s_t = tanh(X_t W + s_{t-1} U + b)``; the output is the last state."""

    n_out: int

    @property
    def arguments(self) -> dict[str, Any]:
        return {"name": "elman", "n_out": self.n_out, "activation": "tanh"}

    @property
    def label(self) -> str:
        return f"->{self.n_out}"

    def output(self, shape: Shape) -> Shape:
        return (self.n_out,)

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        k = self.n_out
        return {"W": (shape[0], k), "U": (k, k), "b": (1, k)}

    def work(self, shape: Shape) -> Work:
        d, t = shape
        k = self.n_out
        inputs, states = 2 * t * d * k, 2 * (t - 1) * k * k  # the first state is zero
        return Work(inputs + states + _TANH * t * k, inputs + 2 * states + 3 * t * k, inputs)


@dataclass(frozen=True)
class Normalisation(Block):
    """Normalisation of rows (``layer_norm``) or of columns over the batch."""

    kind: str

    @property
    def arguments(self) -> dict[str, Any]:
        return {"name": self.kind, "eps": EPS}

    @property
    def label(self) -> str:
        return ""

    def output(self, shape: Shape) -> Shape:
        return shape

    def shapes(self, shape: Shape) -> dict[str, Shape]:
        names = ("gain", "shift") if self.kind == "layer_norm" else ("gamma", "beta")
        return dict.fromkeys(names, (1, shape[-1]))

    def draw(self, shape: Shape, rng: np.random.Generator) -> dict[str, Array]:
        drawn = super().draw(shape, rng)
        scale, offset = drawn
        return {scale: drawn[scale] + 1, offset: drawn[offset]}

    def work(self, shape: Shape) -> Work:
        # mean 1, variance 3, normalised 2, scale and offset 2; sums 4; gradient 6
        return Work(*(math.prod(shape) * each for each in (8, 4, 6)))
