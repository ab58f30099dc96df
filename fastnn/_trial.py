"""Whether several threads do a small step faster than one: found by trying."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

# Seconds before times count: new helper threads may begin on the caller's core, and are moved in time.
_WAKING = 0.05
_TURNS = 9  # calls each way
_STEPS = 8  # of such a call at most, where it does several
_PERIOD = 10_000  # calls from one trial to the next


class Trial:
    """Tries both ways now and then, and in between goes the faster one.

    Where a step takes some tens of microseconds the answer depends on how far the cores are from each
    other, on what else runs on them, and on whether steps follow at once or with pauses, in which
    helpers fall asleep. Results do not depend on it.

    ``shared`` says how the next call goes; the caller reports how long it took.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self.shared = True
        self._began = math.inf
        self._calls = 0
        self._seconds: dict[bool, list[float]] = {True: [], False: []}

    @property
    def most(self) -> float:
        """How many steps the next call is to do at most: few, while both ways are tried."""
        return _STEPS if self._calls < 2 * _TURNS else math.inf

    def time(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what the function returns; report its time."""
        start = time.perf_counter()
        result = function(*arguments)
        self.report(time.perf_counter() - start)
        return result

    def report(self, seconds: float) -> None:
        """Take the time of one call, or of one of the steps it did."""
        if self._calls >= 2 * _TURNS:
            self._calls += 1
            if self._calls == _PERIOD:
                self._begin()
            return
        now = time.perf_counter()
        self._began = min(self._began, now)
        if now - self._began < _WAKING:
            return
        self._seconds[self.shared].append(seconds)
        self._calls += 1
        self.shared = self._calls < _TURNS
        if self._calls == 2 * _TURNS:
            self.shared = self._median(True) < self._median(False)

    def _median(self, shared: bool) -> float:
        return statistics.median(self._seconds[shared])
