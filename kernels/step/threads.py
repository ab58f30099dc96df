"""One small thread pool, and the parallel loop that compiled code runs on it.

A loop is published in a control block. Whoever asks for it works through the jobs itself; helper
threads that are awake take jobs too. Every thread begins with a share of its own, so that from one loop
to the next it finds in its cache what it left there, and goes on with what is left of the others'.
Nothing waits for a thread that has not taken a job, so with helpers asleep, busy or gone (after a fork)
the loop is merely serial. If another loop is under way already, from another Python thread, the second
one is serial too. Which thread does a job has no influence on it, so results do not depend on the
number of threads.

Between cores a cache line takes 30 to 200 ns, so a loop passes as few as it can, and the one who asks
never waits for one before its own first job. Loops are numbered, and a share is one integer, the loop's
number and how many of its jobs are taken: a job is taken by replacing that integer, which fails for a
helper that comes late, with an old number. So loops need not be closed.

Helpers are Python threads that spend their time in one compiled call without the GIL. Between loops
they spin for a while, then go to sleep in Python until :meth:`Pool.wake`. They spin without the
processor's ``pause``: a virtual machine's host takes a run of those for a thread that waits in vain,
and stops it for longer than a whole loop lasts. While a call of many loops is under way, which cannot
wake them, they have more patience: between two loops may lie a long job of another thread's.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress

import numpy as np

from fastnn.kernels.compiling.jit import (
    atomic_add,
    atomic_load,
    atomic_replace,
    atomic_store,
    call_job,
    inner,
    kernel,
)
from fastnn.kernels.step import cores

# The control block, in bytes. Helpers watch the first line; each share has two, what is taken of it and
# what its own thread, in any share, has finished.
_LOOP, _JOB, _ARGUMENTS, _COUNT, _THREADS, _STOP = range(0, 48, 8)
_PATIENCE = 48  # of helpers: how many turns they spin
_CALLS = 56  # of :meth:`Pool.wake`: helpers that are awake then stay awake for the loop to come
_LINE = 128
_BUSY = _LINE  # whether somebody runs a loop
_AWAKE = 2 * _LINE  # helpers that are not asleep
_SHARES = 3 * _LINE
_TAKEN, _FINISHED, _SHARE = 0, _LINE, 2 * _LINE
_NUMBER = 2**20  # a loop's number is kept in units of this, beside a number of jobs below it
# Seconds that helpers spin between loops, which is time to free and make the arrays of another call;
# and while a call of many loops is under way.
_IDLE, _IDLE_HELD = 8e-4, 15e-3


@inner
def _take(share, loop, size):
    """Take a job of a loop from a share of that size; return its index there, or -1."""
    while True:
        found = atomic_load(share + _TAKEN)
        index = found - loop * _NUMBER
        if index < 0 or index >= size:
            return -1
        if atomic_replace(share + _TAKEN, found, found + 1):
            return index


@inner
def _work_through(control, loop, thread, taken):
    """Do jobs until none is left; the first ``taken`` of the own share are this thread's already."""
    job = atomic_load(control + _JOB)
    arguments = atomic_load(control + _ARGUMENTS)
    count = atomic_load(control + _COUNT)
    threads = atomic_load(control + _THREADS)
    finished = 0
    for other in range(threads):
        share = (thread + other) % threads
        first = share * count // threads
        size = (share + 1) * count // threads - first
        index = 0 if taken > 0 and other == 0 else -1
        while True:
            if index < 0:
                index = _take(control + _SHARES + share * _SHARE, loop, size)
                if index < 0:
                    break
            call_job(job, arguments, first + index)
            finished += 1
            atomic_store(control + _SHARES + thread * _SHARE + _FINISHED, loop * _NUMBER + finished)
            index = -1


@inner
def parallel_for(control, job, arguments, count):
    """Call ``job(arguments, index)`` for every index below ``count``, on all threads that come.

    ``control`` is a pool's, or 0 for a serial loop.
    """
    alone = control == 0 or count <= 1 or count >= _NUMBER
    if alone or not atomic_replace(control + _BUSY, 0, 1):
        for index in range(count):
            call_job(job, arguments, index)
        return
    loop = atomic_load(control + _LOOP) + 1
    threads = atomic_load(control + _THREADS)
    for share in range(threads):  # nothing to take, for who still reads the old description
        atomic_store(control + _SHARES + share * _SHARE + _TAKEN, (loop + 1) * _NUMBER - 1)
    atomic_store(control + _JOB, job)
    atomic_store(control + _ARGUMENTS, arguments)
    atomic_store(control + _COUNT, count)
    mine = min(count // threads, 1)
    for share in range(threads):
        taken = mine if share == 0 else 0
        atomic_store(control + _SHARES + share * _SHARE + _TAKEN, loop * _NUMBER + taken)
    atomic_store(control + _LOOP, loop)
    _work_through(control, loop, 0, mine)
    finished = 0
    while finished < count:
        finished = 0
        for thread in range(threads):
            found = atomic_load(control + _SHARES + thread * _SHARE + _FINISHED) - loop * _NUMBER
            finished += max(found, 0)
    atomic_store(control + _BUSY, 0)


@kernel
def _help(control, thread):
    """Take jobs from the loops that come by, until none has come for as long as patience lasts."""
    atomic_add(control + _AWAKE, 1)
    last = atomic_load(control + _LOOP) - 1  # a loop that is under way is joined
    calls = atomic_load(control + _CALLS)
    idle = 0
    while atomic_load(control + _STOP) == 0:
        loop, now = atomic_load(control + _LOOP), atomic_load(control + _CALLS)
        if loop != last:
            _work_through(control, loop, thread, 0)
            last = loop
            idle = 0
        if now != calls:
            calls = now
            idle = 0
        idle += 1
        if idle >= atomic_load(control + _PATIENCE):
            atomic_add(control + _AWAKE, -1)
            renewed = idle < atomic_load(control + _PATIENCE) or atomic_load(control + _CALLS) != calls
            if not renewed:  # by one who counted us
                return
            atomic_add(control + _AWAKE, 1)
    atomic_add(control + _AWAKE, -1)


class Pool:
    """Helper threads and their control block.

    ``control`` is the block's address, ``born`` when its threads had been started, by
    ``time.perf_counter``.

    Who runs a loop holds on to the pool: it may be replaced meanwhile, see :func:`set_count`.

    Parameters
    ----------
    n_threads : int
        How many threads work on a loop, the caller's included.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._block = np.zeros((_SHARES + n_threads * _SHARE + _LINE) // 8, np.int64)
        self.control = (self._block.ctypes.data + _LINE - 1) // _LINE * _LINE
        self._start = (self.control - self._block.ctypes.data) // 8
        self._block[self._start + _THREADS // 8] = n_threads
        self._awake = self._block[self._start + _AWAKE // 8 :][:1]
        self._wakings = memoryview(self._block)[self._start + _CALLS // 8 :][:1]
        self._beds: list[threading.Lock] = []
        self._calls: list[None] = []  # one entry for each that holds the helpers
        _help(self.control, 0)  # compiled now, not while helpers are waited for
        self._patience = self._block[self._start + _PATIENCE // 8 :][:1]
        turns = self._turns_per_second()
        self._spins, self._spins_held = int(_IDLE * turns), int(_IDLE_HELD * turns)
        self._patience[0] = self._spins
        for thread in range(1, n_threads):
            bed = threading.Lock()
            bed.acquire()
            helper = threading.Thread(target=self._live, args=(bed, thread), name="fastnn", daemon=True)
            try:
                helper.start()
            except RuntimeError:  # the system gives no more threads: the others do the work
                break
            self._beds.append(bed)
        self.born = time.perf_counter()

    def _turns_per_second(self) -> float:
        """Measure how fast this thread spins."""
        self._patience[0] = some = 20_000
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            _help(self.control, 0)
            seconds.append(time.perf_counter() - start)
        return some / min(seconds)

    def _live(self, bed: threading.Lock, thread: int) -> None:
        while True:
            bed.acquire()
            if self._block[self._start + _STOP // 8]:
                return
            _help(self.control, thread)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wake helpers and keep them awake for a call of many loops."""
        self._calls.append(None)
        self._patience[0] = self._spins_held
        try:
            self.rouse()  # now: helpers that have waited for this since they were woken may fall asleep
            yield
        finally:
            self._calls.pop()
            self._patience[0] = self._spins_held if self._calls else self._spins

    def wake(self) -> None:
        """Make sure that helpers are awake, or soon will be; costs little when they are."""
        self._wakings[0] += 1
        if self._awake.item() < len(self._beds):
            self.rouse()

    def rouse(self) -> None:
        """Wake helpers for long, and those as well that were about to fall asleep."""
        for bed in self._beds:
            with suppress(RuntimeError):  # released already
                bed.release()

    def close(self) -> None:
        """Send the helpers home, after the jobs they have taken; loops go on without them."""
        self._block[self._start + _STOP // 8] = 1
        self.rouse()


MOST = 1024  # threads
_VARIABLES = ("FASTNN_NUM_THREADS", "NUMBA_NUM_THREADS")  # joblib gives its workers the second

chosen: int | None = None  # how many threads, once somebody has asked
_pool: Pool | None = None  # this process's, once there is one
_changing = threading.Lock()


def _forget() -> None:
    """Drop the parent's pool in a forked child, which has none of its threads."""
    global _changing, _pool
    _changing = threading.Lock()
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _default_count() -> int:
    for name in _VARIABLES:
        value = os.environ.get(name, "").strip()
        if value:
            if not (value.isdecimal() and 1 <= int(value) <= MOST):
                raise ValueError(
                    f"the environment variable {name} must be a whole number from 1 to {MOST}, got "
                    f"{value!r}; without it there is one thread a core"
                )
            return int(value)
    return cores.available()


def count() -> int:
    """Return how many threads work on a loop; read from the environment at the first call."""
    global chosen
    if chosen is None:
        chosen = _default_count()
    return chosen


def set_count(n: int) -> None:
    """Replace the pool by one of ``n`` threads, made when it is needed; loops under way go on."""
    global chosen, _pool
    with _changing:
        chosen, old, _pool = n, _pool, None
    if old is not None:
        old.close()


class Alone:
    """What stands for a pool where a loop is serial."""

    control = 0
    held = nullcontext


def pool() -> Pool:
    """Return this process's pool."""
    global _pool
    found = _pool
    if found is None:
        with _changing:
            found = _pool = _pool or Pool(count())
    return found
