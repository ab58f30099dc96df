"""An Elman layer's ``forward`` and ``backward`` in compiled code: one call for all time steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn._validation import as_float
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.layers.recurrence import obstacle, settings
from fastnn.layers.time_cache import Pass
from fastnn.layers.time_plans import backward_plan, forward_plan


def compiled(activation: Any) -> bool:
    """Return whether the layer's own methods use compiled code."""
    return COMPILED and obstacle(activation) is None


@dataclass
class Steps:
    """A layer's cache, as arrays: ``X (d, t, n)``, ``Z (t, n, k)``, ``s (t + 1, n, k)``."""

    X: Array
    Z: Array
    s: Array


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
    ``(t, n, k)``; ``given``: whether the state before the first step may not be zeros; ``sure``:
    whether the states are those of Z.
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
