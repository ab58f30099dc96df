"""A run: one process for each contestant, which take turns at every case; new ones for every round.

Two libraries' thread pools in one process fight for the cores and falsify each other's times. In
processes of their own, all but one at rest, they don't. Since they follow each other on the same case
within a fraction of a second, a machine that slows down slows all of them. And since where a process's
memory lies is luck that stays with it, every round tries anew.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastnn.bench import record
from fastnn.bench.bounds import Bounds
from fastnn.bench.cases import Case
from fastnn.bench.isa import VARIABLES
from fastnn.bench.record import BOUND, Record, Result

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "FASTNN_NUM_THREADS",
    "NPROC",  # XLA's
)
_SLOWER_BLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # may hold OpenBLAS to older kernels


def environment(threads: int, isa: str = "") -> dict[str, str]:
    """Return the variables for a process of so many threads, held to an instruction set or to none.

    BLAS is free to choose its kernels within that.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _SLOWER_BLAS}
    # torch.compile finds cached code by its source only; code for another instruction set may crash.
    user = getattr(os, "getuid", int)()  # 0 where there are none
    own = f"fastnn_bench_{user}_{isa or 'native'}_{threads}"
    kept["TORCHINDUCTOR_CACHE_DIR"] = str(Path(tempfile.gettempdir(), own))
    return kept | dict.fromkeys(_THREAD_VARIABLES, str(threads)) | VARIABLES.get(isa, {})


class _Worker:
    """A contestant's process, asked in lines of JSON."""

    def __init__(self, name: str, threads: int, isa: str = "") -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fastnn.bench.worker", name, str(threads)],
            env=environment(threads, isa),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer, which for a process that died says so."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            return {"wrong": f"its process ended with code {self._process.wait()}"}
        return answer

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()


@contextlib.contextmanager
def _workers(names: list[str], threads: int, isa: str = "") -> Iterator[list[_Worker]]:
    workers: list[_Worker] = []
    try:
        workers += [_Worker(name, threads, isa) for name in names]
        yield workers
    finally:
        for worker in workers:
            worker.close()


def measure_bounds(threads: int, isa: str = "") -> Bounds:
    """Return the bounds, measured in a process of its own."""
    with _workers([BOUND], threads, isa) as [worker]:
        answer = worker.ask()
    if "wrong" in answer:
        raise RuntimeError(f"no bounds were measured: {answer['wrong']}")
    return Bounds(**answer)


def measure_bound_of(cases: list[Case], threads: int, isa: str = "") -> list[Result]:
    """Return each case's bound, measured in a process of its own."""
    with _workers([BOUND], threads, isa) as workers:
        return [_take_turns(case, workers, threads, 0) for case in cases]


def run(
    cases: list[Case],
    contestants: list[str],
    threads: int,
    rounds: int = 3,
    seconds: float = 0.05,
    show: Callable[[str], None] = lambda status: None,
    isa: str = "",
) -> Record:
    """Return a record of the cases by those contestants that are there.

    Parameters
    ----------
    seconds : float
        How long to time each contestant in each round of a case.
    show : callable
        Told what is going on.
    isa : str
        The instruction set that contestants are held to, of ``fastnn.bench.isa``, or none.
    """
    whole = record.begin(contestants, isa)
    show("what the machine can do")
    whole.bounds.append(measure_bounds(threads, isa))
    present = [BOUND, *(name for name, found in whole.contestants.items() if found != record.ABSENT)]
    results = []
    for round_number in range(rounds):
        with _workers(present, threads, isa) as workers:
            for case in cases:
                show(f"round {round_number + 1} of {rounds}: {case.key}")
                results.append(_take_turns(case, workers, threads, seconds))
    whole.results = record.merge(results)
    return whole


def _take_turns(case: Case, workers: list[_Worker], threads: int, seconds: float) -> Result:
    result = Result(case.key, threads)
    for worker in workers:
        answer = worker.ask(case=case.key)
        result.bound_by = answer.get("by", result.bound_by)
        if not answer:
            answer = worker.ask(seconds=seconds)
        if "wrong" in answer:
            result.failed[worker.name] = answer["wrong"]
        elif "us" in answer:
            result.us[worker.name] = [answer["us"]]
    return result
