"""How the Elman layer's compiled code is called: by a network's step, and by the layer's own methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from operator import is_
from typing import Any

import numpy as np

from fastnn import pace
from fastnn._arrays import unlocked
from fastnn._own import says
from fastnn._typing import Array
from fastnn._validation import as_float
from fastnn.activations import Linear
from fastnn.blueprint import Blueprint
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.emitted.tile import HEIGHTS
from fastnn.kernels.layers import elman as kernels
from fastnn.kernels.step import parts, steps, threads
from fastnn.kernels.step.plan import Phase, Step, phase_job

_NO_FIELDS = np.zeros(1, np.int64)


def block_rows(n: int, steps: int) -> int:
    """Return how many rows a block has, which may not depend on the threads."""
    del steps
    return 16 if n > 16 else 8


def obstacle(activation: Any) -> str | None:
    """Return why a compiled step does not take an activation, or None."""
    if type(activation) is Linear or says(activation, "kernel") is not None:
        return None
    return f"has the activation {type(activation).__name__}"


def compiled(activation: Any) -> bool:
    """Return whether the layer's own methods take compiled code."""
    return COMPILED and obstacle(activation) is None


def _fields(layer: Any, shape: tuple[int, ...], dtype: np.dtype[Any], learning: bool) -> dict[str, Any]:
    """Return what the record of a layer holds on both roads, for inputs of a shape."""
    n, d, t = shape
    W, U, b = layer.checked_parameters()
    activation = layer.activation
    kernel, gradient = kernels.copied, kernels.copied_backward
    rowwise, parameter = False, None
    if type(activation) is not Linear:
        kernel, gradient = activation.kernel, activation.gradient_kernel
        rowwise, parameter = activation.rowwise, activation.parameter
    fields = {
        "sequences": layer.return_sequences,
        "d": d,
        "k": W.shape[1],
        "steps": t,
        "block_rows": block_rows(n, t),
        "W": W.ctypes.data,
        "U": U.ctypes.data,
        "b": b.ctypes.data,
        "forward": parts.activation(kernel, rowwise, False, parameter is not None).address(dtype),
        "rowwise": rowwise,
        "parameter": parameter or 0.0,
        "transposition": parts.transposition.address(dtype),
    }
    if learning:
        part = parts.activation(gradient, rowwise, True, parameter is not None)
        fields["backward"] = part.address(dtype)
    if layer.mask_value is not None:
        fields["mask_value"] = layer.mask_value
        for name in ("find", "keep", "clear"):
            fields[name] = getattr(kernels, name).address(dtype)
    return fields


def compile_layer(layer: Any, to: Blueprint) -> None:
    """Write the layer's part of a network's step."""
    source, n = to.input, to.n
    d, t = source.shape
    k = layer.n_out
    to.output = to.port((k, t) if layer.return_sequences else (k,))
    fields = _fields(layer, (n, d, t), to.dtype, to.learning is not None)
    count = -(-n // fields["block_rows"])
    blocks = max(count, to.row_blocks)
    if layer.mask_value is not None:
        fields["masks"] = to.array(n * t)
    if to.learning:
        fields |= {
            "d_output": to.output.gradient,
            "dz": to.array(n * t * k),
            "ds": to.array(2 * n * k),
            "work": to.array(blocks * k * max(d, k)),
            "one": to.one,
        }
        fields |= {
            f"d_{name}": to.array(blocks, array.size) for name, array in layer.parameters.items()
        }
        if layer.return_sequences:
            fields["dy"] = to.array(n * t * k)
        if source.gradient:
            fields |= {"d_input": source.gradient, "dx": to.array(n * t * d)}
    row = to.record(
        kernels.Elman,
        input=source,
        output=to.output,
        x=to.array(n * t * d),
        z=to.array(n * t * k),
        s=to.array(n * t * k),
        product=to.product,
        **fields,
    )
    to.forward(kernels.forward, row, count, kernels.forward_rows)
    if to.learning:
        work = 2 * layer.cost((n, d, t))
        to.backward(kernels.backward, row, count, work, kernels.backward_rows)
        for i, (name, array) in enumerate(layer.parameters.items()):
            values = {"parameter": to.parameter(name, written=True), "source": fields[f"d_{name}"]}
            task = to.task(kernels.update_parameter, row, kernels.Sum, size=array.size, **values)
            to.update(task, i % to.threads)


# The layer's own methods


class _Views(list[Array]):
    """The arrays of all time steps, views of one array as long as nobody replaces them."""

    def __init__(self, array: Array, views: Array) -> None:
        super().__init__(views)
        self._array, self._made = array, tuple(self)

    def array(self) -> Array | None:
        """Return the array, or None if the list no longer holds views of it."""
        kept = len(self) == len(self._made) and all(map(is_, self, self._made))
        return self._array if kept and self[0].base is self._array else None


@dataclass
class Steps:
    """A layer's cache, as arrays.

    ``X`` has shape ``(d, t, n)``, ``Z`` ``(t, n, k)``, ``s`` ``(t + 1, n, k)``; ``from_zero`` says whether
    the first state is known to be zeros.
    """

    X: Array
    Z: Array
    s: Array
    from_zero: bool

    @property
    def t(self) -> int:
        return self.Z.shape[0]

    @property
    def n(self) -> int:
        return self.Z.shape[1]

    @property
    def k(self) -> int:
        return self.Z.shape[2]


def _run(layer: Any, row: Array, n: int, itemsize: int, like: Array, jobs: list[tuple[Any, int]]) -> None:
    """Do the jobs of a layer's record, so many of each, on all threads if they are much work."""
    step = Step.make(n=n, itemsize=itemsize, block_rows=int(row["block_rows"][0]))
    phases = Phase.make(len(jobs))
    for phase, (job, count) in zip(phases, jobs, strict=True):
        phase["job"], phase["step"] = phase_job(job).address, step.ctypes.data
        phase["row"], phase["count"], phase["shared"] = row.ctypes.data, count, 1
    step["phases"], step["phase_count"] = phases.ctypes.data, len(jobs)
    step["inputs"] = step["outputs"] = _NO_FIELDS.ctypes.data
    control = 0
    if layer.cost((n, int(row["d"][0]), int(row["steps"][0]))) > pace.SERIAL:
        pool = threads.pool()
        pool.wake()
        control = pool.control
    steps.infer(control, step.ctypes.data, like, like)


def states(layer: Any, x: Array, first: Array | None) -> tuple[Array, dict[str, list[Array]]]:
    """Return a layer's output for an input ``(n, d, t)``, and its cache.

    ``first``: the state before the first step, None for zeros.
    """
    (n, d, t), dtype = x.shape, x.dtype
    fields = _fields(layer, x.shape, dtype, learning=False)
    k, x = fields["k"], unlocked(x)
    X, Z, s = np.empty((d, t, n), dtype), np.empty((t, n, k), dtype), np.empty((t + 1, n, k), dtype)
    s[0] = 0 if first is None else first
    out = np.empty((n, k, t), dtype) if layer.return_sequences else s[t]
    masks = np.empty((t, n) if layer.mask_value is not None else 0, dtype)
    row = kernels.Elman.make(
        input=x.ctypes.data,
        output=out.ctypes.data,
        apart=n,
        x=X.ctypes.data,
        z=Z.ctypes.data,
        s=s.ctypes.data + s[0].nbytes,
        first_state=0 if first is None else s.ctypes.data,
        masks=masks.ctypes.data if masks.size else 0,
        product=parts.product.address(dtype),
        **fields,
    )
    jobs = [(kernels.forward, -(-n // fields["block_rows"]))]
    _run(layer, row, n, dtype.itemsize, layer.parameters["W"], jobs)
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
    n, (d, k) = len(lists["Z"][0]), W.shape
    for name, width, count in (("s", k, t + 1), ("X", d, t), ("Z", k, t)):
        shapes = {np.shape(step) for step in lists[name]}
        if len(lists[name]) != count or shapes != {(n, width)}:
            raise ValueError(
                f"cache[{name!r}] must hold {count} arrays of shape {(n, width)}, one for each time "
                f"step, got {len(lists[name])} of {sorted(shapes)}"
            )
    made = {name: steps.array() if isinstance(steps, _Views) else None for name, steps in lists.items()}
    s, X, Z = (
        np.stack([as_float(step, name, W.dtype) for step in lists[name]])
        if (array := made[name]) is None or array.dtype != W.dtype
        else array
        for name in ("s", "X", "Z")
    )
    if X.shape == (t, n, d) and X is not made["X"]:
        X = np.ascontiguousarray(X.transpose(2, 0, 1))
    return Steps(X, Z, s, not s[0].any())


def back_through_time(
    layer: Any, made: Steps, dy: Array, wanted: bool
) -> tuple[dict[str, Array], list[Array]]:
    """Return the parameters' gradients and, if it is wanted, the input's for each time step.

    ``dy``: the gradient of the output, ``(n, k)`` or, for sequences, ``(t, n, k)``.
    """
    (d, t, n), dtype, k = made.X.shape, made.X.dtype, made.k
    fields = _fields(layer, (n, d, t), dtype, learning=True)
    blocks = -(-n // fields["block_rows"])
    dy = unlocked(dy)
    dz, dx = np.empty((t, n, k), dtype), np.empty((t, n, d) if wanted else 0, dtype)
    space = np.empty(2 * n * k + blocks * k * max(d, k), dtype)
    gradients = {name: np.zeros_like(array) for name, array in layer.parameters.items()}
    masks = _masks(layer, made)
    pieces = max(1, min(4, (d + k) // (2 * HEIGHTS[0])))
    one = np.ones(1, dtype)
    row = kernels.Elman.make(
        apart=n,
        x=made.X.ctypes.data,
        z=made.Z.ctypes.data,
        s=made.s.ctypes.data + made.s[0].nbytes,
        first_state=0 if made.from_zero else made.s.ctypes.data,
        masks=masks.ctypes.data if masks.size else 0,
        product=parts.product.address(dtype),
        d_output=0 if layer.return_sequences else dy.ctypes.data,
        dy=dy.ctypes.data,
        dz=dz.ctypes.data,
        dx=dx.ctypes.data if wanted else 0,
        ds=space.ctypes.data,
        work=space.ctypes.data + 2 * n * k * dtype.itemsize,
        one=one.ctypes.data,
        d_W=gradients["W"].ctypes.data,
        d_U=gradients["U"].ctypes.data,
        d_b=gradients["b"].ctypes.data,
        pieces=pieces,
        **fields,
    )
    jobs = [(kernels.backward_alone, blocks), (kernels.gradients, pieces)]
    _run(layer, row, n, dtype.itemsize, layer.parameters["W"], jobs)
    return gradients, list(dx) if wanted else []


def _masks(layer: Any, made: Steps) -> Array:
    """Return which steps of which rows are skipped, ``(t, n)``; nothing if there is no mask."""
    if layer.mask_value is None:
        return np.zeros(0, made.X.dtype)
    value = made.X.dtype.type(layer.mask_value)
    return np.ascontiguousarray((made.X == value).all(axis=0), made.X.dtype)


def back_step_by_step(
    layer: Any, made: Steps, dy: Array, wanted: bool
) -> tuple[dict[str, Array], list[Array]]:
    """Do the same in Python, for activations that compiled code does not know."""
    W, U, b = layer.checked_parameters()
    X = made.X.transpose(1, 2, 0)
    dW, dU, db = np.zeros_like(W), np.zeros_like(U), np.zeros_like(b)
    masks = _masks(layer, made).astype(bool)
    ds = dy[-1] if layer.return_sequences else dy
    dX: list[Array] = []
    for time in reversed(range(made.t)):
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
