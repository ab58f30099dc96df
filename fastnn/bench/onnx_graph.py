"""ONNX Runtime: a network as ``fastnn.export_onnx`` writes it, all optimisations on."""

import numpy as np
import onnxruntime

import fastnn
from fastnn._typing import Array
from fastnn.bench.cases import Case
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.networks import Inference
from fastnn.convert.onnx_export import BATCH, INPUT, OUTPUT, model_of


class OnnxRuntime(Contestant):
    """Knows the batch's size, and has inputs and outputs bound to its own memory: its fastest way."""

    def call(self, case: Case) -> Call | None:
        if not isinstance(case, Inference):
            return None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_free_dimension_override_by_name(BATCH, case.n)
        model = model_of(case.network(fastnn)).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        X = onnxruntime.OrtValue.ortvalue_from_numpy(case.batch()[0])
        scores = onnxruntime.OrtValue.ortvalue_from_numpy(
            np.zeros((case.n, case.widths[-1]), case.dtype)
        )
        binding = session.io_binding()
        binding.bind_ortvalue_input(INPUT, X)
        binding.bind_ortvalue_output(OUTPUT, scores)

        def call() -> onnxruntime.OrtValue:
            session.run_with_iobinding(binding)
            return scores

        return call

    def arrays(self, result: onnxruntime.OrtValue) -> tuple[Array, ...]:
        return (result.numpy(),)
