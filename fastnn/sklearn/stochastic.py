"""Epochs of sgd and adam: scikit-learn's reasons to go on or stop, fastnn's training loop."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split

from fastnn import training
from fastnn._typing import Array
from fastnn.callbacks import Callback, as_callbacks
from fastnn.datasets import Data, Dataset
from fastnn.optimizers import SGD, Adam, Optimizer
from fastnn.schedulers import Constant
from fastnn.sklearn.networks import Network

_Validation = tuple[Array, Array, "Array | None"]  # features, targets, weights


class Penalty(Callback):
    """Sums up what the penalty adds to an epoch's losses: the mean of before and after some batches."""

    def __init__(self, network: Network, alpha: float) -> None:
        self._network, self._alpha = network, alpha
        self._before = network.weight_squares()

    def on_epoch_begin(self, run: training.Run) -> None:
        self.total = 0.0

    def on_batches_end(self, run: training.Run, losses: Array, errors: Array) -> None:
        after = self._network.weight_squares()
        rows = run.dataset.train.rows_per_weight()[len(run.losses) - len(losses) : len(run.losses)]
        self.total += self._alpha / 2 * float(rows.sum()) * (self._before + after) / 2
        self._before = after


class Stochastic:
    """To be mixed into scikit-learn's classes, whose ``_fit_stochastic`` it replaces."""

    def _row_weights(self, y: Array, sample_weight: Array | None) -> Array | None:
        return sample_weight

    def _fit_stochastic(
        self: Any, X: Any, y: Array, sample_weight: Array | None, *workspaces: Any
    ) -> None:
        incremental = workspaces[-1]
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        callbacks = as_callbacks(self.callbacks or ())
        network = self._network()
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimizer()
        network.net.optimizer, network.net.rng = self._optimizer, self._random_state
        network.penalise(self.alpha)
        weights = self._row_weights(y, sample_weight)
        X, validation = network.rows(X), None
        if self.early_stopping:
            (X, y, weights), validation = self._split(X, y, weights)
        y, size = y.astype(network.dtype), self._rows_of_batch(len(X))
        dataset = Dataset(X, y, size, *(validation or ())[:2])
        dataset.train = Data(X, size, y, y.shape[1], weights)
        run = training.Run(network.net, dataset, 1 if incremental else self.max_iter)
        try:
            with training.under_way(run, callbacks) as check_interrupt:
                self._run(run, callbacks, check_interrupt, validation, incremental)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        if self.early_stopping:
            self._unpack_best()

    def _new_optimizer(self: Any) -> Optimizer:
        rate = Constant(self.learning_rate_init)
        if self.solver == "adam":
            return Adam(0.0, rate, self.beta_1, self.beta_2, self.epsilon)
        ahead = self.nesterovs_momentum and self.momentum > 0
        return SGD(0.0, rate, self.momentum, nesterov=ahead)

    def _split(self: Any, X: Array, y: Array, weights: Array | None) -> tuple[Any, Any]:
        """Return the parts to train on and to validate with: each features, targets, weights."""
        parts = train_test_split(
            *((X, y) if weights is None else (X, y, weights)),
            random_state=self._random_state,
            test_size=self.validation_fraction,
            stratify=y if is_classifier(self) and self.n_outputs_ == 1 else None,
        )
        if len(parts[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your "
                "dataset."
            )
        none = () if weights is not None else (None,)
        return (*parts[::2], *none), (*parts[1::2], *none)

    def _rows_of_batch(self: Any, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
                stacklevel=4,
            )
        return min(int(self.batch_size), n)

    def _run(
        self: Any,
        run: training.Run,
        callbacks: Sequence[Callback],
        check_interrupt: Callable[[], None],
        validation: _Validation | None,
        incremental: bool,
    ) -> None:
        """Do epochs until one of the reasons to stop."""
        if self.n_iter_ == 0 or not hasattr(self, "validation_loss_curve_"):
            self.validation_loss_curve_: list[float] | None = [] if validation else None
        self.n_iter_ = 0
        penalty = Penalty(self._net, self.alpha)
        told = [penalty, *callbacks]
        while run.epoch < run.epochs:
            for callback in told:
                callback.on_epoch_begin(run)
            if run.stopped or not training.one_pass(run, self.shuffle, told, check_interrupt):
                break
            self._note(run, penalty.total, validation)
            for callback in callbacks:
                callback.on_epoch_end(run)
            run.epoch += 1
            run.losses, run.errors = [], []
            if self.solver == "sgd" and self.learning_rate == "invscaling":
                rate = self.learning_rate_init / (self.t_ + 1) ** self.power_t
                self._optimizer.lr_scheduler.lr = rate
            done = self._no_improvement_count > self.n_iter_no_change and self._stops()
            if done or run.stopped or incremental:
                break
            if self.n_iter_ == self.max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=6,
                )

    def _note(self: Any, run: training.Run, penalty: float, validation: _Validation | None) -> None:
        """Write down what an epoch came to."""
        train, history = run.dataset.train, run.history
        outputs = self.n_outputs_ if self.out_activation_ == "identity" else 1  # the mean is over them
        total = float(np.dot(run.losses, train.batch_sizes())) / outputs + penalty
        self.loss_ = total / train.n_samples
        self.n_iter_ += 1
        self.t_ += train.n_samples
        self.loss_curve_.append(self.loss_)
        history.loss.append(self.loss_)
        history.error.append(math.fsum(run.errors) / len(run.errors))
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
        X = labels = weights = None
        if validation:
            X, y, weights = validation
            out = self._forward_pass_fast(X, check_input=False)
            self.validation_loss_curve_.append(self._loss_of(y, out, weights))
            history.validation_loss.append(self.validation_loss_curve_[-1])
            history.validation_error.append(run.net._error(y, out))
            labels = self._label_binarizer.inverse_transform(y) if is_classifier(self) else y
        self._update_no_improvement_count(self.early_stopping, X, labels, weights)

    def _stops(self: Any) -> bool:
        """Return whether to stop after epochs without improvement; else the rate was lowered."""
        scheduler = self._optimizer.lr_scheduler
        lowers = self.solver == "sgd" and self.learning_rate == "adaptive" and scheduler.lr > 1e-6
        if lowers:
            scheduler.lr /= 5
            self._no_improvement_count = 0
        if self.verbose:
            what = "Validation score" if self.early_stopping else "Training loss"
            then = f"Setting learning rate to {scheduler.lr:f}" if lowers else "Stopping."
            print(
                f"{what} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} "
                f"consecutive epochs. {then}"
            )
        return not lowers

    def _score(self: Any, X: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Return the validation score."""
        if self.scoring is None:
            return super()._score(X, y, sample_weight=sample_weight)  # type: ignore[misc, no-any-return]
        nameless = object.__new__(type(self))  # these rows have lost the names of their columns
        vars(nameless).update((k, v) for k, v in vars(self).items() if k != "feature_names_in_")
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return float(check_scoring(self, scoring=self.scoring)(nameless, X, y, **weights))

    def _unpack_best(self: Any) -> None:
        """Go back to the parameters of the best validation score."""
        for array, best in zip(
            (*self.coefs_, *self.intercepts_), (*self._best_coefs, *self._best_intercepts), strict=True
        ):
            array[...] = best
