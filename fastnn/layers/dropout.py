"""The dropout layer."""

import math
from typing import Any

import numpy as np

from fastnn._arrays import unlocked
from fastnn._changes import Changes, watched
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, restore
from fastnn.blueprint import Blueprint
from fastnn.kernels.layers import dropout as kernels
from fastnn.layers.base import Layer
from fastnn.layers.state import Parameters


def _rate(value: Any) -> float:
    try:
        rate = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"rate must be a number, got {value!r}") from None
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"rate must be at least 0 and below 1, got {value!r}")
    return rate


class Dropout(Layer):
    """``Y = X * mask / (1 - rate)`` in training, ``Y = X`` otherwise: inverted dropout.

    The mask is 0 with probability ``rate``, else 1, and independent for each element. The layer
    computes what ``torch.nn.Dropout(rate)`` does, with other random numbers. A mask depends on
    ``buffers["seed"]``, on ``buffers["step"]`` and on the element's row-major index in the batch, and
    not on the number of threads. It is not stored: ``backward`` computes it again from the step that
    the cache keeps.

    Parameters
    ----------
    rate : float, default=0.5
        Probability that an element is set to 0, at least 0 and below 1. With 0 nothing is dropped.

    Attributes
    ----------
    training : bool
        If False, ``forward`` returns its input.
    buffers : ordered dict of int64 arrays, shape (1,)
        ``seed``, drawn from ``rng``, or from NumPy's global generator, when the layer is first used;
        ``step``, the number of forward passes in training.

    Raises
    ------
    TypeError
        If ``rate`` is not a number.
    ValueError
        If ``rate`` is not in ``[0, 1)``.

    References
    ----------
    N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever, R. Salakhutdinov, "Dropout: a simple way to
    prevent neural networks from overfitting", JMLR 15, 2014. The random numbers are those of
    Philox4x32-10: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as
    easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> layer = fastnn.Dropout(0.5)
    >>> layer.forward(np.ones((1, 8)))  # doctest: +SKIP
    array([[2., 0., 0., 2., 2., 0., 2., 2.]])
    >>> layer.training = False
    >>> layer.forward([[1.0, 2.0]])
    array([[1., 2.]])
    """

    keeps_width, cached = True, ("step", "shape")
    rate: float = watched(_rate)

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        self.rate = rate

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's shape, which is the input's; ``ValueError`` without a batch axis."""
        if not X_shape:
            raise ValueError(f"X must have a batch axis, got shape {X_shape}")
        return X_shape

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return no parameters; draw the seed if there is none."""
        self.check_input(X_shape)
        if "seed" not in self.buffers:
            draw = np.random.randint if self.rng is None else self.rng.integers
            seed = draw(0, np.iinfo(np.int64).max, 1, np.int64)
            self.buffers.update(seed=np.asarray(seed), step=np.zeros(1, np.int64))
        return Parameters()

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        dtype = self.dtype or np.dtype(np.float64)
        self.adopt(self.initial_parameters(X_shape, dtype), X_shape[-1], dtype)

    def buffer_forms(self) -> dict[str, tuple[tuple[int, ...], type]]:
        return {"seed": ((1,), np.int64), "step": ((1,), np.int64)}

    def cost(self, X_shape: tuple[int, ...]) -> int:
        return 2 * math.prod(X_shape) if self.training and self.rate else 0

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step; one that does not learn has none of it."""
        source = to.input
        if not to.learning or not self.training or not self.rate:
            to.output = source
            return
        to.output = to.port(source.shape, gradient=source.gradient != 0)
        row = to.record(
            kernels.Dropout,
            input=source,
            output=to.output,
            d_output=to.output.gradient,
            d_input=source.gradient,
            width=source.width,
            seed=self.buffers["seed"].ctypes.data,
            step=self.buffers["step"].ctypes.data,
            rate=self.rate,
        )
        to.forward_rows(kernels.forward, row)
        if source.gradient:
            to.backward_rows(kernels.backward, row)
        to.update(to.task(kernels.count_step, row))

    def forward(self, X: ArrayLike) -> Array:
        """Return ``X * mask / (1 - rate)`` and count a step; outside training return ``X``.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If ``X`` is a number, without a batch axis.
        """
        x = as_float(X, "X", self.dtype)
        self.check_input(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        Changes.count += 1
        self.cache.update(step=None, shape=x.shape)
        if not self.training:
            return restore(x, X)
        self.check_buffers()
        step = int(self.buffers["step"][0])
        Y = np.empty(x.shape, x.dtype)
        kernels.dropout(_flat(x), self.rate, self._seed(), step, 0, _flat(Y))
        self.buffers["step"][0] = step + 1
        self.cache["step"] = step
        return restore(Y, X)

    def backward(self, dLdY: ArrayLike) -> Array:
        """Return ``dLdY * mask / (1 - rate)``, with the mask of the last ``forward``.

        After a ``forward`` outside training the result is ``dLdY``.

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        step, shape = self.cache.get("step", []), self.cache.get("shape", [])
        if isinstance(step, list):
            raise RuntimeError("backward needs a forward pass first: the layer's cache is empty")
        dy = as_float(dLdY, "dLdY", self.dtype)
        if dy.shape != shape:
            raise ValueError(f"dLdY must have the output's shape {shape}, got {dy.shape}")
        if step is None:
            return restore(dy, dLdY)
        dX = np.empty(dy.shape, dy.dtype)
        self.check_buffers()
        kernels.dropout_backward(_flat(dy), self.rate, self._seed(), step, 0, _flat(dX))
        return restore(dX, dLdY)

    def _seed(self) -> int:
        return int(self.buffers["seed"][0])


def _flat(array: Array) -> Array:
    return unlocked(array).reshape(-1)
