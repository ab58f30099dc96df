"""The geometry of a convolution: the tables, scratch arrays and sizes that its compiled step needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fastnn._typing import Array
from fastnn.blueprint import Blueprint
from fastnn.kernels.compiling.target import VECTOR_BYTES
from fastnn.kernels.step import parts
from fastnn.ports import Port

_FULL = 64  # bytes of a pixel's channels that fill a vector
_MORE = 1.25  # largest ratio of input pixels to output pixels for the rotated convolution
_MOST_PIXELS, _GAIN = 4, 1.2  # largest group of pixels, and the least gain in vector use
_LANES = 128  # columns that are summed side by side for the bias


@lru_cache(64)
def _tables(
    shape: tuple[int, int, int], kernel: tuple[int, int], stride: int, group: int, size: int
) -> tuple[Array, Array]:
    """Return where windows begin in an image with its border, and where their taps are, in bytes.

    A window is that of ``group`` neighbouring pixels of the output.
    """
    _, width, channels = shape
    rows, columns = (s - k for s, k in zip(shape, kernel, strict=False))
    down, right = width * channels * size, channels * size
    begin = np.arange(0, columns // stride + 1, group) * right
    pixels = np.add.outer(np.arange(rows // stride + 1) * down, begin)
    wide = (kernel[1] + (group - 1) * stride) * channels
    taps = np.add.outer(np.arange(kernel[0]) * down, np.arange(wide) * size)
    return (pixels * stride).reshape(-1), taps.reshape(-1)


@lru_cache(64)
def _scattering(out_shape: tuple[int, ...], kernel_rows: int, size: int) -> tuple[Array, Array]:
    """Return where the pixels of a row of dZ are, and where those of this row and the rows above."""
    _, columns, outputs = out_shape
    up = -columns * outputs * size
    taps = np.add.outer(np.arange(kernel_rows) * up, np.arange(outputs) * size)
    return np.arange(columns) * outputs * size, taps.reshape(-1)


@dataclass(frozen=True)
class Geometry:
    """A convolution of images ``(height, width, channels)`` to ``(rows, columns, outputs)``."""

    shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    kernel: tuple[int, int]
    stride: int
    border: tuple[int, int]
    dtype: np.dtype[Any]

    @cached_property
    def group(self) -> int:
        """Pixels in a group: the number that fills vectors best, zeros not counted."""
        lanes = VECTOR_BYTES // self.dtype.itemsize
        _, columns, outputs = self.out_shape

        def use(group: int) -> float:
            width = group * outputs
            taps = self.kernel[1] / (self.kernel[1] + (group - 1) * self.stride)
            return width / (-(-width // lanes) * lanes) * taps

        best = max((g for g in range(1, _MOST_PIXELS + 1) if columns % g == 0), key=use)
        return best if use(best) > _GAIN * use(1) else 1

    @property
    def weights(self) -> int:
        """How many weights there are."""
        return math.prod(self.kernel) * self.shape[2] * self.out_shape[2]

    @property
    def work(self) -> int:
        """Multiplications for an image."""
        return math.prod(self.out_shape[:2]) * self.weights

    @property
    def bordered(self) -> tuple[int, int, int]:
        """The shape of an image with its border."""
        (height, width, channels), (top, left) = self.shape, self.border
        return height + 2 * top, width + 2 * left, channels

    @property
    def turned(self) -> bool:
        """Whether the input's gradient is a convolution with kernels rotated by 180 degrees."""
        inside = all(p < k for p, k in zip(self.border, self.kernel, strict=True))
        full = self.shape[2] * self.dtype.itemsize >= _FULL
        more = math.prod(self.shape[:2]) / math.prod(self.out_shape[:2])
        return self.stride == 1 and inside and full and more <= _MORE

    @property
    def _spread(self) -> tuple[int, int]:
        """The shape of the weights for ``group`` pixels."""
        columns = self.kernel[1] + (self.group - 1) * self.stride
        return self.kernel[0] * columns * self.shape[2], self.group * self.out_shape[2]

    # In NumPy, where nothing is compiled.

    def _windows(self, x: Array) -> Array:
        """Return a view of images' windows, ``(n, rows, columns, channels, *kernel)``."""
        top, left = self.border
        bordered = np.pad(x, ((0, 0), (top, top), (left, left), (0, 0)))
        found = sliding_window_view(bordered, self.kernel, axis=(1, 2))
        return found[:, :: self.stride, :: self.stride]

    def product(self, x: Array, W: Array) -> Array:
        """Return images convolved with kernels, ``(n, rows, columns, outputs)``."""
        return np.tensordot(self._windows(x), W, ([3, 4, 5], [2, 0, 1]))

    def weight_gradient(self, x: Array, dZ: Array) -> Array:
        """Return the gradient of the kernels."""
        sums = np.tensordot(self._windows(x), dZ, ([0, 1, 2], [0, 1, 2]))
        return sums.transpose(1, 2, 0, 3)

    def input_gradient(self, dZ: Array, W: Array) -> Array:
        """Return the gradient of the images."""
        (top, left), step = self.border, self.stride
        out = np.zeros((len(dZ), *self.bordered), dZ.dtype)
        rows, columns = (step * (size - 1) + 1 for size in self.out_shape[:2])
        for a, e in np.ndindex(self.kernel):
            out[:, a : a + rows : step, e : e + columns : step] += dZ @ W[a, e].T
        return out[:, top : top + self.shape[0], left : left + self.shape[1]]

    # For the compiled step.

    def forward_fields(self, to: Blueprint, source: Port | int) -> dict[str, Any]:
        """Return the fields of the layer's record that follow from the geometry.

        ``source``: the images, or their address.
        """
        size = self.dtype.itemsize
        pixels, taps = _tables(self.bordered, self.kernel, self.stride, self.group, size)
        fields: dict[str, Any] = dict(zip(("height", "width", "channels"), self.shape, strict=True))
        fields |= zip(("rows", "columns", "outputs"), self.out_shape, strict=True)
        fields |= zip(("kernel_rows", "kernel_columns"), self.kernel, strict=True)
        fields |= {"top": self.border[0], "left": self.border[1], "stride": self.stride}
        fields |= {"pixels": to.keep(pixels), "taps": to.keep(taps), "group": self.group}
        fields["gathered"] = parts.gathered_product.address(self.dtype)
        fields["input"] = fields["padded"] = source
        if any(self.border):
            fields["padded"] = to.array(to.n, *self.bordered)
        if self.group != 1:
            fields["spread"], fields["spread_bias"] = to.array(*self._spread), to.array(self._spread[1])
        return fields

    def gradient_fields(self, to: Blueprint, d_input: int) -> dict[str, Any]:
        """Return the fields that gradients need besides; ``d_input``: where the input's goes, or 0."""
        (rows, columns, outputs), blocks = self.out_shape, to.row_blocks
        size, taps = self.dtype.itemsize, math.prod(self.kernel) * self.shape[2]
        fits = [g for g in (8, 4, 2) if rows * columns % g == 0 and g * outputs <= _LANES]
        groups = fits[0] if fits else 1
        fields: dict[str, Any] = {
            "d_weights": to.keep(np.empty((blocks, taps * outputs), self.dtype)),
            "d_bias": to.array(blocks, groups, outputs),
            "pixel_groups": groups,
            "product": to.product,
            "one": to.one,
        }
        if self.group != 1:
            fields["d_spread"] = to.array(blocks, *self._spread)
        if not d_input:
            return fields
        fields |= {"d_input": d_input, "transposed": to.array(outputs, taps)}
        fields["transposition"] = parts.transposition.address(self.dtype)
        image = self.bordered
        if self.turned:
            image = self.shape[0] + self.kernel[0] - 1, self.shape[1] + self.kernel[1] - 1, outputs
            pixels, d_taps = _tables(image, self.kernel, 1, 1, size)
            fields["turned"] = 1
        else:
            fields["windows"] = to.array(blocks, columns, self.kernel[1] * self.shape[2])
            pixels, d_taps = _scattering(self.out_shape, self.kernel[0], size)
        fields |= {"d_pixels": to.keep(pixels), "d_taps": to.keep(d_taps)}
        fields |= {"image": to.array(blocks, *image), "image_size": math.prod(image)}
        return fields
