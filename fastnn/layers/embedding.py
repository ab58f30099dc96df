"""The embedding layer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fastnn._arrays import unlocked
from fastnn._changes import Changes, watched
from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_count, restore
from fastnn.blueprint import Blueprint
from fastnn.kernels.layers import embedding as kernels
from fastnn.layers.base import Layer
from fastnn.layers.state import Parameters
from fastnn.weights import Normal, WeightInitializer, initialize_weights

_TASK = 2**15  # numbers of a table that are updated together
_EXACT = 2**24  # up to which float32 has all integers


def _axis(value: Any) -> int:
    if value not in (-1, 1) or isinstance(value, bool):
        raise ValueError(f"axis must be -1, features last, or 1, features before time, got {value!r}")
    return int(value)


def _padding_index(value: Any) -> int | None:
    return None if value is None else require_count("padding_index", value, 0)


class Embedding(Layer):
    """``Y[i, j] = W[X[i, j]]``: a row of a table for each number, such as a word's.

    A network's first layer. It computes what ``torch.nn.Embedding(n_in, n_out, padding_idx)`` does.
    ``W (n_in, n_out)`` is made at the first ``forward``, in the dtype of its input if that is float32,
    else float64, or in the network's. The gradient of a row is the sum of the gradients of its uses, in
    their order. The penalty ``l2`` does not apply. Integers become floats in a network, so ``X`` may
    hold floats that are whole numbers.

    Parameters
    ----------
    n_in : int
        Rows of the table: numbers from 0 to ``n_in - 1`` are known.
    n_out : int
        Numbers in a row.
    weight_init : str or WeightInitializer, default="normal"
        A name for ``initialize_weights``, or a function of a shape; by default standard normal numbers.
    axis : {-1, 1}, default=-1
        Where the features go: for ``X (n, t)``, -1 gives ``(n, t, n_out)``, 1 gives ``(n, n_out, t)``,
        which recurrent layers take.
    padding_index : int, optional
        A number whose row is zeros and stays so: it gets no gradient.

    Raises
    ------
    TypeError
        If a number is not an integer.
    ValueError
        If a number is too small, ``padding_index`` is not in the table, or ``axis`` is neither.

    Examples
    --------
    >>> layer = fastnn.Embedding(3, 2, weight_init="ones", padding_index=0)
    >>> layer.forward([[2, 0]])
    array([[[1., 1.],
            [0., 0.]]])
    """

    cached = ("X",)
    axis: int = watched(_axis)
    padding_index: int | None = watched(_padding_index)

    def __init__(
        self,
        n_in: int,
        n_out: int,
        weight_init: str | WeightInitializer | Callable[[Sequence[int]], Array] = "normal",
        axis: int = -1,
        padding_index: int | None = None,
    ) -> None:
        super().__init__()
        self.n_in, self.n_out = require_count("n_in", n_in), require_count("n_out", n_out)
        self.axis, self.padding_index = axis, padding_index
        _ = self.padding_row  # or an error
        self.init_weights = weight_init if callable(weight_init) else initialize_weights(weight_init)

    @classmethod
    def of(cls, W: Array, axis: int = -1, padding_index: int | None = None) -> "Embedding":
        """Return a layer with a copy of a table ``W (n_in, n_out)``."""
        layer = cls(W.shape[0], W.shape[1], axis=axis, padding_index=padding_index)
        layer.adopt(Parameters(W=W), W.shape[0], W.dtype)
        return layer

    def __repr__(self) -> str:
        init = self.init_weights
        usual = type(init) is Normal and (init.mean, init.std) == (0.0, 1.0)
        return as_call(self, weight_init="normal" if usual else init)

    @property
    def penalised(self) -> tuple[str, ...]:
        """No parameter: ``l2`` does not apply to this layer."""
        return ()

    @property
    def is_initialized(self) -> bool:
        return bool(self._parameters)

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's shape for numbers ``(n,)`` or ``(n, t)``, or raise ``ValueError``."""
        if len(X_shape) not in (1, 2):
            raise ValueError(f"X must have shape (batch,) or (batch, time), got {X_shape}")
        if 0 in X_shape[1:]:
            raise ValueError(f"X needs at least one number in a row, got {X_shape}")
        _ = self.padding_row  # or an error
        if self._parameters:
            self.checked_parameters()
        n, *time = X_shape
        features = self._size[1]
        return (n, *time, features) if self.axis == -1 else (n, features, *time)

    def check_values(self, X: ArrayLike) -> None:
        """Raise an error unless all of ``X`` are numbers of rows of the table.

        Raises
        ------
        ValueError
            If a value is no whole number.
        IndexError
            If one is negative, or not below ``n_in``.
        """
        x = np.asarray(X)
        rows = len(self._parameters["W"]) if "W" in self._parameters else self._size[0]
        if not x.size:
            return
        if x.dtype.kind == "f" and not (np.floor(x) == x).all():  # of NaN neither is
            bad = x[~(np.floor(x) == x)][0]
            raise ValueError(
                f"Embedding takes whole numbers from 0 to {rows - 1}; X holds {bad}: give row numbers"
            )
        if x.min() < 0 or x.max() >= rows:
            bad = x[(x < 0) | (x >= rows)][0]
            raise IndexError(
                f"X holds {bad:.0f}, but the table of the Embedding has {rows} rows: 0 to {rows - 1}"
            )

    @property
    def _size(self) -> tuple[int, int]:
        """The table's rows and columns."""
        if self.n_in is None or self.n_out is None:
            raise ValueError(f"n_in is {self.n_in}, n_out is {self.n_out}; both must be numbers")
        return self.n_in, self.n_out

    @property
    def padding_row(self) -> int:
        """``padding_index``, -1 for none; ``ValueError`` if the table has no such row."""
        index, (rows, _) = self.padding_index, self._size
        if index is not None and index >= rows:
            raise ValueError(f"padding_index is {index}, the table has {rows} rows: 0 to {rows - 1}")
        return -1 if index is None else index

    def parameter_shapes(self, X_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shape of ``W``."""
        return {"W": self._size}

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return a table, newly drawn; the layer does not change."""
        shape = self._size
        if shape[0] > _EXACT and dtype == np.float32:
            raise ValueError(f"float32 does not hold all numbers of {shape[0]} rows: use float64")
        W = np.array(as_float(self.init_weights(shape), "weight_init", dtype))
        if W.shape != shape:
            raise ValueError(f"weight_init gave {W.shape}, the layer needs {shape}")
        if self.padding_row >= 0:
            W[self.padding_row] = 0
        return Parameters(W=W)

    def adopt(self, parameters: Parameters, n_in: int, dtype: np.dtype[Any]) -> None:
        super().adopt(parameters, self._size[0], dtype)  # not the width of the input

    def width_of(self, arrays: Mapping[str, Array]) -> int | None:
        return self.n_in

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        dtype = self.dtype or np.dtype(np.float64)
        self.adopt(self.initial_parameters(X_shape, dtype), self._size[0], dtype)

    def checked_parameters(self) -> Array:
        """Return ``W (n_in, n_out)``, having checked that it fits.

        Raises
        ------
        ValueError
            If ``parameters`` does not hold this array alone, of the layer's shape and dtype.
        """
        parameters = self._parameters
        if parameters.keys() != {"W"}:
            names = ", ".join(map(repr, parameters)) or "nothing"
            raise ValueError(f"parameters must hold 'W'; it holds {names}")
        W: Array = parameters["W"]
        if W.shape != self._size or W.dtype != (self.dtype or W.dtype):
            raise ValueError(
                f"parameters['W'] is {W.dtype} of shape {W.shape}; "
                f"the layer needs {self.dtype or W.dtype} of shape {self._size}"
            )
        return W

    def cost(self, X_shape: tuple[int, ...]) -> int:
        return int(np.prod(self.check_input(X_shape)))

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step.

        Raises ``ValueError`` if the layer is not the network's first: its input's values are unknown.
        """
        if to.input is not to.ports[0]:
            raise ValueError("an Embedding must be the network's first layer: it takes numbers of rows")
        W, shape = self.checked_parameters(), self.check_input((to.n, *to.input.shape))
        rows, width = W.shape
        port = to.output = to.port(shape[1:])
        fields: dict[str, Any] = {
            "input": to.input,
            "output": port,
            "d_output": port.gradient,
            "table": W.ctypes.data,
            "rows": rows,
            "width": width,
            "steps": to.input.width,
            "last": self.axis == -1,
            "padding": self.padding_row,
        }
        to.forward_rows(kernels.forward, to.record(kernels.Embedding, **fields))
        if to.learning is None:
            return
        fields["parameter"] = to.parameter("W", written=True)
        count = max(1, _TASK // width)
        for first in range(0, rows, count):
            part = {"first": first, "count": min(count, rows - first)}
            row = to.record(kernels.Embedding, **fields, **part)
            to.update(to.task(kernels.update_rows, row))

    def forward(self, X: ArrayLike) -> Array:
        """Return the table's rows for numbers ``X``, and cache ``X``.

        Parameters
        ----------
        X : array_like of integers, or of floats that are whole numbers, shape (n,) or (n, t)

        Returns
        -------
        array, shape (n, n_out), (n, t, n_out) or, with ``axis=1``, (n, n_out, t)

        Raises
        ------
        TypeError
            If ``X`` holds something other than numbers.
        ValueError
            If ``X`` has another number of axes, or a value is no whole number.
        IndexError
            If a value is not in the table.
        """
        given = np.asarray(X)
        dtype = self.dtype
        if dtype is None and given.dtype.kind in "iu":
            dtype = np.dtype(np.float64)
        x = as_float(X, "X", dtype)
        shape = self.check_input(x.shape)
        self.check_values(given)
        if not self._parameters:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        W, numbers = self.checked_parameters(), unlocked(x).reshape(len(x), -1 if x.size else 1)
        Y = np.empty(shape, W.dtype)
        wide = numbers.shape[1] * W.shape[1]
        kernels.embed(numbers, unlocked(W), self.axis == -1, Y.reshape(len(x), wide))
        self.cache["X"] = x
        Changes.count += 1
        return restore(Y, X)

    def backward(self, dLdY: ArrayLike) -> Array:
        """Store ``gradients["W"]``; return zeros of the shape of ``X``, which has no gradient.

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        x = self.cache.get("X", [])
        if isinstance(x, list):
            raise RuntimeError("backward needs a forward pass first: the layer's cache is empty")
        W = self.checked_parameters()
        x, dy = as_float(x, "X", W.dtype), as_float(dLdY, "dLdY", W.dtype)
        if dy.shape != (shape := self.check_input(x.shape)):
            raise ValueError(f"dLdY must have the output's shape {shape}, got {dy.shape}")
        numbers = unlocked(x).reshape(len(x), -1 if x.size else 1)
        flat = unlocked(dy).reshape(len(x), numbers.shape[1] * W.shape[1])
        dW = np.empty_like(W)
        kernels.embed_backward(numbers, len(W), 0, self.padding_row, self.axis == -1, flat, dW)
        self.gradients["W"] = dW
        return restore(np.zeros(x.shape, W.dtype), dLdY)
