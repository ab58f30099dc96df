"""Weight initialisers.

Every initialiser is called with a shape, ``(fan_in, ..., fan_out)``, and returns a new float64 array.
Random ones draw from NumPy's global generator, or from ``rng`` once a seeded model has set it.

With ``fan_in = shape[0]`` and ``fan_out = shape[-1]``::

    Xavier:  std = gain * sqrt(2 / (fan_in + fan_out))     [1]
    He:      std = gain / sqrt(fan)                        [2]

and the uniform variants draw from ``±sqrt(3) * std``, which has that standard deviation.

References
----------
[1] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
networks", AISTATS 2010.

[2] K. He et al., "Delving Deep into Rectifiers", ICCV 2015.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn._own import call
from fastnn._repr import as_call
from fastnn._typing import Array
from fastnn._validation import choose

_GAINS = {"tanh": 5.0 / 3.0, "relu": math.sqrt(2.0)}


def gain(activation: str | None) -> float:
    """Return the factor by which an activation's layer widens its weights: 1 unless known."""
    return _GAINS.get(activation.lower() if isinstance(activation, str) else "", 1.0)


class WeightInitializer(ABC):
    """Base class: ``initializer(shape)`` returns the initial weights, float64."""

    rng: np.random.Generator | None = None

    def __repr__(self) -> str:
        return as_call(self)

    @abstractmethod
    def __call__(self, shape: Sequence[int]) -> Array:
        """Return an array of ``shape``."""

    def check(self, shape: Sequence[int]) -> None:  # noqa: B027  most can make any shape
        """Raise ``ValueError`` if the initialiser cannot make this shape; nothing is drawn."""

    def _normal(self, mean: float, std: float, shape: Sequence[int]) -> Array:
        source: Any = np.random if self.rng is None else self.rng
        return np.asarray(source.normal(mean, std, size=tuple(shape)))

    def _uniform(self, low: float, high: float, shape: Sequence[int]) -> Array:
        source: Any = np.random if self.rng is None else self.rng
        return np.asarray(source.uniform(low, high, size=tuple(shape)))


class Zeros(WeightInitializer):
    """All zeros."""

    def __call__(self, shape: Sequence[int]) -> Array:
        return np.zeros(shape)


class Ones(WeightInitializer):
    """All ones."""

    def __call__(self, shape: Sequence[int]) -> Array:
        return np.ones(shape)


class Identity(WeightInitializer):
    """The identity matrix; raises ``ValueError`` unless ``fan_in == fan_out``."""

    def check(self, shape: Sequence[int]) -> None:
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"identity initialisation needs a square shape, got {tuple(shape)}")

    def __call__(self, shape: Sequence[int]) -> Array:
        self.check(shape)
        return np.identity(shape[0])


class Uniform(WeightInitializer):
    """Uniform on ``[low, high)``."""

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        self.low = low
        self.high = high

    def __call__(self, shape: Sequence[int]) -> Array:
        return self._uniform(self.low, self.high, shape)


class Normal(WeightInitializer):
    """Normal with the given ``mean`` and ``std``."""

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        self.mean = mean
        self.std = std

    def __call__(self, shape: Sequence[int]) -> Array:
        return self._normal(self.mean, self.std, shape)


class Constant(WeightInitializer):
    """Every weight is ``val``."""

    def __init__(self, val: float = 0.5) -> None:
        self.val = val

    def __call__(self, shape: Sequence[int]) -> Array:
        return np.full(shape, self.val, dtype=np.float64)


class Preset(WeightInitializer):
    """The weights given: ``Preset()(W)`` is ``W``, ``Preset(W)(shape)`` a copy of ``W``.

    The second form is what a layer takes: ``FullyConnected(3, "relu", weight_init=Preset(W))``.
    Raises ``ValueError`` if ``W`` does not have the shape the layer needs.
    """

    def __init__(self, weights: Any = None) -> None:
        self.weights = None if weights is None else np.array(weights, dtype=np.float64)

    def check(self, shape: Sequence[int]) -> None:
        if self.weights is None:
            raise ValueError(f"a preset without weights cannot make {tuple(shape)}: Preset(W)")
        if self.weights.shape != tuple(shape):
            raise ValueError(
                f"preset weights have shape {self.weights.shape}, the layer needs {tuple(shape)}"
            )

    def __call__(self, shape: Any) -> Array:
        if self.weights is None:
            return np.asarray(shape)
        self.check(shape)
        return self.weights.copy()


class Sparse(WeightInitializer):
    """Normal with ``std``, then in each column ``ceil(fan_in * sparsity)`` random zeros.

    Source: J. Martens, "Deep learning via Hessian-free optimization", ICML 2010.
    """

    def __init__(self, sparsity: float = 0.1, std: float = 0.01) -> None:
        self.sparsity = sparsity
        self.std = std

    def check(self, shape: Sequence[int]) -> None:
        if len(shape) != 2:
            raise ValueError(f"sparse initialisation needs two dimensions, got {tuple(shape)}")

    def __call__(self, shape: Sequence[int]) -> Array:
        self.check(shape)
        n_rows, n_columns = shape
        n_zeros = math.ceil(n_rows * self.sparsity)
        W = self._normal(0.0, self.std, shape)
        shuffle = np.random.shuffle if self.rng is None else self.rng.shuffle
        for column in range(n_columns):
            rows = np.arange(n_rows)
            shuffle(rows)
            W[rows[:n_zeros], column] = 0.0
        return W


class _Scaled(WeightInitializer):
    """Shared by the initialisers whose spread follows the layer's size and activation."""

    def __init__(self, activation: str | None = None) -> None:
        self.activation = activation

    @abstractmethod
    def std(self, shape: Sequence[int]) -> float:
        """Return the standard deviation of the weights for this shape."""


class _Xavier(_Scaled):
    def std(self, shape: Sequence[int]) -> float:
        return gain(self.activation) * math.sqrt(2.0 / (shape[0] + shape[-1]))


class _He(_Scaled):
    def __init__(self, activation: str | None = None, mode: str = "fan_in") -> None:
        super().__init__(activation)
        if mode not in ("fan_in", "fan_out"):
            raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
        self.mode = mode

    def std(self, shape: Sequence[int]) -> float:
        fan = shape[0] if self.mode == "fan_in" else shape[-1]
        return gain(self.activation) / math.sqrt(fan)


class XavierUniform(_Xavier):
    """Uniform on ``±gain * sqrt(6 / (fan_in + fan_out))``."""

    def __call__(self, shape: Sequence[int]) -> Array:
        bound = math.sqrt(3.0) * self.std(shape)
        return self._uniform(-bound, bound, shape)


class XavierNormal(_Xavier):
    """Normal with ``std = gain * sqrt(2 / (fan_in + fan_out))``."""

    def __call__(self, shape: Sequence[int]) -> Array:
        return self._normal(0.0, self.std(shape), shape)


class HeUniform(_He):
    """Uniform on ``±gain * sqrt(3 / fan)``; ``mode`` picks ``"fan_in"`` or ``"fan_out"``."""

    def __call__(self, shape: Sequence[int]) -> Array:
        bound = math.sqrt(3.0) * self.std(shape)
        return self._uniform(-bound, bound, shape)


class HeNormal(_He):
    """Normal with ``std = gain / sqrt(fan)``; ``mode`` picks ``"fan_in"`` or ``"fan_out"``."""

    def __call__(self, shape: Sequence[int]) -> Array:
        return self._normal(0.0, self.std(shape), shape)


INITIALIZERS: dict[str, type[WeightInitializer]] = {
    "zeros": Zeros,
    "ones": Ones,
    "identity": Identity,
    "uniform": Uniform,
    "normal": Normal,
    "constant": Constant,
    "preset": Preset,
    "sparse": Sparse,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "xavier_uniform": XavierUniform,
    "xavier_normal": XavierNormal,
}


def initialize_weights(
    name: str, activation: str | None = None, mode: str = "fan_in"
) -> WeightInitializer:
    """Return the initialiser called ``name``, for a layer with that activation.

    Raises
    ------
    NotImplementedError
        If no initialiser has that name; the message lists those there are.
    """
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode must be 'fan_in' or 'fan_out', got {mode!r}")
    kind = choose("weight initialiser", name, INITIALIZERS)
    made: WeightInitializer = call(kind, activation=activation, mode=mode)
    return made
