"""One small thread pool, and the parallel loop that compiled code runs on it.

A loop of ``n`` jobs is published in a control block. Whoever asks for it works through the jobs
itself; helper threads that are awake take jobs too, each by one atomic addition. Every thread begins
with a share of its own, so that from one loop to the next it finds in its cache what it left there, and
goes on with what is left of the others'. Nothing waits for a thread that has not taken a job, so with
helpers asleep, busy or gone (after a fork) the loop is merely serial. If another loop is under way
already, from another Python thread, the second one is serial too. Which thread does a job has no
influence on it, so results do not depend on the number of threads.

Helpers are Python threads that spend their time in one compiled call without the GIL. Between loops
they spin for a while, then go to sleep in Python until :meth:`Pool.wake`. They spin without the
processor's ``pause``: a virtual machine's host takes a run of those for a thread that waits in vain,
and stops it for longer than a whole loop lasts.
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
)

# The control block: 64-bit integers, each in a cache line of its own.
_LINE = 128
(
    _OPEN,  # the number of the loop that is published, 0 if none is
    _LOOPS,  # how many there have been
    _JOB,  # its job's address,
    _ARGUMENTS,  # what the job is given,
    _COUNT,  # and how many there are
    _DONE,  # how many are finished
    _INSIDE,  # helpers at the loop; its description changes only when there are none
    _BUSY,  # whether somebody runs a loop
    _AWAKE,  # helpers that are not asleep
    _STOP,  # tells helpers to go to sleep
    _THREADS,  # how many shares there are; here begins, for each, how many of its jobs are taken
) = (line * _LINE for line in range(11))
_SPINS = 400_000  # some hundreds of microseconds


@kernel
def _work_through(control, thread):
    count = atomic_load(control + _COUNT)
    job = atomic_load(control + _JOB)
    arguments = atomic_load(control + _ARGUMENTS)
    threads = atomic_load(control + _THREADS)
    for other in range(threads):
        share = (thread + other) % threads
        first = share * count // threads
        size = (share + 1) * count // threads - first
        taken = control + _THREADS + (share + 1) * _LINE
        while True:
            index = atomic_add(taken, 1)
            if index >= size:
                break
            call_job(job, arguments, first + index)
            atomic_add(control + _DONE, 1)


@kernel
def parallel_for(control, job, arguments, count):
    """Call ``job(arguments, index)`` for every index below ``count``, on all threads that come.

    ``control`` is a pool's, or 0 for a serial loop.
    """
    if control == 0 or count == 1 or atomic_exchange(control + _BUSY, 1) != 0:
        for index in range(count):
            call_job(job, arguments, index)
        return
    atomic_store(control + _JOB, job)
    atomic_store(control + _ARGUMENTS, arguments)
    atomic_store(control + _COUNT, count)
    atomic_store(control + _DONE, 0)
    for share in range(atomic_load(control + _THREADS)):
        atomic_store(control + _THREADS + (share + 1) * _LINE, 0)
    atomic_store(control + _OPEN, atomic_add(control + _LOOPS, 1) + 1)
    _work_through(control, 0)
    while atomic_load(control + _DONE) < count:
        pass
    atomic_store(control + _OPEN, 0)
    while atomic_load(control + _INSIDE) != 0:
        pass
    atomic_store(control + _BUSY, 0)


@kernel
def _help(control, thread, spins):
    """Take jobs from the loops that come by, until none has come for ``spins`` turns."""
    atomic_add(control + _AWAKE, 1)
    idle = last = 0
    while idle < spins and atomic_load(control + _STOP) == 0:
        loop = atomic_load(control + _OPEN)
        if loop != 0 and loop != last:
            atomic_add(control + _INSIDE, 1)
            if atomic_load(control + _OPEN) == loop:  # still, now that it cannot close unnoticed
                _work_through(control, thread)
                idle = 0
            atomic_add(control + _INSIDE, -1)
            last = loop
        idle += 1
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
        self._block = np.zeros((13 + n_threads) * _LINE // 8, np.int64)
        self.control = (self._block.ctypes.data + _LINE - 1) // _LINE * _LINE
        self._start = (self.control - self._block.ctypes.data) // 8
        self._block[self._start + _THREADS // 8] = n_threads
        self._awake = self._block[self._start + _AWAKE // 8 :][:1]
        self._beds = [threading.Lock() for _ in range(n_threads - 1)]
        _help(self.control, 0, 0)  # compiled now, not while helpers are waited for
        for thread, bed in enumerate(self._beds, 1):
            bed.acquire()
            threading.Thread(target=self._live, args=(bed, thread), name="fastnn", daemon=True).start()

    def _live(self, bed: threading.Lock, thread: int) -> None:
        while True:
            bed.acquire()
            if self._block[self._start + _STOP // 8]:
                return
            _help(self.control, thread, _SPINS)

    def wake(self) -> None:
        """Make sure that helpers are awake, or soon will be; costs little when they are."""
        if self._awake.item() < len(self._beds):
            for bed in self._beds:
                with suppress(RuntimeError):  # released already
                    bed.release()

    def close(self) -> None:
        """Send the helpers home."""
        self._block[self._start + _STOP // 8] = 1
        self.wake()


_pools: list[Pool] = []  # this process's, once there is one
_making = threading.Lock()


def _forget() -> None:
    """Drop the parent's pool in a forked child, which has none of its threads."""
    global _making
    _making = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def pool() -> Pool:
    """Return this process's pool, with one thread a core."""
    if not _pools:
        with _making:
            if not _pools:
                _pools.append(Pool(_available_cores()))
    return _pools[0]
