"""Networks to PyTorch modules and back.

``torch.nn.Linear`` keeps its weight as ``(k, d)``, the transpose of ``W (d, k)`` here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.activations import Activation, Linear, LogSoftMax, Sigmoid, SoftMax
from fastnn.convert.steps import (
    Affine,
    Step,
    counterparts,
    layers_of,
    network,
    steps_of,
    steps_through,
)
from fastnn.layers import (
    BatchNorm1D,
    BatchNorm2D,
    Conv2D,
    Elman,
    Embedding,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    Pool2D,
    Residual,
)
from fastnn.layers.batch_norm_base import BatchNorm
from fastnn.layers.state import Parameters
from fastnn.layers.windows import padding
from fastnn.losses import Loss
from fastnn.models import NeuralNetwork
from fastnn.optimizers import Optimizer

_MODULES = counterparts("torch")


def to_torch(net: NeuralNetwork, *, logits: bool = False) -> Any:
    """Return a ``torch.nn.Sequential`` that computes what ``net.predict`` does.

    Parameters
    ----------
    net : NeuralNetwork
        Of fully connected layers and ``Conv2D``, with any activation of :mod:`fastnn.activations`,
        ``Pool2D``, ``GlobalAveragePool2D``, ``Flatten``, ``Embedding``, batch normalisation,
        ``Residual``, and ``Elman`` with tanh or relu and no mask. It has seen data or been loaded.
        The module gets copies of its parameters, in their dtype.
    logits : bool
        Leave out a last softmax, log-softmax or sigmoid, which ``torch.nn.CrossEntropyLoss`` and
        ``torch.nn.BCEWithLogitsLoss`` hold themselves. Without it the outputs are those of ``net``.

    Returns
    -------
    torch.nn.Sequential
        ``Linear`` and activation by turns; a linear activation is no module. The arc tangent, pooling
        and embeddings are modules of fastnn's: images have their channels last, as here. At 0 the
        gradient of torch's ReLU is 0, here it is 1. Modules of batch normalisation are in evaluation
        mode, until ``module.train()``.

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
    steps = steps_of(net, "torch")
    if logits and type(steps[-1]) in (SoftMax, LogSoftMax, Sigmoid):
        del steps[-1]
    return nn.Sequential(*(_module(step) for step in steps))


def _module(step: Any) -> Any:
    torch = _torch()
    if isinstance(step, Affine):
        d, k = step.W.shape
        made = torch.nn.utils.skip_init(torch.nn.Linear, d, k, dtype=getattr(torch, str(step.W.dtype)))
        with torch.no_grad():
            made.weight.copy_(torch.from_numpy(step.W.T))
            made.bias.copy_(torch.from_numpy(step.b))
        return made
    if isinstance(step, Layer):
        return _layer_module(step)
    found = _MODULES[type(step)]
    given = {found.parameter: step.parameter} if found.parameter else {}
    return _class(found.name)(**found.arguments, **given)


def _layer_module(layer: Layer) -> Any:
    torch = _torch()
    if isinstance(layer, Flatten):
        return torch.nn.Flatten()
    if isinstance(layer, GlobalAveragePool2D):
        return _class("GlobalAveragePool2D")()
    if isinstance(layer, Conv2D):
        return _convolution_module(layer)
    if isinstance(layer, Pool2D):
        return _class("Pool2D")(layer.kernel_shape, layer.mode, layer.stride, layer.pad)
    if isinstance(layer, BatchNorm):
        return _batch_norm_module(layer)
    if isinstance(layer, Residual):
        return _class("Residual")(*(_module(step) for step in steps_through(layer.layers)))
    if isinstance(layer, Elman):
        arrays = [torch.from_numpy(array) for array in layer.checked_parameters()]
        name = type(layer.activation).__name__.lower()
        return _class("Elman")(*arrays, name, layer.return_sequences)
    assert isinstance(layer, Embedding)
    W = torch.from_numpy(layer.parameters["W"].copy())
    return _class("AxisEmbedding")(W, layer.padding_index, layer.axis)


def _convolution_module(layer: Conv2D) -> Any:
    torch, (W, b) = _torch(), layer.checked_parameters()
    made = torch.nn.utils.skip_init(
        torch.nn.Conv2d, W.shape[2], W.shape[3], layer.kernel_shape, stride=layer.stride,
        padding=padding(layer.pad, layer.kernel_shape), dtype=getattr(torch, str(W.dtype)),
    )  # fmt: skip
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(W.transpose(3, 2, 0, 1)))
        made.bias.copy_(torch.from_numpy(b[0]))
    activation = [] if type(layer.activation) is Linear else [_module(layer.activation)]
    return _class("Conv2D")(made, *activation)


def _convolution(module: Any, where: str) -> Conv2D:
    """Return the layer of what :func:`_convolution_module` makes."""
    convolution, *activation = module
    step = convolution.stride[0]
    plain = convolution.groups == 1 and convolution.dilation == (1, 1) and convolution.stride[1] == step
    # What PyTorch calls "same" is another border for kernels of even size.
    zeros = convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    if not plain or convolution.bias is None or not zeros:
        raise TypeError(
            f"{where} is {convolution}; a convolution needs one group, no dilation, one stride, a bias "
            "and a number of zeros around"
        )
    if activation and getattr(activation[0], "dim", -1) != -1:
        raise TypeError(f"{where} has {activation[0]}; over channels, which are last, it is dim=-1")
    f = _activation(activation[0], where) if activation else Linear()
    W = _array(convolution.weight, where).transpose(2, 3, 1, 0)
    b = _array(convolution.bias, where).reshape(1, -1)
    return Conv2D.of(W, b, f, step, convolution.padding)


def _batch_norm_module(layer: BatchNorm) -> Any:
    torch, gamma = _torch(), layer.parameters["gamma"]
    kind = torch.nn.BatchNorm1d if isinstance(layer, BatchNorm1D) else _class("BatchNorm2D")
    dtype = getattr(torch, str(gamma.dtype))
    made = kind(gamma.size, layer.eps, 1 - layer.momentum, dtype=dtype).eval()
    arrays = (*layer.parameters.values(), *layer.buffers.values())
    targets = made.weight, made.bias, made.running_mean, made.running_var
    with torch.no_grad():
        for target, array in zip(targets, arrays, strict=True):
            target.copy_(torch.from_numpy(array[0]))
    return made


def _batch_norm(module: Any, where: str) -> BatchNorm:
    """Return the layer of a batch normalisation module."""
    if module.momentum is None or not (module.affine and module.track_running_stats):
        raise TypeError(
            f"{where} is {module}; batch normalisation needs a momentum, affine=True and "
            "track_running_stats=True"
        )
    kind = BatchNorm1D if type(module) is _torch().nn.BatchNorm1d else BatchNorm2D
    layer: BatchNorm = kind(eps=module.eps, momentum=1 - module.momentum)
    gamma, beta, mean, var = (
        _array(array, where).reshape(1, -1).copy()
        for array in (module.weight, module.bias, module.running_mean, module.running_var)
    )
    layer.adopt(Parameters(gamma=gamma, beta=beta), gamma.size, gamma.dtype)
    layer.buffers.update(running_mu=mean, running_var=var)
    return layer


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
        ``Dropout`` with ``p=0`` or in evaluation mode are left out. The modules that :func:`to_torch`
        makes of other layers, and a first ``Embedding``, are taken too; PyTorch's layers of images,
        whose channels come first, are not.
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
    elif kind is nn.Flatten and _does_nothing(nn, module):
        yield Flatten()
    elif (layer := _layer(module, where)) is not None:
        yield layer
    elif not _does_nothing(nn, module):
        yield _activation(module, where)


def _layer(module: Any, where: str) -> Layer | None:
    """Return the layer of a module that is neither linear nor an activation, None for others."""
    if type(module) is _class("GlobalAveragePool2D"):
        return GlobalAveragePool2D()
    if type(module) is _class("Conv2D"):
        return _convolution(module, where)
    if type(module) is _class("Pool2D"):
        return Pool2D(module.kernel_shape, module.mode, module.stride, module.pad)
    if type(module) in (_torch().nn.BatchNorm1d, _class("BatchNorm2D")):
        return _batch_norm(module, where)
    if type(module) is _class("Residual"):
        children = module.named_children()
        return Residual(layers_of(s for name, x in children for s in _steps(x, f"{where}.{name}")))
    if type(module) is _class("Elman"):
        rnn = module.rnn
        W, U = (_array(weight, where).T for weight in (rnn.weight_ih_l0, rnn.weight_hh_l0))
        b = _array(rnn.bias_ih_l0 + rnn.bias_hh_l0, where).reshape(1, -1)
        return Elman.of(W, U, b, rnn.nonlinearity, module.return_sequences)
    if type(module) is not _torch().nn.Embedding and type(module) is not _class("AxisEmbedding"):
        return None
    if module.max_norm is not None or module.scale_grad_by_freq:
        raise TypeError(f"{where} is {module}: max_norm and scale_grad_by_freq are not known here")
    W = _array(module.weight, where)
    return Embedding.of(W, getattr(module, "axis", -1), module.padding_idx)


def _does_nothing(nn: Any, module: Any) -> bool:
    if type(module) is nn.Flatten:
        return module.start_dim == 1 and module.end_dim in (-1, 1)
    return type(module) in (nn.Identity, nn.Dropout, nn.AlphaDropout)


def _activation(module: Any, where: str) -> Activation:
    for kind, found in _MODULES.items():
        if type(module) is _class(found.name) and found.reads(vars(module)):
            given = [getattr(module, found.parameter)] if found.parameter else []
            made: Activation = kind(*given)
            return made
    nn = _torch().nn
    if type(module) in (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.BatchNorm2d):
        raise TypeError(
            f"{where} is {module}, which has no layer here: it takes images with channels first. "
            "Those of this library, and of the modules that to_torch makes, have them last"
        )
    known = ", ".join(dict.fromkeys(found.name for found in _MODULES.values()))
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
    """Return a module's class: of ``torch.nn``, or of fastnn where PyTorch has only a function."""
    found = getattr(_torch().nn, name, None)
    if found is None:
        from fastnn.convert import torch_modules

        found = getattr(torch_modules, name)
    return found


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError("conversion needs PyTorch: pip install 'fastnn-cpu[torch]'") from None
    return torch
