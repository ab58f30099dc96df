"""Networks as ONNX models, of operators of the standard alone: opset 20, IR version 9 (ONNX 1.15)."""

import os
from types import ModuleType
from typing import Any

import numpy as np

from fastnn._typing import DTypeLike
from fastnn._validation import require_float_dtype
from fastnn._version import __version__
from fastnn._writing import write_atomically
from fastnn.activations import Linear, TanH
from fastnn.convert.steps import Affine, counterparts, steps_of, steps_through
from fastnn.layers import (
    BatchNorm2D,
    Conv2D,
    Elman,
    Embedding,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    Pool2D,
    Residual,
)
from fastnn.layers.batch_norm_base import BatchNorm
from fastnn.layers.windows import padding
from fastnn.models import NeuralNetwork

OPSET, IR_VERSION = 20, 9  # Gelu is an operator from opset 20 on
INPUT, OUTPUT, BATCH = "input", "output", "batch"
OPERATORS = counterparts("onnx")


def export_onnx(
    net: NeuralNetwork, path: str | os.PathLike[str], *, dtype: DTypeLike | None = None
) -> None:
    """Write a network that computes what ``net.predict`` does as an ONNX file.

    The model has one input, ``input (batch, d)``, and one output, ``output (batch, k)``, for batches of
    any size, and only operators of the ONNX standard, opset 20: ONNX Runtime 1.17 and later run it. The
    input has the axes of the first layer's input: images have channels last, as in fastnn, and the
    input of an ``Embedding`` is int64. The file is written completely or not at all.

    Parameters
    ----------
    net : NeuralNetwork
        A network with parameters. Its layers may be fully connected or ``Conv2D``, with any activation
        of :mod:`fastnn.activations`, ``Pool2D``, ``GlobalAveragePool2D``, ``Flatten``, ``Embedding``,
        batch normalisation, ``Residual``, and ``Elman`` with tanh or relu and no mask.
    path : path-like
    dtype : "float32" or "float64", optional
        Dtype of input, output and parameters; by default the network's. On the CPU, ONNX Runtime has
        no float64 convolution or average pooling, and lacks the float64 operators of several
        activations, among them GELU, LeakyReLU, ELU, Softplus and ArcTan. Use float32 for these.

    Raises
    ------
    TypeError
        For layers and activations that are not fastnn's.
    RuntimeError
        If the network has no parameters yet.
    ImportError
        Without the package onnx.

    Notes
    -----
    The format keeps the ``alpha`` of ELU, and of a float32 LeakyReLU, as float32. It defines some
    operators, among them GELU and GELUTanh, with float32 constants, in float64 too.

    Examples
    --------
    >>> fastnn.export_onnx(net, "network.onnx")
    >>> session = onnxruntime.InferenceSession("network.onnx")
    >>> session.run(None, {"input": X.astype("float32")})
    """
    write_atomically(path, model_of(net, dtype).SerializeToString())


def model_of(net: NeuralNetwork, dtype: DTypeLike | None = None) -> Any:
    """Return the ``onnx.ModelProto`` that :func:`export_onnx` writes."""
    onnx = onnx_package()
    steps = steps_of(net, "onnx")
    chosen = require_float_dtype("dtype", dtype) or net.flat_parameters.dtype
    kind = onnx.helper.np_dtype_to_tensor_dtype(chosen)
    nodes, constants = list[Any](), dict[str, Any]()
    names = [INPUT, *(f"step{i}" for i in range(1, len(steps))), OUTPUT]
    for step, x, y in zip(steps, names[:-1], names[1:], strict=True):
        made, needed = _nodes(onnx, step, x, y, chosen)
        nodes += made
        constants |= {n: v if isinstance(v, list) else np.asarray(v, chosen) for n, v in needed.items()}
    constants = {name: np.asarray(value) for name, value in constants.items()}
    first, made_info = net.layers[0], onnx.helper.make_tensor_value_info
    ends = [
        made_info(INPUT, onnx.TensorProto.INT64 if type(first) is Embedding else kind, _axes(first)),
        made_info(OUTPUT, kind, _output_axes(net.layers[-1])),
    ]
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    return onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "network", ends[:1], ends[1:], weights),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastnn",
        producer_version=__version__,
    )


def _axes(first: Layer) -> list[Any] | None:
    """Return the sizes and names of the input's axes; None for an axis of any size."""
    if type(first) is Embedding:
        return [BATCH, "time"]
    if isinstance(first, Residual):
        return _axes(first.layers[0])
    if type(first) in (Conv2D, Pool2D, GlobalAveragePool2D, BatchNorm2D):
        return [BATCH, "height", "width", first.n_in]
    if type(first) is Elman:
        return [BATCH, first.n_in, "time"]
    return [BATCH, first.n_in] if first.parameters else None


def _output_axes(last: Layer) -> list[Any]:
    if isinstance(last, Residual):
        return _output_axes(last.layers[-1])
    if type(last) in (Conv2D, Pool2D, BatchNorm2D):
        return [BATCH, "rows", "columns", last.n_out or "channels"]
    sequences = isinstance(last, Elman) and last.return_sequences
    return [BATCH, last.n_out or "columns", *(["time"] if sequences else [])]


def _recurrence(onnx: ModuleType, layer: Elman, x: str, y: str) -> tuple[list[Any], dict[str, Any]]:
    """Return the nodes of an Elman layer; the operator takes ``(t, n, d)``, with time first."""
    node, (W, U, b) = onnx.helper.make_node, layer.checked_parameters()
    bias = np.concatenate([b, np.zeros_like(b)], axis=1)  # the input's bias and the state's
    constants: dict[str, Any] = {f"{y}.W": W.T[np.newaxis], f"{y}.R": U.T[np.newaxis], f"{y}.B": bias}
    activation = "Tanh" if type(layer.activation) is TanH else "Relu"
    settings = {"hidden_size": W.shape[1], "activations": [activation]}
    states, last = (f"{y}.states", "") if layer.return_sequences else ("", f"{y}.last")
    nodes = [
        node("Transpose", [x], [f"{y}.x"], perm=[2, 0, 1]),
        node("RNN", [f"{y}.x", *constants], [states, last] if last else [states], **settings),
    ]
    constants[f"{y}.axes"] = [1 if layer.return_sequences else 0]  # of the directions: there is one
    if not layer.return_sequences:
        return [*nodes, node("Squeeze", [last, f"{y}.axes"], [y])], constants
    nodes.append(node("Squeeze", [states, f"{y}.axes"], [f"{y}.steps"]))
    return [*nodes, node("Transpose", [f"{y}.steps"], [y], perm=[1, 2, 0])], constants


def _convolution(
    onnx: ModuleType, layer: Conv2D, x: str, y: str, dtype: np.dtype[Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the nodes of a convolution; the operator takes channels first."""
    node, (W, b) = onnx.helper.make_node, layer.checked_parameters()
    activation = [] if type(layer.activation) is Linear else [layer.activation]
    z = f"{y}.z" if activation else y
    settings = {
        "kernel_shape": layer.kernel_shape,
        "strides": [layer.stride] * 2,
        "pads": padding(layer.pad, layer.kernel_shape) * 2,
    }
    nodes = [
        node("Transpose", [x], [f"{y}.first"], perm=[0, 3, 1, 2]),
        node("Conv", [f"{y}.first", f"{y}.W", f"{y}.b"], [f"{y}.product"], **settings),
        node("Transpose", [f"{y}.product"], [z], perm=[0, 2, 3, 1]),
    ]
    constants: dict[str, Any] = {f"{y}.W": W.transpose(3, 2, 0, 1), f"{y}.b": b[0]}
    for step in activation:
        made, needed = _nodes(onnx, step, z, y, dtype)
        nodes, constants = nodes + made, constants | needed
    return nodes, constants


def _layer_nodes(onnx: ModuleType, layer: Layer, x: str, y: str) -> tuple[list[Any], dict[str, Any]]:
    """Return the nodes of a layer; constants that are lists stay integers."""
    node = onnx.helper.make_node
    if isinstance(layer, BatchNorm):
        scaled, slope, shift = f"{y}.scaled", f"{y}.slope", f"{y}.shift"
        nodes = [node("Mul", [x, slope], [scaled]), node("Add", [scaled, shift], [y])]
        return nodes, dict(zip((slope, shift), layer.affine(), strict=True))
    if isinstance(layer, Flatten):
        return [node("Flatten", [x], [y], axis=1)], {}
    if isinstance(layer, GlobalAveragePool2D):
        return [node("ReduceMean", [x, f"{y}.axes"], [y], keepdims=0)], {f"{y}.axes": [1, 2]}
    if isinstance(layer, Embedding):
        W = {f"{y}.W": layer.parameters["W"]}
        if layer.axis == -1:
            return [node("Gather", [f"{y}.W", x], [y])], W
        gathered = node("Gather", [f"{y}.W", x], [f"{y}.rows"])
        return [gathered, node("Transpose", [f"{y}.rows"], [y], perm=[0, 2, 1])], W
    if isinstance(layer, Elman):
        return _recurrence(onnx, layer, x, y)
    assert isinstance(layer, Pool2D)
    ph, pw = layer.pad
    kind = "MaxPool" if layer.mode == "max" else "AveragePool"
    settings = {"kernel_shape": layer.kernel_shape, "strides": [layer.stride] * 2}
    return [
        node("Pad", [x, f"{y}.pads"], [f"{y}.padded"]),
        node("Transpose", [f"{y}.padded"], [f"{y}.first"], perm=[0, 3, 1, 2]),
        node(kind, [f"{y}.first"], [f"{y}.pooled"], **settings),
        node("Transpose", [f"{y}.pooled"], [y], perm=[0, 2, 3, 1]),
    ], {f"{y}.pads": [0, ph, pw, 0] * 2}


def _residual_nodes(
    onnx: ModuleType, layer: Residual, x: str, y: str, dtype: np.dtype[Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the nodes of a block and of the sum; names of values begin with the output's name."""
    nodes, constants, value = list[Any](), dict[str, Any](), x
    for i, step in enumerate(steps_through(layer.layers)):
        made, needed = _nodes(onnx, step, value, f"{y}.{i}", dtype)
        nodes, constants, value = nodes + made, constants | needed, f"{y}.{i}"
    return [*nodes, onnx.helper.make_node("Add", [x, value], [y])], constants


def _nodes(
    onnx: ModuleType, step: Any, x: str, y: str, dtype: np.dtype[Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the nodes from ``x`` to ``y`` and the constants they take, by name."""
    node = onnx.helper.make_node
    if isinstance(step, Affine):
        return [node("Gemm", [x, f"{y}.W", f"{y}.b"], [y])], {f"{y}.W": step.W, f"{y}.b": step.b}
    if isinstance(step, Residual):
        return _residual_nodes(onnx, step, x, y, dtype)
    if isinstance(step, Conv2D):
        return _convolution(onnx, step, x, y, dtype)
    if isinstance(step, Layer):
        return _layer_nodes(onnx, step, x, y)
    found = OPERATORS[type(step)]
    if found.second_input and dtype == np.float64:
        constant = f"{y}.parameter"
        return [node(found.second_input, [x, constant], [y])], {constant: [step.parameter]}
    attributes = dict(found.arguments)
    if found.parameter:
        attributes[found.parameter] = step.parameter
    if not found.times_input:
        return [node(found.name, [x], [y], **attributes)], {}
    factor = f"{y}.factor"
    return [node(found.name, [x], [factor], **attributes), node("Mul", [x, factor], [y])], {}


def onnx_package() -> Any:
    """Return the package onnx, imported only here."""
    try:
        import onnx
    except ImportError:
        raise ImportError("ONNX files need the package onnx: pip install 'fastnn-cpu[onnx]'") from None
    return onnx
