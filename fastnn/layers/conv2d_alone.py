"""The compiled passes behind ``Conv2D.forward`` and ``Conv2D.backward``."""

from __future__ import annotations

from typing import Any

from fastnn._typing import Array
from fastnn.kernels.emitted.tile import PLAIN
from fastnn.kernels.layers import conv2d as kernels
from fastnn.kernels.layers import conv2d_gradients as gradients
from fastnn.layers.alone import Alone, Passes
from fastnn.layers.convolution import Geometry


class _Pass(Alone):
    """A pass of a convolution over ``n`` images."""

    def __init__(self, geometry: Geometry, n: int, work: int) -> None:
        super().__init__((n, *geometry.shape), geometry.dtype, work)
        self._bordered = any(geometry.border)

    def _set(self, x: Array, **arrays: Array) -> None:
        """Write the addresses of a call's arrays into the layer's record."""
        self.layer["input"] = at = x.ctypes.data
        if not self._bordered:
            self.layer["padded"] = at
        for name, array in arrays.items():
            self.layer[name] = array.ctypes.data

    layer: Any


class Forward(_Pass):
    """``Z = X * W + b``."""

    def __init__(self, geometry: Geometry, n: int) -> None:
        super().__init__(geometry, n, n * geometry.work)
        self.layer = kernels.Conv2D.make(tile=PLAIN, **geometry.forward_fields(self, 0))
        if geometry.group != 1:
            self.add(kernels.spread_weights, self.layer, 1)
        self.add(kernels.forward, self.layer)

    def __call__(self, x: Array, W: Array, b: Array, Z: Array) -> None:
        """Write Z; all arrays are C-contiguous and of the shapes of the geometry."""
        self._set(x, W=W, b=b, z=Z)
        self.run()


class Backward(_Pass):
    """The gradients; that of the input if it is ``wanted``."""

    def __init__(self, geometry: Geometry, n: int, wanted: bool) -> None:
        super().__init__(geometry, n, 2 * n * geometry.work)
        fields = geometry.forward_fields(self, 0) | geometry.gradient_fields(self, int(wanted))
        self._dW, self._db = self.gradient(geometry.weights), self.gradient(geometry.out_shape[2])
        fields |= {"weights": self._dW.ctypes.data, "bias": self._db.ctypes.data}
        self.layer = kernels.Conv2D.make(**fields)
        if wanted:
            self.add(gradients.transpose_weights, self.layer, 1)
        self.add(gradients.backward, self.layer)
        self.add(gradients.update_parameters, self.layer, 1)

    def __call__(self, x: Array, W: Array, dZ: Array, dX: Array, dW: Array, db: Array) -> None:
        """Write dX, if it is wanted, dW and db; all arrays are C-contiguous."""
        self._set(x, W=W, dz=dZ)
        if self.layer["d_input"][0]:
            self.layer["d_input"] = dX.ctypes.data
        self._dW["gradient"], self._db["gradient"] = dW.ctypes.data, db.ctypes.data
        self.run()


forward, backward = Passes(Forward), Passes(Backward)
