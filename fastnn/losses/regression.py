"""Losses of numbers: squares, distances, counts, quantiles."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_number, restore
from fastnn.kernels import losses as kernels
from fastnn.kernels import regression
from fastnn.kernels.step import losses as parts
from fastnn.kernels.step.parts import Part
from fastnn.losses.base import Loss, batch


class L2(Loss):
    """``sum((Y - Y_hat)**2) / (2 n)``, with gradient ``(Y_hat - Y) / n``."""

    def __init__(self, name: str = "l2") -> None:
        self.name = name

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.l2_loss

    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        y, y_hat, n = batch(Y, Y_hat)
        return float(kernels.l2(y.reshape(-1), y_hat.reshape(-1))) / (2 * n) if n else np.nan

    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        y, y_hat, n = batch(Y, Y_hat)
        out = np.empty_like(y)
        kernels.l2_backward(y.reshape(-1), y_hat.reshape(-1), n, out.reshape(-1))
        return restore(out, Y, Y_hat)


class MeanLoss(Loss):
    """Base class of losses that are a mean over all ``n k`` entries, as PyTorch's are by default.

    :meth:`error` is what networks report beside the loss.
    """

    def forward(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        y, y_hat = self._pair(Y, Y_hat)
        return self._sum(y, y_hat, np.empty_like(y)) / y.size if y.size else np.nan

    def backward(self, Y: ArrayLike, Y_hat: ArrayLike) -> Array:
        y, y_hat = self._pair(Y, Y_hat)
        out = np.empty_like(y)
        self._sum(y, y_hat, out)
        return restore(out, Y, Y_hat)

    def error(self, Y: ArrayLike, Y_hat: ArrayLike) -> float:
        """Return the mean absolute error, over all entries, or the class's own; NaN for no rows."""
        y, y_hat = self._pair(Y, Y_hat)
        return self._errors(y, y_hat) / y.size if y.size else np.nan

    def _pair(self, Y: ArrayLike, Y_hat: ArrayLike) -> tuple[Array, Array]:
        return batch(Y, Y_hat)[:2]

    @abstractmethod
    def _sum(self, y: Array, y_hat: Array, out: Array) -> float:
        """Return the sum of the loss over all entries; write the mean's gradient."""

    def _errors(self, y: Array, y_hat: Array) -> float:
        return float(regression.distances(y.reshape(-1), y_hat.reshape(-1)))


class MSE(MeanLoss):
    """Mean squared error: ``sum((Y - Y_hat)**2) / (n k)``, with gradient ``2 (Y_hat - Y) / (n k)``.

    As Keras, scikit-learn and ``torch.nn.MSELoss`` define it. :class:`L2` is ``k / 2`` times it. The
    error that networks report is the loss itself.
    """

    def __init__(self, name: str = "mse") -> None:
        self.name = name

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.mse_loss

    def _sum(self, y: Array, y_hat: Array, out: Array) -> float:
        y, y_hat = y.reshape(-1), y_hat.reshape(-1)
        kernels.l2_backward(y, y_hat, 0.5 * y.size, out.reshape(-1))
        return float(kernels.l2(y, y_hat))

    def _errors(self, y: Array, y_hat: Array) -> float:
        return float(kernels.l2(y.reshape(-1), y_hat.reshape(-1)))


class MAE(MeanLoss):
    """Mean absolute error: ``sum(|Y - Y_hat|) / (n k)``, with gradient ``sign(Y_hat - Y) / (n k)``.

    As ``torch.nn.L1Loss``. Where the two are equal the gradient is 0.
    """

    def __init__(self, name: str = "mae") -> None:
        self.name = name

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.mae_loss

    def _sum(self, y: Array, y_hat: Array, out: Array) -> float:
        return float(regression.mae(y.reshape(-1), y_hat.reshape(-1), y.size, out.reshape(-1)))


class Huber(MeanLoss):
    """Squares of small differences, sizes of large ones.

    The mean over all entries of ``d**2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``,
    with ``d = Y_hat - Y``; the gradient is ``d`` clipped to ``delta``, over ``n k``. As
    ``torch.nn.HuberLoss``. The error that networks report is the mean absolute error.
    Source: P. Huber, "Robust estimation of a location parameter", 1964.
    """

    def __init__(self, delta: float = 1.0, name: str = "huber") -> None:
        self._delta = require_number("delta", delta, low=0.0, strict=True)
        self.name = name

    @property
    def delta(self) -> float:
        """The size from which on differences count as such."""
        return self._delta

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.huber_loss

    def parameters(self, n_out: int) -> Sequence[float]:
        return (self._delta,)

    def _sum(self, y: Array, y_hat: Array, out: Array) -> float:
        y, y_hat = y.reshape(-1), y_hat.reshape(-1)
        return float(regression.huber(y, y_hat, self._delta, y.size, out.reshape(-1)))


class Poisson(MeanLoss):
    """For counts: minus the logarithm of Poisson's probability, without what the outputs do not change.

    The mean over all entries of ``exp(Y_hat) - Y Y_hat``: the network's outputs are logarithms of
    rates, so that the last activation is linear. Without ``log_input`` outputs are the rates
    themselves, and the loss is ``Y_hat - Y log(Y_hat + 1e-8)``. As ``torch.nn.PoissonNLLLoss``. The
    error that networks report is the mean distance of the rates from the counts.
    """

    def __init__(self, log_input: bool = True, name: str = "poisson") -> None:
        self._log_input = bool(log_input)
        self.name = name

    @property
    def log_input(self) -> bool:
        """Whether outputs are logarithms."""
        return self._log_input

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.poisson_loss if self._log_input else parts.rates_loss

    def _sum(self, y: Array, y_hat: Array, out: Array) -> float:
        kernel = regression.poisson if self._log_input else regression.poisson_rates
        return float(kernel(y.reshape(-1), y_hat.reshape(-1), y.size, out.reshape(-1)))

    def _errors(self, y: Array, y_hat: Array) -> float:
        kernel = regression.rate_distances if self._log_input else regression.distances
        return float(kernel(y.reshape(-1), y_hat.reshape(-1)))


class Quantile(MeanLoss):
    """The pinball loss of several quantiles at once.

    The mean over all entries of ``max(q d, (q - 1) d)`` with ``d = Y - Y_hat``. Outputs are grouped by
    target: of ``Q`` quantiles and targets ``(n, k)`` there are ``k Q`` outputs, and column ``i Q + j``
    is the ``j``-th quantile of the ``i``-th target. ``fit``, ``train_step`` and ``evaluate`` take the
    targets themselves; in a :class:`fastnn.Dataset` each column has to stand ``Q`` times, as
    :meth:`expand` returns it. Where target and output are equal the gradient is 0. The error that
    networks report is the loss itself.
    Source: R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46, 1978.

    Parameters
    ----------
    quantiles : array_like (Q,) or float, optional
        Between 0 and 1, exclusive; by default the median, whose loss is half the absolute error.

    Example
    -------
    >>> net = fastnn.NeuralNetwork(fastnn.Quantile([0.1, 0.5, 0.9]), layers, "adam")
    >>> low, median, high = net.predict(X).T  # of one target
    """

    def __init__(self, quantiles: ArrayLike | None = None, name: str = "quantile") -> None:
        given = np.array([0.5]) if quantiles is None else quantiles
        levels = np.atleast_1d(as_float(given, "quantiles", np.dtype(np.float64))).copy()
        if levels.ndim != 1 or not levels.size or not ((levels > 0) & (levels < 1)).all():
            raise ValueError(f"quantiles must be numbers between 0 and 1, got {quantiles!r}")
        levels.flags.writeable = False
        self._quantiles, self.name = levels, name

    @property
    def quantiles(self) -> Array:
        """The quantiles ``(Q,)``, read-only."""
        return self._quantiles

    @property
    def outputs_each(self) -> int:  # type: ignore[override]
        """``Q``."""
        return self._quantiles.size

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.quantile_loss

    def parameters(self, n_out: int) -> Sequence[float]:
        return self._levels(n_out)  # type: ignore[return-value]

    def check_classes(self, k: int) -> None:
        """Raise ``ValueError`` if ``k`` outputs are not the quantiles of some targets."""
        if k % self.outputs_each:
            raise ValueError(
                f"{self!r} needs {self.outputs_each} outputs for each target, the network has {k}"
            )

    def expand(self, Y: Array, n_out: int | None = None) -> Array:
        """Return targets ``(n, k)`` with every column ``Q`` times: ``(n, k Q)``.

        Rows of ``n_out`` columns are returned as they are.
        """
        return Y if Y.shape[-1] == n_out else np.repeat(Y, self.outputs_each, axis=-1)

    def _levels(self, k: int) -> Array:
        self.check_classes(k)
        return np.tile(self._quantiles, k // self.outputs_each)

    def _pair(self, Y: ArrayLike, Y_hat: ArrayLike) -> tuple[Array, Array]:
        y, shape = as_float(Y, "Y"), np.shape(Y_hat)
        if y.ndim and len(shape) == y.ndim and shape[-1] == y.shape[-1] * self.outputs_each:
            Y = self.expand(y, shape[-1])
        y, y_hat, _ = batch(Y, Y_hat)
        if y.ndim > 1:
            self.check_classes(y.shape[-1])
        elif self.outputs_each > 1:
            raise ValueError(f"Y_hat must be rows (n, outputs) for {self!r}, got shape {shape}")
        return y, y_hat

    def _sum(self, y: Array, y_hat: Array, out: Array) -> float:
        k = y.shape[-1] if y.ndim > 1 else 1
        y, y_hat, out = (a.reshape(-1, k) for a in (y, y_hat, out))
        return float(regression.quantile(y, y_hat, self._levels(k), y.size, out))

    def _errors(self, y: Array, y_hat: Array) -> float:
        return self._sum(y, y_hat, np.empty_like(y))
