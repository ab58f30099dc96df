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
from fastnn.kernels.step import parts, steps, threads
from fastnn.kernels.step.plan import Phase, Step, phase_job
from fastnn.layers.recurrence import block_rows, constants, obstacle, settings

_NO_FIELDS = np.zeros(1, np.int64)


def compiled(activation: Any) -> bool:
    """Return whether the layer's own methods use compiled code."""
    return COMPILED and obstacle(activation) is None


class _Views(list[Array]):
    """A list of arrays, one per time step, which are views of one array unless they are replaced."""

    def __init__(self, array: Array, views: Array) -> None:
        super().__init__(views)
        self._array, self._made = array, tuple(self)

    def array(self) -> Array | None:
        """Return the array, or None if the list no longer holds views of it."""
        kept = len(self) == len(self._made) and all(map(is_, self, self._made))
        base = self._array.base  # in a deep copy it is None, or not the views' base
        return self._array if kept and base is not None and self[0].base is base else None


@dataclass
class Steps:
    """A layer's cache, as arrays: ``X (d, t, n)``, ``Z (t, n, k)``, ``s (t + 1, n, k)``."""

    X: Array
    Z: Array
    s: Array


def _place(kind: type[Record], name: str, begin: int) -> int:
    """Return the position of a field in an array of integers with a record at ``begin``."""
    return begin + list(kind.dtype.names or ()).index(name)


@functools.lru_cache(256)
def _template(
    known: tuple[Any, ...], shape: tuple[int, ...], dtype: np.dtype[Any], back: bool
) -> Array:
    """Return a step of one layer as integers: the step's record, its phases, the layer's record."""
    values, n = {**constants(*known, shape, dtype)}, shape[0]
    blocks = -(-n // values["block_rows"])
    jobs = [(kernels.forward, blocks)]
    if back:
        values["pieces"] = max(1, min(4, (values["d"] + values["k"]) // (2 * HEIGHTS[0])))
        jobs = [(kernels.backward_alone, blocks), (kernels.gradients, values["pieces"])]
    step = Step.make(
        n=n, itemsize=dtype.itemsize, block_rows=values["block_rows"], phase_count=len(jobs)
    )
    step["inputs"] = step["outputs"] = _NO_FIELDS.ctypes.data
    phases = Phase.make(2, shared=1)
    for phase, (job, count) in zip(phases, jobs, strict=False):
        phase["job"], phase["count"] = phase_job(job).address, count
    values |= {"apart": n, "product": parts.product.address(dtype)}
    row = Elman.make(**values)
    return np.concatenate([part.view(np.int64) for part in (step, phases, row)])


_STEP, _PHASES = Step.bytes // 8, 2 * Phase.bytes // 8
_LINKS = [_place(Step, "phases", 0)] + [
    _place(Phase, name, _STEP + i * Phase.bytes // 8) for i in (0, 1) for name in ("step", "row")
]
_FIELDS = {name: _STEP + _PHASES + i for i, name in enumerate(Elman.dtype.names or ())}


def _run(
    layer: Any, shape: tuple[int, ...], back: bool, like: Array, addresses: dict[str, int]
) -> None:
    """Do a layer's forward or backward pass, on all threads if there is enough work."""
    dtype = like.dtype
    words = _template(settings(layer), shape, dtype, back).copy()
    at = words.ctypes.data
    phases, row = at + 8 * _STEP, at + 8 * (_STEP + _PHASES)
    words[_LINKS] = phases, at, row, at, row
    words[[_FIELDS[name] for name in addresses]] = [*addresses.values()]
    control = 0
    if layer.cost(shape) > pace.SERIAL:
        pool = threads.pool()
        pool.wake()
        control = pool.control
    steps.infer(control, at, like, like)


@functools.lru_cache(256)
def _layout(
    itemsize: int, shapes: tuple[tuple[str, tuple[int, ...]], ...]
) -> tuple[int, list[tuple[str, int, int]]]:
    """Return the number of elements for arrays aligned to cache lines, and each array's range."""
    lanes, begin, places = LINE // itemsize, 0, []
    for name, shape in shapes:
        end = begin + math.prod(shape)
        places.append((name, begin, end))
        begin = -(-end // lanes) * lanes
    return begin + lanes, places


class _Space:
    """New arrays of one dtype in one allocation, and their addresses."""

    def __init__(self, dtype: np.dtype[Any], **shapes: tuple[int, ...]) -> None:
        size, places = _layout(dtype.itemsize, tuple(shapes.items()))
        memory = np.empty(size, dtype)
        at = memory.ctypes.data
        skipped = -at % LINE // dtype.itemsize
        lines, at = memory[skipped:], at + skipped * dtype.itemsize
        self.addresses = {name: at + begin * dtype.itemsize for name, begin, _ in places}
        self.arrays = {name: lines[begin:end].reshape(shapes[name]) for name, begin, end in places}


def states(layer: Any, x: Array, first: Array | None) -> tuple[Array, dict[str, list[Array]]]:
    """Return a layer's output for an input ``(n, d, t)``, and its cache.

    ``first``: the state before the first step, None for zeros.
    """
    (n, d, t), dtype, k = x.shape, x.dtype, layer.n_out
    W, U, b = layer.checked_parameters()
    shapes: dict[str, tuple[int, ...]] = {"x": (d, t, n), "z": (t, n, k), "s": (t + 1, n, k)}
    if layer.mask_value is not None:
        shapes["masks"] = (t, n)
    space = _Space(dtype, **shapes)
    X, Z, s = (space.arrays[name] for name in ("x", "z", "s"))
    s[0] = 0 if first is None else first
    out = np.empty((n, k, t), dtype) if layer.return_sequences else s[t]
    at, addresses = space.addresses["s"], space.addresses
    addresses |= {"s": at + s[0].nbytes, "first_state": 0 if first is None else at}
    addresses |= {"input": unlocked(x).ctypes.data, "output": out.ctypes.data}
    addresses |= {"W": W.ctypes.data, "U": U.ctypes.data, "b": b.ctypes.data}
    _run(layer, x.shape, False, W, addresses)
    lists: dict[str, list[Array]] = {
        "s": _Views(s, s),
        "X": _Views(X, X.transpose(1, 2, 0)),
        "Z": _Views(Z, Z),
    }
    return out if layer.return_sequences else out.copy(), lists


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
    made = steps.array() if isinstance(steps, _Views) else None
    shape: tuple[int, ...] = {
        "s": (t + 1, n, W.shape[1]),
        "X": (W.shape[0], t, n),
        "Z": (t, n, W.shape[1]),
    }[name]
    if made is not None and made.shape == shape and made.dtype == W.dtype:
        return made
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


def back_through_time(
    layer: Any, made: Steps, dy: Array, wanted: bool
) -> tuple[dict[str, Array], list[Array]]:
    """Return the parameters' gradients and, if ``wanted``, the input's for each time step.

    ``dy``: the gradient of the output, ``(n, k)`` or, for sequences, ``(t, n, k)``.
    """
    (d, t, n), dtype, k = made.X.shape, made.X.dtype, layer.n_out
    W, U, b = layer.checked_parameters()
    blocks = -(-n // block_rows(n))
    space = _Space(
        dtype,
        dz=(t, n, k),
        ds=(2, n, k),
        work=(blocks, k, max(d, k)),
        d_W=(d, k),
        d_U=(k, k),
        d_b=(1, k),
        one=(1,),
    )
    space.arrays["one"][0] = 1
    if t == 1:
        space.arrays["d_U"][...] = 0  # the kernel does not write it
    at, addresses, dy = made.s.ctypes.data, space.addresses, unlocked(dy)
    addresses |= {"s": at + made.s[0].nbytes, "first_state": at if made.s[0].any() else 0}
    addresses |= {"x": made.X.ctypes.data, "z": made.Z.ctypes.data}
    addresses["dy" if layer.return_sequences else "d_output"] = dy.ctypes.data
    addresses |= {"W": W.ctypes.data, "U": U.ctypes.data, "b": b.ctypes.data}
    masks = _masks(layer, made)
    if masks.size:
        addresses["masks"] = masks.ctypes.data
    dx = np.empty((t, n, d) if wanted else 0, dtype)
    if wanted:
        addresses["dx"] = dx.ctypes.data
    _run(layer, (n, d, t), True, W, addresses)
    return {name: space.arrays[f"d_{name}"] for name in ("W", "U", "b")}, list(dx) if wanted else []


def _masks(layer: Any, made: Steps) -> Array:
    """Return 1 for skipped time steps of rows, else 0, ``(t, n)``; empty if there is no mask."""
    if layer.mask_value is None:
        return np.zeros(0, made.X.dtype)
    value = made.X.dtype.type(layer.mask_value)
    return np.ascontiguousarray(np.equal(made.X, value).all(axis=0), made.X.dtype)


def back_step_by_step(
    layer: Any, made: Steps, dy: Array, wanted: bool
) -> tuple[dict[str, Array], list[Array]]:
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
    return {"W": dW, "U": dU, "b": db}, dX[::-1] if wanted else []
