"""What both estimators share: scikit-learn's checks and bookkeeping, fastnn's arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.neural_network._base import LOSS_FUNCTIONS
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import validate_data

from fastnn._typing import Array
from fastnn.sklearn.networks import ACTIVATION_NAMES, Network
from fastnn.sklearn.rows import as_rows
from fastnn.sklearn.stochastic import Stochastic

CONSTRAINTS: dict[str, list[Any]] = {
    "activation": [StrOptions(set(ACTIVATION_NAMES)), list, tuple],
    "scoring": [str, callable, None],
    "callbacks": [list, tuple, None],
}


class OnEngine(Stochastic):
    """To be mixed into scikit-learn's classes, whose steps it replaces: fit, gradient, outputs."""

    def _network(self: Any) -> Network:
        """Return the network of the arrays that are ``coefs_`` and ``intercepts_`` now."""
        network: Network | None = vars(self).get("_net")
        hidden, output = self._hidden(), self.out_activation_
        if network is None or not network.holds(self.coefs_, self.intercepts_, hidden, output):
            network = Network(self.coefs_, self.intercepts_, hidden, output)
            self._require_widths(network)
            self._net = network
            self.coefs_, self.intercepts_ = [*network.coefs], [*network.intercepts]
        return network

    def _require_widths(self: Any, network: Network) -> None:
        """Raise ``ValueError`` unless a network fits the numbers of features and outputs."""
        last = len(network.coefs) - 1
        for i, axis, name in ((0, 0, "n_features_in_"), (last, 1, "n_outputs_")):
            shape, needed = network.coefs[i].shape, getattr(self, name)
            if shape[axis] != needed:
                what = "columns" if axis else "rows"
                raise ValueError(
                    f"coefs_[{i}] has shape {shape}, but the model has {name}={needed}: it must have "
                    f"{needed} {what}"
                )

    def _network_to_fit(self: Any, layer_units: Sequence[int]) -> Network:
        """Return the network to train, if it has layers of these widths."""
        network: Network = self._network()
        units = [network.coefs[0].shape[0], *(W.shape[1] for W in network.coefs)]
        if units != [*layer_units]:
            self.n_outputs_ = units[-1]
            raise ValueError(
                f"the fitted network has layers of {units} units, this fit needs {[*layer_units]}: "
                "partial_fit and warm_start need the same hidden_layer_sizes and number of "
                "outputs; use fit with warm_start=False to start from new parameters"
            )
        return network

    def _hidden(self: Any) -> list[str]:
        """Return the hidden layers' activations."""
        count = self.n_layers_ - 2
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
        out = network.gradients(X, y, sample_weight, self.alpha)
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
        network = self._network_to_fit(workspaces[-1])
        sample_weight = self._row_weights(y, sample_weight)
        X = as_rows(X, network.dtype)
        super()._fit_lbfgs(X, y, sample_weight, *workspaces)  # type: ignore[misc]
