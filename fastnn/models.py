"""The network: a stack of layers, an optimiser, and training."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn import _own, evaluation, losses, summary, training
from fastnn._changes import watched
from fastnn._repr import as_call
from fastnn._turn import Turn
from fastnn._typing import Array, ArrayLike, DTypeLike
from fastnn._validation import as_float, as_weights, require_finite, restore
from fastnn.activations import SoftMax
from fastnn.callbacks import Callback, ProgressBar, as_callbacks
from fastnn.datasets import Data, Dataset
from fastnn.engine import Engine
from fastnn.layers import Layer
from fastnn.logs import History, Logger
from fastnn.losses import Loss
from fastnn.optimizers import Optimizer, initialize_optimizer
from fastnn.stack import LayerStack


class NeuralNetwork(LayerStack):
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
        Its ``push`` is called with each epoch's figures. The logger, loss, layers and optimiser may be
        of your own classes, derived from fastnn's base classes or not, with their abstract methods.
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

    optimizer: Optimizer = watched()

    def __init__(
        self,
        loss: str | Loss,
        layer_args: Sequence[Mapping[str, Any] | Layer],
        optimizer_args: Mapping[str, Any] | Optimizer,
        logger: Logger | None = None,
        seed: int | np.random.Generator | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.optimizer = _own.as_part(
            optimizer_args, lambda mapping: initialize_optimizer(**mapping), "update"
        )
        super().__init__(loss, layer_args, seed, dtype)
        self.logger = logger
        self.epoch_log: dict[str, Any] = {"loss": {}, "error": {}}
        self.history = History()
        self._engine = Engine()
        self.turn = Turn()

    def update(self, epoch: int | None = None) -> None:
        """Subtract the optimiser's step from every parameter, in place; clear the gradients.

        Raises ``ValueError`` if a parameter is read-only; nothing has changed.
        """
        for i, layer in enumerate(self.layers):
            for name, param in layer.parameters.items():
                if isinstance(param, np.ndarray) and not param.flags.writeable:
                    raise ValueError(f"layer {i}: parameters[{name!r}] is read-only")
        steps = [
            (param, _own.update(self.optimizer, f"{name}{i}", param, layer.gradients[name], epoch))
            for i, layer in enumerate(self.layers)
            for name, param in layer.parameters.items()
        ]
        with np.errstate(all="ignore"):  # NaN and infinity are values here, not events
            for param, step in steps:
                param -= step
        for layer in self.layers:
            if _own.offers(layer, "clear_gradients"):
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
        repeated = self._engine.repeat(self, X, Y, None)
        if repeated is not None:
            if self.logger is not None:
                self._log_parameters()
            return repeated[0]
        x = self._features(X)
        y = self._targets(Y, len(x))
        self.prepare(y.shape[1], x.shape)
        return self._step(x, y)[0]

    def _step(self, X: Array, Y: Array, epoch: int | None = None) -> tuple[float, float]:
        """Train on one batch of target rows, checked by :meth:`prepare`; return its loss and error."""
        repeated = self._engine.repeat(self, X, Y, epoch)
        if repeated is not None:
            self._log_parameters()
            return repeated
        x = as_float(X, "X", self.layers[0].dtype or self.dtype)
        if len(x):
            self._make_parameters(x)
            result = self._engine.step(self, x, as_float(Y, "Y"), epoch)
            if result is not None:
                self._log_parameters()
                return result
        return self._step_by_layers(x, Y, epoch)

    def _batches(
        self, data: Data, shuffle: bool, epoch: int, steps: int
    ) -> Iterator[tuple[Sequence[float] | Array, Sequence[float] | Array]]:
        """Train on a dataset's next batches; yield losses and errors, of some at a time.

        If a pass is under way, it is finished, and what is missing comes from the next.
        """
        if not isinstance(data, Data) or type(data).sample is not Data.sample:
            yield from self._own_batches(data, shuffle, epoch, steps)
            return
        while steps > 0:
            made = all(layer.parameters for layer in self.layers)  # drawn after the first shuffle
            stretches = self._engine.epoch(self, data, shuffle, epoch, steps) if made else None
            if stretches is not None:
                for losses, errors in stretches:
                    self._log_parameters()
                    steps -= len(losses)
                    yield losses, errors
                continue
            X, Y, weights = data.sample_weighted(shuffle, self.rng)
            if weights is None:
                loss, error = self._step(X, Y, epoch)
            else:
                loss, error = self._step_by_layers(X, Y, epoch, weights)
            steps -= 1
            yield [loss], [error]

    def _own_batches(
        self, data: Any, shuffle: bool, epoch: int, steps: int
    ) -> Iterator[tuple[Sequence[float], Sequence[float]]]:
        """Train on batches of data of a program's own class, by its ``sample()``."""
        for _ in range(steps):
            X, Y = _own.labelled(data, shuffle, self.rng)
            x, y = self.checked_batch(X, Y)
            self.prepare(self.layers[-1].n_out or y.shape[-1], x.shape)
            loss, error = self._step(x, y, epoch)
            yield [loss], [error]

    def _step_by_layers(
        self, X: Array, Y: Array, epoch: int | None, weights: Array | None = None
    ) -> tuple[float, float]:
        with self.turn.held():
            return self._step_of_layers(X, Y, epoch, weights)

    def _step_of_layers(
        self, X: Array, Y: Array, epoch: int | None, weights: Array | None
    ) -> tuple[float, float]:
        if self.has_own("forward", "backward", "error"):
            return self._own_step(X, Y, epoch, weights)
        last = self._fused_layer()
        if last is None:
            out = self.forward(X)
            self._check_target(Y, out)
            loss, dY = self._weighted(self._loss_of_outputs, Y, out, weights)
            self._backward_through(dY)
        else:
            Z = last.preactivation(self._forward_hidden(X))
            target = as_float(Y, "Y", Z.dtype)
            loss, dZ = self._weighted(self._loss_from_logits, target, Z, weights)
            self._backward_from(dZ)
            out = Z if type(last.activation) is SoftMax else last.activation.forward(Z)
        if weights is not None:
            self._weigh_penalties(weights)
        error = self._error(Y, out)
        self.update(epoch)
        return loss, error

    def _own_step(
        self, X: Array, Y: Array, epoch: int | None, weights: Array | None
    ) -> tuple[float, float]:
        """Train on one batch as the teaching library does, through methods of a subclass's own."""
        if weights is not None:
            raise ValueError(
                f"{type(self).__name__} overrides forward, backward or error, "
                "which do not support sample_weight, the weights of rows"
            )
        out = self.forward(X)
        loss, error = self.backward(Y, out), self._own_error(Y, out)
        self.update(epoch)
        return loss, error

    def _loss_of_outputs(self, Y: Array, out: Array) -> tuple[float, Array]:
        return self.loss.forward(Y, out), self.loss.backward(Y, out)

    @staticmethod
    def _weighted(
        loss: Callable[[Array, Array], tuple[float, Array]], Y: Array, P: Array, weights: Array | None
    ) -> tuple[float, Array]:
        return loss(Y, P) if weights is None else losses.weighted(loss, Y, P, weights)

    def _weigh_penalties(self, weights: Array) -> None:
        """Make penalties' gradients, which are a batch's of n rows, those of the sum of its weights."""
        factor = float(losses.rows_by_weight(weights, 1)) - 1.0 / len(weights)
        for layer in self.layers:
            if layer.l2:
                with np.errstate(all="ignore"):
                    gradient = layer.l2 * factor * layer.parameters["W"]
                    layer.gradients["W"] += gradient.astype(layer.dtype, copy=False)

    def fit(
        self,
        X: ArrayLike,
        Y: ArrayLike,
        epochs: int = 10,
        batch_size: int = 32,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        shuffle: bool = True,
        verbose: bool = True,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | Path | None = None,
        checkpoint_every: float = 30.0,
        resume: bool = False,
        sample_weight: ArrayLike | None = None,
        check_finite: bool = True,
    ) -> History:
        """Train on arrays; Ctrl-C stops between two steps.

        Parameters
        ----------
        X : array_like (n, d)
        Y : array_like
            Rows ``(n, k)``: one-hot, soft class weights, or targets for l2. For cross-entropy also
            class numbers ``(n,)`` or ``(n, 1)`` of an integer dtype, for l2 targets ``(n,)`` of one
            output.
        epochs, batch_size : int
        validation_data : (X, Y), optional
            Evaluated after every epoch, as by :meth:`evaluate`; training is the same without it.
        shuffle : bool
            Draw a new order of the rows at the start of every epoch.
        verbose : bool
            Show a progress bar, and a line for every epoch.
        callbacks : sequence of Callback
            Told of the run as it goes; they may end it. See :mod:`fastnn.callbacks`.
        checkpoint : path, optional
            A file to keep the run in: whatever ends it, even SIGKILL, it can be resumed and comes to
            the same bits. What callbacks and a logger keep is not in it. Needs safetensors.
        checkpoint_every : float
            Seconds. The file is written at the first pause between steps, some hundredths of a second
            apart, after so long without; and at the end of the last epoch.
        resume : bool
            Go on from the file, if there is one, towards ``epochs`` in all. The network, seed
            included, data, ``batch_size`` and ``shuffle`` must be those it was started with; settings
            that callbacks changed since, such as the learning rate, are put back.
        sample_weight : array_like (n,), optional
            What each row counts: the loss of a batch is the mean by these weights, and a row of weight
            2 is as good as two. A batch whose weights are all 0 moves nothing by itself. Errors, and
            validation, count every row once.
        check_finite : bool
            Look for NaN and infinity in X, Y and the validation data before training.

        Returns
        -------
        History
            Loss and error of every epoch; also ``self.history``, where an interrupted run leaves
            the epochs it finished. They are means over the epoch's rows, each by the parameters before
            the update on the row's batch.

        Warns
        -----
        RuntimeWarning
            Once, at the end of the first epoch whose loss is not finite.

        Raises
        ------
        TypeError, ValueError
            For data that are not real numbers, whose shapes do not fit, or that hold NaN or infinity;
            for cross-entropy of one output, which a single class or column of targets would be. Nothing
            has changed.
        IndexError
            For a class number out of range; nothing has changed.
        SavedModelError
            If the checkpoint to resume from is damaged. It is a ``ValueError``, which is also raised
            if it belongs to another run; nothing has changed.
        RuntimeError
            If another thread trains this network; nothing has changed.
        OSError
            If the checkpoint cannot be written: it is a folder, or its folder does not exist or is not
            writable; nothing has changed.
        """
        x = self._features(X)
        if not len(x):
            raise ValueError("X has no rows to train on")
        y = self._targets(Y, len(x))
        self.require_columns(y.shape[1])
        checked = [(x, "X"), (y, "Y")]
        x_val = y_val = None
        if validation_data is not None:
            if len(validation_data) != 2:
                raise ValueError(f"validation_data must be (X, Y), got {len(validation_data)} parts")
            x_val = self._features(validation_data[0], "validation_data[0]")
            y_val = self._targets(
                validation_data[1],
                len(x_val),
                ("validation_data[0]", "validation_data[1]"),
                n_out=y.shape[1],
            )
            checked += [(x_val, "validation_data[0]"), (y_val, "validation_data[1]")]
        if check_finite:
            for array, name in checked:
                require_finite(array, name)
        x, y = self._apart(x), self._apart(y)
        dataset = Dataset(x, y, batch_size, x_val, y_val)
        if sample_weight is not None:
            dataset.train = Data(x, batch_size, y, dataset.out_dim, as_weights(sample_weight, len(x)))
        if checkpoint is not None:
            from fastnn.callbacks.checkpoint import Checkpoint  # which imports this file

            keeper = Checkpoint(checkpoint, checkpoint_every, resume, self, dataset, epochs, shuffle)
            callbacks = [*as_callbacks(callbacks), keeper]
        elif resume:
            raise ValueError("resume=True needs a checkpoint: fit(..., checkpoint=path, resume=True)")
        return self._train(dataset, epochs, shuffle, verbose, callbacks, by_rows=True)

    def _apart(self, array: Array) -> Array:
        """Return the array, or a copy if it lies in the memory of parameters."""
        parameters = (p for layer in self.layers for p in layer.parameters.values())
        return array.copy() if any(np.may_share_memory(array, p) for p in parameters) else array

    def train(self, dataset: Dataset, epochs: int, callbacks: Sequence[Callback] = ()) -> History:
        """Train on a dataset, with the batches and the validation part it has.

        Figures are the teaching library's: an epoch's is the mean of its batches' means, so that a row
        of a smaller last batch counts more, and the validation part is shuffled by the generator that
        shuffles the training part. :meth:`fit` weights figures by rows and validates without a shuffle.

        Parameters
        ----------
        dataset : Dataset
            Or an object of the program's own, with parts ``train`` and, if it validates, ``validate``,
            and ``out_dim``. A part needs ``sample()``, which returns a batch ``(X, Y)``, and
            ``samples_per_epoch``, the number of batches. ``shuffle`` and ``rng`` are handed to a
            ``sample`` that takes them.
        epochs : int
        callbacks : sequence of Callback

        Returns
        -------
        History
            As of :meth:`fit`.
        """
        return self._train(dataset, epochs, True, True, callbacks, by_rows=False)

    def _train(
        self,
        dataset: Dataset,
        epochs: int,
        shuffle: bool,
        verbose: bool,
        callbacks: Sequence[Callback],
        by_rows: bool,
    ) -> History:
        told = [*as_callbacks(callbacks)]
        if verbose and not any(isinstance(callback, ProgressBar) for callback in told):
            told.insert(0, ProgressBar())
        with self.turn.held():
            return training.run(self, dataset, epochs, shuffle, told, by_rows)

    def predict(self, X: ArrayLike, Y: ArrayLike | None = None) -> Any:
        """Return the output for ``X``; with targets ``Y``, ``(output, loss)``.

        Without ``Y`` nothing is cached. With it, as in the reference, a forward and a backward pass
        are made, which fill ``layer.cache`` and ``layer.gradients``.
        """
        if Y is not None:
            Y_hat = self.forward(X)
            return Y_hat, self.backward(Y, Y_hat)
        out = self._engine.predict(self, X)
        if out is not None:
            return out
        x = as_float(X, "X", self.layers[0].dtype or self.dtype)
        out = self._engine.predict(self, x)
        if out is not None:
            return restore(out, X)
        return self.forward(X) if self.has_own("forward") else self._outputs(X)[0]

    def evaluate(self, X: ArrayLike, Y: ArrayLike) -> tuple[float, float]:
        """Return loss and error on a batch; ``Y`` as in :meth:`fit`. Nothing is cached."""
        x = self._features(X)
        return self._evaluate(x, self._targets(Y, len(x)))

    def _evaluate(self, X: Array, Y: Array) -> tuple[float, float]:
        found = self._engine.evaluate(self, as_float(X, "X"), as_float(Y, "Y"))
        return self.evaluate_rows(X, Y)[:2] if found is None else found

    def test(self, dataset: Dataset, save_predictions: bool = False) -> dict[str, Any]:
        """Return loss and error of each batch of ``dataset.test``, and print their means.

        With ``save_predictions`` the outputs are added, row by row, and the whole is pickled to
        ``test_predictions.p`` in the logger's folder.
        """
        return evaluation.test(self, dataset, save_predictions)

    def test_kaggle(self, dataset: Dataset) -> dict[str, Array]:
        """Return ``{"Id": ..., "Category": ...}``, the class predicted for each row of the test part.

        With a logger they are also written to ``kaggle_predictions.csv`` in its folder.
        """
        return evaluation.classes(self, dataset)

    def save(self, path: str | Path) -> None:
        """Write the network to a safetensors file, which :func:`fastnn.load` reads.

        Architecture, parameters, the optimiser's state and that of a seed's generator are kept: a
        loaded network predicts and trains with the same bits. A logger and the history are not. A file
        of that name is replaced as a whole or not at all, and keeps its mode.

        Raises
        ------
        TypeError
            For a part that is not one of fastnn's own: a layer, activation, loss of the user's.
        ImportError
            If safetensors is not installed; the message says how to install it.
        """
        from fastnn.saving import networks as saving  # which imports this file

        saving.save(self, path)

    def save_parameters(self, epoch: int) -> None:
        """Pickle ``{i: layer i's parameters}`` to ``parameters_epoch{epoch}`` in the logger's folder.

        Raises ``ValueError`` if the model has no logger.
        """
        parameters = {i: OrderedDict(layer.parameters) for i, layer in enumerate(self.layers)}
        logger = evaluation.logger_of(self, "save_parameters")
        evaluation.keep(logger, f"parameters_epoch{epoch}", parameters)

    def summary(self) -> summary.Table:
        """Return a table of the layers: activation, widths, number of parameters.

        It is text, which the prompt prints and a notebook shows as an HTML table.
        """
        return summary.table(self)

    def __repr__(self) -> str:
        return as_call(
            self,
            layer_args=self.layers,
            optimizer_args=self.optimizer,
            logger=None if self.logger is None else ...,
            dtype=self.dtype and self.dtype.name,
        )

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


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
