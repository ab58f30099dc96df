"""The pooling layer."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._changes import Changes, watched
from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_count, restore
from fastnn.blueprint import Blueprint
from fastnn.layers.base import Layer
from fastnn.layers.pooling import Windows
from fastnn.layers.state import Parameters
from fastnn.layers.windows import padding, pair

_MODES: dict[str, Callable[..., Any]] = {"max": np.max, "average": np.mean}


def _mode(value: Any) -> str:
    if not isinstance(value, str) or value not in _MODES:
        raise ValueError(f"mode must be 'max' or 'average', got {value!r}")
    return value


class Pool2D(Layer):
    """Maxima or averages of windows of images, for each channel by itself.

    With windows of ``kh x kw`` pixels::

        Y[n, i, j, c] = f(X_pad[n, i s : i s + kh, j s : j s + kw, c])    s the stride, f max or mean

    for images ``X (n, height, width, channels)`` with ``pad = (ph, pw)`` rows and columns of zeros on
    each side. There are ``(height + 2 ph - kh) // s + 1`` rows of windows, and columns likewise.
    Pixels that are left over at the bottom and right are in no window; their gradient is 0.

    The zeros take part: they are the maximum of a window of negative numbers, whose gradient is then
    lost, and an average is always over ``kh * kw`` pixels. (PyTorch pads maxima with ``-inf``; its
    ``AvgPool2d`` does the same as this layer.) Of equal maxima the first, in row-major order, gets the
    gradient. The maximum of a window with a NaN is NaN, and its gradient goes to the first NaN.

    Parameters
    ----------
    kernel_shape : int or tuple of two
        Height and width of a window.
    mode : {"max", "average"}
    stride : int, default=1
        Pixels from one window to the next, both ways.
    pad : {"same", "valid"}, int or tuple of two, default=0
        ``"same"`` is ``((kh - 1) // 2, (kw - 1) // 2)``, ``"valid"`` is none.

    Attributes
    ----------
    kernel_shape, pad : tuple of two int
    pool_fn : function
        ``numpy.max`` or ``numpy.mean``.
    arg_pool_fn : function
        ``numpy.argmax``; for ``"max"`` only.
    cache : ordered dict
        Of the last ``forward``: ``out_rows``, ``out_cols``; ``X_pad``, the padded images; ``p``, the
        zeros above, below, left and right; ``pool_shape``, which is ``kernel_shape``.

    Raises
    ------
    ValueError
        If ``mode`` or ``pad`` is none of these, or a number too small.
    TypeError
        If a number is not an integer.

    Examples
    --------
    >>> layer = fastnn.Pool2D(2, stride=2)
    >>> layer.forward(np.arange(16.0).reshape(1, 4, 4, 1)).reshape(2, 2)
    array([[ 5.,  7.],
           [13., 15.]])
    """

    keeps_width = True
    cached = ("out_rows", "out_cols", "X_pad", "p", "pool_shape")
    kernel_shape: tuple[int, int] = watched(lambda value: pair("kernel_shape", value, 1))
    mode: str = watched(_mode)
    stride: int = watched(lambda value: require_count("stride", value))
    pad: tuple[int, int] = watched(lambda value: pair("pad", value, 0))

    def __init__(
        self,
        kernel_shape: int | tuple[int, int],
        mode: str = "max",
        stride: int = 1,
        pad: str | int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.kernel_shape = kernel_shape  # type: ignore[assignment]
        self.mode, self.stride = mode, stride
        self.pad = padding(pad, self.kernel_shape)
        self.cache = OrderedDict((name, []) for name in self.cached)

    def __repr__(self) -> str:
        return as_call(self) if any(self.pad) else as_call(self, pad=0)

    @property
    def pool_fn(self) -> Callable[..., Any]:
        """``numpy.max`` or ``numpy.mean``."""
        return _MODES[self.mode]

    @property
    def arg_pool_fn(self) -> Callable[..., Any]:
        """``numpy.argmax``; ``AttributeError`` for averages."""
        if self.mode != "max":
            raise AttributeError(f"a Pool2D of mode {self.mode!r} has no arg_pool_fn")
        return np.argmax

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n, out_rows, out_cols, channels)``, or raise ``ValueError``."""
        return X_shape[0], *self._windows(X_shape).out

    def _windows(self, X_shape: tuple[int, ...]) -> Windows:
        """Return the windows over padded images of a shape without the padding."""
        if len(X_shape) != 4:
            raise ValueError(f"X must have shape (batch, height, width, channels), got {X_shape}")
        if X_shape[3] == 0:
            raise ValueError(f"X needs at least one channel, got {X_shape}")
        height, width = (size + 2 * p for size, p in zip(X_shape[1:3], self.pad, strict=True))
        kh, kw = self.kernel_shape
        if height < kh or width < kw:
            raise ValueError(
                f"kernel_shape {self.kernel_shape} does not fit into images of {height} x {width} "
                f"pixels, padding included: X has shape {X_shape}, pad is {self.pad}"
            )
        return Windows((height, width, X_shape[3]), self.kernel_shape, self.stride)

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        self.adopt(Parameters(), X_shape[-1], self.dtype or np.dtype(np.float64))

    def cost(self, X_shape: tuple[int, ...]) -> int:
        return math.prod(self.check_input(X_shape)) * math.prod(self.kernel_shape)

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step."""
        self._windows((to.n, *to.input.shape)).compile(to, self.mode, self.pad)

    def forward(self, X: ArrayLike) -> Array:
        """Return the pooled images ``(n, out_rows, out_cols, channels)`` of ``X``.

        Parameters
        ----------
        X : array_like, shape (n, height, width, channels)

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If ``X`` does not have four axes, or a window does not fit into its images.
        """
        x = as_float(X, "X", self.dtype)
        windows = self._windows(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        (ph, pw), (height, width) = self.pad, x.shape[1:3]
        X_pad = x
        if ph or pw:
            X_pad = np.zeros((len(x), *windows.image), x.dtype)
            X_pad[:, ph : ph + height, pw : pw + width] = x
        Y = windows.forward(self.mode, X_pad)
        self.cache.update(out_rows=Y.shape[1], out_cols=Y.shape[2], X_pad=X_pad)
        self.cache.update(p=(ph, ph, pw, pw), pool_shape=self.kernel_shape)
        Changes.count += 1
        return restore(Y, X)

    def backward(self, dLdY: ArrayLike) -> Array:
        """Return ``dX``, of the shape of the last input.

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        x = as_float(self.cached_array("X_pad"), "X_pad", self.dtype)
        too_small = x.ndim == 4 and any(
            s < k for s, k in zip(x.shape[1:], self.kernel_shape, strict=False)
        )
        if x.ndim != 4 or 0 in x.shape[1:] or too_small:
            raise ValueError(f"cache['X_pad'] has shape {x.shape}, too small for {self.kernel_shape}")
        border = (self.pad[0],) * 2 + (self.pad[1],) * 2
        if tuple(self.cache["p"]) != border or tuple(self.cache["pool_shape"]) != self.kernel_shape:
            raise ValueError("pad or kernel_shape has changed since the last forward: go forward again")
        windows = Windows(x.shape[1:], self.kernel_shape, self.stride)
        dy = as_float(dLdY, "dLdY", x.dtype)
        if dy.shape != (len(x), *windows.out):
            raise ValueError(
                f"dLdY must have the output's shape {(len(x), *windows.out)}, got {dy.shape}"
            )
        dX = windows.backward(self.mode, x if self.mode == "max" else None, dy)
        (ph, pw), (height, width) = self.pad, windows.image[:2]
        if ph or pw:
            dX = np.ascontiguousarray(dX[:, ph : height - ph, pw : width - pw])
        return restore(dX, dLdY)
