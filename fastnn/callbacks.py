"""Callbacks: what is told of a training run as it goes, and may end it.

``net.fit(X, y, callbacks=[...])`` calls each one's hooks, in the order of the list, at the ends in
reverse. An error raised in a hook ends the run and reaches the caller; the network stays as the last
step left it. Ctrl-C waits for the hooks that are being called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastnn._typing import Array

if TYPE_CHECKING:
    from fastnn.training import Run


class Callback:
    """Base class, which does nothing. Every hook gets the :class:`~fastnn.training.Run`.

    ``run.stop(reason)`` ends the run once all callbacks have been told.
    """

    def on_train_begin(self, run: Run) -> None:
        """Before the first epoch. An error raised here is raised before anything is trained."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before the first step of ``run.epoch``."""

    def on_batches_end(self, run: Run, losses: Array, errors: Array) -> None:
        """After some more steps, with the loss and error ``(m,)`` of each.

        A compiled network trains in stretches of up to 50 ms, a network with parts of its user's own
        a step at a time: it is called once for all steps of a stretch, after the last of them.
        """

    def on_epoch_end(self, run: Run) -> None:
        """After validation; ``run.figures`` has what the epoch came to."""

    def on_train_end(self, run: Run) -> None:
        """At the end of a run that this callback has seen begin, also of one that was broken off."""


def as_callbacks(callbacks: Any) -> Sequence[Callback]:
    """Return the callbacks, or raise ``TypeError`` naming the entry that is none."""
    if not isinstance(callbacks, Sequence) or isinstance(callbacks, str):
        raise TypeError(f"callbacks must be a sequence of Callback objects, got {callbacks!r}")
    for i, callback in enumerate(callbacks):
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks[{i}] must be a Callback object, got {callback!r}")
    return callbacks


class ProgressBar(Callback):
    """A tqdm bar per epoch, replaced by one line when the epoch is done: ``verbose=True``."""

    _bar: Any = None

    def on_epoch_begin(self, run: Run) -> None:
        from tqdm.auto import tqdm  # slow to import

        self._bar = tqdm(total=run.steps, desc=f"epoch {run.epoch + 1}/{run.epochs}", leave=False)

    def on_batches_end(self, run: Run, losses: Array, errors: Array) -> None:
        self._bar.set_postfix(loss=f"{losses[-1]:.4f}", refresh=False)
        self._bar.update(len(losses))

    def on_epoch_end(self, run: Run) -> None:
        self._bar.close()
        print(f"epoch {run.epoch + 1}: {run.summary}")

    def on_train_end(self, run: Run) -> None:
        if self._bar is not None:
            self._bar.close()
        if run.stopped is not None:
            print(f"stopped in epoch {run.epoch + 1}: {run.stopped}")
