"""How many threads fastnn works on: one setting, for its own threads and for BLAS's."""

from contextlib import ExitStack

from fastnn._validation import require_count
from fastnn.kernels.step import threads


def get_num_threads() -> int:
    """Return how many threads fastnn uses, the caller's included.

    Until :func:`set_num_threads` is called that is the environment variable ``FASTNN_NUM_THREADS``,
    or else ``NUMBA_NUM_THREADS``, or else one for each core that the process may use: the smallest of
    its affinity, its container's quota of processor time (cgroup v1 or v2, rounded down), and the
    environment variable ``OMP_NUM_THREADS``. (The first two variables say nothing to BLAS libraries,
    which have variables of their own.)

    Raises ``ValueError`` for a variable that is no number of threads.
    """
    return threads.count()


def set_num_threads(n: int) -> ExitStack:
    """Use ``n`` threads in the whole process from now on, or in a ``with`` block.

    ::

        with fastnn.set_num_threads(1):
            net.fit(X, y)

    What fastnn computes itself is the same bits for any ``n``. The BLAS libraries that are loaded are
    held to ``n`` threads too: layers called by themselves use one for their matrix products, and its
    last bits may depend on ``n``. At the end of a ``with`` block both are as they were before. Calls
    that other threads have under way are finished as they began.

    Parameters
    ----------
    n : int
        From 1 to 1024, the calling thread included. More than there are cores is slower.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is no such integer; nothing has changed.
    """
    n = require_count("n", n)
    if n > threads.MOST:
        raise ValueError(f"n must be at most {threads.MOST}, got {n}; one thread a core is fastest")
    import scipy.linalg.cython_blas  # noqa: F401  so that the BLAS the kernels call is loaded
    from threadpoolctl import threadpool_limits

    before = ExitStack()
    before.callback(threads.set_count, threads.count())
    before.callback(threadpool_limits(n, user_api="blas").restore_original_limits)
    threads.set_count(n)
    return before
