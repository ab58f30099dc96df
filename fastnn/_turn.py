"""At most one thread trains a network at a time."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet


class Turn:
    """The right to train a network, which one thread holds at a time.

    Threads that train one network would read each other's scratch arrays. A second thread does not
    wait, it gets an error. The right is the entry of the list ``free``: a thread deletes it, trains,
    and appends it again. Both are atomic and take some nanoseconds. (``pop`` would not do: Python calls
    signal handlers when a call returns, and an exception of theirs would lose the entry before the
    ``try`` block begins.)
    """

    def __init__(self) -> None:
        self.free: list[None] = [None]
        self._owner: int | None = None  # the thread in a `held` block
        _turns.add(self)

    def __reduce__(self) -> tuple[type["Turn"], tuple[()]]:
        """Copy and pickle as a new one: the copy is another network's."""
        return Turn, ()

    def again(self) -> list[None]:
        """Return what stands in for ``free`` if this thread holds the turn already: another list.

        Raises
        ------
        RuntimeError
            If another thread holds it.
        """
        if self._owner == threading.get_ident():
            return []
        raise RuntimeError("this network is being trained by another thread") from None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the turn during a block, in which the same thread may take it again."""
        over = self.free
        try:
            del over[0]
        except IndexError:
            over = self.again()
        outer = self._owner
        try:
            self._owner = threading.get_ident()
            yield
        finally:
            self._owner = outer
            over.append(None)

    def forget_other_threads(self) -> None:
        """Free the turn in a forked child, if a thread that the child lacks holds it."""
        if self._owner != threading.get_ident():
            self.free[:], self._owner = [None], None


_turns: "WeakSet[Turn]" = WeakSet()


def _after_fork() -> None:
    for turn in list(_turns):
        turn.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
