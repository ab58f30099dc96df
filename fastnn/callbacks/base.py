"""What every callback has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastnn._repr import as_call
from fastnn._typing import Array
from fastnn.callbacks.run import Run


class Callback:
    """Base class, which does nothing. Every hook gets the :class:`~fastnn.training.Run`.

    ``run.stop(reason)`` ends the run once all callbacks have been told.
    """

    def __repr__(self) -> str:
        return as_call(self)

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
