"""Networks as ONNX models, of operators of the standard alone: opset 20, IR version 9 (ONNX 1.15)."""

import os
from types import ModuleType
from typing import Any

import numpy as np

from fastnn._typing import DTypeLike
from fastnn._validation import require_float_dtype
from fastnn._version import __version__
from fastnn._writing import write_atomically
from fastnn.activations import (
    ELU,
    GELU,
    Activation,
    ArcTan,
    GELUTanh,
    LeakyReLU,
    LogSoftMax,
    ReLU,
    Sigmoid,
    SiLU,
    SoftMax,
    Softplus,
    TanH,
)
from fastnn.convert.steps import Affine, Step, steps_of
from fastnn.models import NeuralNetwork

OPSET, IR_VERSION = 20, 9  # the first with Gelu
INPUT, OUTPUT, BATCH = "input", "output", "batch"
# Activations that are one operator, with its attributes; SiLU is two, LeakyReLU and ELU have a number.
OPERATORS: list[tuple[type[Activation], str, dict[str, Any]]] = [
    (Sigmoid, "Sigmoid", {}),
    (TanH, "Tanh", {}),
    (ReLU, "Relu", {}),
    (GELU, "Gelu", {"approximate": "none"}),
    (GELUTanh, "Gelu", {"approximate": "tanh"}),
    (Softplus, "Softplus", {}),
    (SoftMax, "Softmax", {"axis": -1}),
    (LogSoftMax, "LogSoftmax", {"axis": -1}),
    (ArcTan, "Atan", {}),
]


def export_onnx(
    net: NeuralNetwork, path: str | os.PathLike[str], *, dtype: DTypeLike | None = None
) -> None:
    """Write a network that computes what ``net.predict`` does as an ONNX file.

    The model has one input, ``input (batch, d)``, and one output, ``output (batch, k)``, for batches of
    any size, and only operators of the ONNX standard, opset 20: ONNX Runtime 1.17 and later run it. The
    file appears whole or not at all.

    Parameters
    ----------
    net : NeuralNetwork
        Of fully connected layers, with any activation of :mod:`fastnn.activations`, after it has seen
        data or been loaded.
    path : path-like
    dtype : "float32" or "float64", optional
        Of input, output and parameters; by default the network's. ONNX Runtime has no float64 GELU,
        LeakyReLU, ELU, Softplus and ArcTan on the CPU: for it, write float32.

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
    The format keeps the ``alpha`` of ELU, and of a float32 LeakyReLU, as float32, and defines GELU and
    GELUTanh with float32 constants, in float64 too.

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
    steps = steps_of(net)
    chosen = require_float_dtype("dtype", dtype) or net.flat_parameters.dtype
    kind = onnx.helper.np_dtype_to_tensor_dtype(chosen)
    nodes, constants = list[Any](), dict[str, Any]()
    names = [INPUT, *(f"step{i}" for i in range(1, len(steps))), OUTPUT]
    for step, x, y in zip(steps, names[:-1], names[1:], strict=True):
        made, needed = _nodes(onnx, step, x, y, chosen)
        nodes += made
        constants |= {name: np.asarray(value, chosen) for name, value in needed.items()}
    ends = [
        onnx.helper.make_tensor_value_info(name, kind, [BATCH, width])
        for name, width in ((INPUT, net.layers[0].n_in), (OUTPUT, net.layers[-1].n_out))
    ]
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()]
    return onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "network", ends[:1], ends[1:], weights),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fastnn",
        producer_version=__version__,
    )


def _nodes(
    onnx: ModuleType, step: Step, x: str, y: str, dtype: np.dtype[Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the nodes from ``x`` to ``y`` and the constants they take, by name."""
    node, kind = onnx.helper.make_node, type(step)
    if isinstance(step, Affine):
        return [node("Gemm", [x, f"{y}.W", f"{y}.b"], [y])], {f"{y}.W": step.W, f"{y}.b": step.b}
    if isinstance(step, LeakyReLU) and kind is LeakyReLU:
        if dtype == np.float32:
            return [node("LeakyRelu", [x], [y], alpha=step.negative_slope)], {}
        return [node("PRelu", [x, f"{y}.slope"], [y])], {f"{y}.slope": [step.negative_slope]}
    if isinstance(step, ELU) and kind is ELU:
        return [node("Elu", [x], [y], alpha=step.alpha)], {}
    if kind is SiLU:
        return [node("Sigmoid", [x], [f"{y}.sigmoid"]), node("Mul", [x, f"{y}.sigmoid"], [y])], {}
    for known, operator, attributes in OPERATORS:
        if kind is known:
            return [node(operator, [x], [y], **attributes)], {}
    names = ", ".join(known.__name__ for known, _, _ in OPERATORS)
    raise TypeError(
        f"no ONNX operator for the activation {kind.__name__}; there are: {names}, LeakyReLU, ELU, SiLU"
    )


def onnx_package() -> Any:
    """Return the package onnx, imported only here."""
    try:
        import onnx
    except ImportError:
        raise ImportError("ONNX files need the package onnx: pip install 'fastnn-cpu[onnx]'") from None
    return onnx
