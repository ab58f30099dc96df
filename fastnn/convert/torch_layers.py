"""Conversion of single layers and activations to PyTorch modules and back."""

from typing import Any

from fastnn._typing import Array
from fastnn.activations import Activation, Linear
from fastnn.convert.steps import counterparts
from fastnn.layers import BatchNorm1D, BatchNorm2D, Conv2D
from fastnn.layers.batch_norm_base import BatchNorm
from fastnn.layers.state import Parameters
from fastnn.layers.windows import padding

_MODULES = counterparts("torch")


def activation_module(activation: Any) -> Any:
    """Return the PyTorch module of an activation."""
    found = _MODULES[type(activation)]
    given = {found.parameter: activation.parameter} if found.parameter else {}
    return class_of(found.name)(**found.arguments, **given)


def activation_of(module: Any, where: str) -> Activation:
    """Return the activation of a module.

    Raises ``TypeError`` if the module is not a known activation; ``where`` is for the message.
    """
    for kind, found in _MODULES.items():
        if type(module) is class_of(found.name) and found.reads(vars(module)):
            given = [getattr(module, found.parameter)] if found.parameter else []
            made: Activation = kind(*given)
            return made
    nn = torch_package().nn
    if type(module) in (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d, nn.BatchNorm2d):
        raise TypeError(
            f"{where} is {module}, which has no layer here: it takes images with channels first. "
            "fastnn's layers, and the modules that to_torch makes, take channels last"
        )
    known = ", ".join(dict.fromkeys(found.name for found in _MODULES.values()))
    raise TypeError(
        f"{where} is {module}, which has no layer here. There are: Sequential, Linear, {known} "
        "(rows: dim=1 or -1; beta=1); Identity, Flatten and Dropout in evaluation are left out"
    )


def convolution_module(layer: Conv2D) -> Any:
    """Return a module with copies of a convolution's parameters, and its activation."""
    torch, (W, b) = torch_package(), layer.checked_parameters()
    made = torch.nn.utils.skip_init(
        torch.nn.Conv2d, W.shape[2], W.shape[3], layer.kernel_shape, stride=layer.stride,
        padding=padding(layer.pad, layer.kernel_shape), dtype=getattr(torch, str(W.dtype)),
    )  # fmt: skip
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(W.transpose(3, 2, 0, 1)))
        made.bias.copy_(torch.from_numpy(b[0]))
    activation = [] if type(layer.activation) is Linear else [activation_module(layer.activation)]
    return class_of("Conv2D")(made, *activation)


def convolution_of(module: Any, where: str) -> Conv2D:
    """Return the layer of a module that :func:`convolution_module` has made."""
    convolution, *activation = module
    step = convolution.stride[0]
    plain = convolution.groups == 1 and convolution.dilation == (1, 1) and convolution.stride[1] == step
    # PyTorch's padding="same" differs from fastnn's for kernels of even size.
    zeros = convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    if not plain or convolution.bias is None or not zeros:
        raise TypeError(
            f"{where} is {convolution}; only convolutions with one group, no dilation, equal strides, "
            "a bias and a numeric padding of zeros are converted"
        )
    if activation and getattr(activation[0], "dim", -1) != -1:
        raise TypeError(f"{where} has {activation[0]}; channels come last, so it needs dim=-1")
    f = activation_of(activation[0], where) if activation else Linear()
    W = array_of(convolution.weight, where).transpose(2, 3, 1, 0)
    b = array_of(convolution.bias, where).reshape(1, -1)
    return Conv2D.of(W, b, f, step, convolution.padding)


def batch_norm_module(layer: BatchNorm) -> Any:
    """Return a module, in evaluation mode, with copies of a layer's parameters and statistics."""
    torch, gamma = torch_package(), layer.parameters["gamma"]
    kind = torch.nn.BatchNorm1d if isinstance(layer, BatchNorm1D) else class_of("BatchNorm2D")
    dtype = getattr(torch, str(gamma.dtype))
    made = kind(gamma.size, layer.eps, 1 - layer.momentum, dtype=dtype).eval()
    arrays = (*layer.parameters.values(), *layer.buffers.values())
    targets = made.weight, made.bias, made.running_mean, made.running_var
    with torch.no_grad():
        for target, array in zip(targets, arrays, strict=True):
            target.copy_(torch.from_numpy(array[0]))
    return made


def batch_norm_of(module: Any, where: str) -> BatchNorm:
    """Return the layer of a batch normalisation module."""
    if module.momentum is None or not (module.affine and module.track_running_stats):
        raise TypeError(
            f"{where} is {module}; only batch normalisation with a momentum, affine=True and "
            "track_running_stats=True is converted"
        )
    kind = BatchNorm1D if type(module) is torch_package().nn.BatchNorm1d else BatchNorm2D
    layer: BatchNorm = kind(eps=module.eps, momentum=1 - module.momentum)
    gamma, beta, mean, var = (
        array_of(array, where).reshape(1, -1).copy()
        for array in (module.weight, module.bias, module.running_mean, module.running_var)
    )
    layer.adopt(Parameters(gamma=gamma, beta=beta), gamma.size, gamma.dtype)
    layer.buffers.update(running_mu=mean, running_var=var)
    return layer


def array_of(parameter: Any, where: str) -> Array:
    """Return a parameter as an array, which may share its memory; ``TypeError`` for other dtypes."""
    torch = torch_package()
    if parameter.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{where} is {parameter.dtype}; convert it with module.float() first")
    array: Array = parameter.detach().cpu().numpy()
    return array


def class_of(name: str) -> Any:
    """Return a module's class, from ``torch.nn`` or, if it has none, from ``torch_modules``."""
    found = getattr(torch_package().nn, name, None)
    if found is None:
        from fastnn.convert import torch_modules

        found = getattr(torch_modules, name)
    return found


def torch_package() -> Any:
    """Import torch and return it."""
    try:
        import torch
    except ImportError:
        raise ImportError("conversion needs PyTorch: pip install 'fastnn-cpu[torch]'") from None
    return torch
