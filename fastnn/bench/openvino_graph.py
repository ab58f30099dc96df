"""OpenVINO: a network as ``fastnn.export_onnx`` writes it, compiled for one batch's latency."""

from typing import Any

import numpy as np
import openvino

import fastnn
from fastnn._typing import Array
from fastnn.bench import onnx_layers
from fastnn.bench.cases import Case
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.layers import StackInference
from fastnn.bench.networks import Inference
from fastnn.convert.onnx_export import model_of


class OpenVINO(Contestant):
    """Knows the batch's size; inputs and outputs lie in memory of the caller; float32 only."""

    def call(self, case: Case) -> Call | None:
        if case.dtype != "float32":
            return None
        if isinstance(case, StackInference):
            return self._compiled(
                onnx_layers.model_of(case), onnx_layers.images(case), (case.n, case.classes)
            )
        if not isinstance(case, Inference):
            return None
        model = model_of(case.network(fastnn))
        return self._compiled(model, case.batch()[0], (case.n, case.widths[-1]))

    def _compiled(self, network: Any, X: Array, shape: tuple[int, int]) -> Call:
        core = openvino.Core()
        model = core.read_model(network.SerializeToString())
        model.reshape(list(X.shape))
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        scores = np.zeros(shape, X.dtype)
        ours = [openvino.Tensor(array, shared_memory=True) for array in (X, scores)]
        request.set_input_tensor(ours[0])
        request.set_output_tensor(ours[1])

        def call(kept: tuple[Array, Array] = (X, scores)) -> Array:  # the tensors are views of these
            request.infer(share_outputs=True)
            return kept[1]

        return call
