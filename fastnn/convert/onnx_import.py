"""Multi-layer perceptrons from ONNX files: a chain of nodes, read from the output backwards."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.activations import ELU, Activation, LeakyReLU, SiLU
from fastnn.convert.onnx_export import OPERATORS, onnx_package
from fastnn.convert.steps import Affine, Step, network
from fastnn.losses import Loss
from fastnn.models import NeuralNetwork
from fastnn.optimizers import Optimizer

_DEFAULTS = {"axis": -1, "approximate": "none"}
_SKIPPED = ("Identity", "Dropout", "Flatten")


def from_onnx(
    path: str | os.PathLike[str],
    loss: str | Loss | None = None,
    *,
    logits: bool = False,
    output: str | None = None,
    optimizer_args: Mapping[str, Any] | Optimizer | None = None,
) -> NeuralNetwork:
    """Return the network in an ONNX file, if it is a multi-layer perceptron.

    Parameters
    ----------
    path : path-like
        A model whose output comes from its input by ``Gemm``, or ``MatMul`` and ``Add``, and the
        activations that :func:`export_onnx` writes, such as PyTorch's exporter makes for Sequential
        modules. ``Identity``, ``Flatten``, ``Dropout`` and ``Cast`` of the input are left out. GELU is
        one operator from opset 20 on; as several it is not recognised.
    loss, logits, optimizer_args
        As of :func:`from_torch`.
    output : str, optional
        Which output, if the model has several.

    Raises
    ------
    TypeError
        For a node that is none of these; the message names it and lists them.
    ValueError
        If the file is no ONNX model, or loss, ``logits`` and the last activation do not go together.
    ImportError
        Without the package onnx.

    Examples
    --------
    >>> net = fastnn.from_onnx("network.onnx")
    >>> net.predict(X)
    """
    onnx = onnx_package()
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path).graph
    except DecodeError as error:
        raise ValueError(f"{os.fspath(path)} is no ONNX model: {error}") from None
    names = [end.name for end in graph.output]
    if not names:
        raise ValueError(f"{os.fspath(path)} is no ONNX model: it has no outputs")
    if output is None and len(names) > 1:
        raise ValueError(f"the model has the outputs {', '.join(names)}: choose one by output=")
    if output is not None and output not in names:
        raise ValueError(f"the model has no output {output!r}; it has {', '.join(names)}")
    return network(_Graph(onnx, graph).steps(output or names[0]), loss, logits, optimizer_args)


class _Graph:
    """A graph, by the names of what its nodes make."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self._onnx = onnx
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._inputs = {end.name for end in graph.input} - set(self._initializers)
        self._makers = {name: node for node in graph.node for name in node.output}

    def steps(self, output: str) -> list[Step]:
        """Return the steps from the input to ``output``."""
        found: list[Step] = []
        name = output
        while name not in self._inputs:
            step, name = self._step(self._maker(name))
            found += [] if step is None else [step]
        return found[::-1]

    def _maker(self, name: str) -> Any:
        if name not in self._makers:
            raise TypeError(
                f"{name!r} is a constant or made by no node; expected a value of the input's"
            )
        return self._makers[name]

    def _step(self, node: Any) -> tuple[Step | None, str]:
        """Return what a node does, and the name of what it does it to."""
        x, kind = node.input[0], node.op_type
        if kind in ("Gemm", "MatMul", "Add"):
            return self._affine(node)
        if kind in _SKIPPED and self._attributes(node).get("axis", 1) == 1:
            return None, x
        if kind == "Cast" and x in self._inputs:
            return None, x
        if kind == "Mul":
            for x, gate in (node.input, node.input[::-1]):
                maker = self._makers.get(gate)
                if maker is not None and maker.op_type == "Sigmoid" and maker.input[0] == x:
                    return SiLU(), x
        return self._activation(node), x

    def _affine(self, node: Any) -> tuple[Affine, str]:
        given = [self._constant(name) for name in node.input]
        if node.op_type == "Add":
            place = 0 if given[1] is not None else 1
            bias, maker = given[1 - place], self._makers.get(node.input[place])
            if bias is not None and maker is not None and maker.op_type in ("Gemm", "MatMul"):
                step, x = self._affine(maker)
                return _affine(node, step.W, step.b + bias), x
            raise self._error(node, "Add is taken only of a constant after MatMul or Gemm")
        W, attributes = given[1], self._attributes(node)
        if W is None or W.ndim != 2 or attributes.get("transA"):
            raise self._error(node, "its second factor must be a constant matrix")
        if attributes.get("transB"):
            W = W.T
        W = W * W.dtype.type(attributes.get("alpha", 1))
        b = np.zeros(W.shape[1], W.dtype)
        if len(given) > 2 and node.input[2]:
            if given[2] is None:
                raise self._error(node, "its bias must be a constant")
            b = given[2] * W.dtype.type(attributes.get("beta", 1))
        return _affine(node, W, b), node.input[0]

    def _activation(self, node: Any) -> Activation:
        kind, attributes = node.op_type, self._attributes(node)
        if kind == "LeakyRelu":
            return LeakyReLU(attributes.get("alpha", 0.01))
        if kind == "Elu":
            return ELU(attributes.get("alpha", 1.0))
        slope = self._constant(node.input[1]) if kind == "PRelu" else None
        if slope is not None and slope.size == 1:
            return LeakyReLU(float(slope.reshape(())))
        given = _DEFAULTS | attributes
        if given["axis"] == 1:  # the last one of rows
            given["axis"] = -1
        for made, operator, needed in OPERATORS:
            if kind == operator and all(given[key] == value for key, value in needed.items()):
                return made()
        raise self._error(node, "it has no layer here")

    def _constant(self, name: str) -> Array | None:
        """Return the value of a name that stands for a constant, else None."""
        to_array = self._onnx.numpy_helper.to_array
        if name in self._initializers:
            found: Array = to_array(self._initializers[name])
            return found
        node = self._makers.get(name)
        if node is None:
            return None
        attributes = self._attributes(node)
        if node.op_type == "Constant" and "value" in attributes:
            return np.asarray(to_array(attributes["value"]))
        if node.op_type in ("Transpose", "Identity"):
            value = self._constant(node.input[0])
            if value is not None and node.op_type == "Transpose":
                value = value.transpose(attributes.get("perm"))
            return value
        return None

    def _attributes(self, node: Any) -> dict[str, Any]:
        """Return a node's attributes; a float32 number as the shortest decimal that means it."""
        values = {a.name: self._onnx.helper.get_attribute_value(a) for a in node.attribute}
        return {
            name: float(str(np.float32(value))) if isinstance(value, float)
            else value.decode() if isinstance(value, bytes)
            else value
            for name, value in values.items()
        }  # fmt: skip

    def _error(self, node: Any, why: str) -> TypeError:
        known = ", ".join(dict.fromkeys(operator for _, operator, _ in OPERATORS))
        return TypeError(
            f"the node {node.op_type} that makes {node.output[0]!r} is not converted: {why}. "
            f"There are: Gemm, MatMul and Add, {known}, LeakyRelu, PRelu of one slope, Elu, "
            "x * Sigmoid(x)"
        )


def _affine(node: Any, W: Array, b: Array) -> Affine:
    """Return ``X W + b`` for a bias of shape ``(k,)`` or one that stands for it."""
    try:
        return Affine(W, np.broadcast_to(b, (1, W.shape[1])).reshape(-1))
    except ValueError:
        raise TypeError(f"{node.op_type} adds {b.shape} to rows of {W.shape[1]}: no bias") from None
