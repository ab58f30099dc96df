"""Base class of the batch normalisation layers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from fastnn._arrays import unlocked
from fastnn._changes import Changes, watched
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_number, restore
from fastnn.blueprint import Blueprint, column_blocks
from fastnn.kernels.layers import batch_norm as kernels
from fastnn.kernels.layers import batch_norm_gradient as gradients
from fastnn.kernels.layers import batch_norm_jobs as jobs
from fastnn.layers import batch_norm_alone as alone
from fastnn.layers.base import Layer
from fastnn.layers.running import RUNNING, RunningCache
from fastnn.layers.state import Buffers, Parameters

_ROWS = {"gamma_row": "gamma", "beta_row": "beta"}  # fields of records of parameters


class BatchNorm(Layer):
    """Base class of the batch normalisation layers; statistics are per channel, the last axis."""

    keeps_width, cached = True, ("X", "X_hat", "mu", "var", *RUNNING)
    unsaved: ClassVar[tuple[str, ...]] = ("n_in",)  # arguments that follow from the parameters
    unbiased: ClassVar[bool] = False  # whether the running variance averages unbiased variances
    first_var: ClassVar[float] = 0.0  # initial running variance
    axes: ClassVar[tuple[str, ...]]
    eps: float = watched(lambda value: require_number("eps", value, low=0.0))
    momentum: float = watched(lambda value: require_number("momentum", value, low=0.0, high=1.0))
    _tested: Array | None = None  # the input of the last forward pass by running statistics
    _rest: tuple[Any, Any] = (None, None)  # mean of the last forward pass, its rounding error

    def __init__(self, eps: float, momentum: float) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum

    @property
    def cache(self) -> RunningCache:
        """What ``backward`` needs of the last ``forward``, and copies of the running statistics."""
        found = vars(self)["cache"]
        if type(found) is not RunningCache or found.layer is not self:
            found = vars(self)["cache"] = RunningCache(found, self)
        return found

    @cache.setter
    def cache(self, values: Mapping[str, Any]) -> None:
        vars(self)["cache"] = values

    @property
    def penalised(self) -> tuple[str, ...]:
        """No parameter: ``l2`` does not apply to this layer."""
        return ()

    def check_input(self, X_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the output's shape, which is the input's, or raise ``ValueError``."""
        if len(X_shape) != len(self.axes):
            raise ValueError(f"X must have shape ({', '.join(self.axes)}), got {X_shape}")
        if 0 in X_shape[1:]:
            raise ValueError(f"X needs at least one of each of {self.axes[1:]}, got {X_shape}")
        if self.n_in not in (None, X_shape[-1]):
            raise ValueError(f"X has {X_shape[-1]} {self.axes[-1]}, the layer needs {self.n_in}")
        return X_shape

    def parameter_shapes(self, X_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shapes of ``gamma`` and ``beta`` for inputs ``(..., d)``."""
        shape = (1, X_shape[-1])
        return {"gamma": shape, "beta": shape}

    @abstractmethod
    def first_gamma(self, d: int) -> ArrayLike:
        """Return a new gamma ``(1, d)``."""

    def initial_parameters(self, X_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Parameters:
        """Return a new gamma, and a beta of zeros, for inputs ``(..., d)``."""
        shape = (1, X_shape[-1])
        gamma = as_float(self.first_gamma(X_shape[-1]), "weight_init", dtype)
        if gamma.shape != shape:
            raise ValueError(f"weight_init gave {gamma.shape}, the layer needs {shape}")
        return Parameters(gamma=gamma, beta=np.zeros(shape, dtype))

    def adopt(self, parameters: Parameters, n_in: int, dtype: np.dtype[Any]) -> None:
        """Take over parameters; the running statistics begin anew."""
        super().adopt(parameters, n_in, dtype)
        mean, var = np.zeros((1, n_in), dtype), np.full((1, n_in), self.first_var, dtype)
        self._buffers = Buffers(running_mu=mean, running_var=var)

    def width_of(self, arrays: Mapping[str, Array]) -> int | None:
        return arrays["gamma"].shape[-1] if "gamma" in arrays and arrays["gamma"].ndim == 2 else None

    def buffer_forms(self) -> dict[str, tuple[tuple[int, ...], type]]:
        if self.n_in is None or self.dtype is None:
            return {}
        return dict.fromkeys(RUNNING, ((1, self.n_in), self.dtype.type))

    def restore(self, arrays: Mapping[str, Array], n_in: int | None) -> None:
        before, width = self.n_in, self.width_of(arrays)
        self.n_in = width if n_in is None else n_in  # which the buffers' shapes depend on
        try:
            super().restore(arrays, n_in)
        except ValueError:
            self.n_in = before
            raise

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        dtype = self.dtype or np.dtype(np.float64)
        self.adopt(self.initial_parameters(X_shape, dtype), X_shape[-1], dtype)

    def cost(self, X_shape: tuple[int, ...]) -> int:
        return 6 * math.prod(X_shape)

    def affine(self) -> tuple[Array, Array]:
        """Return float64 slope and shift ``(d,)``: ``X slope + shift`` is evaluation's output."""
        gamma, beta = (array[0].astype(np.float64) for array in self.checked_arrays())
        mean, var = (self.buffers[name][0].astype(np.float64) for name in RUNNING)
        slope = gamma / np.sqrt(var + self.eps)
        return slope, beta - mean * slope

    def write(self, to: Blueprint) -> None:
        """Write the layer's compiled step."""
        gamma, beta = self.checked_arrays()
        source, d = to.input, gamma.size
        to.output = to.port(source.shape, column_blocks(source.width, to.itemsize, to.threads))
        fields: dict[str, Any] = {
            "input": source, "output": to.output, "each": source.width // d, "width": d,
            "eps": self.eps,
            "gamma": gamma.ctypes.data, "beta": beta.ctypes.data,
            "running_mean": self.buffers["running_mu"].ctypes.data,
            "running_var": self.buffers["running_var"].ctypes.data,
        }  # fmt: skip
        # Zeros, of which only batches change "rest".
        fields |= {name: to.array(1, d, dtype=np.float64) for name in ("mean", "rest", "var")}
        measures = to.learning is not None and self.training
        if to.learning:
            names = "means", "rests", "squares", "totals", "dots"
            fields |= {name: to.array(to.row_blocks, d, dtype=np.float64) for name in names}
            fields |= {name: to.array(1, d, dtype=np.float64) for name in ("total", "dot")}
            fields |= {"d_output": to.output.gradient, "d_input": source.gradient}
            fields |= {"blocks": to.row_blocks, "constant": not measures, "unbiased": self.unbiased}
            fields |= {name: to.parameter(x, written=True) for name, x in _ROWS.items()}
        row = to.record(jobs.BatchNorm, momentum=self.momentum, **fields)
        if measures:
            to.forward_rows(jobs.moments, row)
            to.forward(jobs.merge, row, 1)
        else:
            to.before(jobs.constants, row)
        to.forward_rows(jobs.normalise, row)
        if not to.learning:
            return
        to.backward_rows(jobs.gradient_sums, row)
        to.backward(jobs.gradients, row, 1, 0)
        if source.gradient:
            to.backward_rows(jobs.input_gradient, row)
        to.update(to.task(jobs.update_parameters, row))

    def forward(self, X: ArrayLike, mode: str | None = None) -> Array:
        """Return the normalised batch, of the shape of ``X``, and cache what ``backward`` needs.

        Parameters
        ----------
        X : array_like
        mode : "train" or "test", optional
            ``"train"`` uses the batch's statistics and updates the running ones; ``"test"`` uses the
            running ones. The default follows ``training``.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If ``X`` does not have the axes that the layer needs, or the ``d`` channels that it was made
            for, or ``mode`` is something else.
        """
        if mode not in ("train", "test", None):
            raise ValueError(f"mode must be 'train' or 'test', got {mode!r}")
        x = as_float(X, "X", self.dtype)
        self.check_input(x.shape)
        if self.n_in is None:
            self.dtype = x.dtype
            self._init_parameters(x.shape)
        gamma, beta = (unlocked(np.ascontiguousarray(x)) for x in self.checked_arrays())
        self.check_buffers()
        training = self.training if mode is None else mode == "train"
        Y = np.empty(x.shape, x.dtype)
        statistics = mean, rest, var = _new_statistics(x) if training else self._constants()
        if alone.is_large(x):
            self._normalise_large(x, training, statistics, gamma, beta, Y)
        else:
            if training:
                self._measure(x, mean, rest, var)
            kernels.batch_norm(_rows(x), mean, rest, var, self.eps, gamma, beta, _rows(Y))

        def standardised() -> Array:
            X_hat, plain = np.empty(x.shape, x.dtype), (np.ones_like(gamma), np.zeros_like(beta))
            kernels.batch_norm(_rows(x), mean, rest, var, self.eps, *plain, _rows(X_hat))
            return X_hat

        self._tested, self._rest = None if training else x, (mean, rest)
        self.cache.update(X=x, mu=mean, var=var)
        self.cache.make("X_hat", standardised)
        for name in RUNNING:
            if name not in self.cache:
                self.cache[name] = self.buffers[name]
        Changes.count += 1
        return restore(Y, X)

    def _measure(self, x: Array, mean: Array, rest: Array, var: Array) -> None:
        """Write the batch's mean and variance, and move the running ones towards them."""
        rows = _rows(x)
        m = len(rows)
        kernels.column_moments(rows, mean, rest, var)
        var /= max(m, 1)
        if m:
            factor = m / max(m - 1, 1) if self.unbiased else 1.0
            kernels.update_running(self.buffers["running_mu"], self.momentum, 1.0, mean)
            kernels.update_running(self.buffers["running_var"], self.momentum, factor, var)

    def _normalise_large(
        self,
        x: Array,
        training: bool,
        statistics: tuple[Array, ...],
        gamma: Array,
        beta: Array,
        Y: Array,
    ) -> None:
        """Write Y; with ``training``, measure the batch first."""
        arrays = dict(zip(("mean", "rest", "var"), statistics, strict=True))
        arrays |= {"input": x, "gamma": gamma, "beta": beta, "output": Y}
        if not training:
            with alone.constants.taken(x.shape, x.dtype) as run:
                run.run_with(arrays, eps=self.eps)
            return
        running = {"running_mean": "running_mu", "running_var": "running_var"}
        arrays |= {name: self.buffers[buffer] for name, buffer in running.items()}
        with alone.training.taken(x.shape, x.dtype) as run:
            run.run_with(arrays, eps=self.eps, momentum=self.momentum, unbiased=self.unbiased)

    def _constants(self) -> tuple[Array, Array, Array]:
        mean, var = (self.buffers[name].astype(np.float64) for name in RUNNING)
        return mean, np.zeros_like(mean), var

    def backward(self, dLdY: ArrayLike) -> Array:
        """Store ``gradients["gamma"]`` and ``gradients["beta"]``; return ``dX``, of the shape of ``X``.

        With ``X_hat = (X - mu) / sqrt(var + eps)``, by channels, ``m`` values each::

            dX = gamma / sqrt(var + eps) * (dLdY - dbeta / m - X_hat dgamma / m)
            dgamma = sum(dLdY X_hat), dbeta = sum(dLdY)

        ``X``, ``mu`` and ``var`` are the cache's. After a ``forward`` by running statistics, which do
        not depend on ``X``, ``dX = gamma / sqrt(var + eps) * dLdY``.

        Raises
        ------
        RuntimeError
            If there was no ``forward`` since the gradients were last cleared.
        ValueError
            If ``dLdY`` does not have the shape of the last output.
        """
        found = {name: self.cached_array(name) for name in ("X", "mu", "var")}
        if not self._parameters:
            kept = {name: self.cache[name] for name in self.cache}
            self._init_parameters(as_float(found["X"], "X").shape)
            self.cache.update({name: kept[name] for name in kept if name not in RUNNING})
        gamma = np.ascontiguousarray(self.checked_arrays()[0])
        x = as_float(found["X"], "X", gamma.dtype)
        self.check_input(x.shape)
        mean, var = (self._statistic(name, found[name]) for name in ("mu", "var"))
        rest = self._rest[1] if found["mu"] is self._rest[0] else np.zeros_like(mean)
        dy = as_float(dLdY, "dLdY", x.dtype)
        if dy.shape != x.shape:
            raise ValueError(f"dLdY must have the output's shape {x.shape}, got {dy.shape}")
        rows, dX = _rows(x), np.empty(x.shape, x.dtype)
        for name in ("gamma", "beta"):
            self.gradients[name] = np.empty_like(gamma)
        d_parameters = self.gradients["gamma"], self.gradients["beta"]
        tested = found["X"] is self._tested
        if alone.is_large(x):
            arrays = {"input": x, "mean": mean, "rest": rest, "var": var}
            arrays |= {"gamma": gamma, "d_output": dy, "d_input": dX}
            with alone.backward.taken(x.shape, x.dtype) as run:
                run.write(*d_parameters)
                run.run_with(arrays, eps=self.eps, constant=tested)
            return restore(dX, dLdY)
        totals, dots = np.empty((1, gamma.size)), np.empty((1, gamma.size))
        gradients.gradient_sums(rows, mean, rest, _rows(dy), totals, dots)
        gradients.parameter_gradients(totals, dots, var, self.eps, totals, dots, *d_parameters)
        m = 0 if tested else len(rows)
        gradients.input_gradient(
            rows, mean, rest, var, self.eps, unlocked(gamma), _rows(dy), totals, dots, m, _rows(dX)
        )
        return restore(dX, dLdY)

    def _statistic(self, name: str, value: Any) -> Array:
        array = as_float(value, f"cache[{name!r}]", np.dtype(np.float64))
        if array.size != self.n_in:
            raise ValueError(
                f"cache[{name!r}] has shape {array.shape}, the layer needs (1, {self.n_in})"
            )
        return unlocked(array).reshape(1, -1)


def _rows(array: Array) -> Array:
    """Return an array as rows ``(m, d)`` along its last axis, for compiled code."""
    return unlocked(array).reshape(-1, array.shape[-1])


def _new_statistics(x: Array) -> tuple[Array, Array, Array]:
    d = x.shape[-1]
    return np.empty((1, d)), np.empty((1, d)), np.empty((1, d))
