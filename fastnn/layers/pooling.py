"""How layers pool images, by windows over them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn._arrays import unlocked
from fastnn._typing import Array
from fastnn.blueprint import Blueprint
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.layers import pool2d as kernels
from fastnn.layers.alone import Alone, Passes

_SMALL = 2**19  # bytes of images below which one call is faster than starting threads
_WORK = 8  # multiplications that take about as long as pooling one number


@dataclass(frozen=True)
class Windows:
    """Windows of ``kernel`` pixels over ``image`` = (height, width, channels), ``stride`` apart."""

    image: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: int

    @property
    def out(self) -> tuple[int, int, int]:
        """The rows and columns of windows, and the channels."""
        rows, columns = (
            (size - k) // self.stride + 1 for size, k in zip(self.image, self.kernel, strict=False)
        )
        return rows, columns, self.image[2]

    @property
    def sizes(self) -> tuple[int, int]:
        """How many numbers an image has, and its output."""
        return math.prod(self.image), math.prod(self.out)

    @property
    def arguments(self) -> tuple[int, int, int, int, int]:
        """What kernels take: height, width, kh, kw, stride."""
        return *self.image[:2], *self.kernel, self.stride

    def forward(self, mode: str, x: Array) -> Array:
        """Return the pooled images ``(n, rows, columns, channels)``."""
        n, (size, out_size) = len(x), self.sizes
        out = np.empty((n, *self.out), x.dtype)
        if _is_small(x):
            flat_x, flat_out = unlocked(x).reshape(n, size), out.reshape(n, out_size)
            kernels.POOL[mode](flat_x, *self.arguments, flat_out)
            return out
        with passes.taken(self, n, x.dtype, mode, False) as run:
            run(input=x, output=out)
        return out

    def backward(self, mode: str, x: Array | None, dy: Array) -> Array:
        """Return the gradient of the images, which only ``"max"`` needs."""
        n, (size, out_size) = len(dy), self.sizes
        dx = np.empty((n, *self.image), dy.dtype)
        if _is_small(dx):
            flat_dy, flat_dx = unlocked(dy).reshape(n, out_size), dx.reshape(n, size)
            if x is None:
                kernels.average_pool_backward(flat_dy, *self.arguments, flat_dx)
            else:
                flat_x = unlocked(x).reshape(n, size)
                kernels.max_pool_backward(flat_x, *self.arguments, 0, flat_dy, flat_dx)
            return dx
        with passes.taken(self, n, dx.dtype, mode, True) as run:
            run(d_output=dy, d_input=dx) if x is None else run(input=x, d_output=dy, d_input=dx)
        return dx

    def compile(self, to: Blueprint, mode: str, pad: tuple[int, int] = (0, 0)) -> None:
        """Write the step of a layer; a border of ``pad`` pixels is added to its input."""
        source = to.input
        port = to.output = to.port(self.out, gradient=source.gradient != 0)
        x: Any = source
        dx, border = source.gradient, 0
        if any(pad):
            x = to.array(to.n, *self.image)
            dx = to.array(to.n, *self.image) if dx else 0
            border = to.record(
                kernels.Border,
                input=source,
                d_input=source.gradient,
                bordered=x,
                d_bordered=dx,
                height=self.image[0] - 2 * pad[0],
                width=self.image[1] - 2 * pad[1],
                size=source.width,
                bordered_size=self.sizes[0],
                ph=pad[0],
                pw=pad[1],
            )
            to.forward_rows(kernels.bordered, border)
        gate = source.gate
        of_relu = mode == "max" and not border and gate is not None and gate.relu is not None
        if gate is not None and of_relu and port.gradient:
            gate.honoured = True
        row = to.record(
            kernels.Pool2D,
            input=x,
            output=port,
            d_output=port.gradient,
            d_input=dx,
            of_relu=of_relu,
            **self.settings(),
        )
        to.forward_rows(kernels.forward[mode], row)
        if port.gradient:
            to.backward_rows(kernels.backward[mode], row)
            if border:
                to.backward_rows(kernels.border_cut, border)

    def settings(self) -> dict[str, int]:
        """Return the fields of a layer's record that follow from the windows."""
        names = ("height", "width", "kh", "kw", "stride")
        size, out_size = self.sizes
        return dict(zip(names, self.arguments, strict=True)) | {"size": size, "out_size": out_size}


def _is_small(array: Array) -> bool:
    """Return whether one call pools all images; larger batches are shared by threads."""
    return array.nbytes < _SMALL or not COMPILED


class _Pass(Alone):
    """A pass over ``n`` images, or back."""

    def __init__(self, windows: Windows, n: int, dtype: np.dtype[Any], mode: str, back: bool) -> None:
        super().__init__((n, *windows.image), dtype, n * math.prod(windows.image) * _WORK)
        self._row = kernels.Pool2D.make(**windows.settings())
        self.add((kernels.backward if back else kernels.forward)[mode], self._row)

    def __call__(self, **arrays: Array) -> None:
        """Pool C-contiguous arrays, named as the fields of the layer's record."""
        for name, array in arrays.items():
            self._row[name] = array.ctypes.data
        self.run()


passes = Passes(_Pass)
