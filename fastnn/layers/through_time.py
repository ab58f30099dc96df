"""An Elman layer's ``forward`` and ``backward`` in compiled code: one call for all time steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from operator import is_
from typing import Any

import numpy as np

from fastnn import pace
from fastnn._arrays import LINE, unlocked
from fastnn._typing import Array
from fastnn._validation import as_float
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted.tile import HEIGHTS
from fastnn.kernels.layers import elman as kernels
from fastnn.kernels.layers.recurrence import Elman
from fastnn.kernels.step import parts, threads
from fastnn.kernels.step.plan import Phase, Step, phase_job
from fastnn.layers.recurrence import constants, obstacle, settings

def compiled(activation: Any) -> bool:
    """Return whether the layer's own methods use compiled code."""
    return COMPILED and obstacle(activation) is None


@dataclass
class Steps:
    """A layer's cache, as arrays: ``X (d, t, n)``, ``Z (t, n, k)``, ``s (t + 1, n, k)``."""

    X: Array
    Z: Array
    s: Array


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
    """A layer's forward or backward pass over inputs of one shape, for :func:`kernels.run_alone`.

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
        begin = kernels.run_alone(
            control, self.words, memory, kept, begin, *parameters, given, out.reshape(-1)
        )
        return memory, begin

    def array(self, memory: Array, begin: int, name: str) -> Array:
        """Return one of the arrays in memory."""
        first, last = self.places[name]
        return memory[begin + first : begin + last].reshape(self.shapes[name])


_PHASES, _STEP = 0, 2 * Phase.bytes // 8
_ROW = _STEP + Step.bytes // 8
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
    at = {name: (kernels.FRESH, begin * dtype.itemsize) for name, (begin, _) in places.items()}
    first, last = places["s"]
    state = n * k
    at["s"] = kernels.FRESH, (first + state) * dtype.itemsize
    at["input"] = kernels.GIVEN, 0
    at["output"] = kernels.OUT, 0
    if not values["sequences"]:
        at["output"] = kernels.FRESH, (last - state) * dtype.itemsize
    if given:
        at["first_state"] = kernels.KEPT, 0
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
    ``sure``: whether the states are those of z; ``wanted``: whether the input's gradient goes out. New memory holds the parameters' gradients.
    """
    values = {**constants(*known, shape, dtype)}
    (n, d, t), k = shape, values["k"]
    blocks = -(-n // values["block_rows"])
    shapes: dict[str, tuple[int, ...]] = {"d_W": (d, k), "d_U": (k, k), "d_b": (1, k), "dz": (t, n, k)}
    shapes |= {"ds": (2, n, k), "work": (blocks, k, max(d, k))}
    if values.get("find"):
        shapes["masks"] = (t, n)
    size, places = _layout(dtype.itemsize, **shapes)
    at = {name: (kernels.FRESH, begin * dtype.itemsize) for name, (begin, _) in places.items()}
    at |= {name: (kernels.KEPT, begin * dtype.itemsize) for name, begin in cache}
    states = at["s"][1]
    at["s"] = kernels.KEPT, states + n * k * dtype.itemsize
    if given:
        at["first_state"] = kernels.KEPT, states
    at["dy" if values["sequences"] else "d_output"] = kernels.GIVEN, 0
    if wanted:
        at["dx"] = kernels.OUT, 0
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
        links += [(_field(Phase, name, begin), kernels.PLAN) for name in ("step", "row")]
    step = Step.make(n=shape[0], itemsize=dtype.itemsize, block_rows=values["block_rows"])
    words = np.concatenate([part.view(np.int64) for part in (phases, step, Elman.make(**values))])
    assert len(words) <= kernels.MOST_WORDS
    head = np.array([len(words), len(links), len(jobs), *extra])
    return np.concatenate([head, words, np.ravel(links)])


_PARAMETERS = kernels.W_AT, kernels.U_AT, kernels.B_AT


class Pass:
    """A forward pass: its memory, which lists of a layer's cache are views of once they are made."""

    def __init__(self, plan: Plan, shape: tuple[int, ...], memory: Array, begin: int) -> None:
        self.plan, self.shape, self.memory, self.begin = plan, shape, memory, begin
        self.given = False  # whether the state before the first step may not be zeros
        self._made: dict[str, tuple[Array, ...]] | None = None

    def array(self, name: str) -> Array:
        """Return one of the arrays ``x``, ``z``, ``s``."""
        return self.plan.array(self.memory, self.begin, name)

    def lists(self) -> dict[str, list[Array]]:
        """Return the cache's lists, made anew."""
        x = self.array("x").transpose(1, 2, 0)
        self._made = {"s": (*self.array("s"),), "X": (*x,), "Z": (*self.array("z"),)}
        return {name: [*views] for name, views in self._made.items()}

    @property
    def listed(self) -> bool:
        """Whether lists were made, so that their arrays may have been changed."""
        return self._made is not None

    def fits(self, W: Array, cache: Mapping[str, Any]) -> bool:
        """Return whether the pass was done with parameters like W, and is what the cache's lists hold.

        The lists' arrays are no views of the memory in a deep copy.
        """
        n, d, t = self.shape
        if W.shape != (d, self.plan.shapes["s"][2]) or W.dtype != self.memory.dtype:
            return False
        return self._made is None or all(
            len(found := cache.get(name) or ()) == len(views)
            and all(map(is_, found, views))
            and views[0].base is self.memory
            for name, views in self._made.items()
        )


def states(
    layer: Any, parameters: tuple[Array, ...], x: Array, first: Array | None
) -> tuple[Array, Pass]:
    """Return a layer's output for an input ``(n, d, t)``, and what its cache is made of.

    ``parameters``: W, U, b; ``first``: the state before the first step, None for zeros.
    """
    n, _, t = x.shape
    plan = forward_plan(settings(layer), x.shape, x.dtype, first is not None)
    k = layer.n_out
    out = np.empty((n, k, t) if layer.return_sequences else (n, k), x.dtype)
    kept = parameters[2] if first is None else first
    made = Pass(plan, x.shape, *plan.run(kept.reshape(-1), 0, parameters, x, out))
    if first is not None:
        made.array("s")[0], made.given = first, True
    return out, made


def cached(cache: Mapping[str, Any], W: Array) -> Steps:
    """Return a layer's cache as arrays.

    Raises
    ------
    RuntimeError
        If the cache holds no time step.
    ValueError
        If its lists do not fit one another or the parameters.
    """
    lists = {name: cache.get(name) or [] for name in ("s", "X", "Z")}
    t = len(lists["Z"])
    if not t or not lists["X"] or not lists["s"]:
        raise RuntimeError("backward needs a forward pass first: the layer's cache is empty")
    n = len(lists["Z"][0])
    return Steps(**{name: _array(name, steps, W, t, n) for name, steps in lists.items()})


def _array(name: str, steps: Any, W: Array, t: int, n: int) -> Array:
    """Return a list of a cache as an array, checked."""
    shape: tuple[int, ...] = {
        "s": (t + 1, n, W.shape[1]),
        "X": (W.shape[0], t, n),
        "Z": (t, n, W.shape[1]),
    }[name]
    count, step = (t, (n, len(W))) if name == "X" else (shape[0], shape[1:])
    found = stacked(f"cache[{name!r}]", steps, count, step, W.dtype)
    return np.ascontiguousarray(found.transpose(2, 0, 1)) if name == "X" else found


def stacked(name: str, steps: Any, count: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return a list of ``count`` arrays of one shape as one array; ``ValueError`` if it is not that."""
    shapes = {np.shape(array) for array in steps}
    if len(steps) != count or shapes != {shape}:
        raise ValueError(
            f"{name} must hold {count} arrays of shape {shape}, one for each time step, got "
            f"{len(steps)} of {sorted(shapes)}"
        )
    return np.stack([as_float(array, f"{name}[{i}]", dtype) for i, array in enumerate(steps)])


def packed(layer: Any, made: Steps) -> Pass:
    """Return a cache's arrays as a forward pass would have left them, for :func:`back_through_time`."""
    d, t, n = made.X.shape
    plan = forward_plan(settings(layer), (n, d, t), made.X.dtype, False)
    found = Pass(plan, (n, d, t), np.empty(plan.size, made.X.dtype), 0)
    for name, array in (("x", made.X), ("z", made.Z), ("s", made.s)):
        found.array(name)[...] = array
    return found


def back_through_time(
    layer: Any,
    parameters: tuple[Array, ...],
    made: Pass,
    dy: Array,
    given: bool,
    sure: bool,
    wanted: bool,
) -> tuple[tuple[Array, ...], list[Array]]:
    """Return the gradients of W, U, b and, if ``wanted``, the input's for each time step.

    ``parameters``: W, U, b; ``dy``: the gradient of the output, ``(n, k)`` or, for sequences,
    ``(t, n, k)``; ``given``: whether
    the state before the first step may not be zeros; ``sure``: whether the states are those of Z.
    """
    (n, d, t), dtype = made.shape, made.memory.dtype
    plan = backward_plan(settings(layer), made.shape, dtype, made.plan.begins, given, sure, wanted)
    dx = np.empty((t, n, d) if wanted else 0, dtype)
    memory, begin = plan.run(made.memory, made.begin, parameters, dy, dx)
    gradients = tuple(plan.array(memory, begin, name) for name in ("d_W", "d_U", "d_b"))
    return gradients, list(dx) if wanted else []


def _masks(layer: Any, made: Steps) -> Array:
    """Return 1 for skipped time steps of rows, else 0, ``(t, n)``; empty if there is no mask."""
    if layer.mask_value is None:
        return np.zeros(0, made.X.dtype)
    value = made.X.dtype.type(layer.mask_value)
    return np.ascontiguousarray(np.equal(made.X, value).all(axis=0), made.X.dtype)


def back_step_by_step(
    layer: Any, made: Steps, dy: Array, wanted: bool
) -> tuple[tuple[Array, ...], list[Array]]:
    """Compute the same in Python, for activations that have no compiled kernel."""
    W, U, b = layer.checked_parameters()
    X = made.X.transpose(1, 2, 0)
    dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
    masks = _masks(layer, made).astype(bool)
    ds = dy[-1] if layer.return_sequences else dy
    dX: list[Array] = []
    for time in reversed(range(len(made.Z))):
        dZ = as_float(layer.activation.backward(made.Z[time], ds), "dZ", W.dtype)
        carried: Any = 0
        if masks.size:
            masked = masks[time][:, np.newaxis]
            dZ, carried = np.where(masked, 0, dZ), np.where(masked, ds, 0)
        dW, dU, db = dW + X[time].T @ dZ, dU + made.s[time].T @ dZ, db + dZ.sum(axis=0)
        dX.append(dZ @ W.T if wanted else dZ)
        ds = dZ @ U.T + carried
        if layer.return_sequences and time:
            ds = ds + dy[time - 1]
    return (dW, dU, db), dX[::-1] if wanted else []
