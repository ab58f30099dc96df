"""OpenVINO: a network as ``fastnn.export_onnx`` writes it, compiled for one batch's latency."""

import numpy as np
import openvino

import fastnn
from fastnn._typing import Array
from fastnn.bench.cases import Case
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.networks import Inference
from fastnn.convert.onnx_export import model_of


class OpenVINO(Contestant):
    """Knows the batch's size; inputs and outputs lie in memory of the caller; float32 only."""

    def call(self, case: Case) -> Call | None:
        if not isinstance(case, Inference) or case.dtype != "float32":
            return None
        core = openvino.Core()
        model = core.read_model(model_of(case.network(fastnn)).SerializeToString())
        model.reshape([case.n, case.widths[0]])
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        X, scores = case.batch()[0], np.zeros((case.n, case.widths[-1]), case.dtype)
        ours = [openvino.Tensor(array, shared_memory=True) for array in (X, scores)]
        request.set_input_tensor(ours[0])
        request.set_output_tensor(ours[1])

        def call(kept: tuple[Array, Array] = (X, scores)) -> Array:  # the tensors are views of these
            request.infer(share_outputs=True)
            return kept[1]

        return call
