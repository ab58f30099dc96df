"""The batch normalisation layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike
from fastnn._validation import require_count
from fastnn.blueprint import Blueprint
from fastnn.layers.batch_norm_base import BatchNorm
from fastnn.weights import WeightInitializer, XavierUniform, initialize_weights


class BatchNorm1D(BatchNorm):
    """``Y = (X - mu) / sqrt(var + eps) * gamma + beta`` for ``X (n, d)``, by columns.

    In training, ``mu`` and ``var`` are the mean and the biased variance of the batch, and each batch
    updates the running statistics: ``r = momentum r + (1 - momentum) batch``. They start at 0. In
    evaluation, ``mu`` and ``var`` are the running statistics. ``gamma (1, d)`` is drawn by
    ``weight_init``, and ``beta (1, d)`` starts at 0. Statistics are computed in float64.

    A network trains the layer in ``fit``, ``train`` and ``train_step``, and evaluates it in
    ``predict``, ``evaluate``, ``test`` and validation. The teaching library has a bug here: its
    networks pass no mode, so evaluation uses the batch's statistics and updates the running statistics.
    This class does not have this bug.

    Parameters
    ----------
    weight_init : str or WeightInitializer
        A name for ``initialize_weights``, or an initialiser: a function of a shape.
    eps : float, default=1e-8
        Added to the variance, at least 0.
    momentum : float, default=0.9
        Weight of the old running statistics in each update, from 0 to 1.
    n_in : int, optional
        Number of columns. If given, the parameters are made at once, in float64; otherwise the first
        ``forward`` makes them, in the dtype of its input.

    Attributes
    ----------
    cache : ordered dict
        ``X``, ``X_hat``, ``mu`` and ``var`` of the last ``forward``, and the running statistics
        ``running_mu`` and ``running_var``, which ``clear_gradients`` does not clear. Reading a running
        statistic returns a copy; assigning to it changes the buffer.
    buffers : ordered dict of arrays, shape (1, d)
        The running statistics ``running_mu`` and ``running_var``.

    Raises
    ------
    NotImplementedError
        If ``weight_init`` is an unknown name.
    TypeError, ValueError
        If ``eps``, ``momentum`` or ``n_in`` is not a number, or out of its range.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift", arXiv:1502.03167.

    Examples
    --------
    >>> layer = fastnn.BatchNorm1D("ones")
    >>> layer.forward([[1.0, 10.0], [3.0, 30.0]]).round(3)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> layer.cache["running_mu"]
    array([[0.2, 2. ]])
    """

    axes = ("batch", "features")

    def __init__(
        self,
        weight_init: str | WeightInitializer | Callable[[Sequence[int]], Array] = "xavier_uniform",
        eps: float = 1e-8,
        momentum: float = 0.9,
        n_in: int | None = None,
    ) -> None:
        super().__init__(eps, momentum)
        self.init_weights = weight_init if callable(weight_init) else initialize_weights(weight_init)
        if n_in is not None:
            self._init_parameters((0, require_count("n_in", n_in)))

    def __repr__(self) -> str:
        init = self.init_weights
        usual = type(init) is XavierUniform
        return as_call(self, weight_init="xavier_uniform" if usual else init, n_in=None)

    def first_gamma(self, d: int) -> ArrayLike:
        drawn: ArrayLike = self.init_weights((1, d))
        return drawn

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step."""
        self.write(to)


class BatchNorm2D(BatchNorm):
    """``Y = (X - mu) / sqrt(var + eps) * gamma + beta`` for ``X (n, h, w, c)``, by channels.

    In training, ``mu`` and ``var`` are the mean and the biased variance of the batch's n h w values of
    a channel. Each batch updates the running statistics, ``r = momentum r + (1 - momentum) batch``,
    with the unbiased variance. They start at mean 0 and variance 1. In evaluation (``predict``,
    ``evaluate``, ``test`` and validation), ``mu`` and ``var`` are the running statistics. ``gamma
    (1, c)`` starts at 1 and ``beta (1, c)`` at 0. The layer computes the same as
    ``torch.nn.BatchNorm2d(c, eps, momentum=1 - momentum)``. ``cache`` and ``buffers`` are as in
    :class:`BatchNorm1D`.

    Parameters
    ----------
    eps : float, default=1e-5
        Added to the variance, at least 0.
    momentum : float, default=0.9
        Weight of the old running statistics in each update, from 0 to 1.

    Raises
    ------
    TypeError, ValueError
        If ``eps`` or ``momentum`` is not a number, or out of its range.

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift", arXiv:1502.03167.

    Examples
    --------
    >>> layer = fastnn.BatchNorm2D()
    >>> layer.forward([[[[1.0], [2.0], [3.0]]]]).round(3).tolist()
    [[[[-1.225], [0.0], [1.225]]]]
    """

    axes = ("batch", "height", "width", "channels")
    unbiased, first_var = True, 1.0

    def __init__(self, eps: float = 1e-5, momentum: float = 0.9) -> None:
        super().__init__(eps, momentum)

    def first_gamma(self, d: int) -> ArrayLike:
        return np.ones((1, d))

    def compile(self, to: Blueprint) -> None:
        """Write the layer's compiled step."""
        self.write(to)
