"""One small thread pool, and the parallel loop that compiled code runs on it.

A loop of ``n`` jobs is published in a control block. Whoever asks for it works through the jobs
itself; helper threads that are awake take jobs too, each by one atomic addition. Nothing waits for a
thread that has not taken a job, so with helpers asleep, busy or gone (after a fork) the loop is merely
serial. If another loop is under way already, from another Python thread, the second one is serial too.
Which thread does a job has no influence on it, so results do not depend on the number of threads.

Helpers are Python threads that spend their time in one compiled call without the GIL. Between loops
they spin for a while, then go to sleep in Python until :meth:`Pool.wake`.
"""

import os
import threading
from contextlib import suppress

import numpy as np

from fastnn.kernels._jit import (
    atomic_add,
    atomic_exchange,
    atomic_load,
    atomic_store,
    call_job,
    kernel,
    pause,
)

# The control block: 64-bit integers, each in a cache line of its own.
_LINE = 128
(
    _OPEN,  # whether a loop is published
    _JOB,  # its job's address,
    _ARGUMENTS,  # what the job is given,
    _COUNT,  # and how many there are
    _NEXT,  # the next job to take
    _DONE,  # how many are finished
    _INSIDE,  # helpers at the loop; its description changes only when there are none
    _BUSY,  # whether somebody runs a loop
    _AWAKE,  # helpers that are not asleep
    _STOP,  # tells helpers to go to sleep
) = (line * _LINE for line in range(10))
_SPINS = 20_000  # some hundreds of microseconds


@kernel
def _work_through(control):
    count = atomic_load(control + _COUNT)
    job = atomic_load(control + _JOB)
    arguments = atomic_load(control + _ARGUMENTS)
    while True:
        index = atomic_add(control + _NEXT, 1)
        if index >= count:
            return
        call_job(job, arguments, index)
        atomic_add(control + _DONE, 1)


@kernel
def parallel_for(control, job, arguments, count):
    """Call ``job(arguments, index)`` for every index below ``count``, on all threads that come."""
    if count == 1 or atomic_exchange(control + _BUSY, 1) != 0:
        for index in range(count):
            call_job(job, arguments, index)
        return
    atomic_store(control + _JOB, job)
    atomic_store(control + _ARGUMENTS, arguments)
    atomic_store(control + _COUNT, count)
    atomic_store(control + _DONE, 0)
    atomic_store(control + _NEXT, 0)
    atomic_store(control + _OPEN, 1)
    _work_through(control)
    while atomic_load(control + _DONE) < count:
        pause()
    atomic_store(control + _OPEN, 0)
    while atomic_load(control + _INSIDE) != 0:
        pause()
    atomic_store(control + _BUSY, 0)


@kernel
def _help(control, spins):
    """Take jobs from the loops that come by, until none has come for ``spins`` turns."""
    atomic_add(control + _AWAKE, 1)
    idle = 0
    while idle < spins and atomic_load(control + _STOP) == 0:
        if atomic_load(control + _OPEN) != 0:
            atomic_add(control + _INSIDE, 1)
            if atomic_load(control + _OPEN) != 0:  # still, now that it cannot close unnoticed
                _work_through(control)
                idle = 0
            atomic_add(control + _INSIDE, -1)
            while atomic_load(control + _OPEN) != 0:
                pause()
        idle += 1
        pause()
    atomic_add(control + _AWAKE, -1)


class Pool:
    """Helper threads and their control block; ``control`` is its address.

    Parameters
    ----------
    n_threads : int
        How many threads work on a loop, the caller's included.
    """

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._block = np.zeros(12 * _LINE // 8, np.int64)
        self.control = (self._block.ctypes.data + _LINE - 1) // _LINE * _LINE
        self._start = (self.control - self._block.ctypes.data) // 8
        self._beds = [threading.Lock() for _ in range(n_threads - 1)]
        for bed in self._beds:
            bed.acquire()
            threading.Thread(target=self._live, args=(bed,), name="fastnn", daemon=True).start()

    def _live(self, bed: threading.Lock) -> None:
        while True:
            bed.acquire()
            if self._block[self._start + _STOP // 8]:
                return
            _help(self.control, _SPINS)

    def wake(self) -> None:
        """Make sure that helpers are awake, or soon will be; costs little when they are."""
        if self._block[self._start + _AWAKE // 8] < len(self._beds):
            for bed in self._beds:
                with suppress(RuntimeError):  # released already
                    bed.release()

    def close(self) -> None:
        """Send the helpers home."""
        self._block[self._start + _STOP // 8] = 1
        self.wake()


_pools: dict[int, Pool] = {}  # by process: a forked child has none of its parent's threads


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pool() -> Pool:
    """Return this process's pool, with one thread a core."""
    found = _pools.get(os.getpid())
    if found is None:
        found = _pools.setdefault(os.getpid(), Pool(_available_cores()))
    return found
