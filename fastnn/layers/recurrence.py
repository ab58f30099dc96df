"""The part of an Elman layer in a network's compiled step."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastnn._own import says
from fastnn.activations import Linear
from fastnn.blueprint import Blueprint
from fastnn.kernels.layers import elman as kernels
from fastnn.kernels.layers.recurrence import Elman
from fastnn.kernels.layers.residual import assign
from fastnn.kernels.step import parts


def block_rows(n: int) -> int:
    """Return how many rows a block has, 8, 16 or 24. This may not depend on the threads."""
    blocks = -(-n // 48) * 2
    return -(-n // (8 * blocks)) * 8


def obstacle(activation: Any) -> str | None:
    """Return why a compiled step does not take an activation, or None."""
    if type(activation) is Linear or says(activation, "kernel") is not None:
        return None
    return f"has the activation {type(activation).__name__}"


def settings(layer: Any) -> tuple[Any, ...]:
    """Return the settings that a layer's record depends on, for use as a key of a cache."""
    activation, masked = layer.activation, layer.mask_value
    known: tuple[Any, ...] = assign, kernels.assign_gradient, False, None
    if type(activation) is not Linear:
        known = activation.kernel, activation.gradient_kernel, activation.rowwise, activation.parameter
        if says(activation, "output_gradient") is not None:
            return (*known, activation.output_gradient, layer.n_out, layer.return_sequences, masked)
    return (*known, None, layer.n_out, layer.return_sequences, masked)


@functools.lru_cache(256)
def constants(
    kernel: Any,
    gradient: Any,
    rowwise: bool,
    parameter: float | None,
    output_gradient: Any,
    k: int,
    sequences: bool,
    mask_value: float | None,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> dict[str, Any]:
    """Return the fields of a layer's record that are not addresses of arrays."""
    found = {
        "forward": parts.activation(kernel, rowwise, False, parameter is not None),
        "backward": parts.activation(output_gradient or gradient, rowwise, True, parameter is not None),
        "transposition": parts.transposition,
    }
    if mask_value is not None:
        found |= {"find": kernels.find, "keep": kernels.keep, "clear": kernels.clear}
    n, d, t = shape
    return {
        **{name: part.address(dtype) for name, part in found.items()},
        "of_output": output_gradient is not None,
        "sure": True,
        "sequences": sequences,
        "d": d,
        "k": k,
        "steps": t,
        "block_rows": block_rows(n),
        "rowwise": rowwise,
        "parameter": parameter or 0.0,
        "mask_value": mask_value or 0.0,
    }


def compile_layer(layer: Any, to: Blueprint) -> None:
    """Write the layer's part of a network's step."""
    source, n = to.input, to.n
    d, t = source.shape
    k = layer.n_out
    to.output = to.port((k, t) if layer.return_sequences else (k,))
    W, U, b = layer.checked_parameters()
    fields = {**constants(*settings(layer), (n, d, t), to.dtype)}
    fields |= {"W": W.ctypes.data, "U": U.ctypes.data, "b": b.ctypes.data}
    count = -(-n // fields["block_rows"])
    if count <= 1:  # the forward pass may then use the step's blocks of rows
        fields["block_rows"], count = to.block_rows, to.row_blocks
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
        Elman,
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
