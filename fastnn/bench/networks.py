"""What is timed of whole networks of dense layers: training steps, epochs, forward passes.

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

LR, ADAM_LR = 0.01, 0.001
BETA_1, BETA_2, EPS = 0.9, 0.999, 1e-7  # Adam's
STEP_EPS = 1e-3  # for comparing parameters: with less, rounding of a small gradient is a large step
_TOLERANCE = {"float32": 2e-5, "float64": 1e-9}


@dataclass(frozen=True)
class Dense:
    """A batch of ``n`` rows and a network of these widths, from the input's to the output's."""

    n: int
    widths: tuple[int, ...]
    dtype: str = "float32"
    hidden: str = "relu"  # activation between layers

    kernel: ClassVar[str]
    calls: ClassVar[int]
    divisions: ClassVar[int] = 0
    at_once: ClassVar[int] = 1

    @property
    def key(self) -> str:
        hidden = f" {self.hidden}" if self.hidden != "relu" else ""
        return f"{self.kernel} batch {self.n} {'-'.join(map(str, self.widths))} {self.dtype}{hidden}"

    @property
    def tolerance(self) -> float:
        return _TOLERANCE[self.dtype]

    @property
    def rule(self) -> dict[str, Any]:
        """Return the optimiser's arguments."""
        return {"name": "SGD", "lr": LR}

    @property
    def loss(self) -> str:
        """Name the loss: cross-entropy of softmax outputs, or l2 of linear ones."""
        return "cross_entropy"

    @property
    def last_activation(self) -> str:
        """Name the last layer's activation."""
        return "linear"

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
            {"name": "fully_connected", "activation": self.hidden, "n_out": w} for w in self.widths[1:]
        ]
        layers[-1]["activation"] = self.last_activation
        network = module.NeuralNetwork(self.loss, layers, self.rule, seed=0)
        dtype = dtype or self.dtype
        network.forward(self.batch()[0].astype(dtype))  # makes its arrays, which are then replaced
        given = iter(self.parameters())
        for layer in network.layers:
            layer.parameters["W"] = next(given).astype(dtype)
            layer.parameters["b"] = next(given).astype(dtype).reshape(1, -1)
        return network


@dataclass(frozen=True)
class Training(Dense):
    """What steps and epochs have in common."""

    momentum: float = 0.0
    error: str = "cross_entropy"  # the loss
    optimizer: str = "SGD"

    reads: ClassVar[int] = 1

    @property
    def key(self) -> str:
        loss = f" {self.error}" if self.error != "cross_entropy" else ""
        rule = f" {self.optimizer}" if self.optimizer != "SGD" else ""
        return super().key + (f" momentum {self.momentum}" if self.momentum else "") + loss + rule

    @property
    def rule(self) -> dict[str, Any]:
        if self.optimizer == "SGD":
            return super().rule | {"momentum": self.momentum}
        return {"name": self.optimizer, "lr": ADAM_LR}

    @property
    def loss(self) -> str:
        return self.error

    @property
    def last_activation(self) -> str:
        return "softmax" if self.error == "cross_entropy" else "linear"

    @property
    def step_flops(self) -> int:
        """Count a step's operations: Y = X W, dW = X^T dZ, dX = dZ W^T but for the first layer."""
        return 2 * self.n * (3 * sum(self.products) - self.products[0])


@dataclass(frozen=True)
class TrainingStep(Training):
    """Forward, loss, backward, SGD; results are those of the third step."""

    kernel: ClassVar[str] = "training_step"
    calls: ClassVar[int] = 3

    @property
    def rule(self) -> dict[str, Any]:
        rule = super().rule
        return rule if self.optimizer == "SGD" else rule | {"eps": STEP_EPS}

    @property
    def bytes(self) -> int:
        return self._bytes(2)

    @property
    def flops(self) -> int:
        return self.step_flops

    def expected(self) -> tuple[Array, ...]:
        """Return the third step's loss and the parameters after it."""
        network = self.network(reference, "float64")
        X, Y = self.batch()[0].astype(float), self.one_hot().astype(float)
        for _ in range(self.calls):
            loss = network.train_step(X, Y)
        return (np.asarray(loss), *parameters_of(network))


@dataclass(frozen=True)
class Epochs(Training):
    """Some epochs over data in memory, in batches of ``n`` rows, in a new order each.

    The time is that of one epoch; a call does ``at_once``. The result is the last one's mean loss.
    Orders differ between contestants, and so, a little, do losses.
    """

    rows: int = 0
    at_once: int = 1  # type: ignore[misc]

    kernel: ClassVar[str] = "epoch"
    calls: ClassVar[int] = 1

    @property
    def key(self) -> str:
        return super().key.replace("batch", f"{self.rows} rows, batch", 1)

    @property
    def tolerance(self) -> float:
        return 0.1

    @property
    def batches(self) -> int:
        """Count an epoch's batches, of which the last may be smaller."""
        return -(-self.rows // self.n)

    @property
    def bytes(self) -> int:
        itemsize = np.dtype(self.dtype).itemsize
        data = self.rows * (self.widths[0] + self.widths[-1])
        return (2 * sum(self.products) * self.batches + data) * itemsize

    @property
    def flops(self) -> int:
        return self.step_flops * self.rows // self.n

    def data(self) -> tuple[Array, Array]:
        """Return rows and class numbers that a linear map of the rows decides."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((self.rows, self.widths[0])).astype(self.dtype)
        return X, (X @ rng.standard_normal((self.widths[0], self.widths[-1]))).argmax(axis=1)

    def expected(self) -> tuple[Array, ...]:
        """Return the last epoch's mean loss, in the order of the rows."""
        network = self.network(reference)
        X, labels = self.data()
        Y = np.eye(self.widths[-1], dtype=self.dtype)[labels]
        for _ in range(self.at_once):
            losses = [
                network.train_step(X[i : i + self.n], Y[i : i + self.n])
                for i in range(0, self.rows, self.n)
            ]
        return (np.asarray(np.mean(losses)),)


@dataclass(frozen=True)
class Inference(Dense):
    """Raw scores, without softmax, for one batch."""

    kernel: ClassVar[str] = "inference"
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
    *(
        TrainingStep(32, (784, 256, 128, 10), optimizer=o)
        for o in ("Adam", "AdamW", "Nadam", "RMSProp")
    ),
    *(
        TrainingStep(128, (64, 128, 64, 10), error=e)
        for e in ("mse", "mae", "huber", "poisson", "quantile")
    ),
    TrainingStep(200, (24, 8, 2), "float64", "tanh", error="l2"),
]
EPOCHS = [
    Epochs(25, (4, 32, 16, 3), rows=150, at_once=100),
    Epochs(32, (64, 128, 64, 10), rows=1500, at_once=10),
    Epochs(200, (16, 100, 26), rows=20_000, at_once=2),
    Epochs(128, (784, 256, 128, 10), rows=60_000),
    Epochs(10_000, (4, 32, 16, 4), hidden="tanh", rows=10_000, at_once=20, optimizer="Adam"),
]
INFERENCES = [
    Inference(1, (4, 16, 16, 3)),
    Inference(1, (64, 64, 32, 4)),
    Inference(1, (784, 256, 128, 10)),
    Inference(32, (784, 256, 128, 10)),
    Inference(1024, (784, 256, 128, 10)),
]

# Figures that others have published, by case; on other machines, so no part of any ratio.
PUBLISHED = {
    STEPS[-1].key: "SimpleChains.jl, by its authors (github.com/PumasAI/SimpleChains.jl): loss and "
    "gradient without an update in 5.66 us, processor unnamed",
    EPOCHS[-1].key: "SimpleChains.jl, by its authors (github.com/PumasAI/SimpleChains.jl): 41 us an "
    "epoch on 18 cores, 54 GFLOP/s a core",
}
