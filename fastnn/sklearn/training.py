"""What both estimators share: scikit-learn's checks and bookkeeping, fastnn's arithmetic."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.neural_network._base import LOSS_FUNCTIONS
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import validate_data

from fastnn._interrupt import deferred_interrupt
from fastnn._typing import Array
from fastnn.datasets import Data
from fastnn.optimizers import SGD, Adam, Optimizer
from fastnn.schedulers import Constant
from fastnn.sklearn.networks import ACTIVATION_NAMES, Network

CONSTRAINTS: dict[str, list[Any]] = {
    "activation": [StrOptions(set(ACTIVATION_NAMES)), list, tuple],
    "scoring": [str, callable, None],
}


class OnEngine:
    """To be mixed into scikit-learn's classes, whose steps it replaces: fit, gradient, outputs."""

    def _network(self: Any) -> Network:
        """Return the network of the arrays that are ``coefs_`` and ``intercepts_`` now."""
        network: Network | None = vars(self).get("_net")
        if network is None or not network.holds(self.coefs_, self.intercepts_):
            network = Network(self.coefs_, self.intercepts_, self._hidden(), self.out_activation_)
            self._net = network
            self.coefs_, self.intercepts_ = [*network.coefs], [*network.intercepts]
        return network

    def _hidden(self: Any) -> list[str]:
        """Return the hidden layers' activations."""
        count = len(self.coefs_) - 1
        names = [self.activation] * count if isinstance(self.activation, str) else [*self.activation]
        if len(names) != count or not ACTIVATION_NAMES.issuperset(names):
            raise ValueError(
                f"activation must have {count} entries, one a hidden layer, of "
                f"{', '.join(sorted(ACTIVATION_NAMES))}; got {self.activation!r}"
            )
        return names

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_net"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        if "coefs_" in state:
            self._network()

    # What scikit-learn calls.

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> Array:
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return self._network().predict(X)

    def _backprop(
        self: Any, X: Any, y: Array, sample_weight: Array | None, *workspaces: Any
    ) -> tuple[float, list[Array], list[Array]]:
        """Return loss and gradients of a batch, the penalty in both."""
        network = self._network()
        out = network.gradients(network.rows(X), y, sample_weight, self.alpha)
        total = len(out) if sample_weight is None else sample_weight.sum()
        penalty = 0.5 * self.alpha * network.weight_squares() / total
        loss = self._loss_of(y, out, sample_weight) + penalty
        gradients = [layer.gradients for layer in network.net.layers]
        return loss, [g["W"] for g in gradients], [g["b"].reshape(-1) for g in gradients]

    def _loss_of(self: Any, y: Array, out: Array, sample_weight: Array | None) -> float:
        name = "binary_log_loss" if self.out_activation_ == "logistic" else self.loss
        return float(LOSS_FUNCTIONS[name](y, out, sample_weight))

    def _unpack(self: Any, packed: Array) -> None:
        """Write lbfgs's vector into the parameters, where they are."""
        for W, (first, end, shape) in zip(self.coefs_, self._coef_indptr, strict=True):
            W[...] = packed[first:end].reshape(shape)
        for b, (first, end) in zip(self.intercepts_, self._intercept_indptr, strict=True):
            b[...] = packed[first:end]

    def _fit_lbfgs(self: Any, X: Any, y: Array, sample_weight: Array | None, *workspaces: Any) -> None:
        network = self._network()
        sample_weight = self._row_weights(y, sample_weight)
        super()._fit_lbfgs(network.rows(X), y, sample_weight, *workspaces)  # type: ignore[misc]

    def _row_weights(self, y: Array, sample_weight: Array | None) -> Array | None:
        return sample_weight

    def _fit_stochastic(
        self: Any, X: Any, y: Array, sample_weight: Array | None, *workspaces: Any
    ) -> None:
        incremental = workspaces[-1]
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        network = self._network()
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._new_optimizer()
        network.net.optimizer, network.net.rng = self._optimizer, self._random_state
        weights = self._row_weights(y, sample_weight)
        X, validation = network.rows(X), None
        if self.early_stopping:
            (X, y, weights), validation = self._split(X, y, weights)
        epoch = _pass(self, network, X, y, weights)
        try:
            with deferred_interrupt() as check_interrupt:
                self._run(epoch, check_interrupt, len(X), validation, incremental)
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
                stacklevel=5,
            )
        return min(int(self.batch_size), n)

    def _run(
        self: Any,
        epoch: Callable[[Callable[[], None]], float],
        check_interrupt: Callable[[], None],
        n: int,
        validation: tuple[Array, Array, Array | None] | None,
        incremental: bool,
    ) -> None:
        """Do epochs until one of the reasons to stop."""
        X_val, y_val, weights_val = validation or (None, None, None)
        labels_val = y_val
        if validation and is_classifier(self):
            labels_val = self._label_binarizer.inverse_transform(y_val)
        if self.n_iter_ == 0 or not hasattr(self, "validation_loss_curve_"):
            self.validation_loss_curve_: list[float] | None = [] if validation else None
        self.n_iter_ = 0
        for _ in range(self.max_iter):
            self.loss_ = epoch(check_interrupt)
            self.n_iter_ += 1
            self.t_ += n
            self.loss_curve_.append(self.loss_)
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")
            if validation:
                out = self._forward_pass_fast(X_val, check_input=False)
                self.validation_loss_curve_.append(self._loss_of(y_val, out, weights_val))
            self._update_no_improvement_count(self.early_stopping, X_val, labels_val, weights_val)
            if self.solver == "sgd" and self.learning_rate == "invscaling":
                rate = self.learning_rate_init / (self.t_ + 1) ** self.power_t
                self._optimizer.lr_scheduler.lr = rate
            if self._no_improvement_count > self.n_iter_no_change and self._stops():
                break
            if incremental:
                break
            if self.n_iter_ == self.max_iter:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                    "optimization hasn't converged yet.",
                    ConvergenceWarning,
                    stacklevel=6,
                )

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


def _pass(
    model: Any, network: Network, X: Array, y: Array, weights: Array | None
) -> Callable[[Callable[[], None]], float]:
    """Return a function that takes a model once over the rows and returns the mean loss."""
    net, n, shuffle, alpha = network.net, len(X), model.shuffle, model.alpha
    outputs = model.n_outputs_ if model.out_activation_ == "identity" else 1  # the mean is over them
    size = model._rows_of_batch(n)
    sizes = np.diff([*range(0, n, size), n])

    def compiled(check_interrupt: Callable[[], None]) -> float:
        losses: list[float] = []
        penalty, before = 0.0, network.weight_squares()
        for some, _ in net._batches(data, shuffle, 0):
            losses.extend(some)
            after = network.weight_squares()
            penalty += alpha / 2 * len(some) * (before + after) / 2
            before = after
            check_interrupt()
        return (float(np.dot(losses, sizes)) / outputs + penalty) / n

    def by_layers(check_interrupt: Callable[[], None]) -> float:
        total = 0.0
        for _ in sizes:
            rows = data.sample(shuffle, net.rng)
            loss, _, _ = model._backprop(X[rows], y[rows], None if weights is None else weights[rows])
            net.update()
            total += loss * len(rows)
            check_interrupt()
        return total / n

    if weights is None and model.out_activation_ != "exp":
        network.penalise(alpha)
        data = Data(np.require(X, requirements=["W"]), size, y.astype(network.dtype))
        return compiled
    data = Data(np.arange(n), size)
    return by_layers
