"""What is timed of whole networks: training steps and forward passes, relu between dense layers.

Everybody starts from a case's own parameters, ``W`` ``(d, k)`` and ``b`` ``(k,)`` by turns, and its
own batch, in the form that suits their library.
"""

from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from fastnn import reference
from fastnn._typing import Array

LR = 0.01
_TOLERANCE = {"float32": 2e-5, "float64": 1e-9}


@dataclass(frozen=True)
class Dense:
    """A batch of ``n`` rows and a network of these widths, from the input's to the output's."""

    n: int
    widths: tuple[int, ...]
    dtype: str = "float32"

    kernel: ClassVar[str]
    last_activation: ClassVar[str]
    calls: ClassVar[int]
    divisions: ClassVar[int] = 0

    @property
    def key(self) -> str:
        return f"{self.kernel} batch {self.n} {'-'.join(map(str, self.widths))} {self.dtype}"

    @property
    def tolerance(self) -> float:
        return _TOLERANCE[self.dtype]

    @property
    def rule(self) -> dict[str, Any]:
        """Return the optimiser's arguments."""
        return {"name": "SGD", "lr": LR}

    @property
    def products(self) -> list[int]:
        """Return the sizes of the weights: the multiplications for each row."""
        return [d * k for d, k in pairwise(self.widths)]

    def _bytes(self, times: int) -> int:
        """Return the bytes of the batch and, so many times, of the weights."""
        batch = self.n * (self.widths[0] + self.widths[-1])
        return (times * sum(self.products) + batch) * np.dtype(self.dtype).itemsize

    def batch(self) -> tuple[Array, Array]:
        """Return rows and their class numbers, the same at every call."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((self.n, self.widths[0])).astype(self.dtype)
        return X, rng.integers(0, self.widths[-1], self.n)

    def one_hot(self) -> Array:
        """Return the classes as rows."""
        return np.eye(self.widths[-1], dtype=self.dtype)[self.batch()[1]]

    def parameters(self) -> list[Array]:
        """Return new arrays, at every call with the same values."""
        rng = np.random.default_rng(1)
        made = []
        for d, k in pairwise(self.widths):
            made += [rng.standard_normal((d, k)) * np.sqrt(2 / d), rng.standard_normal(k) / 10]
        return [array.astype(self.dtype) for array in made]

    def network(self, module: ModuleType, dtype: str | None = None) -> Any:
        """Return a network of ``fastnn`` or ``fastnn.reference``."""
        layers: list[dict[str, Any]] = [
            {"name": "fully_connected", "activation": "relu", "n_out": w} for w in self.widths[1:]
        ]
        layers[-1]["activation"] = self.last_activation
        network = module.NeuralNetwork("cross_entropy", layers, self.rule, seed=0)
        dtype = dtype or self.dtype
        network.forward(self.batch()[0].astype(dtype))  # makes its arrays, which are then replaced
        given = iter(self.parameters())
        for layer in network.layers:
            layer.parameters["W"] = next(given).astype(dtype)
            layer.parameters["b"] = next(given).astype(dtype).reshape(1, -1)
        return network


@dataclass(frozen=True)
class TrainingStep(Dense):
    """Forward, softmax and cross-entropy, backward, SGD; results are those of the third step."""

    momentum: float = 0.0

    kernel: ClassVar[str] = "training_step"
    last_activation: ClassVar[str] = "softmax"
    calls: ClassVar[int] = 3
    reads: ClassVar[int] = 1

    @property
    def key(self) -> str:
        return super().key + (f" momentum {self.momentum}" if self.momentum else "")

    @property
    def rule(self) -> dict[str, Any]:
        return super().rule | {"momentum": self.momentum}

    @property
    def bytes(self) -> int:
        return self._bytes(2)

    @property
    def flops(self) -> int:
        # Y = X W, dW = X^T dZ, dX = dZ W^T, the last not for the first layer
        return 2 * self.n * (3 * sum(self.products) - self.products[0])

    def expected(self) -> tuple[Array, ...]:
        """Return the third step's loss and the parameters after it."""
        network = self.network(reference, "float64")
        X, Y = self.batch()[0].astype(float), self.one_hot().astype(float)
        for _ in range(self.calls):
            loss = network.train_step(X, Y)
        return (np.asarray(loss), *parameters_of(network))


@dataclass(frozen=True)
class Inference(Dense):
    """Raw scores, without softmax, for one batch."""

    kernel: ClassVar[str] = "inference"
    last_activation: ClassVar[str] = "linear"
    calls: ClassVar[int] = 1
    reads: ClassVar[int] = 0

    @property
    def bytes(self) -> int:
        return self._bytes(1)

    @property
    def flops(self) -> int:
        return 2 * self.n * sum(self.products)

    def expected(self) -> tuple[Array, ...]:
        """Return the scores."""
        network = self.network(reference, "float64")
        return (np.asarray(network.forward(self.batch()[0].astype(float))),)


def parameters_of(network: Any) -> list[Array]:
    """Return the parameters of a network of ``fastnn`` or ``fastnn.reference``, as cases have them."""
    return [
        array for layer in network.layers
        for array in (layer.parameters["W"], layer.parameters["b"].reshape(-1))
    ]  # fmt: skip


STEPS = [
    TrainingStep(25, (4, 25, 16, 3)),
    TrainingStep(32, (64, 128, 64, 10)),
    TrainingStep(128, (64, 128, 64, 10)),
    TrainingStep(32, (784, 256, 128, 10)),
    TrainingStep(128, (784, 256, 128, 10)),
    TrainingStep(512, (784, 512, 256, 10)),
    TrainingStep(32, (64, 128, 64, 10), "float64"),
    TrainingStep(128, (64, 128, 64, 10), "float64"),
    TrainingStep(32, (784, 256, 128, 10), momentum=0.9),
]
INFERENCES = [
    Inference(1, (4, 16, 16, 3)),
    Inference(1, (64, 64, 32, 4)),
    Inference(1, (784, 256, 128, 10)),
    Inference(32, (784, 256, 128, 10)),
    Inference(1024, (784, 256, 128, 10)),
]
