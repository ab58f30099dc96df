"""Compiled passes of a layer's own ``forward`` and ``backward``, which are kept and used again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import numpy as np

from fastnn import pace
from fastnn._typing import Array
from fastnn.blueprint import Blueprint
from fastnn.kernels.step import steps, threads
from fastnn.kernels.step.phases import Parameter
from fastnn.kernels.step.plan import Phase

_MOST, _BYTES = 32, 2**26  # passes of a kind that are kept, and their memory


class Alone(Blueprint):
    """The phases of a layer's pass over one batch, outside a network's step.

    Parameters
    ----------
    X_shape : tuple of int
        Shape of the batch, ``(n, ...)``.
    dtype : dtype
    work : int
        Approximate number of multiplications; decides whether threads share the work.
    """

    def __init__(self, X_shape: tuple[int, ...], dtype: np.dtype[Any], work: int) -> None:
        shared = work > pace.SERIAL
        rows = pace.block_rows(X_shape[0], work, shared, large=True)
        super().__init__(X_shape, dtype, shared, rows, 1)
        self.step["clip"] = 0  # a finite norm: jobs write gradients and leave updates to a later phase
        self._phases = np.zeros(0, Phase.dtype)

    def add(self, job: Any, row: Array, count: int = 0) -> None:
        """Add a phase: a job over ``count`` blocks, by default over all blocks of rows.

        ``row``: the record it works on.
        """
        phase = Phase.make(
            job=self.address_of(job),
            step=self.step.ctypes.data,
            row=self.keep(row),
            count=count or self.row_blocks,
            shared=self.shared,
        )
        self._phases = np.concatenate([self._phases, phase])

    def gradient(self, size: int) -> Array:
        """Return a parameter's record, whose gradient is only written down."""
        row = Parameter.make(size=size)
        self.keep(row)
        return row

    def run(self) -> None:
        """Do the phases, one after the other."""
        control = 0
        if self.shared:
            pool = threads.pool()
            pool.wake()
            control = pool.control
        steps.run(control, self._phases.ctypes.data, len(self._phases))

    @property
    def nbytes(self) -> int:
        """The memory of the pass."""
        return sum(array.nbytes for array in self._kept)


P = TypeVar("P", bound=Alone)


class Passes(Generic[P]):
    """Passes of one kind, by what they were made for.

    A pass has scratch memory, so it is not here while it runs: two threads never run the same one.

    Parameters
    ----------
    make : callable
        Makes a pass, given the key.
    """

    def __init__(self, make: Callable[..., P]) -> None:
        self._make = make
        self._idle: OrderedDict[Hashable, P] = OrderedDict()

    @contextmanager
    def taken(self, *key: Any) -> Iterator[P]:
        """Take the pass for a key, which is made if there is none."""
        found = self._idle.pop(key, None)
        made = found or self._make(*key)
        yield made
        self._idle[key] = made
        if found is None:
            self._drop()

    def _drop(self) -> None:
        """Drop the passes that were used least recently, if all take too much memory."""
        passes = [*self._idle.values()]  # other threads may take some meanwhile
        count, size = len(passes), sum(made.nbytes for made in passes)
        for made in passes:
            if count <= _MOST and size <= _BYTES:
                return
            with suppress(KeyError):
                self._idle.popitem(last=False)
            count, size = count - 1, size - made.nbytes
