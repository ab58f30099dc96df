"""The convolution layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn._arrays import unlocked
from fastnn._changes import Changes, watched
from fastnn._own import offers
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_count, restore
from fastnn.activations import Activation, Linear
from fastnn.blueprint import Blueprint
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.layers import conv2d as kernels
from fastnn.kernels.layers import conv2d_gradients as gradients
from fastnn.layers import activated, conv2d_alone
from fastnn.layers.convolution import Geometry
from fastnn.layers.state import Parameters
from fastnn.layers.weighted import Weighted, WeightInit
from fastnn.layers.windows import padding, pair


def _pad(value: Any) -> str | tuple[int, int]:
    """Return "same" and "valid" as they are, which follow the kernel, numbers as a pair."""
    pad = padding(value, (1, 1))
    return value if isinstance(value, str) else pad


class Conv2D(Weighted):
    """``Y = f(X * W + b)``: images convolved with kernels, then an activation.

    With images ``X (n, height, width, channels)``, a border of ``pad`` zeros around each, and kernels
    ``W (kernel rows, kernel columns, channels, n_out)``::

        Z[i, r, c, k] = b[k] + sum over a, e, j of X[i, r stride + a, c stride + e, j] W[a, e, j, k]

    which is a cross-correlation, as in other libraries. ``Y (n, rows, columns, n_out)`` has
    ``(size + 2 pad - kernel) // stride + 1`` rows and columns; pixels that are left over at the bottom
    and at the right are not used.

    The first ``forward`` makes ``W`` and ``b (1, n_out)``, in the dtype of its input (float32 or
    float64). ``b`` starts at 0. The cache keeps ``Z`` and ``X``, without the border.

    Parameters
    ----------
    n_out : int
        Number of output channels.
    kernel_shape : int or (int, int)
        Rows and columns of the kernels.
    activation : str or Activation
        A name for ``initialize_activation``, or an object with its ``forward`` and ``backward``.
    stride : int
        Pixels from one window to the next, in both directions.
    pad : "same", "valid", int or (int, int)
        The border: ``"same"`` is ``((rows - 1) // 2, (columns - 1) // 2)`` of the kernel, on both
        sides, whatever the stride; ``"valid"`` is none. The attribute becomes a tuple at the first
        ``forward``.
    weight_init : str or WeightInitializer
        A name for ``initialize_weights``, or an initialiser: a function of a shape.
    l2 : float
        Weight of the penalty, as in :class:`FullyConnected`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; the message names it.

    Examples
    --------
    >>> layer = fastnn.Conv2D(6, 5, "relu")
    >>> layer.forward(np.zeros((2, 28, 28, 1))).shape
    (2, 28, 28, 6)
    """

    chooses_width, cached = True, ("Z", "X")
    kernel_shape: tuple[int, int] = watched(lambda value: pair("kernel_shape", value, 1))
    stride: int = watched(lambda value: require_count("stride", value))
    pad: str | tuple[int, int] = watched(_pad)

    def __init__(
        self,
        n_out: int,
        kernel_shape: int | tuple[int, int],
        activation: str | Activation,
        stride: int = 1,
        pad: str | int | tuple[int, int] = "same",
        weight_init: WeightInit = "xavier_uniform",
        l2: float = 0.0,
    ) -> None:
        super().__init__(activation, weight_init)
        self.n_out, self.l2 = require_count("n_out", n_out), l2
        self.kernel_shape = pair("kernel_shape", kernel_shape, 1)
        self.stride, self.pad = stride, _pad(pad)

    @classmethod
    def of(
        cls,
        W: Array,
        b: Array,
        activation: str | Activation,
        stride: int = 1,
        pad: str | int | tuple[int, int] = "same",
    ) -> Conv2D:
        """Return a layer with copies of ``W (rows, columns, channels, n_out)`` and ``b (1, n_out)``."""
        layer = cls(W.shape[3], (W.shape[0], W.shape[1]), activation, stride, pad)
        layer.adopt(Parameters(W=W, b=b), W.shape[2], W.dtype)
        return layer

    @property
    def _border(self) -> tuple[int, int]:
        return padding(self.pad, self.kernel_shape)

    def parameter_shapes(self, X_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of ``W`` and ``b`` for images of ``X_shape[-1]`` channels."""
        assert self.n_out is not None
        return {"W": (*self.kernel_shape, X_shape[-1], self.n_out), "b": (1, self.n_out)}

    def width_of(self, arrays: Mapping[str, Array]) -> int | None:
        return arrays["W"].shape[2] if "W" in arrays and arrays["W"].ndim == 4 else None

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return parameters for images of a shape, newly drawn; the layer does not change."""
        self.check_input(X_shape)
        shapes = self.parameter_shapes(X_shape)
        W = self.draw(shapes["W"], dtype)
        return Parameters(W=W, b=np.zeros(shapes["b"], dtype))

    def adopt(self, parameters: Parameters, n_in: int, dtype: np.dtype[Any]) -> None:
        super().adopt(parameters, n_in, dtype)
        self.pad = self._border

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        dtype = self.dtype or np.dtype(np.float64)
        self.adopt(self.initial_parameters(X_shape, dtype), X_shape[-1], dtype)

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n, rows, columns, n_out)`` for images of a shape, or raise ``ValueError``."""
        if len(X_shape) != 4:
            raise ValueError(f"X must have shape (batch, height, width, channels), got {X_shape}")
        if 0 in X_shape[1:]:
            raise ValueError(f"X needs at least one pixel and one channel, got {X_shape}")
        if self.n_in is not None:
            self.checked_parameters(X_shape[3])
        elif offers(self.init_weights, "check"):
            self.init_weights.check(self.parameter_shapes(X_shape)["W"])
        sizes = []
        for what, size, pad, kernel in zip(
            ("rows", "columns"), X_shape[1:3], self._border, self.kernel_shape, strict=True
        ):
            if size + 2 * pad < kernel:
                raise ValueError(
                    f"X has {size} {what} of pixels, {size + 2 * pad} with its border; "
                    f"kernel_shape {self.kernel_shape} needs {kernel}: use more pad or a smaller kernel"
                )
            sizes.append((size + 2 * pad - kernel) // self.stride + 1)
        assert self.n_out is not None
        return (X_shape[0], *sizes, self.n_out)

    def checked_parameters(self, channels: int | None = None) -> tuple[Array, Array]:
        """Return ``W`` and ``b``, having checked that they fit.

        Raises
        ------
        ValueError
            If ``parameters`` does not hold these two arrays and no others, of the layer's dtype and of
            shapes that fit ``kernel_shape``, ``n_out``, and inputs of so many channels.
        """
        parameters = self._parameters
        if parameters.keys() != {"W", "b"}:
            names = ", ".join(map(repr, parameters)) or "nothing"
            raise ValueError(f"parameters must hold 'W' and 'b'; it holds {names}")
        W, b = parameters["W"], parameters["b"]
        if (
            W.ndim != 4
            or W.size == 0
            or (*W.shape[:2], W.shape[3]) != (*self.kernel_shape, self.n_out)
            or b.shape != (1, self.n_out)
        ):
            raise ValueError(
                f"the parameters have shapes W {W.shape} and b {b.shape}; the layer needs W "
                f"({self.kernel_shape[0]}, {self.kernel_shape[1]}, channels, {self.n_out}) and b "
                f"(1, {self.n_out})"
            )
        if channels is not None and W.shape[2] != channels:
            raise ValueError(f"X has {channels} channels, the layer needs {W.shape[2]}")
        if not W.dtype == b.dtype == (self.dtype or W.dtype):
            raise ValueError(
                f"the layer computes in {self.dtype or W.dtype}, but W is {W.dtype} and b is {b.dtype}"
            )
        return W, b

    # The compiled step.

    def obstacle(self) -> str | None:
        reason = super().obstacle() or activated.obstacle(self.activation)
        if reason is None and getattr(self.activation, "rowwise", False):
            return f"has the activation {type(self.activation).__name__} over channels"
        return reason

    def cost(self, X_shape: tuple[int, ...]) -> int:
        self.check_input(X_shape)
        return X_shape[0] * self._geometry(X_shape[1:]).work

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step."""
        W, b = self.checked_parameters()
        source, learning = to.input, to.learning
        geometry = self._geometry(source.shape)
        made = activated.activated(self.activation, to, geometry.out_shape, 1)
        fields = {"z": made.z, "dz": made.dz, "activation": made.row, "tile": made.tile}
        fields |= {"W": W.ctypes.data, "b": b.ctypes.data, **geometry.forward_fields(to, source)}
        fields["keeps"] = learning is not None
        if learning:
            fields |= geometry.gradient_fields(to, source.gradient)
            fields |= {
                "weights": to.parameter("W", written=True),
                "bias": to.parameter("b", written=True),
            }
        row = to.record(kernels.Conv2D, **fields)
        if geometry.group != 1:
            to.before(kernels.spread_weights, row)
        to.forward_rows(kernels.forward, row)
        if learning:
            if source.gradient:
                to.before(gradients.transpose_weights, row)
            to.backward_rows(gradients.backward, row)
            to.update(to.task(gradients.update_parameters, row))

    def _geometry(self, shape: tuple[int, ...]) -> Geometry:
        W, _ = self.checked_parameters()
        _, *out_shape = self.check_input((1, *shape))
        return Geometry(shape, tuple(out_shape), self.kernel_shape, self.stride, self._border, W.dtype)

    # The layer by itself.

    def forward(self, X: ArrayLike) -> Array:
        """Return ``f(X * W + b)``, shape ``(n, rows, columns, n_out)``.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If ``X`` is not ``(n, height, width, channels)``, has other channels than the layer was made
            for, or images smaller than the kernel.
        """
        x = as_float(X, "X", self.dtype)
        out_shape = self.check_input(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        W, _ = self.checked_parameters()
        x = as_float(x, "X", W.dtype)
        Z = np.empty(out_shape, W.dtype)
        if Z.size:
            self._forward(unlocked(x), Z)
        self.cache["Z"], self.cache["X"] = Z, x
        Changes.count += 1
        return restore(Z if type(self.activation) is Linear else self.activation.forward(Z), X)

    def _forward(self, x: Array, Z: Array) -> None:
        W, b = map(np.ascontiguousarray, self.checked_parameters())
        geometry = self._geometry(x.shape[1:])
        if not COMPILED:
            Z[...] = geometry.product(x, W) + b
            return
        with conv2d_alone.forward.taken(geometry, len(x)) as run:
            run(x, W, b, Z)

    def backward(self, dLdY: ArrayLike) -> Array:
        """Store ``gradients["W"]``, ``gradients["b"]``, sums over batch and pixels; return ``dX``.

        With ``dZ = f'(Z; dLdY)``::

            dW[a, e, j, k] = sum over i, r, c of X[i, r stride + a, c stride + e, j] dZ[i, r, c, k]
            dX[i, r stride + a, c stride + e, j] += dZ[i, r, c, k] W[a, e, j, k]
            db[k] = sum over i, r, c of dZ[i, r, c, k]

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        return restore(self._gradients(dLdY, True), dLdY)

    def backward_parameters(self, dLdY: ArrayLike) -> None:
        """Do :meth:`backward` without the gradient of the input."""
        self._gradients(dLdY, False)

    # Names of faster methods in an early edition of the teaching library.
    forward_faster, backward_faster = forward, backward

    def _gradients(self, dLdY: ArrayLike, input_gradient: bool) -> Array:
        W, b = self.checked_parameters()
        Z = as_float(self.cached_array("Z"), "Z", W.dtype)
        x = unlocked(as_float(self.cached_array("X"), "X", W.dtype))
        dy = as_float(dLdY, "dLdY", W.dtype)
        if dy.shape != Z.shape or self.check_input(x.shape) != Z.shape:
            raise ValueError(f"dLdY must have the output's shape {Z.shape}, got {dy.shape}")
        dZ = dy if type(self.activation) is Linear else self.activation.backward(Z, dy)
        dZ = unlocked(as_float(dZ, "dZ", W.dtype))
        if dZ.shape != Z.shape:
            raise ValueError(f"the activation's backward gave {dZ.shape} for {Z.shape}")
        dX = np.empty(x.shape if input_gradient else 0, W.dtype)
        dW, db = np.zeros_like(W), np.zeros_like(b)
        if x.size:
            self._backward(x, dZ, dX, dW, db)
        if self.l2:
            dW += dW.dtype.type(self.l2 / max(len(x), 1)) * W
        self.gradients["W"], self.gradients["b"] = dW, db
        return dX

    def _backward(self, x: Array, dZ: Array, dX: Array, dW: Array, db: Array) -> None:
        """Write the gradients; that of the input unless ``dX`` is empty."""
        W, geometry = np.ascontiguousarray(self.checked_parameters()[0]), self._geometry(x.shape[1:])
        if not COMPILED:
            dW[...], db[...] = geometry.weight_gradient(x, dZ), dZ.sum(axis=(0, 1, 2))
            if dX.size:
                dX[...] = geometry.input_gradient(dZ, W)
            return
        with conv2d_alone.backward.taken(geometry, len(x), dX.size != 0) as run:
            run(x, W, dZ, dX, dW, db)
