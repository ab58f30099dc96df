"""The fully connected layer."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastnn._arrays import LINE, unlocked
from fastnn._changes import Changes
from fastnn._own import offers
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_count, restore
from fastnn.activations import Activation
from fastnn.blueprint import Blueprint, column_blocks
from fastnn.kernels.layers import dense as kernels
from fastnn.kernels.layers import products
from fastnn.kernels.step import parts, phases
from fastnn.kernels.step.plan import cut
from fastnn.layers import activated
from fastnn.layers.state import Parameters
from fastnn.layers.weighted import Weighted, WeightInit
from fastnn.ports import Port

# Sizes from which on a detour pays, measured with one thread; none of them changes a bit of a result.
# X^T dZ reads X down its columns, a line for a few elements, once for every few columns of dZ. X is
# transposed before, if it has so many bytes, more than stay near a core, and dZ's rows so many.
_LARGE, _WIDE = 8_000_000, 1024


class FullyConnected(Weighted):
    """``Y = f(X W + b)``: an affine map, then an activation.

    ``W (d, k)`` and ``b (1, k)``, which begins as zeros, are made at the first ``forward`` in the dtype
    of its input (float32 or float64). Later inputs are computed in that dtype. The cache keeps ``Z``
    and ``X``.

    Parameters
    ----------
    n_out : int or None
        Number of outputs; a model infers None for its last layer.
    activation : str or Activation
        A name for ``initialize_activation``, or an object with its ``forward`` and ``backward``.
    weight_init : str or WeightInitializer
        A name for ``initialize_weights``, or an initialiser: a function of a shape.
    l2 : float
        Adds ``l2 / (2 n) * sum(W**2)`` to what a batch of n rows is trained to minimise, and so
        ``l2 / n * W`` to ``W``'s gradient; for rows with weights n is their sum. The loss that is
        reported is without it.
    """

    def __init__(
        self,
        n_out: int | None,
        activation: str | Activation,
        weight_init: WeightInit = "xavier_uniform",
        l2: float = 0.0,
    ) -> None:
        super().__init__(activation, weight_init)
        self.n_out = None if n_out is None else require_count("n_out", n_out)
        self.l2 = l2

    @classmethod
    def of(cls, W: Array, b: Array, activation: str | Activation) -> "FullyConnected":
        """Return a layer with copies of parameters ``W (d, k)`` and ``b (1, k)`` of one dtype."""
        layer = cls(W.shape[1], activation)
        layer.adopt(Parameters(W=W, b=b), W.shape[0], W.dtype)
        return layer

    chooses_width, cached = True, ("Z", "X")

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        dtype = self.dtype or np.dtype(np.float64)
        self.adopt(self.initial_parameters(X_shape, dtype), X_shape[1], dtype)

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return parameters for inputs ``(n, d)``, newly drawn; the layer does not change."""
        _, n_out = self.check_input(X_shape)
        W = self.draw((X_shape[1], n_out), dtype)
        return Parameters(W=W, b=np.zeros((1, n_out), dtype))

    def parameter_shapes(self, X_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of ``W`` and ``b`` for inputs ``(n, d)``."""
        if self.n_out is None:
            raise ValueError("n_out is None")
        return {"W": (X_shape[1], self.n_out), "b": (1, self.n_out)}

    def width_of(self, arrays: Mapping[str, Array]) -> int | None:
        return arrays["W"].shape[0] if "W" in arrays and arrays["W"].ndim == 2 else None

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return ``(n, k)`` for inputs ``(n, d)``, or raise ``ValueError``."""
        if self.n_out is None:
            raise ValueError("n_out is None: give the layer a width, or train it as a model's last")
        if len(X_shape) != 2:
            remedy = "; put a Flatten() before it" if len(X_shape) > 2 else ""
            raise ValueError(f"X must have shape (batch, features), got {X_shape}{remedy}")
        if X_shape[1] == 0:
            raise ValueError(f"X needs at least one feature, got {X_shape}")
        if self.n_in is not None:
            self.checked_parameters(X_shape[1])
        elif offers(self.init_weights, "check"):
            self.init_weights.check((X_shape[1], self.n_out))
        return (X_shape[0], self.n_out)

    def checked_parameters(self, n_features: int | None = None) -> tuple[Array, Array]:
        """Return ``W (d, k)`` and ``b (1, k)``, having checked that they fit.

        Raises
        ------
        ValueError
            If ``parameters`` does not hold these two arrays and no others, of the layer's dtype and of
            shapes that fit one another, ``n_out``, and inputs of ``n_features`` columns.
        """
        parameters = self._parameters
        if parameters.keys() != {"W", "b"}:
            names = ", ".join(map(repr, parameters)) or "nothing"
            raise ValueError(f"parameters must hold 'W' and 'b'; it holds {names}")
        W, b = parameters["W"], parameters["b"]
        if W.ndim != 2 or W.size == 0 or W.shape[1] != self.n_out or b.shape != (1, W.shape[1]):
            raise ValueError(
                f"the parameters have shapes W {W.shape} and b {b.shape}; "
                f"{self.n_out} outputs need W (inputs, {self.n_out}) and b (1, {self.n_out})"
            )
        if n_features is not None and W.shape[0] != n_features:
            raise ValueError(f"X has {n_features} features, the layer needs {W.shape[0]}")
        if not W.dtype == b.dtype == (self.dtype or W.dtype):
            raise ValueError(
                f"the layer computes in {self.dtype or W.dtype}, but W is {W.dtype} and b is {b.dtype}"
            )
        return W, b

    def obstacle(self) -> str | None:
        return super().obstacle() or activated.obstacle(self.activation)

    def cost(self, X_shape: tuple[int, ...]) -> int:
        return X_shape[0] * self.parameters["W"].size

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step."""
        W, b = self.checked_parameters(to.input.width)
        d, k = W.shape
        source, learning = to.input, to.learning
        blocks = column_blocks(k, to.itemsize, to.threads)
        made = activated.activated(self.activation, to, k, blocks)
        fields: dict[str, Any] = {}
        if learning:
            fields["work"] = to.array(k, d)
            fields |= self._gradient_fields(to, source)
        row = to.record(
            kernels.Dense,
            input=source,
            z=made.z,
            dz=made.dz,
            tile=made.tile,
            activation=made.row,
            blocks=blocks,
            d=d,
            k=k,
            W=W.ctypes.data,
            b=b.ctypes.data,
            product=to.product,
            **fields,
        )
        to.forward(kernels.forward, row, blocks, kernels.forward_rows)
        if made.rowwise:
            to.forward_rows(phases.activate_rows, made.row)
        if learning:
            self._add_gradients(to, source, row, blocks)

    def _gradient_fields(self, to: Blueprint, source: Port) -> dict[str, Any]:
        """Return what the layer's record holds besides if the step learns."""
        assert to.learning is not None
        d = len(self.parameters["W"])
        fields: dict[str, Any] = {
            "weights": to.parameter("W", to.learning.clips),
            "bias": to.parameter("b", to.learning.clips),
            "transposition": parts.transposition.address(to.dtype),
            "by_rule": to.learning.by_rule,
            "one": to.one,
        }
        if self._transposes(to):
            lanes = LINE // to.itemsize
            fields["xt_row"] = (-(-to.n // lanes) | 1) * lanes
            fields["xt"] = to.array(d, fields["xt_row"])
        if source.gradient:
            fields |= {"d_input": source.gradient, "input_blocks": source.blocks}
            gate = source.gate
            if gate is not None and gate.relu is not None:
                fields["relu"], gate.honoured = gate.relu, True
            elif gate is not None and not gate.rowwise:
                fields["gate"], gate.honoured = gate.row, True
        return fields

    def _add_gradients(self, to: Blueprint, source: Port, row: int, blocks: int) -> None:
        d, k = self.parameters["W"].shape
        if source.gradient:
            work = to.n * d * k
            to.backward(kernels.backward, row, source.blocks, work, kernels.backward_rows)
            to.before(kernels.transpose_weights, row, only_by_rows=True)
        if self._transposes(to):
            to.before_updates(kernels.transpose_input, row, column_blocks(d, to.itemsize, to.threads))
        for thread in range(to.threads):
            for first, rows, begin, columns in weight_blocks(d, k, blocks, to, thread):
                place = {"first": first, "rows": rows, "begin": begin, "columns": columns}
                to.update(to.task(kernels.update, row, kernels.WeightBlock, **place), thread)

    def _transposes(self, to: Blueprint) -> bool:
        d, k = self.parameters["W"].shape
        return bool(k * to.itemsize >= _WIDE and to.n * d * to.itemsize >= _LARGE)

    def forward(self, X: ArrayLike) -> Array:
        """Return ``f(X W + b)``, shape ``(n, k)``, for ``X (n, d)``.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If ``X`` is not ``(n, d)`` with the ``d`` the layer was made for.
        """
        return restore(self.activation.forward(self.preactivation(X)), X)

    def preactivation(self, X: ArrayLike) -> Array:
        """Return ``Z = X W + b`` and cache it with ``X``: ``forward`` without the activation."""
        x = as_float(X, "X", self.dtype)
        out_shape = self.check_input(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        W, b = self.checked_parameters()
        x = as_float(x, "X", W.dtype)
        Z = np.empty(out_shape, W.dtype)
        products.affine(unlocked(x), unlocked(W), unlocked(b), Z)
        self.cache["Z"], self.cache["X"] = Z, x
        Changes.count += 1  # a step of the engine finds that there is a cache to clear
        return Z

    def backward(self, dLdY: ArrayLike) -> Array:
        """Store ``gradients["W"]``, ``gradients["b"]``, sums over the batch; return ``dX (n, d)``.

        ``dZ = f'(Z; dLdY)``, ``dW = X^T dZ``, ``db = sum(dZ)``, ``dX = dZ W^T``.

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        dZ = self.preactivation_gradient(dLdY)
        self.parameter_gradients(dZ)
        return restore(self.input_gradient(dZ), dLdY)

    def backward_parameters(self, dLdY: ArrayLike) -> None:
        """Do :meth:`backward` without the gradient of the input."""
        self.parameter_gradients(self.preactivation_gradient(dLdY))

    # The three steps of `backward`, for a model that knows dZ already or has no use for dX.

    def preactivation_gradient(self, dLdY: ArrayLike) -> Array:
        """Return ``dZ = f'(Z; dLdY)``, shape ``(n, k)``."""
        Z = as_float(self.cached_array("Z"), "Z", self.dtype)
        dy = as_float(dLdY, "dLdY", Z.dtype)
        if dy.shape != Z.shape:
            raise ValueError(f"dLdY must have the output's shape {Z.shape}, got {dy.shape}")
        return as_float(self.activation.backward(Z, dy), "dZ", Z.dtype)

    def parameter_gradients(self, dZ: Array) -> None:
        """Store the parameters' gradients for the gradient ``dZ (n, k)`` of ``Z``."""
        W, b = self.checked_parameters()
        X, dZ = as_float(self.cached_array("X"), "X", W.dtype), as_float(dZ, "dZ", W.dtype)
        if dZ.shape != (len(X), W.shape[1]) or X.shape[1:] != W.shape[:1]:
            raise ValueError(
                f"dZ has shape {dZ.shape} and the cached X {X.shape}; the layer needs "
                f"(n, {W.shape[1]}) and (n, {W.shape[0]})"
            )
        dW, db = np.empty_like(W), np.empty_like(b)
        products.weight_gradient(unlocked(X), unlocked(dZ), dW, db)
        if self.l2:
            dW += dW.dtype.type(self.l2 / max(len(X), 1)) * W
        self.gradients["W"], self.gradients["b"] = dW, db

    def input_gradient(self, dZ: Array) -> Array:
        """Return ``dX = dZ W^T``, shape ``(n, d)``."""
        W, _ = self.checked_parameters()
        dZ = as_float(dZ, "dZ", W.dtype)
        if dZ.ndim != 2 or dZ.shape[1] != W.shape[1]:
            raise ValueError(f"dZ has shape {dZ.shape}; the layer needs (n, {W.shape[1]})")
        dX = np.empty((dZ.shape[0], W.shape[0]), W.dtype)
        products.input_gradient(unlocked(dZ), unlocked(W), dX)
        return dX


def weight_blocks(
    d: int, k: int, blocks: int, to: Blueprint, thread: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield a thread's share of weights (d, k) as (first row, rows, first column, columns).

    A thread has the columns that it computes forward. A layer that is too narrow for that is cut by
    rows instead, and so is one whose rows are no whole cache lines: lines that hold the end of one
    share and the beginning of another would go back and forth between cores.
    """
    threads = to.threads
    if blocks == 1 or k * to.itemsize % LINE:
        first, end = thread * d // threads, (thread + 1) * d // threads
        if end > first:  # the block from row 0 on updates the bias, so there is one
            yield first, end - first, 0, k
        return
    for block in range(thread * blocks // threads, (thread + 1) * blocks // threads):
        begin, end = cut(k, blocks, block, to.itemsize)
        yield 0, d, begin, end - begin
