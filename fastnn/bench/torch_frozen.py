"""PyTorch's forms for inference alone: traced and frozen, and compiled ahead of time."""

import tempfile
from pathlib import Path
from typing import Any

import torch

from fastnn.bench import torch_layers, torch_networks
from fastnn.bench.cases import Case
from fastnn.bench.contestants import Call
from fastnn.bench.layers import StackInference
from fastnn.bench.networks import Inference
from fastnn.bench.pytorch import Torch


class _Network(torch.nn.Module):  # type: ignore[misc]
    """A forward pass whose weights are the module's own, ``(d, k)``."""

    def __init__(self, case: Inference) -> None:
        super().__init__()
        for i, array in enumerate(case.parameters()):
            self.register_buffer(f"p{i}", torch.from_numpy(array))

    def forward(self, X: Any) -> Any:
        return torch_networks.forward(X, list(self.buffers()))


class Frozen(Torch):
    """``torch.jit``: traced, weights frozen into the graph, and optimised for inference."""

    def call(self, case: Case) -> Call | None:
        if isinstance(case, StackInference):
            return torch_layers.frozen(case)
        if not isinstance(case, Inference):
            return None
        X = torch.from_numpy(case.batch()[0])
        frozen = torch.jit.freeze(torch.jit.trace(_Network(case).eval(), X))
        run = torch.jit.optimize_for_inference(frozen)
        whole: Call = torch.inference_mode()(lambda: run(X))
        return whole


class AheadOfTime(Torch):
    """AOTInductor: exported, compiled to a library, loaded from there; weights frozen, too."""

    def call(self, case: Case) -> Call | None:
        if not isinstance(case, Inference):
            return None
        X = torch.from_numpy(case.batch()[0])
        exported = torch.export.export(_Network(case).eval(), (X,))
        with tempfile.TemporaryDirectory() as folder, torch._inductor.config.patch(freezing=True):
            path = torch._inductor.aoti_compile_and_package(
                exported, package_path=str(Path(folder, "network.pt2"))
            )
            run = torch._inductor.aoti_load_package(path)
        whole: Call = torch.inference_mode()(lambda: run(X))
        return whole
