"""Networks to PyTorch modules and back.

``torch.nn.Linear`` keeps its weight as ``(k, d)``, the transpose of ``W (d, k)`` here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.activations import (
    ELU,
    GELU,
    Activation,
    ArcTan,
    GELUTanh,
    LeakyReLU,
    LogSoftMax,
    ReLU,
    Sigmoid,
    SiLU,
    SoftMax,
    Softplus,
    TanH,
)
from fastnn.convert.steps import Affine, Step, network, steps_of
from fastnn.losses import Loss
from fastnn.models import NeuralNetwork
from fastnn.optimizers import Optimizer

# Beyond its threshold torch's softplus is the identity, off by exp(-threshold); 40 is exact.
_SOFTPLUS_THRESHOLD = 40.0
# Ours, torch's, and what torch's is made with beside the parameters both have by the same name.
_MODULES: list[tuple[type[Activation], str, dict[str, Any]]] = [
    (Sigmoid, "Sigmoid", {}),
    (TanH, "Tanh", {}),
    (ReLU, "ReLU", {}),
    (LeakyReLU, "LeakyReLU", {}),
    (ELU, "ELU", {}),
    (GELU, "GELU", {"approximate": "none"}),
    (GELUTanh, "GELU", {"approximate": "tanh"}),
    (SiLU, "SiLU", {}),
    (Softplus, "Softplus", {"beta": 1.0, "threshold": _SOFTPLUS_THRESHOLD}),
    (SoftMax, "Softmax", {"dim": -1}),
    (LogSoftMax, "LogSoftmax", {"dim": -1}),
    (ArcTan, "ArcTan", {}),
]
_PARAMETERS: dict[type[Activation], str] = {LeakyReLU: "negative_slope", ELU: "alpha"}
# What else from_torch takes: the same for rows, and torch's own threshold, which is off by 2e-9.
_ALSO: dict[str, tuple[Any, ...]] = {"dim": (1, None), "threshold": (20.0,)}


def to_torch(net: NeuralNetwork, *, logits: bool = False) -> Any:
    """Return a ``torch.nn.Sequential`` that computes what ``net.predict`` does.

    Parameters
    ----------
    net : NeuralNetwork
        Of fully connected layers, with any activation of :mod:`fastnn.activations`, after it has seen
        data or been loaded. The module gets copies of its parameters, in their dtype.
    logits : bool
        Leave out a last softmax, log-softmax or sigmoid, which ``torch.nn.CrossEntropyLoss`` and
        ``torch.nn.BCEWithLogitsLoss`` hold themselves. Without it the outputs are those of ``net``.

    Returns
    -------
    torch.nn.Sequential
        ``Linear`` and activation by turns; a linear activation is no module, the arc tangent one of
        fastnn's. At 0 the gradient of torch's ReLU is 0, here it is 1.

    Raises
    ------
    TypeError
        For layers and activations that are not fastnn's.
    RuntimeError
        If the network has no parameters yet.
    ImportError
        Without PyTorch.

    Examples
    --------
    >>> module = fastnn.to_torch(net, logits=True)
    >>> loss = torch.nn.CrossEntropyLoss()(module(X), labels)
    """
    nn = _torch().nn
    steps = steps_of(net)
    if logits and type(steps[-1]) in (SoftMax, LogSoftMax, Sigmoid):
        del steps[-1]
    return nn.Sequential(*(_module(step) for step in steps))


def _module(step: Step) -> Any:
    torch = _torch()
    if isinstance(step, Affine):
        d, k = step.W.shape
        made = torch.nn.utils.skip_init(torch.nn.Linear, d, k, dtype=getattr(torch, str(step.W.dtype)))
        with torch.no_grad():
            made.weight.copy_(torch.from_numpy(step.W.T))
            made.bias.copy_(torch.from_numpy(step.b))
        return made
    for kind, name, arguments in _MODULES:
        if type(step) is kind:
            shared = [_PARAMETERS[kind]] if kind in _PARAMETERS else []
            return _class(name)(**arguments, **{p: getattr(step, p) for p in shared})
    known = ", ".join(kind.__name__ for kind, _, _ in _MODULES)
    raise TypeError(f"no PyTorch module for the activation {type(step).__name__}; there are: {known}")


def from_torch(
    module: Any,
    loss: str | Loss | None = None,
    *,
    logits: bool = False,
    optimizer_args: Mapping[str, Any] | Optimizer | None = None,
) -> NeuralNetwork:
    """Return a network that computes what a PyTorch module does on rows ``(n, d)``.

    Parameters
    ----------
    module : torch.nn.Module
        A ``Linear``, or ``Sequential`` modules, one within the other as they may be, of ``Linear``
        and the activations that :func:`to_torch` makes. ``Identity``, ``Flatten`` of rows, and
        ``Dropout`` with ``p=0`` or in evaluation mode are left out.
    loss : str or Loss, optional
        By default cross_entropy after a softmax or with ``logits``, binary_cross_entropy after a
        sigmoid, l2 after anything else.
    logits : bool
        The module returns logits, as for ``torch.nn.CrossEntropyLoss``: a softmax is added, or for
        binary_cross_entropy a sigmoid, and ``predict`` returns probabilities. A last ``LogSoftmax``,
        as for ``torch.nn.NLLLoss``, becomes a softmax.
    optimizer_args : mapping or Optimizer, optional
        As of :class:`fastnn.NeuralNetwork`; by default SGD with a rate of 0.01.

    Returns
    -------
    NeuralNetwork
        With copies of the parameters, in their dtype, float32 or float64; a bias of 0 for none.

    Raises
    ------
    TypeError
        For a module that is none of these; the message names it and lists them.
    ValueError
        If loss, ``logits`` and the last activation do not go together, or a layer does not fit the one
        before it.
    ImportError
        Without PyTorch.

    Examples
    --------
    >>> net = fastnn.from_torch(module, logits=True)
    >>> net.fit(X, labels)
    """
    return network(_steps(module, type(module).__name__), loss, logits, optimizer_args)


def _steps(module: Any, where: str) -> Iterator[Step]:
    nn = _torch().nn
    kind = type(module)
    if isinstance(module, nn.Sequential) and kind.forward is nn.Sequential.forward:
        for name, child in module.named_children():
            yield from _steps(child, f"{where}.{name}")
    elif kind is nn.Linear:
        W = _array(module.weight, where).T
        yield Affine(W, np.zeros_like(W[0]) if module.bias is None else _array(module.bias, where))
    elif kind in (nn.Dropout, nn.AlphaDropout) and (module.training and module.p > 0):
        raise TypeError(f"{where} is {module} in training mode; call module.eval() to leave it out")
    elif not _does_nothing(nn, module):
        yield _activation(module, where)


def _does_nothing(nn: Any, module: Any) -> bool:
    if type(module) is nn.Flatten:
        return module.start_dim == 1 and module.end_dim in (-1, 1)
    return type(module) in (nn.Identity, nn.Dropout, nn.AlphaDropout)


def _activation(module: Any, where: str) -> Activation:
    for kind, name, arguments in _MODULES:
        if type(module) is _class(name) and all(
            getattr(module, key) in (value, *_ALSO.get(key, ())) for key, value in arguments.items()
        ):
            shared = [_PARAMETERS[kind]] if kind in _PARAMETERS else []
            return kind(*(getattr(module, p) for p in shared))
    known = ", ".join(dict.fromkeys(name for _, name, _ in _MODULES))
    raise TypeError(
        f"{where} is {module}, which has no layer here. There are: Sequential, Linear, {known} "
        "(rows: dim=1 or -1; beta=1); Identity, Flatten and Dropout in evaluation are left out"
    )


def _array(parameter: Any, where: str) -> Array:
    torch = _torch()
    if parameter.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{where} is {parameter.dtype}; convert it with module.float() first")
    array: Array = parameter.detach().cpu().numpy()
    return array


def _class(name: str) -> Any:
    if name == "ArcTan":
        from fastnn.convert.torch_modules import ArcTan as made

        return made
    return getattr(_torch().nn, name)


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError("conversion needs PyTorch: pip install 'fastnn-cpu[torch]'") from None
    return torch
