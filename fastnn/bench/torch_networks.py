"""Whole networks in PyTorch, in the forms measured to be its fastest.

Eager, a training step asks autograd for the gradients and updates with the operators under
``torch.optim.SGD(foreach=True)``, without the bookkeeping around them, which costs more than the update
itself. Compiled, forward, backward and update are one graph behind a C++ wrapper. A forward pass keeps
its weights as ``(d, k)``: for small batches ``addmm`` is faster than ``linear``.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from fastnn.bench.contestants import Call
from fastnn.bench.networks import ADAM_LR, LR, STEP_EPS, Dense, Epochs, TrainingStep


def eager(case: Dense) -> Call | None:
    """Return a training step or a forward pass, operator by operator; None for epochs."""
    if isinstance(case, Epochs):
        return None
    return _eager_step(case) if isinstance(case, TrainingStep) else _inference(case, forward)


def compiled(case: Dense) -> Call | None:
    """Return the same compiled as a whole."""
    if isinstance(case, Epochs):
        return None
    if isinstance(case, TrainingStep):
        return _compiled_step(case) if case.optimizer == "SGD" else None
    return _inference(case, torch.compile(forward, fullgraph=True, dynamic=False))


def forward(X: Any, parameters: list[Any]) -> Any:
    """Return a forward pass's scores, relu between layers."""
    A = X
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        A = torch.addmm(b, A, W).relu_()
    return torch.addmm(parameters[-1], A, parameters[-2])


def _inference(case: Dense, forward: Callable[..., Any]) -> Call:
    X = torch.from_numpy(case.batch()[0])
    parameters = [torch.from_numpy(array) for array in case.parameters()]
    whole: Call = torch.inference_mode()(lambda: forward(X, parameters))
    return whole


_HIDDEN = {"relu": torch.relu, "tanh": torch.tanh}


_LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "cross_entropy": F.cross_entropy,
    "l2": lambda scores, Y: F.mse_loss(scores, Y, reduction="sum") * (0.5 / len(Y)),
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
    "poisson": F.poisson_nll_loss,
    "quantile": lambda scores, Y: 0.5 * F.l1_loss(scores, Y),  # of the median
}
_RULES = {
    "Adam": torch.optim.Adam,
    "AdamW": torch.optim.AdamW,
    "Nadam": torch.optim.NAdam,
    "RMSProp": torch.optim.RMSprop,
}


def _loss(case: TrainingStep, parameters: list[Any], X: Any, labels: Any) -> Any:
    A = X
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        A = _HIDDEN[case.hidden](F.linear(A, W, b))
    scores = F.linear(A, parameters[-2], parameters[-1])
    return _LOSSES[case.loss](scores, labels)


def _update(parameters: list[Any], velocities: list[Any], gradients: Any, momentum: float) -> None:
    if momentum:
        torch._foreach_mul_(velocities, momentum)
        torch._foreach_add_(velocities, gradients)
        gradients = velocities
    torch._foreach_add_(parameters, gradients, alpha=-LR)


def _state(case: TrainingStep) -> tuple[Any, ...]:
    """Return batch, labels, parameters as in ``torch.nn.Linear``, W ``(k, d)``, and zeros like them."""
    X, labels = map(torch.from_numpy, case.batch())
    if case.loss != "cross_entropy":
        labels = torch.from_numpy(case.one_hot())
    parameters = [torch.from_numpy(array.T.copy()) for array in case.parameters()]
    return X, labels, parameters, [torch.zeros_like(p) for p in parameters]


def _eager_step(case: TrainingStep) -> Call:
    X, labels, parameters, velocities = _state(case)
    as_cases_have_them = [p.T if p.ndim == 2 else p for p in parameters]
    for p in parameters:
        p.requires_grad_()
    if case.optimizer != "SGD":
        return _step_by_rule(case, parameters, X, labels, as_cases_have_them)

    def call() -> Any:
        with torch.enable_grad():
            loss = _loss(case, parameters, X, labels)
        _update(parameters, velocities, torch.autograd.grad(loss, parameters), case.momentum)
        return loss.detach(), as_cases_have_them

    return call


def _step_by_rule(case: TrainingStep, parameters: Any, X: Any, labels: Any, shown: Any) -> Call:
    """Return a step with one of PyTorch's optimisers, fused where it has that, else ``foreach``."""
    fused = {"fused": True} if case.optimizer in ("Adam", "AdamW") else {"foreach": True}
    rule: Any = _RULES[case.optimizer](parameters, lr=ADAM_LR, eps=STEP_EPS, **fused)

    def call() -> Any:
        with torch.enable_grad():
            loss = _loss(case, parameters, X, labels)
            loss.backward()
        rule.step()
        rule.zero_grad()
        return loss.detach(), shown

    return call


def _compiled_step(case: TrainingStep) -> Call:
    X, labels, parameters, velocities = _state(case)
    as_cases_have_them = [p.T if p.ndim == 2 else p for p in parameters]

    loss = functools.partial(_loss, case)

    def step(parameters: Any, velocities: Any, X: Any, labels: Any) -> Any:
        gradients, value = torch.func.grad_and_value(loss)(parameters, X, labels)
        _update(parameters, velocities, gradients, case.momentum)
        return value

    options = {"cpp_wrapper": True}
    whole = torch.compile(step, fullgraph=True, dynamic=False, options=options)
    return lambda: (whole(parameters, velocities, X, labels), as_cases_have_them)
