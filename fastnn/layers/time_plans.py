"""Plans of an Elman layer's ``forward`` and ``backward``, made once for a shape, for any arrays."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn import pace
from fastnn._arrays import LINE, unlocked
from fastnn._typing import Array
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted.registers import HEIGHTS
from fastnn.kernels.layers import elman as kernels
from fastnn.kernels.layers.recurrence import Elman
from fastnn.kernels.step import parts, relative, threads
from fastnn.kernels.step.plan import Phase, Step, phase_job
from fastnn.layers.recurrence import constants


@functools.lru_cache(256)
def _layout(itemsize: int, **shapes: tuple[int, ...]) -> tuple[int, dict[str, tuple[int, int]]]:
    """Return the number of elements for arrays aligned to cache lines, and each array's range.

    Another cache line is left, because memory may begin anywhere.
    """
    lanes, begin, places = LINE // itemsize, 0, {}
    for name, shape in shapes.items():
        places[name] = begin, begin + math.prod(shape)
        begin = -(-places[name][1] // lanes) * lanes
    return begin + lanes, places


@dataclass
class Plan:
    """A layer's forward or backward pass over inputs of one shape, for :func:`relative.run_relative`.

    ``size``: elements of new memory, in which the arrays of these ``shapes`` have these ``places``;
    ``begins``: where those begin that a backward pass reads.
    """

    words: Array
    size: int
    places: dict[str, tuple[int, int]]
    shapes: dict[str, tuple[int, ...]]
    shared: bool
    begins: tuple[tuple[str, int], ...] = ()

    def run(
        self, kept: Array, begin: int, parameters: tuple[Array, ...], given: Array, out: Array
    ) -> tuple[Array, int]:
        """Do the pass, on all threads if there is enough work; return the new memory, and its begin."""
        control, memory = 0, np.empty(self.size, out.dtype)
        if self.shared:
            pool = threads.pool()
            pool.wake()
            control = pool.control
        given = unlocked(given).reshape(-1)
        W, U, b = parameters
        begin = relative.run_relative(
            control, self.words, memory, kept, begin, W, U, b, given, out.reshape(-1)
        )
        return memory, begin

    def array(self, memory: Array, begin: int, name: str) -> Array:
        """Return one of the arrays in memory."""
        first, last = self.places[name]
        return memory[begin + first : begin + last].reshape(self.shapes[name])


_STEP = 2 * Phase.bytes // 8
_ROW = _STEP + Step.bytes // 8
_PARAMETERS = relative.W_AT, relative.U_AT, relative.B_AT
_ONES = {np.dtype(kind): np.ones(1, kind) for kind in (np.float32, np.float64)}


def _field(kind: type[Record], name: str, begin: int) -> int:
    """Return the position of a field in an array of integers with a record at ``begin``."""
    return begin + list(kind.dtype.names or ()).index(name)


@functools.lru_cache(256)
def forward_plan(
    known: tuple[Any, ...], shape: tuple[int, ...], dtype: np.dtype[Any], given: bool
) -> Plan:
    """Return the plan of a forward pass; ``given``: whether there is a state before the first step.

    New memory holds the cache, ``x``, ``z``, ``s``. The input is given.
    """
    values = {**constants(*known, shape, dtype)}
    (n, d, t), k = shape, values["k"]
    shapes: dict[str, tuple[int, ...]] = {"x": (d, t, n), "z": (t, n, k), "s": (t + 1, n, k)}
    if values.get("find"):
        shapes["masks"] = (t, n)
    size, places = _layout(dtype.itemsize, **shapes)
    at = {name: (relative.FRESH, begin * dtype.itemsize) for name, (begin, _) in places.items()}
    first, last = places["s"]
    state = n * k
    at["s"] = relative.FRESH, (first + state) * dtype.itemsize
    at["input"] = relative.GIVEN, 0
    at["output"] = relative.OUT, 0
    if not values["sequences"]:
        at["output"] = relative.FRESH, (last - state) * dtype.itemsize
    if given:
        at["first_state"] = relative.KEPT, 0
    copied = -1 if values["sequences"] else last - state
    jobs = [(kernels.forward, -(-n // values["block_rows"]))]
    words = _words(values, at, jobs, shape, dtype, (first, first + state, copied))
    begins = tuple((name, begin) for name, (begin, _) in places.items() if name != "masks")
    return Plan(words, size, places, shapes, _shared(shape, k), begins)


@functools.lru_cache(256)
def backward_plan(
    known: tuple[Any, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    cache: tuple[tuple[str, int], ...],
    given: bool,
    sure: bool,
    wanted: bool,
) -> Plan:
    """Return the plan of a backward pass, which reads its forward pass's memory.

    ``cache``: where that has its arrays; ``given``: whether there was a state before the first step;
    ``sure``: whether the states are those of z; ``wanted``: whether the input's gradient goes out. New
    memory holds the parameters' gradients.
    """
    values = {**constants(*known, shape, dtype)}
    (n, d, t), k = shape, values["k"]
    blocks = -(-n // values["block_rows"])
    shapes: dict[str, tuple[int, ...]] = {"d_W": (d, k), "d_U": (k, k), "d_b": (1, k), "dz": (t, n, k)}
    shapes |= {"ds": (2, n, k), "work": (blocks, k, max(d, k))}
    if values.get("find"):
        shapes["masks"] = (t, n)
    size, places = _layout(dtype.itemsize, **shapes)
    at = {name: (relative.FRESH, begin * dtype.itemsize) for name, (begin, _) in places.items()}
    at |= {name: (relative.KEPT, begin * dtype.itemsize) for name, begin in cache}
    states = at["s"][1]
    at["s"] = relative.KEPT, states + n * k * dtype.itemsize
    if given:
        at["first_state"] = relative.KEPT, states
    at["dy" if values["sequences"] else "d_output"] = relative.GIVEN, 0
    if wanted:
        at["dx"] = relative.OUT, 0
    values["sure"] = sure
    values["pieces"] = max(1, min(4, (d + k) // (2 * HEIGHTS[0])))
    values["one"] = _ONES[dtype].ctypes.data
    jobs = [(kernels.backward_alone, blocks), (kernels.gradients, values["pieces"])]
    zeros = places["d_U"] if t == 1 else (0, 0)  # which the kernel does not write
    words = _words(values, at, jobs, shape, dtype, (*zeros, -1))
    return Plan(words, size, places, shapes, _shared(shape, k))


def _shared(shape: tuple[int, ...], k: int) -> bool:
    """Return whether all threads share a pass."""
    n, d, t = shape
    return n * t * k * (d + k) > pace.SERIAL


def _words(
    values: dict[str, Any],
    at: dict[str, tuple[int, int]],
    jobs: list[tuple[Any, int]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    extra: tuple[int, int, int],
) -> Array:
    """Return a plan of these jobs, with a layer's record of these values and relative addresses."""
    values |= {"apart": shape[0], "product": parts.product.address(dtype)}
    values |= {name: offset for name, (_, offset) in at.items()}
    links = [(_field(Elman, name, _ROW), base) for name, (base, _) in at.items()]
    links += [(_field(Elman, name, _ROW), own) for name, own in zip("WUb", _PARAMETERS, strict=True)]
    phases = Phase.make(2, shared=1, step=8 * _STEP, row=8 * _ROW)
    for i, (phase, (job, count)) in enumerate(zip(phases, jobs, strict=False)):
        phase["job"], phase["count"] = phase_job(job).address, count
        begin = i * Phase.bytes // 8
        links += [(_field(Phase, name, begin), relative.PLAN) for name in ("step", "row")]
    step = Step.make(n=shape[0], itemsize=dtype.itemsize, block_rows=values["block_rows"])
    words = np.concatenate([part.view(np.int64) for part in (phases, step, Elman.make(**values))])
    assert len(words) <= relative.MOST_WORDS
    head = np.array([len(words), len(links), len(jobs), *extra])
    return np.concatenate([head, words, np.ravel(links)])
