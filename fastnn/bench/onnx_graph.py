"""ONNX Runtime: a network as a graph of ``Gemm`` and ``Relu``, all optimisations on."""

from itertools import pairwise

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper

from fastnn._typing import Array
from fastnn.bench.cases import Case
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.networks import Dense, Inference

_OPSET, _IR = 17, 8


class OnnxRuntime(Contestant):
    """Runs with inputs and outputs bound to its own memory, which is faster than ``run``."""

    def call(self, case: Case) -> Call | None:
        if not isinstance(case, Inference):
            return None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(_graph(case), options, ["CPUExecutionProvider"])
        X = onnxruntime.OrtValue.ortvalue_from_numpy(case.batch()[0])
        scores = onnxruntime.OrtValue.ortvalue_from_numpy(
            np.zeros((case.n, case.widths[-1]), case.dtype)
        )
        binding = session.io_binding()
        binding.bind_ortvalue_input("A0", X)
        binding.bind_ortvalue_output(f"A{len(case.widths) - 1}", scores)

        def call() -> onnxruntime.OrtValue:
            session.run_with_iobinding(binding)
            return scores

        return call

    def arrays(self, result: onnxruntime.OrtValue) -> tuple[Array, ...]:
        return (result.numpy(),)


def _graph(case: Dense) -> bytes:
    """Return the model: ``A1 = relu(A0 W0 + b0)`` and so on, the last one without relu."""
    nodes, last = [], len(case.widths) - 2
    names = [f"{letter}{i}" for i in range(last + 1) for letter in "Wb"]
    for i, _ in enumerate(pairwise(case.widths)):
        out = f"Z{i}" if i < last else f"A{i + 1}"
        nodes.append(helper.make_node("Gemm", [f"A{i}", f"W{i}", f"b{i}"], [out]))
        if i < last:
            nodes.append(helper.make_node("Relu", [out], [f"A{i + 1}"]))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(case.dtype))
    ends = [
        helper.make_tensor_value_info(f"A{i}", kind, (case.n, case.widths[i])) for i in (0, last + 1)
    ]
    weights = [
        numpy_helper.from_array(array, name)
        for array, name in zip(case.parameters(), names, strict=True)
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", _OPSET)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=_IR).SerializeToString()
    return model
