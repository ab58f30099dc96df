"""Epochs of sgd and adam: scikit-learn's reasons to go on or stop, fastnn's training loop."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from fastnn import training
from fastnn._typing import Array
from fastnn.callbacks import Callback, as_callbacks
from fastnn.optimizers import SGD, Adam, Optimizer
from fastnn.schedulers import Constant
from fastnn.sklearn.callbacks import Penalty, RestoreBest
from fastnn.sklearn.passes import as_dataset, batches
from fastnn.sklearn.rows import as_rows
from fastnn.sklearn.scoring import require_defined, validation_scorer

_Validation = tuple[Array, Array, "Array | None"]  # features, targets, weights


class Stochastic:
    """To be mixed into scikit-learn's classes, whose ``_fit_stochastic`` it replaces."""

    def _row_weights(
        self, y: Array, sample_weight: Array | None, incremental: bool = False
    ) -> Array | None:
        return sample_weight

    def _fit_stochastic(
        self: Any, X: Any, y: Array, sample_weight: Array | None, *workspaces: Any
    ) -> None:
        layer_units, incremental = workspaces[-2:]
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        callbacks = as_callbacks(self.callbacks or ())
        network = self._network_to_fit(layer_units)
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimizer()
        network.net.optimizer, network.net.rng = self._optimizer, self._random_state
        network.penalise(self.alpha)
        weights = self._row_weights(y, sample_weight, incremental)
        X, validation = as_rows(X, network.dtype), None
        if self.early_stopping:
            (X, y, weights), validation = self._split(X, y, weights)
            self._require_score(*validation)
        self._begin_records()
        y, size = y.astype(network.dtype), self._rows_of_batch(X.shape[0])
        dataset, rows = as_dataset(network, X, y, weights, size, validation)
        run = training.Run(network.net, dataset, 1 if incremental else self.max_iter)
        restoring = [RestoreBest(self._unpack_best)] if self.early_stopping else []
        try:
            with training.under_way(run, [*callbacks, *restoring]) as check_interrupt:
                self._run(run, callbacks, check_interrupt, rows, validation, incremental)
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=4)

    def _mean_loss(self: Any, y: Array, out: Array, weights: Array | None) -> float:
        """Return a batch's loss as a network's is: a mean over rows, a sum over outputs."""
        outputs = self.n_outputs_ if self.out_activation_ == "identity" else 1
        return float(self._loss_of(y, out, weights)) * outputs

    def _require_score(self: Any, X: Any, y: Array, weights: Array | None) -> None:
        """Raise ``ValueError`` if ``scoring`` has no value for the rows set aside."""
        if self.scoring is not None and is_classifier(self) and not self._has_several_labels():
            labels = self._label_binarizer.inverse_transform(y)
            require_defined(self._scorer(), self._nameless(), X, labels, weights)

    def _has_several_labels(self: Any) -> bool:
        return bool(self._label_binarizer.y_type_.startswith("multilabel"))

    def _scorer(self: Any) -> Callable[..., float]:
        one_class = is_classifier(self) and not self._has_several_labels()
        return validation_scorer(self, self.classes_ if one_class else None)

    def _nameless(self: Any) -> Any:
        """Return a copy without feature names, for rows that have none."""
        nameless = object.__new__(type(self))
        vars(nameless).update((k, v) for k, v in vars(self).items() if k != "feature_names_in_")
        return nameless

    def _begin_records(self: Any) -> None:
        """Set the records that a fit with another solver, or without ``early_stopping``, lacks."""
        if not hasattr(self, "loss_curve_"):
            vars(self).update(loss_curve_=[], _no_improvement_count=0)
        if self.early_stopping and vars(self).get("validation_scores_") is None:
            vars(self).update(validation_scores_=[], best_validation_score_=-np.inf, best_loss_=None)
            self._keep_best()
        elif not self.early_stopping and vars(self).get("best_loss_") is None:
            vars(self).update(validation_scores_=None, best_validation_score_=None, best_loss_=np.inf)

    def _keep_best(self: Any) -> None:
        self._best_coefs = [W.copy() for W in self.coefs_]
        self._best_intercepts = [b.copy() for b in self.intercepts_]

    def _new_optimizer(self: Any) -> Optimizer:
        rate = Constant(self.learning_rate_init)
        if self.solver == "adam":
            return Adam(0.0, rate, self.beta_1, self.beta_2, self.epsilon, eps_hat=True)
        ahead = self.nesterovs_momentum and self.momentum > 0
        return SGD(0.0, rate, self.momentum, nesterov=ahead)

    def _split(self: Any, X: Array, y: Array, weights: Array | None) -> tuple[Any, Any]:
        """Return the parts to train on and to validate with: each features, targets, weights."""
        stratified = is_classifier(self) and self.n_outputs_ == 1
        try:
            parts = train_test_split(
                *((X, y) if weights is None else (X, y, weights)),
                random_state=self._random_state,
                test_size=self.validation_fraction,
                stratify=y if stratified else None,
            )
        except ValueError as error:
            counts = np.bincount(y[:, 0].astype(int), minlength=2).tolist() if stratified else []
            if 1 not in counts:
                raise
            raise ValueError(
                f"{error} early_stopping needs validation rows of both classes, and the class "
                f"{self.classes_[counts.index(1)]} has only one row: add rows of it, or use "
                "early_stopping=False"
            ) from None
        if parts[1].shape[0] < 2:
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
        rows: Any,
        validation: _Validation | None,
        incremental: bool,
    ) -> None:
        """Do epochs until there is a reason to stop; ``rows``, if any, are for :func:`batches`."""
        if self.n_iter_ == 0 or vars(self).get("validation_loss_curve_") is None or not validation:
            self.validation_loss_curve_: list[float] | None = [] if validation else None
        self.n_iter_ = 0
        penalty = Penalty(self._net, self.alpha)
        told = [penalty, *callbacks]
        while run.epoch < run.epochs:
            for callback in told:
                callback.on_epoch_begin(run)
            if rows is not None:
                options = self.shuffle, run.epoch, self.alpha, self._mean_loss
                steps = batches(self._net, rows, run.dataset.train, *options)
            else:
                left = run.steps - len(run.losses)
                steps = self._net.net.train_batches(run.dataset.train, self.shuffle, run.epoch, left)
            if run.stopped or not training.one_pass(run, told, check_interrupt, steps):
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
        # scikit-learn's squared error is a mean over the outputs too
        outputs = self.n_outputs_ if self.out_activation_ == "identity" else 1
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
            history.validation_error.append(run.net.error_of(y, out))
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
        return float(self._scorer()(self._nameless(), X, y, sample_weight))

    def _update_no_improvement_count(
        self: Any, early_stopping: bool, X: Any, y: Any, sample_weight: Array | None
    ) -> None:
        """Count epochs without improvement, among them those whose score or loss is NaN."""
        before = self._no_improvement_count
        super()._update_no_improvement_count(early_stopping, X, y, sample_weight)  # type: ignore[misc]
        if math.isnan((self.validation_scores_ if early_stopping else self.loss_curve_)[-1]):
            self._no_improvement_count = before + 1

    def _unpack_best(self: Any) -> None:
        """Go back to the parameters of the best validation score."""
        if self.validation_scores_ and self.best_validation_score_ == -np.inf:
            warnings.warn(
                "No epoch's validation score is a finite number; the parameters are those before the "
                "first epoch. Scale the input, or lower learning_rate_init.",
                ConvergenceWarning,
                stacklevel=2,
            )
        for array, best in zip(
            (*self.coefs_, *self.intercepts_), (*self._best_coefs, *self._best_intercepts), strict=True
        ):
            array[...] = best
