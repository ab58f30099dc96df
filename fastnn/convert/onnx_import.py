"""Multi-layer perceptrons from ONNX files: a chain of nodes, read from the output backwards."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.activations import Activation
from fastnn.convert.onnx_export import OPERATORS, onnx_package
from fastnn.convert.steps import Affine, Step, network
from fastnn.losses import Loss
from fastnn.models import NeuralNetwork
from fastnn.optimizers import Optimizer

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
        For a node that is none of these; the message names the file and the node, and lists them.
    ValueError
        If the file is no ONNX model or is damaged, a layer does not fit the one before it, or loss,
        ``logits`` and the last activation do not go together; the message names the file.
    OSError
        If the file cannot be read.
    ImportError
        Without the package onnx.

    Examples
    --------
    >>> net = fastnn.from_onnx("network.onnx")
    >>> net.predict(X)
    """
    onnx = onnx_package()
    graph = _load(onnx, path)
    try:
        steps = _Graph(onnx, graph).steps(_chosen(graph, output))
        return network(steps, loss, logits, optimizer_args)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{os.fspath(path)}: {error}") from None


def _load(onnx: Any, path: str | os.PathLike[str]) -> Any:
    """Return the graph in a file, its tensors too if they are in files of their own."""
    try:
        return onnx.load(path).graph
    except (OSError, MemoryError):
        raise
    except Exception as error:  # of protobuf and of onnx's own checks, which differ by version
        raise ValueError(f"{os.fspath(path)} is no ONNX model: {error}") from None


def _chosen(graph: Any, output: str | None) -> str:
    """Return the name of the output to convert."""
    names = [end.name for end in graph.output]
    if not names:
        raise ValueError("the file is no ONNX model: it has no outputs")
    if output is None and len(names) > 1:
        raise ValueError(f"the model has the outputs {', '.join(names)}: choose one by output=")
    if output is not None and output not in names:
        raise ValueError(f"the model has no output {output!r}; it has {', '.join(names)}")
    return output or names[0]


class _Graph:
    """A graph, by the names of what its nodes make. It may be damaged."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self._onnx = onnx
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._inputs = {end.name for end in graph.input} - set(self._initializers)
        self._makers = {name: node for node in graph.node for name in node.output}

    def steps(self, output: str) -> list[Step]:
        """Return the steps from the input to ``output``."""
        found: list[Step] = []
        seen: set[str] = set()
        name = output
        while name not in self._inputs:
            self._see(name, seen)
            step, name = self._step(self._maker(name))
            found += [] if step is None else [step]
        return found[::-1]

    @staticmethod
    def _see(name: str, seen: set[str]) -> None:
        """Note a name, of which a graph without cycles has each once."""
        if name in seen:
            raise ValueError(f"the graph has a cycle: {name!r} is made from itself")
        seen.add(name)

    def _maker(self, name: str) -> Any:
        if name not in self._makers:
            raise TypeError(
                f"{name!r} is a constant or made by no node; expected a value of the input's"
            )
        return self._makers[name]

    def _step(self, node: Any) -> tuple[Step | None, str]:
        """Return what a node does, and the name of what it does it to."""
        x, kind = self._input(node, 0), node.op_type
        if kind in ("Gemm", "MatMul", "Add"):
            return self._affine(node)
        if kind in _SKIPPED and self._attributes(node).get("axis", 1) == 1:
            return None, x
        if kind == "Cast" and x in self._inputs:
            return None, x
        if kind == "Mul":
            factors = x, self._input(node, 1)
            for x, gate in (factors, factors[::-1]):
                maker = self._makers.get(gate)
                if maker is not None and list(maker.input) == [x]:
                    made = self._known(maker, times_input=True)
                    if made is not None:
                        return made, x
        return self._activation(node), x

    def _affine(self, node: Any) -> tuple[Affine, str]:
        x = self._input(node, 0)
        self._input(node, 1)
        given = [self._constant(name) for name in node.input]
        if node.op_type == "Add":
            place = 0 if given[1] is not None else 1
            bias, maker = given[1 - place], self._makers.get(node.input[place])
            if bias is not None and maker is not None and maker.op_type in ("Gemm", "MatMul"):
                step, x = self._affine(maker)
                return _affine(node, step.W, step.b, bias), x
            raise self._error(node, "Add is taken only of a constant after MatMul or Gemm")
        W = given[1]
        if W is None or W.ndim != 2:
            raise self._error(node, "its second factor must be a constant matrix")
        if node.op_type == "MatMul":
            return _affine(node, W, None), x
        if self._number(node, "transA", 0):
            raise self._error(node, "its first factor must not be transposed")
        if self._number(node, "transB", 0):
            W = W.T
        bias = None
        if len(given) > 2 and node.input[2]:
            if given[2] is None:
                raise self._error(node, "its bias must be a constant")
            bias = _scaled(given[2], self._number(node, "beta", 1.0))
        return _affine(node, _scaled(W, self._number(node, "alpha", 1.0)), bias), x

    def _activation(self, node: Any) -> Activation:
        made: Activation | None = self._known(node, times_input=False)
        if made is None:
            raise self._error(node, "it has no layer here")
        return made

    def _known(self, node: Any, *, times_input: bool) -> Any:
        """Return the activation whose operator a node is, or None."""
        attributes = self._attributes(node)
        for kind, found in OPERATORS.items():
            if found.times_input != times_input:
                continue
            if node.op_type == found.second_input:
                value = self._constant(self._input(node, 1))
                if value is not None and value.size == 1:
                    return kind(float(value.reshape(())))
            elif node.op_type == found.name and found.reads(attributes):
                if found.parameter is None:
                    return kind()
                return kind(self._number(node, found.parameter, kind().parameter))
        return None

    def _constant(self, name: str) -> Array | None:
        """Return the value of a name that stands for a constant, else None."""
        turns: list[Any] = []  # orders of axes, the last first
        seen: set[str] = set()
        node = None
        while name not in self._initializers:
            self._see(name, seen)
            node = self._makers.get(name)
            if node is None or node.op_type not in ("Constant", "Transpose", "Identity"):
                return None
            if node.op_type == "Constant":
                break
            if node.op_type == "Transpose":
                turns.append(self._attributes(node).get("perm"))
            name = self._input(node, 0)
        if name in self._initializers:
            value = self._array(name, self._initializers[name])
        elif "value" in (attributes := self._attributes(node)):
            value = self._array(name, attributes["value"])
        else:
            return None
        try:
            for axes in reversed(turns):
                value = value.transpose(axes)
        except (TypeError, ValueError) as error:
            raise ValueError(f"the constant {name!r} cannot be transposed: {error}") from None
        return value

    def _array(self, name: str, tensor: Any) -> Array:
        """Return a tensor's value; sizes are checked against the bytes there are before any is made."""
        try:
            value: Array = np.asarray(self._onnx.numpy_helper.to_array(tensor))
        except Exception as error:  # KeyError, AttributeError, ...: whatever damage leads to
            raise ValueError(f"the tensor {name!r} cannot be read: {error!r}") from None
        return value

    @staticmethod
    def _input(node: Any, place: int) -> str:
        """Return the name of a node's input."""
        if place >= len(node.input):
            raise ValueError(f"the node {node.op_type} has {len(node.input)} inputs, it needs more")
        name: str = node.input[place]
        return name

    def _number(self, node: Any, name: str, default: float) -> float:
        """Return an attribute that is a number."""
        value = self._attributes(node).get(name, default)
        if not isinstance(value, (int, float)):
            raise ValueError(f"the node {node.op_type} has {name} {value!r}, which is no number")
        return value

    def _attributes(self, node: Any) -> dict[str, Any]:
        """Return a node's attributes; a float32 number as the shortest decimal that means it."""
        try:
            values = {a.name: self._onnx.helper.get_attribute_value(a) for a in node.attribute}
        except ValueError as error:
            raise ValueError(f"the node {node.op_type} has a damaged attribute: {error}") from None
        return {
            name: float(str(np.float32(value))) if isinstance(value, float)
            else value.decode() if isinstance(value, bytes)
            else value
            for name, value in values.items()
        }  # fmt: skip

    def _error(self, node: Any, why: str) -> TypeError:
        names = [found.name for found in OPERATORS.values() if not found.times_input]
        names += [f"{f.second_input} of one slope" for f in OPERATORS.values() if f.second_input]
        names += [f"x * {found.name}(x)" for found in OPERATORS.values() if found.times_input]
        return TypeError(
            f"the node {node.op_type} that makes {node.output[0]!r} is not converted: {why}. "
            f"There are: Gemm, MatMul and Add, {', '.join(dict.fromkeys(names))}"
        )


def _scaled(array: Array, factor: float) -> Array:
    """Return an array times a number, in the array's dtype."""
    if factor == 1:
        return array
    with np.errstate(all="ignore"):  # infinity and NaN are values of weights
        scaled: Array = array * _float(array).type(factor)
    return scaled


def _float(array: Array) -> np.dtype[Any]:
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"parameters must all be float32 or all float64, got {array.dtype}")
    return array.dtype


def _affine(node: Any, W: Array, *biases: Array | None) -> Affine:
    """Return ``X W + b`` for biases of shape ``(k,)``, or that stand for it, or None."""
    b = np.zeros(W.shape[1], _float(W))
    for bias in biases:
        if bias is None:
            continue
        try:
            row = np.broadcast_to(bias, (1, W.shape[1])).reshape(-1)
        except ValueError:
            raise ValueError(
                f"{node.op_type} adds {bias.shape} to rows of {W.shape[1]}: no bias"
            ) from None
        if _float(bias) != W.dtype:
            raise TypeError(f"parameters must be of one dtype, got {W.dtype} and {bias.dtype}")
        with np.errstate(all="ignore"):
            b = b + row
    return Affine(W, b)
