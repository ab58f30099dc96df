"""PyTorch: eager, by the operators that its autograd calls, and compiled by ``torch.compile``."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from fastnn.bench import torch_layers, torch_networks
from fastnn.bench.cases import Case, KernelCase
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.layers import Stacked
from fastnn.bench.networks import Dense

_aten: Any = torch.ops.aten


class Torch(Contestant):
    """Eager PyTorch; into a ready buffer where the operator takes one."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def call(self, case: Case) -> Call | None:
        if isinstance(case, Dense):
            return torch_networks.eager(case)
        if isinstance(case, Stacked):
            return torch_layers.eager(case)
        assert isinstance(case, KernelCase)
        if case.kernel not in _NEW:
            return None
        inputs = [torch.from_numpy(array) for array in case.inputs()]
        if case.ready and case.kernel in _READY:
            return functools.partial(_READY[case.kernel], *inputs, torch.empty_like(inputs[0]))
        return functools.partial(_NEW[case.kernel], *inputs)


class Compiled(Torch):
    """The same functions through ``torch.compile``, which fuses what eager runs one by one."""

    def call(self, case: Case) -> Call | None:
        torch._dynamo.reset()
        if isinstance(case, Dense):
            return torch_networks.compiled(case)
        if isinstance(case, Stacked):
            return torch_layers.compiled(case)
        assert isinstance(case, KernelCase)
        if case.kernel not in _NEW or case.n * case.k < _WORTH_COMPILING:
            return None
        function = torch.compile(_NEW[case.kernel], fullgraph=True, dynamic=False)
        return functools.partial(function, *map(torch.from_numpy, case.inputs()))


_WORTH_COMPILING = 2**13  # elements; for less, entering compiled code takes longer than eager's work


def _softmax_backward(z: Any, dy: Any) -> Any:
    return torch._softmax_backward_data(dy, torch.softmax(z, -1), -1, z.dtype)


def _log_softmax_backward(z: Any, dy: Any) -> Any:
    total = dy.sum(-1, keepdim=True)  # faster than autograd's operator on log_softmax
    return torch.addcmul(dy, torch.softmax(z, -1), total, value=-1)


def _cross_entropy(z: Any, y: Any) -> Any:
    log_p = torch.log_softmax(z, -1)
    scaled = y * (-1 / len(z))
    loss = torch.dot(scaled.view(-1), log_p.view(-1))
    return loss, torch._log_softmax_backward_data(scaled, log_p, -1, z.dtype)


def _cross_entropy_labels(z: Any, labels: Any) -> Any:
    log_p = torch.log_softmax(z, -1)
    loss, weight = _aten.nll_loss_forward(log_p, labels, None, 1, -100)
    slope = _aten.nll_loss_backward(torch.ones_like(loss), log_p, labels, None, 1, -100, weight)
    return loss, torch._log_softmax_backward_data(slope, log_p, -1, z.dtype)


_NEW: dict[str, Callable[..., Any]] = {
    "softmax": lambda z: torch.softmax(z, -1),
    "log_softmax": lambda z: torch.log_softmax(z, -1),
    "softmax_jvp": lambda p, dy: torch._softmax_backward_data(dy, p, -1, p.dtype),
    "softmax_backward": _softmax_backward,
    "log_softmax_backward": _log_softmax_backward,
    "softmax_cross_entropy": _cross_entropy,
    "softmax_cross_entropy_labels": _cross_entropy_labels,
    "relu": torch.relu,
    "relu_backward": lambda z, dy: _aten.threshold_backward(dy, z, 0),
    "leaky_relu": F.leaky_relu,
    "leaky_relu_backward": lambda z, dy: _aten.leaky_relu_backward(dy, z, 0.01, False),
    "elu": F.elu,
    "elu_backward": lambda z, dy: _aten.elu_backward(dy, 1, 1, 1, False, z),
    "gelu": F.gelu,
    "gelu_backward": lambda z, dy: _aten.gelu_backward(dy, z),
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "gelu_tanh_backward": lambda z, dy: _aten.gelu_backward(dy, z, approximate="tanh"),
    "silu": F.silu,
    "silu_backward": lambda z, dy: _aten.silu_backward(dy, z),
    "softplus": F.softplus,
    "softplus_backward": lambda z, dy: _aten.softplus_backward(dy, z, 1, 20),
    "sigmoid": torch.sigmoid,
    "sigmoid_backward": lambda z, dy: _aten.sigmoid_backward(dy, torch.sigmoid(z)),
    "tanh": torch.tanh,
    "tanh_backward": lambda z, dy: _aten.tanh_backward(dy, torch.tanh(z)),
    "arctan": torch.arctan,
    "arctan_backward": lambda z, dy: dy / (1 + z * z),
}


def _sigmoid_backward_into(z: Any, dy: Any, out: Any) -> Any:
    return _aten.sigmoid_backward.grad_input(dy, torch.sigmoid(z, out=out), grad_input=out)


def _tanh_backward_into(z: Any, dy: Any, out: Any) -> Any:
    return _aten.tanh_backward.grad_input(dy, torch.tanh(z, out=out), grad_input=out)


def _softmax_backward_into(z: Any, dy: Any, out: Any) -> Any:
    p = _aten._softmax.out(z, -1, False, out=out)
    return _aten._softmax_backward_data.out(dy, p, -1, z.dtype, grad_input=out)


def _log_softmax_backward_into(z: Any, dy: Any, out: Any) -> Any:
    log_p = _aten._log_softmax.out(z, -1, False, out=out)
    return _aten._log_softmax_backward_data.out(dy, log_p, -1, z.dtype, out=out)


def _cross_entropy_into(z: Any, y: Any, out: Any) -> Any:
    log_p = _aten._log_softmax.out(z, -1, False, out=out)
    loss = torch.dot(y.view(-1), log_p.view(-1)) / -len(z)
    return loss, log_p.exp_().mul_(y.sum(-1, keepdim=True)).sub_(y).div_(len(z))


def _cross_entropy_labels_into(z: Any, labels: Any, out: Any) -> Any:
    log_p, column = _aten._log_softmax.out(z, -1, False, out=out), labels[:, None]
    loss = log_p.gather(1, column).mean().neg_()
    minus_one = torch.full(column.shape, -1, dtype=z.dtype)
    return loss, log_p.exp_().scatter_add_(1, column, minus_one).div_(len(z))


def _jvp_into(p: Any, dy: Any, out: Any) -> Any:
    return _aten._softmax_backward_data.out(dy, p, -1, p.dtype, grad_input=out)


def _arctan_backward_into(z: Any, dy: Any, out: Any) -> Any:
    return torch.div(dy, torch.mul(z, z, out=out).add_(1), out=out)


_READY: dict[str, Callable[..., Any]] = {
    "softmax": lambda z, out: _aten._softmax.out(z, -1, False, out=out),
    "log_softmax": lambda z, out: _aten._log_softmax.out(z, -1, False, out=out),
    "softmax_jvp": _jvp_into,
    "softmax_backward": _softmax_backward_into,
    "log_softmax_backward": _log_softmax_backward_into,
    "softmax_cross_entropy": _cross_entropy_into,
    "softmax_cross_entropy_labels": _cross_entropy_labels_into,
    "relu": lambda z, out: torch.clamp_min(z, 0, out=out),
    "relu_backward": lambda z, dy, out: _aten.threshold_backward.grad_input(dy, z, 0, grad_input=out),
    "leaky_relu": lambda z, out: _aten.leaky_relu.out(z, 0.01, out=out),
    "leaky_relu_backward": lambda z, dy, out: _aten.leaky_relu_backward.grad_input(
        dy, z, 0.01, False, grad_input=out
    ),
    "elu": lambda z, out: _aten.elu.out(z, out=out),
    "elu_backward": lambda z, dy, out: _aten.elu_backward.grad_input(
        dy, 1, 1, 1, False, z, grad_input=out
    ),
    "gelu": lambda z, out: _aten.gelu.out(z, out=out),
    "gelu_backward": lambda z, dy, out: _aten.gelu_backward.grad_input(dy, z, grad_input=out),
    "gelu_tanh": lambda z, out: _aten.gelu.out(z, approximate="tanh", out=out),
    "gelu_tanh_backward": lambda z, dy, out: _aten.gelu_backward.grad_input(
        dy, z, approximate="tanh", grad_input=out
    ),
    "silu": lambda z, out: _aten.silu.out(z, out=out),
    "silu_backward": lambda z, dy, out: _aten.silu_backward.grad_input(dy, z, grad_input=out),
    "softplus": lambda z, out: _aten.softplus.out(z, out=out),
    "softplus_backward": lambda z, dy, out: _aten.softplus_backward.grad_input(
        dy, z, 1, 20, grad_input=out
    ),
    "sigmoid": lambda z, out: torch.sigmoid(z, out=out),
    "sigmoid_backward": _sigmoid_backward_into,
    "tanh": lambda z, out: torch.tanh(z, out=out),
    "tanh_backward": _tanh_backward_into,
    "arctan": lambda z, out: torch.arctan(z, out=out),
    "arctan_backward": _arctan_backward_into,
}
