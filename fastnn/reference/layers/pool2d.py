"""Pooling, and the twins of its kernels."""

from collections import OrderedDict

import numpy as np

from fastnn._typing import Array
from fastnn.reference.arguments import Twin
from fastnn.reference.layers.base import Layer


def windows(x: Array, kh: int, kw: int, stride: int) -> Array:
    """Images ``(n, height, width, c)`` to their windows, ``(n, rows, columns, kh * kw, c)``."""
    found = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(1, 2))
    found = np.moveaxis(found[:, ::stride, ::stride], 3, -1)
    return found.reshape(*found.shape[:3], kh * kw, found.shape[5])


def max_pool(x: Array, height: int, width: int, kh: int, kw: int, stride: int) -> Array:
    """Maxima of windows; an image is a row of x."""
    images = x.reshape(len(x), height, width, -1)
    return np.reshape(windows(images, kh, kw, stride).max(axis=3), (len(x), -1))


def average_pool(x: Array, height: int, width: int, kh: int, kw: int, stride: int) -> Array:
    """Means of windows."""
    images = x.reshape(len(x), height, width, -1)
    return np.reshape(windows(images, kh, kw, stride).mean(axis=3), (len(x), -1))


def max_pool_backward(
    x: Array, height: int, width: int, kh: int, kw: int, stride: int, of_relu: int, dy: Array
) -> Array:
    """Give each window's gradient to its first maximum; after a ReLU, unless that has a minus."""
    images = x.reshape(len(x), height, width, -1)
    first = windows(images, kh, kw, stride).argmax(axis=3)
    n, rows, columns, channels = first.shape
    dx = np.zeros_like(images)
    i, r, s, c = np.indices(first.shape)
    at = i, r * stride + first // kw, s * stride + first % kw, c
    np.add.at(dx, at, dy.reshape(n, rows, columns, channels))
    given = dx.reshape(len(x), -1)
    return given * ~np.signbit(x) if of_relu else given


def average_pool_backward(dy: Array, height: int, width: int, kh: int, kw: int, stride: int) -> Array:
    """Give each pixel its share of each window's gradient."""
    rows, columns = (height - kh) // stride + 1, (width - kw) // stride + 1
    shares = dy.reshape(len(dy), rows, columns, -1) / (kh * kw)
    dx = np.zeros((len(dy), height, width, shares.shape[3]), dy.dtype)
    for r in range(rows):
        for s in range(columns):
            i, j = r * stride, s * stride
            dx[:, i : i + kh, j : j + kw] += shares[:, r : r + 1, s : s + 1]
    return dx.reshape(len(dy), -1)


def add_border(x: Array, height: int, width: int, ph: int, pw: int) -> Array:
    """Images with zeros around them."""
    images = x.reshape(len(x), height, width, -1)
    return np.pad(images, ((0, 0), (ph, ph), (pw, pw), (0, 0))).reshape(len(x), -1)


def cut_border(x: Array, height: int, width: int, ph: int, pw: int) -> Array:
    """Images without the border of zeros."""
    images = x.reshape(len(x), height + 2 * ph, width + 2 * pw, -1)
    return images[:, ph : ph + height, pw : pw + width].reshape(len(x), -1)


class Pool2D(Layer):
    """Maxima or means of windows of images ``(n, height, width, channels)``, padded with zeros."""

    def __init__(
        self,
        kernel_shape: int | tuple[int, int],
        mode: str = "max",
        stride: int = 1,
        pad: str | int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        kh, kw = (kernel_shape,) * 2 if isinstance(kernel_shape, int) else kernel_shape
        named = {"same": ((kh - 1) // 2, (kw - 1) // 2), "valid": (0, 0)}
        self.kernel_shape, self.mode, self.stride = (kh, kw), mode, stride
        pad = named[pad] if isinstance(pad, str) else pad
        self.pad = (pad, pad) if isinstance(pad, int) else pad
        self.pool_fn = np.max if mode == "max" else np.mean
        if mode == "max":
            self.arg_pool_fn = np.argmax
        names = ("out_rows", "out_cols", "X_pad", "p", "pool_shape")
        self.cache = OrderedDict((name, []) for name in names)

    def forward(self, X: Array) -> Array:
        self.n_in = self.n_out = X.shape[3]
        (ph, pw), (kh, kw) = self.pad, self.kernel_shape
        X_pad = np.pad(X, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
        Y = np.asarray(self.pool_fn(windows(X_pad, kh, kw, self.stride), axis=3))
        self.cache.update(out_rows=Y.shape[1], out_cols=Y.shape[2], X_pad=X_pad)
        self.cache.update(p=(ph, ph, pw, pw), pool_shape=self.kernel_shape)
        return Y

    def backward(self, dLdY: Array) -> Array:
        X_pad, (ph, pw) = self.cache["X_pad"], self.pad
        n, height, width, _ = X_pad.shape
        sizes = (height, width, *self.kernel_shape, self.stride)
        dy = dLdY.reshape(n, -1)
        if self.mode == "max":
            dX = max_pool_backward(X_pad.reshape(n, -1), *sizes, 0, dy)
        else:
            dX = average_pool_backward(dy, *sizes)
        return dX.reshape(X_pad.shape)[:, ph : height - ph, pw : width - pw]


_SIZE = 4  # height and width of the test images


def images(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw images of 4 x 4 pixels as rows."""
    return rng.normal(size=(n, _SIZE**2 * max(1, k // 16)))


def pooled(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw images of 2 x 2 pixels as rows."""
    return rng.normal(size=(n, 4 * max(1, k // 16)))


def bordered(rng: np.random.Generator, n: int, k: int) -> Array:
    """Draw images of 6 x 8 pixels as rows."""
    return rng.normal(size=(n, 48 * max(1, k // 16)))


_POOL, _BORDER = (_SIZE, _SIZE, 2, 2, 2), (_SIZE, _SIZE, 1, 2)
TWINS = {
    "pool2d.max_pool": Twin(max_pool, (images, *_POOL), (windows,), outputs=(pooled,)),
    "pool2d.average_pool": Twin(average_pool, (images, *_POOL), (windows,), outputs=(pooled,)),
    "pool2d.max_pool_backward": Twin(
        max_pool_backward, (images, *_POOL, 1, pooled), (windows,), outputs=(images,)
    ),
    "pool2d.average_pool_backward": Twin(average_pool_backward, (pooled, *_POOL), outputs=(images,)),
    "pool2d.add_border": Twin(add_border, (images, *_BORDER), outputs=(bordered,)),
    "pool2d.cut_border": Twin(cut_border, (bordered, *_BORDER), outputs=(images,)),
}
