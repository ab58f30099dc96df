"""Whose turn it is to train a network: one thread's at a time."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet


class Turn:
    """A network's right to be trained, which one thread has at a time.

    Threads that train one network would read each other's scratch arrays. There is no lock to wait
    for: the second thread gets an error. The token is the entry of the list ``free``, which ``del`` and
    ``append`` move in some nanoseconds, both atomic. (Not ``pop``: Python calls the handlers of signals
    when a call returns, and an exception of one's would lose the token before ``try`` is reached.)
    """

    def __init__(self) -> None:
        self.free: list[None] = [None]
        self._owner: int | None = None  # the thread in whose `held` block others are taken
        _turns.add(self)

    def __reduce__(self) -> tuple[type["Turn"], tuple[()]]:
        """Copy and pickle as a new one: the copy is another network's."""
        return Turn, ()

    def again(self) -> list[None]:
        """Return a list to append None to, where ``free`` is empty as this thread holds the turn.

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
        """Take the turn back from a thread that a forked child does not have."""
        if self._owner != threading.get_ident():
            self.free[:], self._owner = [None], None


_turns: "WeakSet[Turn]" = WeakSet()


def _after_fork() -> None:
    for turn in list(_turns):
        turn.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
