"""How many steps are done at once, and with how many threads.

Whether several threads do a step faster than one is found by trying.
"""

import functools
import math
import statistics
import time
from collections.abc import Callable, Hashable
from typing import Any

from fastnn.kernels.step import threads

SERIAL = 250_000  # multiplications: below this a second core costs more than it brings
SERIAL_INFERENCE = 100_000  # the same where nothing is written but activations
CLOSE = 200  # up to so many times as much, a trial decides
SECONDS = 0.05  # how long a stretch may take, so that Ctrl-C and progress are prompt
# For rows that are images or sequences: a block has at least about _BLOCK multiplications, and a batch
# at most about _BLOCKS blocks, because each block has its own sums for the parameters' gradients.
_BLOCK, _BLOCKS = 2_000_000, 8
_RATE = 2e9  # of a batch's multiplications a second, where none has been timed yet: rather too low
# Seconds before times count: new helper threads may begin on the caller's core, and are moved in time.
_WAKING = 0.005
_TURNS = 9  # calls each way
# Seconds from the first trial to the second, which corrects a decision that a busy moment has spoilt;
# the pause doubles, up to the longest one.
_PAUSE, _LONGEST = 0.1, 2.0


def first_count(work: int) -> int:
    """Return how many batches to do first, with so many multiplications forward in each."""
    return max(1, int(SECONDS * _RATE / work))


def next_count(count: int, done: int, seconds: float) -> int:
    """Return how many batches to do next: at most twice ``count``, by what ``done`` of them took."""
    return max(1, min(2 * count, int(done * SECONDS / seconds)))


def block_rows(n: int, work: int, shared: bool, large: bool) -> int:
    """Return the number of rows in a block of a batch.

    ``large``: whether a row is an image or a sequence. Blocks are then small, so that every thread has
    some, and a layer's output for a block is still in a cache when the next layer reads it.
    """
    usual = 64 if not shared or n > 256 else 16 if n <= 32 else 32
    enough = -(-_BLOCK * n // max(work, 1)), -(-n // _BLOCKS)
    return max(1, min(usual, max(enough))) if large else usual


class Trial:
    """Tries both ways now and then, and in between goes the faster one.

    The answer depends on how far the cores are from each other, on what else runs on them, and on
    whether steps follow at once or with pauses, in which helpers fall asleep. Results do not depend on
    it.

    ``shared`` says how the next call is to go; the caller reports how one went and how long it took.
    Several threads may at once: there is no lock, which a forked child would find locked for ever. What
    may be lost is a time, or a decision.

    Parameters
    ----------
    steps : int
        How many steps a call may do while both ways are tried, where it does several.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._decided, self._pause = 0.0, _PAUSE
        self._begin()

    def _begin(self) -> None:
        self._seconds: dict[bool, list[float]] = {True: [], False: []}
        self.shared = self._trying = True

    @property
    def most(self) -> float:
        """How many steps the next call is to do at most."""
        return self._steps if self._trying else math.inf

    def time(self, shared: bool, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the function returns; report its time."""
        start = time.perf_counter()
        result = function(*arguments)
        self.report(shared, time.perf_counter() - start)
        return result

    def report(self, shared: bool, seconds: float) -> None:
        """Take the time of one call, or of one of the steps it did."""
        now = time.perf_counter()
        if not self._trying:
            if now - self._decided >= self._pause:
                self._pause = min(2 * self._pause, _LONGEST)
                self._begin()
        elif now - threads.pool().born >= _WAKING:
            self._seconds[shared].append(seconds)
            self._decide(now, self._seconds)

    def _decide(self, now: float, seconds: dict[bool, list[float]]) -> None:
        if len(seconds[True]) < _TURNS:
            return
        self.shared = False
        if len(seconds[False]) >= _TURNS:
            self.shared = statistics.median(seconds[True]) < statistics.median(seconds[False])
            self._trying, self._decided = False, now


@functools.lru_cache(256)
def trial(work: Hashable, steps: int) -> Trial:
    """Return the one for all that do such work: a network that is made anew need not find out anew."""
    return Trial(steps)
