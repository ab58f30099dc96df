"""Benchmark cases of single layers, forward and backward, and of networks that are not dense.

All contestants start from the parameters and the batch of a case, in the layout that suits their
library: images with channels first or last, series with time first.
"""

import math
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from fastnn import reference
from fastnn._typing import Array
from fastnn.bench import blocks
from fastnn.bench.blocks import Block, Shape
from fastnn.bench.networks import LR

_TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # sums over thousands of pixels or many steps of time


@dataclass(frozen=True)
class Stacked:
    """A batch of ``n`` rows of a shape, and layers."""

    name: str
    n: int
    shape: Shape
    layers: tuple[Block, ...]
    dtype: str = "float32"

    kernel: ClassVar[str]
    calls: ClassVar[int] = 1
    at_once: ClassVar[int] = 1
    divisions: ClassVar[int] = 0
    reads: ClassVar[int] = 1

    @property
    def tolerance(self) -> float:
        return _TOLERANCE[self.dtype]

    @property
    def shapes(self) -> list[Shape]:
        """Return the shape of a row of each layer's input, then of the last one's output."""
        shapes = [self.shape]
        for layer in self.layers:
            shapes.append(layer.output(shapes[-1]))
        return shapes

    def batch(self) -> Array:
        """Return inputs ``(n, *shape)``, the same at every call."""
        return np.random.default_rng(0).standard_normal((self.n, *self.shape)).astype(self.dtype)

    def parameters(self) -> list[dict[str, Array]]:
        """Return new arrays by layer and name, at every call with the same values."""
        rng = np.random.default_rng(1)
        return [
            {name: array.astype(self.dtype) for name, array in layer.draw(shape, rng).items()}
            for layer, shape in zip(self.layers, self.shapes, strict=False)
        ]

    def _bytes(self, *arrays: int) -> int:
        return sum(arrays) * np.dtype(self.dtype).itemsize

    @property
    def n_parameters(self) -> int:
        """Count the numbers in all parameters."""
        return sum(array.size for arrays in self.parameters() for array in arrays.values())


class Gradient:
    """The gradient of a layer's input, which is converted to a case's layout when it is read.

    For series, fastnn returns a list of time steps, and the reference an array ``(n, d, t)``.
    """

    def __init__(self, dX: Any) -> None:
        self._dX = dX

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        dX = np.asarray(self._dX)
        is_series = dX.ndim == 3 and not isinstance(self._dX, list)
        return dX.transpose(2, 0, 1) if is_series else dX


@dataclass(frozen=True)
class LayerCase(Stacked):
    """Forward and backward of a layer; results: output, gradients of the input and the parameters.

    For series the input's gradient is ``(t, n, d)``. With ``first``, the layer is a network's first and
    the gradient of its input is not computed.
    """

    first: bool = False

    kernel: ClassVar[str] = "layer"

    @property
    def layer(self) -> Block:
        """Return the layer."""
        return self.layers[0]

    @property
    def key(self) -> str:
        shape = self.shape[::-1] if isinstance(self.layer, blocks.Elman) else self.shape
        sizes = "x".join(map(str, (self.n, *shape)))
        first = " first" if self.first else ""
        return f"layer {self.name} {sizes}{self.layer.label}{first} {self.dtype}"

    @property
    def bytes(self) -> int:
        rows = [self.n * math.prod(shape) for shape in self.shapes]
        return self._bytes(rows[0] * (1 if self.first else 2), 2 * rows[1], 2 * self.n_parameters)

    @property
    def flops(self) -> int:
        forward, parameters, back = self.layer.work(self.shape)
        return self.n * (forward + parameters + (0 if self.first else back))

    def gradient(self) -> Array:
        """Return the gradient of the output, the same at every call."""
        shape = (self.n, *self.shapes[-1])
        return np.random.default_rng(2).standard_normal(shape).astype(self.dtype)

    def made(self, module: ModuleType, dtype: str | None = None) -> Any:
        """Return the layer of ``fastnn`` or ``fastnn.reference`` with its parameters."""
        layer = self.layer.layer(module)
        layer.forward(self.batch().astype(dtype or self.dtype))
        _set(layer, self.parameters()[0], dtype or self.dtype)
        return layer

    def results(self, layer: Any, Y: Array, dX: Any) -> tuple[Any, ...]:
        """Return a case's results, in its order, of a layer after forward and backward."""
        given = () if self.first else (Gradient(dX),)
        return (Y, *given, *layer.gradients.values())

    def expected(self) -> tuple[Array, ...]:
        layer = self.made(reference, "float64")
        layer.clear_gradients()
        Y = layer.forward(self.batch().astype(float))
        results = self.results(layer, Y, layer.backward(self.gradient().astype(float)))
        return tuple(map(np.asarray, results))


@dataclass(frozen=True)
class Stack(Stacked):
    """A network whose last layer is dense and has one output per class."""

    last: ClassVar[str]  # the last layer's activation

    @property
    def key(self) -> str:
        return f"{self.kernel} {self.name} batch {self.n} {self.dtype}"

    @property
    def classes(self) -> int:
        """Count the classes."""
        return self.shapes[-1][0]

    def labels(self) -> Array:
        """Return class numbers, the same at every call."""
        return np.random.default_rng(3).integers(0, self.classes, self.n)

    def one_hot(self) -> Array:
        """Return the classes as rows."""
        return np.eye(self.classes, dtype=self.dtype)[self.labels()]

    def network(self, module: ModuleType, dtype: str | None = None) -> Any:
        """Return a network of ``fastnn`` or ``fastnn.reference``."""
        arguments = [layer.arguments for layer in self.layers]
        arguments[-1]["activation"] = self.last
        rule = {"name": "SGD", "lr": LR}
        network = module.NeuralNetwork("cross_entropy", arguments, rule, seed=0)
        dtype = dtype or self.dtype
        network.forward(self.batch().astype(dtype))  # makes its arrays, which are then replaced
        for layer, arrays in zip(network.layers, self.parameters(), strict=True):
            _set(layer, arrays, dtype)
        return network


@dataclass(frozen=True)
class StackStep(Stack):
    """Forward, loss, backward, SGD; results are those of the third step: loss, parameters."""

    kernel: ClassVar[str] = "stack_step"
    calls: ClassVar[int] = 3
    last: ClassVar[str] = "softmax"

    @property
    def bytes(self) -> int:
        return self._bytes(self.n * (math.prod(self.shape) + self.classes), 2 * self.n_parameters)

    @property
    def flops(self) -> int:
        work = [layer.work(shape) for layer, shape in zip(self.layers, self.shapes, strict=False)]
        return self.n * (sum(map(sum, work)) - work[0].input)

    def expected(self) -> tuple[Array, ...]:
        network = self.network(reference, "float64")
        X, Y = self.batch().astype(float), self.one_hot().astype(float)
        for _ in range(self.calls):
            loss = network.train_step(X, Y)
        return (np.asarray(loss), *parameters_of(network))


@dataclass(frozen=True)
class StackInference(Stack):
    """Raw scores, without softmax, for one batch."""

    kernel: ClassVar[str] = "stack_inference"
    reads: ClassVar[int] = 0
    last: ClassVar[str] = "linear"

    @property
    def bytes(self) -> int:
        return self._bytes(self.n * (math.prod(self.shape) + self.classes), self.n_parameters)

    @property
    def flops(self) -> int:
        pairs = zip(self.layers, self.shapes, strict=False)
        return self.n * sum(layer.work(shape).forward for layer, shape in pairs)

    def expected(self) -> tuple[Array, ...]:
        network = self.network(reference, "float64")
        return (np.asarray(network.forward(self.batch().astype(float))),)


def parameters_of(network: Any) -> list[Array]:
    """Return a network's parameters as arrays, layer by layer."""
    return [array for layer in network.layers for array in layer.parameters.values()]


def _set(layer: Any, arrays: dict[str, Array], dtype: str) -> None:
    for name, array in arrays.items():
        layer.parameters[name] = array.astype(dtype)


def _conv(n_out: int, size: int, *shape: int, first: bool = False) -> LayerCase:
    return LayerCase("Conv2D", 32, shape, (blocks.Conv2D(n_out, size),), first=first)


def _norm(name: str, kind: str, n: int, *shape: int) -> LayerCase:
    return LayerCase(name, n, shape, (blocks.Normalisation(kind),))


LENET = (
    blocks.Conv2D(6, 5, "same", "relu"),
    blocks.MaxPool2D(2),
    blocks.Conv2D(16, 5, "valid", "relu"),
    blocks.MaxPool2D(2),
    blocks.Flatten(),
    blocks.Dense(120),
    blocks.Dense(84),
    blocks.Dense(10),
)
SERIES = (blocks.Elman(40), blocks.Dense(3))

LAYERS = [
    _conv(32, 3, 28, 28, 1, first=True),
    _conv(32, 5, 32, 32, 3, first=True),
    _conv(16, 5, 12, 12, 6),
    _conv(64, 3, 14, 14, 32),
    _conv(64, 5, 16, 16, 32),
    LayerCase("Elman", 32, (8, 20), (blocks.Elman(32),)),
    LayerCase("Elman", 64, (32, 50), (blocks.Elman(64),)),
    LayerCase("MaxPool2D", 32, (28, 28, 16), (blocks.MaxPool2D(2),)),
    _norm("LayerNorm", "layer_norm", 256, 512),
    _norm("BatchNorm1D", "batchnorm1d", 256, 512),
    _norm("BatchNorm2D", "batchnorm2d", 32, 28, 28, 16),
]
STACK_STEPS = [
    StackStep("LeNet-5", 32, (28, 28, 1), LENET),
    StackStep("LeNet-5", 128, (28, 28, 1), LENET),
    StackStep("Elman 25x6->40, softmax of 3,", 48, (6, 25), SERIES),
]
STACK_INFERENCES = [StackInference("LeNet-5", n, (28, 28, 1), LENET) for n in (1, 32, 128)]
