"""The layer normalisation layer."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn._arrays import unlocked
from fastnn._changes import Changes, watched
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_number, restore
from fastnn.blueprint import Blueprint
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.layers import layer_norm as kernels
from fastnn.layers import layer_norm_alone as alone
from fastnn.layers.base import Layer
from fastnn.layers.state import Parameters

_SMALL = 2**18  # bytes of a batch below which one call is faster than a loop of several threads


class LayerNorm(Layer):
    """``Y = (X - mean) / sqrt(var + eps) * gain + shift`` over the last axis.

    Mean and variance are those of each row, the variance the biased one, ``mean((X - mean)**2)``.
    The layer computes what ``torch.nn.LayerNorm(d, eps)`` does. ``gain (1, d)`` starts as ones and
    ``shift (1, d)`` as zeros. They are made at the first ``forward``, in the dtype of its input
    (float32 or float64). Later inputs are computed in that dtype.

    The cache keeps ``X``, and ``statistics``: that array with ``(m, 3)`` float64 numbers of its m rows,
    the mean as a sum of two numbers and ``1 / sqrt(var + eps)``. ``backward`` computes them anew if the
    cache has been given another ``X``.

    Parameters
    ----------
    eps : float, default=1e-5
        Added to the variance, at least 0. With 0 a constant row gives NaN.

    Raises
    ------
    TypeError
        If ``eps`` is not a number.
    ValueError
        If ``eps`` is negative or not finite.

    References
    ----------
    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", arXiv:1607.06450.

    Examples
    --------
    >>> layer = fastnn.LayerNorm()
    >>> layer.forward([[1.0, 2.0, 3.0]]).round(3)
    array([[-1.225,  0.   ,  1.225]])
    """

    keeps_width, cached = True, ("X", "statistics")
    eps: float = watched(lambda value: require_number("eps", value, low=0.0))

    def __init__(self, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps

    @property
    def penalised(self) -> tuple[str, ...]:
        """No parameter: ``l2`` does not apply to this layer."""
        return ()

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's shape, which is the input's, or raise ``ValueError``."""
        if len(X_shape) < 2:
            raise ValueError(f"X must have shape (batch, ..., features), got {X_shape}")
        if X_shape[-1] == 0:
            raise ValueError(f"X needs at least one feature, got {X_shape}")
        if self.n_in not in (None, X_shape[-1]):
            raise ValueError(f"X has {X_shape[-1]} features, the layer needs {self.n_in}")
        return X_shape

    def parameter_shapes(self, X_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of ``gain`` and ``shift`` for inputs ``(n, ..., d)``."""
        shape = (1, X_shape[-1])
        return {"gain": shape, "shift": shape}

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return a gain of ones and a shift of zeros for inputs ``(n, ..., d)``."""
        shapes = self.parameter_shapes(self.check_input(X_shape))
        return Parameters(gain=np.ones(shapes["gain"], dtype), shift=np.zeros(shapes["shift"], dtype))

    def width_of(self, arrays: Mapping[str, Array]) -> int | None:
        return arrays["gain"].shape[-1] if "gain" in arrays and arrays["gain"].ndim == 2 else None

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        dtype = self.dtype or np.dtype(np.float64)
        self.adopt(self.initial_parameters(X_shape, dtype), X_shape[-1], dtype)

    def cost(self, X_shape: tuple[int, ...]) -> int:
        return 4 * math.prod(X_shape)

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step."""
        gain, shift = self.checked_arrays()
        source, width = to.input, to.input.shape[-1]
        to.output = to.port(source.shape)
        fields: dict[str, Any] = {}
        if to.learning:
            fields = {
                "d_output": to.output.gradient,
                "d_input": source.gradient or to.array(to.n, source.width),
                "gain_row": to.parameter("gain", written=True),
                "shift_row": to.parameter("shift", written=True),
                "d_gain": to.array(to.row_blocks, width),
                "d_shift": to.array(to.row_blocks, width),
                "blocks": to.row_blocks,
            }
        row = to.record(
            kernels.LayerNorm,
            input=source,
            output=to.output,
            width=width,
            rows=source.width // width,
            gain=gain.ctypes.data,
            shift=shift.ctypes.data,
            eps=self.eps,
            kept=to.array(to.n * (source.width // width), 3, dtype=np.float64),
            **fields,
        )
        to.forward_rows(kernels.forward, row)
        if to.learning:
            to.backward_rows(kernels.backward, row)
            to.update(to.task(kernels.update_parameters, row))

    def forward(self, X: ArrayLike) -> Array:
        """Return the normalised rows, of the shape of ``X (n, ..., d)``, and cache ``X``.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If ``X`` does not have the ``d`` features that the layer was made for.
        """
        x = as_float(X, "X", self.dtype)
        self.check_input(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        gain, shift = map(np.ascontiguousarray, self.checked_arrays())
        Y, kept = np.empty(x.shape, x.dtype), _space(x)
        if x.nbytes < _SMALL or not COMPILED:
            kernels.layer_norm(_rows(x), unlocked(gain), unlocked(shift), self.eps, kept, _rows(Y))
        else:
            with alone.forward.taken(x.shape, x.dtype) as run:
                run(x, gain, shift, self.eps, kept, Y)
        self.cache["X"], self.cache["statistics"] = x, (x, kept)
        Changes.count += 1
        return restore(Y, X)

    def backward(self, dLdY: ArrayLike) -> Array:
        """Store ``gradients["gain"]`` and ``gradients["shift"]``; return ``dX``, of the shape of ``X``.

        With ``h = (X - mean) / sqrt(var + eps)`` and ``g = dLdY * gain``, by rows::

            dX = (g - mean(g) - h mean(g h)) / sqrt(var + eps)
            dgain = sum(dLdY h), dshift = sum(dLdY)    over the rows

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        cached = self.cached_array("X")
        gain = np.ascontiguousarray(self.checked_arrays()[0])
        x = as_float(cached, "X", gain.dtype)
        dy = as_float(dLdY, "dLdY", x.dtype)
        if dy.shape != x.shape:
            raise ValueError(f"dLdY must have the output's shape {x.shape}, got {dy.shape}")
        kept = self._statistics(cached, x, gain)
        dX, d_gain, d_shift = (np.empty_like(array) for array in (x, gain, gain))
        if x.nbytes < _SMALL or not COMPILED:
            rows = _rows(x)
            sums = np.empty((2, max(-(-len(rows) // kernels.ROWS), 1), gain.shape[1]), x.dtype)
            kernels.layer_norm_backward(
                rows, unlocked(gain), kept, _rows(dy), _rows(dX), sums[0], sums[1]
            )
            kernels.add_blocks(sums[0], d_gain)
            kernels.add_blocks(sums[1], d_shift)
        else:
            with alone.backward.taken(x.shape, x.dtype) as run:
                run(x, gain, kept, dy, dX, d_gain, d_shift)
        self.gradients["gain"], self.gradients["shift"] = d_gain, d_shift
        return restore(dX, dLdY)

    def _statistics(self, cached: Array, x: Array, gain: Array) -> Array:
        """Return those of the rows of x, computed anew if ``forward`` had another array."""
        found = self.cache.get("statistics")
        if isinstance(found, tuple) and found[0] is cached:
            kept: Array = found[1]
            return kept
        kept, out = _space(x), np.empty_like(_rows(x))
        kernels.layer_norm(_rows(x), unlocked(gain), unlocked(gain), self.eps, kept, out)
        return kept


def _space(x: Array) -> Array:
    """Return an array for the statistics of the rows of x."""
    return np.empty((x.size // x.shape[-1], 3))


def _rows(array: Array) -> Array:
    """Return an array as rows ``(m, d)`` along its last axis, for compiled code."""
    return unlocked(array).reshape(-1, array.shape[-1])
