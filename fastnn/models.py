"""The network: a stack of layers, an optimiser, and training."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn import evaluation, summary, training
from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike, DTypeLike
from fastnn._validation import as_float, restore
from fastnn.callbacks import Callback, ProgressBar, as_callbacks
from fastnn.callbacks.checkpoint import Checkpoint
from fastnn.datasets import Dataset
from fastnn.layers import Layer
from fastnn.logs import History, Logger
from fastnn.losses import Loss
from fastnn.optimizers import Optimizer
from fastnn.saving import networks
from fastnn.training.roads import Trainable


class NeuralNetwork(Trainable):
    """A feed-forward network.

    Parameters
    ----------
    loss : str or Loss
        A name for ``initialize_loss``, or a loss.
    layer_args : sequence
        For each layer, a mapping of arguments for ``initialize_layer`` or a ``Layer``. The last
        may have ``n_out=None``: its width is inferred from the targets it is trained on.
    optimizer_args : str, mapping or Optimizer
        A name for ``initialize_optimizer``, its arguments, or an optimiser.
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
        For an unknown name; the message lists those there are. Upper and lower case are the same.
    ValueError
        If there are no layers, or one before the last has no width, or stands there twice.

    Example
    -------
    >>> layers = [fastnn.Dense(64, "relu"), fastnn.Dense(10, "softmax")]
    >>> net = fastnn.NeuralNetwork("cross_entropy", layers, "adam")
    """

    is_saved = True  # this class: `save` refuses subclasses

    def train_step(self, X: ArrayLike, Y: ArrayLike) -> float:
        """Do one forward pass, backward pass and update on a batch; return its loss.

        ``X`` and ``Y`` are as in :meth:`fit`.
        """
        repeated = self.engine.repeat(self, X, Y, None)
        if repeated is not None:
            if self.logger is not None:
                self.log_parameters()
            return repeated[0]
        x = self.checked_features(X)
        y = self.checked_targets(Y, len(x))
        self.prepare(y.shape[1], x.shape)
        return self.train_batch(x, y)[0]

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
        validation_split: float = 0.0,
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
        validation_split : float
            The share of the rows, the last ones as they are given, that is validated on instead of
            trained on; 0 to 1, exclusive. Their weights are not used. Not with ``validation_data``.

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
        dataset = training.dataset_of(
            self, X, Y, batch_size, validation_data, validation_split, sample_weight, check_finite
        )
        if checkpoint is not None:
            keeper = Checkpoint(checkpoint, checkpoint_every, resume, self, dataset, epochs, shuffle)
            callbacks = [*as_callbacks(callbacks), keeper]
        elif resume:
            raise ValueError("resume=True needs a checkpoint: fit(..., checkpoint=path, resume=True)")
        return self._train(dataset, epochs, shuffle, verbose, callbacks, by_rows=True)

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
            with self.evaluating():
                Y_hat = self.forward(X)
                return Y_hat, self.backward(Y, Y_hat)
        out = self.engine.predict(self, X)
        if out is not None:
            return out
        x = as_float(X, "X", self.layers[0].dtype or self.dtype)
        out = self.engine.predict(self, x)
        if out is not None:
            return restore(out, X)
        if not self.has_own("forward"):
            return self.outputs_of(X)[0]
        with self.evaluating():
            return self.forward(X)

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
        return evaluation.classes(self, self.predict, dataset)

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
        networks.save(self, path)

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
    optimizer_args: str | Mapping[str, Any] | Optimizer,
    logger: Logger | None = None,
    seed: int | np.random.Generator | None = None,
    dtype: DTypeLike | None = None,
) -> NeuralNetwork:
    """Return a :class:`NeuralNetwork`. ``name`` may be anything: programs pass the experiment's."""
    return NeuralNetwork(loss, layer_args, optimizer_args, logger, seed, dtype)


def load(path: str | Path) -> NeuralNetwork:
    """Return the network that ``net.save(path)`` wrote, or that a checkpoint holds.

    It predicts and goes on training with the same bits: parameters, the optimiser's state and that of
    a seeded network's generator are back. A logger and the history are not.

    Raises
    ------
    SavedModelError
        A ``ValueError``: for a folder, or a file that is no saved network, is truncated, altered, or
        written by a later version. Loading runs no code of the file's: files of strangers may be
        loaded.
    FileNotFoundError
        If there is no such file.
    ImportError
        If safetensors is not installed; the message says how to install it.

    Examples
    --------
    >>> net.save("digits.safetensors")
    >>> fastnn.load("digits.safetensors").predict(X)
    """
    return networks.load(Path(path), NeuralNetwork)
