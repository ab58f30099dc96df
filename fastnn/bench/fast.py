"""fastnn: the public API, or the kernels it calls where results go into a ready buffer."""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn
from fastnn._typing import Array
from fastnn.bench.cases import ACTIVATIONS, Case, KernelCase
from fastnn.bench.contestants import Call
from fastnn.bench.layers import Stacked
from fastnn.bench.methods import ByMethods, activation, bind, method, network, stacked
from fastnn.bench.networks import Dense
from fastnn.kernels import activations, softmax
from fastnn.kernels.parallel import by_rows, elementwise


class Fast(ByMethods):
    """Layer API for new arrays, kernels for ready ones, whole networks by their methods."""

    def __init__(self, n_threads: int) -> None:
        super().__init__(n_threads)
        fastnn.set_num_threads(n_threads)

    def call(self, case: Case) -> Call | None:
        if isinstance(case, Dense):
            return network(case, fastnn)
        if isinstance(case, Stacked):
            return stacked(case, fastnn)
        assert isinstance(case, KernelCase)
        if case.kernel.startswith("softmax_cross_entropy"):
            return bind(_functional("softmax_cross_entropy"), case)
        if case.ready or case.kernel == "softmax_jvp":
            return _kernel(case)
        return bind(method(fastnn, case.kernel), case)


def _functional(name: str) -> Callable[..., Any] | None:
    """Return a function of ``fastnn.functional``, or None if there is none."""
    if importlib.util.find_spec("fastnn.functional") is None:
        return None
    return getattr(importlib.import_module("fastnn.functional"), name, None)


def _kernel(case: KernelCase) -> Call | None:
    """Return a kernel's run, as the layers call it, into a new array or always the same."""
    elements = case.kernel in ACTIVATIONS
    kernel = getattr(activations if elements else softmax, case.kernel, None)
    if kernel is None:
        return None
    run = elementwise if elements else by_rows
    parameter = getattr(activation(fastnn, case.kernel), "parameter", None)
    options = {} if parameter is None else {"parameter": parameter}
    inputs = case.inputs()
    ready = np.empty_like(inputs[0]) if case.ready else None

    def call() -> Array:
        out = np.empty_like(inputs[0]) if ready is None else ready
        run(kernel, *inputs, out, **options)
        return out

    return call
