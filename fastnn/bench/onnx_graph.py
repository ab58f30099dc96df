"""ONNX Runtime: a network as ``fastnn.export_onnx`` writes it, all optimisations on."""

from typing import Any

import numpy as np
import onnxruntime

import fastnn
from fastnn._typing import Array
from fastnn.bench import onnx_layers
from fastnn.bench.cases import Case
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.layers import StackInference
from fastnn.bench.networks import Inference
from fastnn.convert.onnx_export import BATCH, INPUT, OUTPUT, model_of


class OnnxRuntime(Contestant):
    """Knows the batch's size, and has inputs and outputs bound to its own memory: its fastest way."""

    def call(self, case: Case) -> Call | None:
        if isinstance(case, StackInference):
            return self._bound(
                onnx_layers.model_of(case), onnx_layers.images(case), (case.n, case.classes)
            )
        if not isinstance(case, Inference):
            return None
        return self._bound(model_of(case.network(fastnn)), case.batch()[0], (case.n, case.widths[-1]))

    def _bound(self, model: Any, batch: Array, shape: tuple[int, int]) -> Call:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_free_dimension_override_by_name(BATCH, len(batch))
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, ["CPUExecutionProvider"]
        )
        X = onnxruntime.OrtValue.ortvalue_from_numpy(batch)
        scores = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, batch.dtype))
        binding = session.io_binding()
        binding.bind_ortvalue_input(INPUT, X)
        binding.bind_ortvalue_output(OUTPUT, scores)

        def call() -> onnxruntime.OrtValue:
            session.run_with_iobinding(binding)
            return scores

        return call

    def arrays(self, result: onnxruntime.OrtValue) -> tuple[Array, ...]:
        return (result.numpy(),)
