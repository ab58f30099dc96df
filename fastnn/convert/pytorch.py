"""Networks to PyTorch modules and back.

``torch.nn.Linear`` keeps its weight as ``(k, d)``, the transpose of ``W (d, k)`` here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fastnn.activations import LogSoftMax, Sigmoid, SoftMax
from fastnn.convert.steps import (
    Affine,
    Step,
    layers_of,
    network,
    steps_of,
    steps_through,
)
from fastnn.convert.torch_layers import (
    activation_module,
    activation_of,
    array_of,
    batch_norm_module,
    batch_norm_of,
    class_of,
    convolution_module,
    convolution_of,
    torch_package,
)
from fastnn.layers import (
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
from fastnn.losses import Loss
from fastnn.models import NeuralNetwork
from fastnn.optimizers import Optimizer


def to_torch(net: NeuralNetwork, *, logits: bool = False) -> Any:
    """Return a ``torch.nn.Sequential`` that computes what ``net.predict`` does.

    Parameters
    ----------
    net : NeuralNetwork
        A network with parameters. Its layers may be fully connected or ``Conv2D``, with any activation
        of :mod:`fastnn.activations`, ``Pool2D``, ``GlobalAveragePool2D``, ``Flatten``, ``Embedding``,
        batch normalisation, ``Residual``, and ``Elman`` with tanh or relu and no mask. The module gets
        copies of its parameters, in their dtype.
    logits : bool
        Leave out a last softmax, log-softmax or sigmoid, which ``torch.nn.CrossEntropyLoss`` and
        ``torch.nn.BCEWithLogitsLoss`` hold themselves. Without it the outputs are those of ``net``.

    Returns
    -------
    torch.nn.Sequential
        ``Linear`` modules and activations in turn; a linear activation is left out. The arc tangent,
        image layers, ``Residual``, ``Elman`` and embeddings are modules defined in fastnn, which take
        images with channels last. At 0 the gradient of torch's ReLU is 0; fastnn's is 1. Batch
        normalisation modules are in evaluation mode until ``module.train()``.

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
    nn = torch_package().nn
    steps = steps_of(net, "torch")
    if logits and type(steps[-1]) in (SoftMax, LogSoftMax, Sigmoid):
        del steps[-1]
    return nn.Sequential(*(_module(step) for step in steps))


def _module(step: Any) -> Any:
    torch = torch_package()
    if isinstance(step, Affine):
        d, k = step.W.shape
        made = torch.nn.utils.skip_init(torch.nn.Linear, d, k, dtype=getattr(torch, str(step.W.dtype)))
        with torch.no_grad():
            made.weight.copy_(torch.from_numpy(step.W.T))
            made.bias.copy_(torch.from_numpy(step.b))
        return made
    if isinstance(step, Layer):
        return _layer_module(step)
    return activation_module(step)


def _layer_module(layer: Layer) -> Any:
    torch = torch_package()
    if isinstance(layer, Flatten):
        return torch.nn.Flatten()
    if isinstance(layer, GlobalAveragePool2D):
        return class_of("GlobalAveragePool2D")()
    if isinstance(layer, Conv2D):
        return convolution_module(layer)
    if isinstance(layer, Pool2D):
        return class_of("Pool2D")(layer.kernel_shape, layer.mode, layer.stride, layer.pad)
    if isinstance(layer, BatchNorm):
        return batch_norm_module(layer)
    if isinstance(layer, Residual):
        return class_of("Residual")(*(_module(step) for step in steps_through(layer.layers)))
    if isinstance(layer, Elman):
        arrays = [torch.from_numpy(array) for array in layer.checked_parameters()]
        name = type(layer.activation).__name__.lower()
        return class_of("Elman")(*arrays, name, layer.return_sequences)
    assert isinstance(layer, Embedding)
    W = torch.from_numpy(layer.parameters["W"].copy())
    return class_of("AxisEmbedding")(W, layer.padding_index, layer.axis)


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
        ``Dropout`` with ``p=0`` or in evaluation mode are left out. Modules that :func:`to_torch` makes
        from other layers, and an ``Embedding`` as the first module, are converted too. PyTorch's own
        image modules, which take channels first, are not.
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
    nn = torch_package().nn
    kind = type(module)
    if isinstance(module, nn.Sequential) and kind.forward is nn.Sequential.forward:
        for name, child in module.named_children():
            yield from _steps(child, f"{where}.{name}")
    elif kind is nn.Linear:
        W = array_of(module.weight, where).T
        yield Affine(W, np.zeros_like(W[0]) if module.bias is None else array_of(module.bias, where))
    elif kind in (nn.Dropout, nn.AlphaDropout) and (module.training and module.p > 0):
        raise TypeError(f"{where} is {module} in training mode; call module.eval() to leave it out")
    elif kind is nn.Flatten and _does_nothing(nn, module):
        yield Flatten()
    elif (layer := _layer(module, where)) is not None:
        yield layer
    elif not _does_nothing(nn, module):
        yield activation_of(module, where)


def _layer(module: Any, where: str) -> Layer | None:
    """Return the layer for a module that is neither linear nor an activation; None for others."""
    if type(module) is class_of("GlobalAveragePool2D"):
        return GlobalAveragePool2D()
    if type(module) is class_of("Conv2D"):
        return convolution_of(module, where)
    if type(module) is class_of("Pool2D"):
        return Pool2D(module.kernel_shape, module.mode, module.stride, module.pad)
    if type(module) in (torch_package().nn.BatchNorm1d, class_of("BatchNorm2D")):
        return batch_norm_of(module, where)
    if type(module) is class_of("Residual"):
        children = module.named_children()
        return Residual(layers_of(s for name, x in children for s in _steps(x, f"{where}.{name}")))
    if type(module) is class_of("Elman"):
        rnn = module.rnn
        W, U = (array_of(weight, where).T for weight in (rnn.weight_ih_l0, rnn.weight_hh_l0))
        b = array_of(rnn.bias_ih_l0 + rnn.bias_hh_l0, where).reshape(1, -1)
        return Elman.of(W, U, b, rnn.nonlinearity, module.return_sequences)
    if type(module) not in (torch_package().nn.Embedding, class_of("AxisEmbedding")):
        return None
    if module.max_norm is not None or module.scale_grad_by_freq:
        raise TypeError(f"{where} is {module}: max_norm and scale_grad_by_freq are not known here")
    W = array_of(module.weight, where)
    return Embedding.of(W, getattr(module, "axis", -1), module.padding_idx)


def _does_nothing(nn: Any, module: Any) -> bool:
    if type(module) is nn.Flatten:
        return module.start_dim == 1 and module.end_dim in (-1, 1)
    return type(module) in (nn.Identity, nn.Dropout, nn.AlphaDropout)
