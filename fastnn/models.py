"""The network: layers in a row, a loss, an optimiser, and the training loop over them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fastnn import training
from fastnn._typing import Array, ArrayLike, DTypeLike
from fastnn._validation import as_float, as_real, one_hot, require_float_dtype
from fastnn.activations import SoftMax
from fastnn.datasets import Dataset
from fastnn.engine import Engine, obstacle
from fastnn.kernels import losses as kernels
from fastnn.layers import FullyConnected, Layer, initialize_layer
from fastnn.logs import History, Logger
from fastnn.losses import CrossEntropy, Loss, initialize_loss
from fastnn.optimizers import Optimizer, initialize_optimizer


class NeuralNetwork:
    """A feed-forward network.

    Parameters
    ----------
    loss : str or Loss
        A name for ``initialize_loss``, or a loss.
    layer_args : sequence
        For each layer, a mapping of arguments for ``initialize_layer`` or a ``Layer``. The last
        may have ``n_out=None``: its width is inferred from the targets it is trained on.
    optimizer_args : mapping or Optimizer
        Arguments for ``initialize_optimizer``, or an optimiser.
    logger : Logger, optional
    seed : int or Generator, optional
        Draws weights and shuffles from a generator of the model's own. Without it they come from
        NumPy's global generator.
    dtype : "float32" or "float64", optional
        Of the parameters and all arithmetic; by default that of the first input.

    Raises
    ------
    NotImplementedError
        For an unknown name; the message lists those there are.
    ValueError
        If there are no layers, or one before the last has no width, or stands there twice.
    """

    def __init__(
        self,
        loss: str | Loss,
        layer_args: Sequence[Mapping[str, Any] | Layer],
        optimizer_args: Mapping[str, Any] | Optimizer,
        logger: Logger | None = None,
        seed: int | np.random.Generator | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.loss = loss if isinstance(loss, Loss) else initialize_loss(loss)
        self.optimizer = (
            optimizer_args
            if isinstance(optimizer_args, Optimizer)
            else initialize_optimizer(**optimizer_args)
        )
        self.layer_args = layer_args
        self.layers = [
            args if isinstance(args, Layer) else initialize_layer(**args) for args in layer_args
        ]
        self.n_layers = len(self.layers)
        self.logger = logger
        self.seed = seed
        self.rng = None if seed is None else np.random.default_rng(seed)
        self.dtype = require_float_dtype("dtype", dtype)
        self.epoch_log: dict[str, Any] = {"loss": {}, "error": {}}
        self.history = History()
        self._engine = Engine()
        self._check_layers()
        for layer in self.layers:
            layer.dtype = layer.dtype or self.dtype
            if layer.init_weights is not None and self.rng is not None:
                layer.init_weights.rng = self.rng

    def _check_layers(self) -> None:
        if not self.layers:
            raise ValueError("layer_args is empty: a network needs at least one layer")
        if len({id(layer) for layer in self.layers}) < self.n_layers:
            raise ValueError("layer_args holds one Layer object twice; make one for each place")
        for i, layer in enumerate(self.layers[:-1]):
            if isinstance(layer, FullyConnected) and layer.n_out is None:
                raise ValueError(f"layer {i} has n_out=None; only the last layer's is inferred")

    # One step: forward, loss and its gradient, backward, update.

    def forward(self, X: ArrayLike) -> Array:
        """Return the output for a batch ``X``; each layer caches what ``backward`` needs.

        Raises
        ------
        TypeError
            If ``X`` holds something other than real numbers.
        ValueError
            If a layer cannot take what it would get, before any layer changes.
        """
        return self.layers[-1].forward(self._forward_hidden(X))

    def backward(self, target: ArrayLike, out: ArrayLike) -> float:
        """Store every parameter's gradient in ``layer.gradients``; return the loss.

        Parameters
        ----------
        target : array_like, shape of ``out``
        out : array_like
            What ``forward`` returned, or a copy of it.

        When the last activation is softmax and the loss cross-entropy, both come from the logits:
        with ``P = softmax(Z)`` the loss is ``sum(target * (logsumexp(Z) - Z)) / n`` and
        ``dZ = (P * sum(target) - target) / n`` by rows, which holds no quotient ``target / P`` and
        stays exact where ``P`` underflows. An ``out`` that is not the last output goes the general
        way, through the gradient of the loss and the softmax's Jacobian-vector product.
        """
        last = self._softmax_layer()
        if last is not None and isinstance(last.cache.get("Z"), np.ndarray):
            Z = last.cache["Z"]
            P = last.activation.forward(Z)
            if np.array_equal(np.asarray(out), P.astype(np.asarray(out).dtype), equal_nan=True):
                loss, dZ = self._loss_from_logits(as_float(target, "target", Z.dtype), Z)
                self._backward_from(dZ)
                return loss
        loss = self.loss.forward(target, out)
        self._backward_through(self.loss.backward(target, out))
        return loss

    def update(self, epoch: int | None = None) -> None:
        """Subtract the optimiser's step from every parameter, in place; clear the gradients."""
        for i, layer in enumerate(self.layers):
            for name, param in layer.parameters.items():
                param -= self.optimizer.update(f"{name}{i}", param, layer.gradients[name], epoch)
            layer.clear_gradients()
        self._log_parameters()

    def _log_parameters(self) -> None:
        if self.logger is not None:
            self.epoch_log["params"] = {
                f"{name}{i}": {"max": float(np.max(param)), "min": float(np.min(param))}
                for i, layer in enumerate(self.layers)
                for name, param in layer.parameters.items()
            }

    def train_step(self, X: ArrayLike, Y: ArrayLike) -> float:
        """Do one forward pass, backward pass and update on a batch; return its loss.

        ``X`` and ``Y`` are as in :meth:`fit`.
        """
        x = self._features(X)
        y = self._targets(Y, len(x))
        self.prepare(x.shape, y.shape[1])
        return self._step(x, y)[0]

    def _step(self, X: Array, Y: Array, epoch: int | None = None) -> tuple[float, float]:
        """Train on one batch of target rows, checked by :meth:`prepare`; return its loss and error."""
        x = as_float(X, "X", self.layers[0].dtype or self.dtype)
        if len(x):
            self._make_parameters(x)
            result = self._engine.step(self, x, as_float(Y, "Y"), epoch)
            if result is not None:
                for layer in self.layers:
                    if not isinstance(layer.cache["Z"], list):
                        layer.clear_gradients()
                self._log_parameters()
                return result
        return self._step_by_layers(x, Y, epoch)

    def _make_parameters(self, x: Array) -> None:
        """Make all layers' parameters, if they are of a kind that knows its shapes beforehand."""
        if self.layers[-1].n_in is not None or not all(
            type(layer) is FullyConnected for layer in self.layers
        ):
            return
        shape: Any = x.shape
        for layer in self.layers:
            output_shape = layer.check_input(shape)
            if layer.n_in is None:
                layer.dtype = layer.dtype or x.dtype
                layer._init_parameters(shape)
            shape = output_shape

    def _step_by_layers(self, X: Array, Y: Array, epoch: int | None) -> tuple[float, float]:
        last = self._softmax_layer()
        if last is None:
            out = self.forward(X)
            self._check_target(Y, out)
            loss = self.loss.forward(Y, out)
            self._backward_through(self.loss.backward(Y, out))
        else:
            out = last.preactivation(self._forward_hidden(X))
            loss, dZ = self._loss_from_logits(as_float(Y, "Y", out.dtype), out)
            self._backward_from(dZ)
        error = self.error(Y, out)
        self.update(epoch)
        return loss, error

    def _forward_hidden(self, X: ArrayLike) -> Array:
        A = as_float(X, "X", self.dtype)
        self._check_input(A.shape)
        for layer in self.layers[:-1]:
            A = layer.forward(A)
        return A

    def _check_input(self, X_shape: tuple[int, ...]) -> None:
        shape = X_shape
        for i, layer in enumerate(self.layers):
            try:
                output_shape = layer.check_input(shape)
            except ValueError as error:
                raise ValueError(f"layer {i} ({type(layer).__name__}): {error}") from None
            if output_shape is None:
                return
            shape = output_shape

    def _softmax_layer(self) -> FullyConnected | None:
        """Return the last layer if softmax and cross-entropy fuse on it."""
        last = self.layers[-1]
        fuses = (
            type(last) is FullyConnected
            and type(last.activation) is SoftMax
            and type(self.loss) is CrossEntropy
        )
        return last if fuses and isinstance(last, FullyConnected) else None

    def _loss_from_logits(self, target: Array, Z: Array) -> tuple[float, Array]:
        self._check_target(target, Z)
        dZ = np.empty_like(Z)
        total = kernels.softmax_cross_entropy(Z, target, len(Z), dZ)
        return (total / len(Z) if len(Z) else np.nan), dZ

    @staticmethod
    def _check_target(target: Array, out: Array) -> None:
        if target.shape != out.shape:
            raise ValueError(f"the targets have shape {target.shape}, the output {out.shape}")

    def _backward_from(self, dZ: Array) -> None:
        """Backpropagate from the gradient of the last layer's pre-activation."""
        last = self.layers[-1]
        assert isinstance(last, FullyConnected)
        last.parameter_gradients(dZ)
        if self.n_layers > 1:
            self._backward_through(last.input_gradient(dZ), self.layers[:-1])

    def _backward_through(self, dLdY: Array, layers: Sequence[Layer] | None = None) -> None:
        layers = self.layers if layers is None else layers
        for layer in reversed(layers[1:]):
            dLdY = layer.backward(dLdY)
        first = layers[0]
        if type(first) is FullyConnected:  # nobody asks for the gradient of the network's input
            first.parameter_gradients(first.preactivation_gradient(dLdY))
        else:
            first.backward(dLdY)

    # Training.

    def fit(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        epochs: int = 10,
        batch_size: int = 32,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        shuffle: bool = True,
        verbose: bool = True,
    ) -> History:
        """Train on arrays; Ctrl-C stops between two steps.

        Parameters
        ----------
        X : array_like (n, d)
        Y : array_like
            Rows ``(n, k)``: one-hot, soft class weights, or targets for l2. For cross-entropy also
            class numbers ``(n,)``, for l2 targets ``(n,)`` of one output.
        epochs, batch_size : int
        validation_data : (X, Y), optional
            Evaluated after every epoch.
        shuffle : bool
            Draw a new order of the rows at the start of every epoch.
        verbose : bool
            Show a progress bar, and a line for every epoch.

        Returns
        -------
        History
            Loss and error of every epoch; also ``self.history``, where an interrupted run leaves
            the epochs it finished.

        Raises
        ------
        TypeError, ValueError
            For data that are not real numbers, or whose shapes do not fit; nothing has changed.
        IndexError
            For a class number out of range; nothing has changed.
        """
        x = self._features(X)
        if not len(x):
            raise ValueError("X has no rows to train on")
        y = self._targets(Y, len(x))
        x_val = y_val = None
        if validation_data is not None:
            x_val = self._features(validation_data[0], "validation_data[0]")
            y_val = self._targets(
                validation_data[1], len(x_val), "validation_data[1]", n_out=y.shape[1]
            )
        dataset = Dataset(x, y, batch_size, x_val, y_val)
        return self._train(dataset, epochs, shuffle, verbose)

    def train(self, dataset: Dataset, epochs: int) -> History:
        """Train on a dataset: :meth:`fit`, with the batches and the validation part it has."""
        return self._train(dataset, epochs, True, True)

    def _train(self, dataset: Dataset, epochs: int, shuffle: bool, verbose: bool) -> History:
        progress = training.Bar() if verbose else training.Progress()
        return training.run(self, dataset, epochs, shuffle, progress)

    def prepare(self, X_shape: tuple[int, ...], n_out: int) -> None:
        """Give the last layer its width if it has none; check that all layers fit the data.

        Raises ``ValueError``, and changes nothing, if they do not.
        """
        last = self.layers[-1]
        before = last.n_out
        if last.n_in is None and isinstance(last, FullyConnected):
            last.n_out = n_out
        elif last.n_out not in (None, n_out):
            raise ValueError(f"the last layer has {last.n_out} outputs, the targets have {n_out}")
        try:
            self._check_input(X_shape)
        except ValueError:
            last.n_out = before
            raise

    def _features(self, X: ArrayLike, name: str = "X") -> Array:
        x = as_float(X, name, self.dtype)
        if x.ndim == 0:
            raise ValueError(f"{name} needs a batch axis, got a number")
        return x

    def _targets(self, Y: ArrayLike, n: int, name: str = "Y", n_out: int | None = None) -> Array:
        """Return targets as float rows ``(n, k)``; see :meth:`fit` for what ``Y`` may be."""
        n_out = n_out or self.layers[-1].n_out
        labels = as_real(Y, name)
        if self.loss.name == "cross_entropy" and labels.ndim == 1:
            if labels.dtype.kind not in "iub":
                raise TypeError(
                    f"{name} of one axis must hold class numbers of an integer dtype, "
                    f"got {labels.dtype}; class weights are rows (n, classes)"
                )
            labels = labels.astype(np.int64)
            classes = n_out or int(labels.max(initial=0)) + 1
            y = one_hot(labels, classes, name, np.dtype(np.float64))
        else:
            y = as_float(labels, name)
            y = y.reshape(-1, 1) if y.ndim == 1 else y
        if y.ndim == 0 or len(y) != n:
            raise ValueError(f"X has {n} rows, {name} has shape {np.shape(Y)}")
        if n_out is not None and y.shape[1] != n_out:
            raise ValueError(f"{name} has {y.shape[1]} columns, the last layer {n_out} outputs")
        return y

    # Use.

    def predict(self, X: ArrayLike, Y: ArrayLike | None = None) -> Any:
        """Return the output for ``X``; with targets ``Y``, ``(output, loss)``.

        Without ``Y`` nothing is cached. With it, as in the reference, a forward and a backward pass
        are made, which fill ``layer.cache`` and ``layer.gradients``.
        """
        if Y is not None:
            Y_hat = self.forward(X)
            return Y_hat, self.backward(Y, Y_hat)
        with self._caches_kept():
            return self.forward(X)

    def evaluate(self, X: ArrayLike, Y: ArrayLike) -> tuple[float, float]:
        """Return loss and error on a batch; ``Y`` as in :meth:`fit`. Nothing is cached."""
        x = self._features(X)
        loss, error, _ = self.evaluate_rows(x, self._targets(Y, len(x)))
        return loss, error

    def evaluate_rows(self, X: Array, Y: Array) -> tuple[float, float, Array]:
        """Return loss, error and output for a batch of target rows."""
        with self._caches_kept():
            out = self.forward(X)
            self._check_target(Y, out)
            last = self._softmax_layer()
            if last is None:
                loss = self.loss.forward(Y, out)
            else:
                Z = last.cache["Z"]
                loss, _ = self._loss_from_logits(as_float(Y, "Y", Z.dtype), Z)
        return loss, self.error(Y, out), out

    @contextmanager
    def _caches_kept(self) -> Iterator[None]:
        caches = [layer.cache for layer in self.layers]
        try:
            for layer in self.layers:
                layer.cache = layer.cache.copy()
            yield
        finally:
            for layer, cache in zip(self.layers, caches, strict=True):
                layer.cache = cache

    def error(self, target: ArrayLike, out: ArrayLike) -> float:
        """Return 1 - accuracy by arg-max for cross-entropy, the mean squared error for l2.

        NaN for an empty batch. ``out`` may be logits: they have the same arg-max.

        Raises
        ------
        ValueError
            If the shapes differ.
        NotImplementedError
            If the loss goes by neither name.
        """
        y, y_hat = np.asarray(target), np.asarray(out)
        self._check_target(y, y_hat)
        if self.loss.name not in ("cross_entropy", "l2"):
            raise NotImplementedError(f"no error is defined for the loss {self.loss.name!r}")
        if not len(y):
            return float("nan")
        if self.loss.name == "l2":
            return float(np.mean((y - y_hat) ** 2))
        return float(np.mean(np.argmax(y, axis=1) != np.argmax(y_hat, axis=1)))

    def test(self, dataset: Dataset, save_predictions: bool = False) -> dict[str, Any]:
        """Return loss and error of each batch of ``dataset.test``, and print their means.

        With ``save_predictions`` the outputs are added, row by row, and the whole is pickled to
        ``test_predictions.p`` in the logger's folder.
        """
        data = training.require_part(dataset.test, "test")
        logger = self._require_logger("save_predictions") if save_predictions else None
        log: dict[str, list[Any]] = {"loss": [], "error": []}
        predictions: list[Array] = []
        for _ in range(data.samples_per_epoch):
            loss, error, out = self.evaluate_rows(*data.sample(rng=self.rng))
            log["loss"].append(loss)
            log["error"].append(error)
            predictions.extend(out)
        print(f"test {training.describe(self, float(np.mean(log['loss'])), np.mean(log['error']))}")
        if logger is not None:
            log["prediction"] = predictions
            logger.write("test_predictions.p", log)
        return log

    def test_kaggle(self, dataset: Dataset) -> dict[str, Array]:
        """Return ``{"Id": ..., "Category": ...}``, the class predicted for each row of the test part.

        With a logger they are also written to ``kaggle_predictions.csv`` in its folder.
        """
        data = training.require_part(dataset.test, "test")
        data.reset()
        classes: list[Array] = []
        for _ in range(data.samples_per_epoch):
            batch = data.sample(shuffle=False)
            X = batch[0] if isinstance(batch, tuple) else batch
            classes.append(np.argmax(self.predict(X), axis=1))
        category = np.concatenate(classes) if classes else np.zeros(0, np.int64)
        table = {"Id": np.arange(len(category)), "Category": category}
        if self.logger is not None:
            rows = "".join(f"{i},{c}\n" for i, c in zip(*table.values(), strict=True))
            self.logger.write_text("kaggle_predictions.csv", "Id,Category\n" + rows)
        return table

    def save_parameters(self, epoch: int) -> None:
        """Pickle ``{i: layer i's parameters}`` to ``parameters_epoch{epoch}`` in the logger's folder.

        Raises ``ValueError`` if the model has no logger.
        """
        parameters = {i: OrderedDict(layer.parameters) for i, layer in enumerate(self.layers)}
        self._require_logger("save_parameters").write(f"parameters_epoch{epoch}", parameters)

    def _require_logger(self, what: str) -> Logger:
        if self.logger is None:
            raise ValueError(f"{what} needs a logger: NeuralNetwork(..., logger=Logger(...))")
        return self.logger

    def summary(self) -> str:
        """Return a table of the layers: activation, widths, number of parameters."""
        rows = [("layer", "activation", "in", "out", "parameters")]
        total = 0
        for i, layer in enumerate(self.layers):
            count = sum(p.size for p in layer.parameters.values())
            total += count
            activation = getattr(layer, "activation", None)
            rows.append(
                (
                    f"{i} {type(layer).__name__}",
                    type(activation).__name__ if activation is not None else "-",
                    str(layer.n_in or "?"),
                    str(layer.n_out or "?"),
                    f"{count:,}" if layer.parameters else "?",
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = [
            "  ".join(
                cell.ljust(w) if i < 2 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        lines.insert(1, "-" * len(lines[0]))
        dtype = next((str(layer.dtype) for layer in self.layers if layer.dtype), "dtype of the data")
        footer = f"{total:,} parameters, {dtype}; loss {self.loss.name}, {self.optimizer!r}"
        reason = obstacle(self)
        road = "one compiled call" if reason is None else f"layer by layer ({reason})"
        return "\n".join([*lines, lines[1], footer, f"a training step is {road}"])


def initialize_model(
    name: str,
    loss: str | Loss,
    layer_args: Sequence[Mapping[str, Any] | Layer],
    optimizer_args: Mapping[str, Any] | Optimizer,
    logger: Logger | None = None,
    seed: int | np.random.Generator | None = None,
    dtype: DTypeLike | None = None,
) -> NeuralNetwork:
    """Return a :class:`NeuralNetwork`. ``name`` may be anything: programs pass the experiment's."""
    return NeuralNetwork(loss, layer_args, optimizer_args, logger, seed, dtype)
