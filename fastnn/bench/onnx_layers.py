"""Networks with convolutions as ONNX models with a fixed batch size and channels first.

The models are written by hand, so that they have no unnecessary nodes.
"""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from fastnn._typing import Array
from fastnn.bench import blocks
from fastnn.bench.layers import StackInference
from fastnn.convert.onnx_export import INPUT, IR_VERSION, OPSET, OUTPUT


def images(case: StackInference) -> Array:
    """Return the batch with channels first."""
    return np.ascontiguousarray(case.batch().transpose(0, 3, 1, 2))


def model_of(case: StackInference) -> Any:
    """Return the ``onnx.ModelProto`` of a forward pass, from images to scores."""
    nodes: list[Any] = []
    weights: list[Any] = []
    flattened: tuple[int, ...] | None = None

    def node(kind: str, *arrays: Array, **attributes: Any) -> None:
        i = len(nodes)
        names = [f"{i}.{j}" for j in range(len(arrays))]
        weights.extend(map(numpy_helper.from_array, map(np.ascontiguousarray, arrays), names))
        source = nodes[-1].output[0] if nodes else INPUT
        nodes.append(helper.make_node(kind, [source, *names], [f"y{i}"], **attributes))

    for layer, shape, arrays in zip(case.layers, case.shapes, case.parameters(), strict=False):
        match layer:
            case blocks.Conv2D():
                W, b = arrays["W"].transpose(3, 2, 0, 1), arrays["b"][0]
                node("Conv", W, b, pads=[layer.padding] * 4)
            case blocks.MaxPool2D(size=k):
                node("MaxPool", kernel_shape=[k, k], strides=[k, k])
            case blocks.Flatten():
                node("Flatten")
                flattened = shape
            case blocks.Dense():
                W = arrays["W"]
                if flattened:  # the weights' rows are in the order of channels last
                    W = W.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(W.shape)
                    flattened = None
                node("Gemm", W, arrays["b"][0])
            case _:
                raise TypeError(layer)
        if getattr(layer, "activation", "") == "relu" and layer is not case.layers[-1]:
            node("Relu")
    nodes[-1].output[0] = OUTPUT
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(case.dtype))
    ends = [
        helper.make_tensor_value_info(name, kind, shape)
        for name, shape in ((INPUT, images(case).shape), (OUTPUT, (case.n, case.classes)))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model)
    return model
