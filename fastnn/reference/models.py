"""The network: a forward pass, a backward pass, an update, and the loop that repeats them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.datasets import Dataset
from fastnn.reference.layers import initialize_layer
from fastnn.reference.losses import Poisson, initialize_loss
from fastnn.reference.optimizers import initialize_optimizer


class NeuralNetwork:
    """A feed-forward network of layers, given by name as in ``fastnn.NeuralNetwork``."""

    def __init__(
        self,
        loss: str,
        layer_args: Sequence[Mapping[str, Any]],
        optimizer_args: Mapping[str, Any],
        seed: int | None = None,
    ) -> None:
        self.loss = initialize_loss(loss)
        self.optimizer = initialize_optimizer(**optimizer_args)
        self.layers = [initialize_layer(**args) for args in layer_args]
        self.n_layers = len(self.layers)
        self.rng = None if seed is None else np.random.default_rng(seed)
        for layer in self.layers:
            if self.rng is not None and hasattr(layer, "init_weights"):
                layer.init_weights.rng = self.rng

    def forward(self, X: Array) -> Array:
        """Return the output for a batch."""
        A = X
        for layer in self.layers:
            A = layer.forward(A)
        return A

    def backward(self, target: Array, out: Array) -> float:
        """Store every parameter's gradient; return the loss."""
        dLdY = self.loss.backward(target, out)
        for layer in reversed(self.layers):
            dLdY = layer.backward(dLdY)
        return self.loss.forward(target, out)

    def update(self, epoch: int) -> None:
        """Subtract the optimiser's step from every parameter, in place; clear the gradients."""
        for i, layer in enumerate(self.layers):
            for name, param in layer.parameters.items():
                param -= self.optimizer.update(f"{name}{i}", param, layer.gradients[name], epoch)
            layer.clear_gradients()

    def train_step(self, X: Array, Y: Array, epoch: int = 0) -> float:
        """Do one forward pass, backward pass and update; return the loss."""
        loss = self.backward(Y, self.forward(X))
        self.update(epoch)
        return loss

    def error(self, target: Array, out: Array) -> float:
        """Return 1 - accuracy for cross-entropies, the mean squared error for l2 and mse; NaN for NaN.

        For other losses it is the mean absolute error, for quantiles the loss.
        """
        if self.loss.name in ("mae", "huber"):
            return float(np.mean(np.abs(target - out)))
        if isinstance(self.loss, Poisson):
            return float(np.mean(np.abs(target - (np.exp(out) if self.loss.log_input else out))))
        if self.loss.name == "quantile":
            return self.loss.forward(target, out)
        if self.loss.name not in ("l2", "mse") and np.isnan(out).any():
            return float("nan")
        if self.loss.name == "cross_entropy":
            return float(np.mean(np.argmax(out, axis=1) != np.argmax(target, axis=1)))
        if self.loss.name == "binary_cross_entropy":
            return float(np.mean((out > 0.5) != (target > 0.5)))
        return float(np.mean((target - out) ** 2))

    def train(self, dataset: Dataset, epochs: int) -> dict[str, list[float]]:
        """Train for ``epochs`` passes; return mean loss and error of each, for both parts."""
        self.layers[-1].n_out = dataset.out_dim
        curves: dict[str, list[float]] = {
            name: [] for name in ("loss", "error", "validation_loss", "validation_error")
        }
        for epoch in range(epochs):
            losses, errors = [], []
            for _ in range(dataset.train.samples_per_epoch):
                X, Y = dataset.train.sample(rng=self.rng)
                Y_hat = self.forward(X)
                losses.append(self.backward(Y, Y_hat))
                errors.append(self.error(Y, Y_hat))
                self.update(epoch)
            curves["loss"].append(float(np.mean(losses)))
            curves["error"].append(float(np.mean(errors)))
            if dataset.validate is not None:
                losses, errors = [], []
                for _ in range(dataset.validate.samples_per_epoch):
                    X, Y = dataset.validate.sample(rng=self.rng)
                    Y_hat = self.forward(X)
                    losses.append(self.loss.forward(Y, Y_hat))
                    errors.append(self.error(Y, Y_hat))
                curves["validation_loss"].append(float(np.mean(losses)))
                curves["validation_error"].append(float(np.mean(errors)))
        return curves

    def predict(self, X: Array, Y: Array) -> tuple[Array, float]:
        """Return the output and the loss; a forward and a backward pass."""
        Y_hat = self.forward(X)
        return Y_hat, self.backward(Y, Y_hat)


def initialize_model(
    name: str,
    loss: str,
    layer_args: Sequence[Mapping[str, Any]],
    optimizer_args: Mapping[str, Any],
    seed: int | None = None,
) -> NeuralNetwork:
    """Return a new network; ``name`` is the experiment's."""
    return NeuralNetwork(loss, layer_args, optimizer_args, seed)
