"""Losses of regression: squared and absolute errors, counts, quantiles."""

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

    Networks report :meth:`error` in addition to the loss.
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
        """Return the sum of the loss over all entries; write the gradient of the mean to ``out``."""

    def _errors(self, y: Array, y_hat: Array) -> float:
        return float(regression.distances(y.reshape(-1), y_hat.reshape(-1)))


class MSE(MeanLoss):
    """Mean squared error: ``sum((Y - Y_hat)**2) / (n k)``, with gradient ``2 (Y_hat - Y) / (n k)``.

    The definition of Keras, scikit-learn and ``torch.nn.MSELoss``. :class:`L2` is ``k / 2`` times this
    loss. The error that networks report is the loss itself.
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

    The same as ``torch.nn.L1Loss``. The gradient is 0 where ``Y`` and ``Y_hat`` are equal.
    """

    def __init__(self, name: str = "mae") -> None:
        self.name = name

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.mae_loss

    def _sum(self, y: Array, y_hat: Array, out: Array) -> float:
        return float(regression.mae(y.reshape(-1), y_hat.reshape(-1), y.size, out.reshape(-1)))


class Huber(MeanLoss):
    """Huber loss: quadratic for small differences, linear for large ones.

    The mean over all entries of ``d**2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``,
    with ``d = Y_hat - Y``. The gradient is ``d`` clipped to ``[-delta, delta]``, divided by ``n k``.
    The same as ``torch.nn.HuberLoss``. The error that networks report is the mean absolute error.
    Source: P. Huber, "Robust estimation of a location parameter", 1964.

    Parameters
    ----------
    delta : float
        The absolute difference at which the loss becomes linear; above 0.

    Raises
    ------
    TypeError, ValueError
        If ``delta`` is not a number above 0.
    """

    def __init__(self, delta: float = 1.0, name: str = "huber") -> None:
        self._delta = require_number("delta", delta, low=0.0, strict=True)
        self.name = name

    @property
    def delta(self) -> float:
        """The absolute difference at which the loss becomes linear."""
        return self._delta

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.huber_loss

    def parameters(self, n_out: int) -> Sequence[float]:
        return (self._delta,)

    def _sum(self, y: Array, y_hat: Array, out: Array) -> float:
        y, y_hat = y.reshape(-1), y_hat.reshape(-1)
        return float(regression.huber(y, y_hat, self._delta, y.size, out.reshape(-1)))


class Poisson(MeanLoss):
    """Negative log-likelihood of counts under a Poisson distribution, without constant terms.

    The mean over all entries of ``exp(Y_hat) - Y Y_hat``. The outputs are logarithms of rates, so the
    last activation should be linear. With ``log_input=False`` the outputs are the rates themselves, and
    the loss is the mean of ``Y_hat - Y log(Y_hat + 1e-8)``. The same as ``torch.nn.PoissonNLLLoss``.
    The error that networks report is the mean absolute difference of rates and counts.

    Parameters
    ----------
    log_input : bool
        Whether the outputs are logarithms of the rates.
    """

    def __init__(self, log_input: bool = True, name: str = "poisson") -> None:
        self._log_input = bool(log_input)
        self.name = name

    @property
    def log_input(self) -> bool:
        """Whether the outputs are logarithms of the rates."""
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
    target: ``Q`` quantiles of targets ``(n, k)`` are ``k Q`` outputs, and column ``i Q + j`` is the
    ``j``-th quantile of the ``i``-th target. ``fit``, ``train_step`` and ``evaluate`` take the targets
    themselves. A :class:`fastnn.Dataset` must have each column ``Q`` times, as :meth:`expand` returns
    them. The gradient is 0 where target and output are equal. The error that networks report is the
    loss itself.
    Source: R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46, 1978.

    Parameters
    ----------
    quantiles : array_like (Q,) or float, optional
        Between 0 and 1, exclusive; by default the median, whose loss is half the absolute error.

    Raises
    ------
    TypeError, ValueError
        If ``quantiles`` is not a number or a sequence of numbers between 0 and 1.

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
        """Number of quantiles ``Q``."""
        return self._quantiles.size

    def part(self, fused: bool, n_out: int) -> Part:
        return parts.quantile_loss

    def parameters(self, n_out: int) -> Sequence[float]:
        return self._levels(n_out)  # type: ignore[return-value]

    def check_classes(self, k: int) -> None:
        """Raise ``ValueError`` if ``k``, the number of outputs, is not a multiple of ``Q``."""
        if k % self.outputs_each:
            raise ValueError(
                f"{self!r} needs {self.outputs_each} outputs for each target, the network has {k}"
            )

    def expand(self, Y: Array, n_out: int | None = None) -> Array:
        """Return targets ``(n, k)`` with every column repeated ``Q`` times: ``(n, k Q)``.

        Targets that have ``n_out`` columns are returned unchanged.
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
