"""Layers and networks in PyTorch: several variants are tried, and the fastest is timed.

Images are stored with channels last or first. In eager mode, a layer's forward and backward use
autograd, or call the operators of autograd directly, without its overhead.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn import functional as F

from fastnn._typing import Array
from fastnn.bench import blocks, timing
from fastnn.bench.blocks import EPS, Block
from fastnn.bench.contestants import Call
from fastnn.bench.layers import LayerCase, Stack, Stacked, StackInference, StackStep
from fastnn.bench.networks import LR

_aten: Any = torch.ops.aten
torch._dynamo.config.allow_rnn = True
_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": torch.relu, "linear": lambda z: z, "softmax": lambda z: z,  # the loss takes logits
}  # fmt: skip


class Result:
    """A tensor that is converted to an array in a case's layout when it is read."""

    def __init__(self, tensor: Any, back: Callable[[Any], Any] | None = None) -> None:
        self._tensor, self._back = tensor, back

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        tensor = self._tensor.detach()
        array: Array = (self._back(tensor) if self._back else tensor).contiguous().numpy()
        return array


class Form:
    """A case's tensors in one memory layout, and its layers as functions of them.

    Parameters
    ----------
    last : bool
        Whether images are stored with channels last. Their shape is ``(n, c, h, w)`` in any case.
    """

    def __init__(self, case: Stacked, last: bool) -> None:
        self.case, self.last = case, last
        self.X = self.inputs(case.batch())
        self.parameters: list[Any] = []
        self.backs: list[Callable[[Any], Any]] = []  # convert parameters to the case's layout
        self.layers: list[tuple[Block, int, int]] = []  # and the range of its parameters
        self._images: tuple[int, ...] | None = None  # the shape before Flatten, if channels come first
        for layer, shape, arrays in zip(case.layers, case.shapes, case.parameters(), strict=False):
            begin = len(self.parameters)
            for tensor, back in self._own(layer, shape, arrays):
                self.parameters.append(tensor)
                self.backs.append(back)
            self.layers.append((layer, begin, len(self.parameters)))

    def inputs(self, array: Array) -> Any:
        """Return a case's inputs, or gradients of its outputs, as a tensor."""
        tensor = torch.from_numpy(array)
        if tensor.ndim == 3:  # a series, time first
            return tensor.permute(2, 0, 1).contiguous()
        return self._laid(tensor.permute(0, 3, 1, 2)) if tensor.ndim == 4 else tensor

    def outputs(self, tensor: Any) -> Result:
        """Return outputs or the input's gradient in a case's layout; for series, time comes first."""
        return Result(tensor, (lambda t: t.permute(0, 2, 3, 1)) if tensor.ndim == 4 else None)

    def trained(self, tensors: Any) -> list[Result]:
        """Return parameters or their gradients in a case's layout."""
        return [Result(tensor, back) for tensor, back in zip(tensors, self.backs, strict=True)]

    def forward(self, X: Any, parameters: Any) -> Any:
        """Return the last layer's output before its softmax."""
        for layer, begin, end in self.layers:
            X = self.apply(layer, X, *parameters[begin:end])
        return X

    def apply(self, layer: Block, X: Any, *parameters: Any) -> Any:
        """Return a layer's output."""
        match layer:
            case blocks.Conv2D():
                Z = F.conv2d(X, *parameters, padding=layer.padding)
                return _ACTIVATIONS[layer.activation](Z)
            case blocks.MaxPool2D():
                return F.max_pool2d(X, layer.size)
            case blocks.Flatten():
                return (X.permute(0, 2, 3, 1) if self.last else X).flatten(1)
            case blocks.Dense():
                whole = layer is self.layers[-1][0] and isinstance(self.case, Stack)
                return _ACTIVATIONS["linear" if whole else layer.activation](F.linear(X, *parameters))
            case blocks.Elman():
                W, U, b = parameters
                state, zeros = X.new_zeros(1, X.shape[1], layer.n_out), torch.zeros_like(b)
                weights = [W, U, b, zeros]
                return torch._VF.rnn_tanh(X, state, weights, True, 1, 0.0, True, False, False)[1][0]
            case blocks.Normalisation(kind="layer_norm"):
                return F.layer_norm(X, X.shape[-1:], *parameters, EPS)
            case blocks.Normalisation():
                return F.batch_norm(X, None, None, *parameters, True, 0.1, EPS)
        raise TypeError(layer)

    def _own(
        self, layer: Block, shape: blocks.Shape, arrays: dict[str, Array]
    ) -> Iterator[tuple[Any, Callable[[Any], Any]]]:
        """Yield a layer's parameters, each with a function that converts it to the case's layout."""
        if isinstance(layer, blocks.Flatten) and not self.last:
            self._images = shape
        for name, array in arrays.items():
            tensor = torch.from_numpy(array)
            if isinstance(layer, blocks.Conv2D) and name == "W":
                yield self._laid(tensor.permute(3, 2, 0, 1)), lambda t: t.permute(2, 3, 1, 0)
            elif isinstance(layer, blocks.Dense) and name == "W" and self._images:
                h, w, c = self._images
                self._images = None
                W = tensor.view(h, w, c, -1).permute(3, 2, 0, 1)
                yield W.flatten(1).contiguous(), functools.partial(_unflattened, c=c, h=h, w=w)
            elif name in ("W", "U"):
                yield tensor.T.contiguous(), torch.t
            else:
                yield tensor[0].clone(), lambda t: t[None]

    def _laid(self, images: Any) -> Any:
        layout = torch.channels_last if self.last else torch.contiguous_format
        return images.contiguous(memory_format=layout)


def _unflattened(W: Any, c: int, h: int, w: int) -> Any:
    return W.view(-1, c, h, w).permute(2, 3, 1, 0).flatten(0, 2)


def eager(case: Stacked) -> Call:
    """Return a case, operator by operator."""
    ways = [lambda form: _call(form, None)]
    if isinstance(case, LayerCase) and _kind(case.layer) in _OPERATORS:
        ways.append(lambda form: _layer(form, _OPERATORS[_kind(case.layer)]))
    return _fastest(case, *ways)


def compiled(case: Stacked) -> Call:
    """Return the same compiled as a whole."""
    whole = functools.partial(
        torch.compile, fullgraph=True, dynamic=False, options={"cpp_wrapper": True}
    )
    return _fastest(case, lambda form: _call(form, whole))


def frozen(case: StackInference) -> Call:
    """Return a forward pass traced, frozen and optimised by ``torch.jit``."""
    return _fastest(case, _frozen)


def _fastest(case: Stacked, *ways: Callable[[Form], Call]) -> Call:
    layouts = (True, False) if len(case.shape) == 3 else (True,)

    def make(way: Callable[[Form], Call], last: bool) -> Call:
        return way(Form(case, last))

    tried = itertools.product(ways, layouts)
    return timing.fastest([functools.partial(make, way, last) for way, last in tried])


def _call(form: Form, whole: Any) -> Call:
    case = form.case
    if isinstance(case, LayerCase):
        return _layer(form, _by_autograd) if whole is None else _layer(form, _both, whole)
    if isinstance(case, StackStep):
        return _step(form, whole)
    forward = whole(form.forward) if whole else form.forward
    run: Call = torch.inference_mode()(lambda: forward(form.X, form.parameters))
    return run


def _layer(form: Form, function: Callable[..., Any], whole: Any = None) -> Call:
    case = form.case
    assert isinstance(case, LayerCase)
    run: Any = functools.partial(function, form, not case.first)
    if whole:
        run = whole(run)
    dY = form.inputs(case.gradient())

    def call() -> Any:
        Y, dX, gradients = run(form.X, dY, form.parameters)
        back = [] if case.first else [form.outputs(dX)]
        return form.outputs(Y), back, form.trained(gradients)

    return call


def _kind(layer: Block) -> str:
    kind: str = layer.arguments["name"]
    return kind.rstrip("12d")


def _by_autograd(form: Form, wanted: bool, X: Any, dY: Any, parameters: Any) -> Any:
    leaves = [tensor.detach().requires_grad_() for tensor in ([X] if wanted else []) + parameters]
    with torch.enable_grad():
        own = leaves[wanted:]
        Y = form.forward(leaves[0] if wanted else X, own)
        found = torch.autograd.grad(Y, leaves, dY)
    return Y.detach(), found[0] if wanted else None, found[wanted:]


def _both(form: Form, wanted: bool, X: Any, dY: Any, parameters: Any) -> Any:
    """Go forward and back, in a form that compiles as one graph."""
    if wanted:
        Y, back = torch.func.vjp(form.forward, X, parameters)
        dX, gradients = back(dY)
        return Y, dX, gradients
    Y, back = torch.func.vjp(functools.partial(form.forward, X), parameters)
    return Y, None, back(dY)[0]


def _convolution(form: Form, wanted: bool, X: Any, dY: Any, parameters: Any) -> Any:
    layer: Any = form.layers[0][0]
    W, b = parameters
    sizes = [1, 1], [layer.padding] * 2, [1, 1], False, [0, 0], 1
    Y = _aten.convolution(X, W, b, *sizes)
    found = _aten.convolution_backward(dY, X, W, list(b.shape), *sizes, [wanted, True, True])
    return Y, found[0], found[1:]


def _pooling(form: Form, wanted: bool, X: Any, dY: Any, parameters: Any) -> Any:
    layer: Any = form.layers[0][0]
    sizes = [layer.size] * 2, [layer.size] * 2, [0, 0], [1, 1], False
    Y, places = _aten.max_pool2d_with_indices(X, *sizes)
    return Y, _aten.max_pool2d_with_indices_backward(dY, X, *sizes, places), ()


def _layer_norm(form: Form, wanted: bool, X: Any, dY: Any, parameters: Any) -> Any:
    gain, shift = parameters
    sizes = list(gain.shape)
    Y, mean, rstd = _aten.native_layer_norm(X, sizes, gain, shift, EPS)
    dX, *found = _aten.native_layer_norm_backward(
        dY, X, sizes, mean, rstd, gain, shift, [True, True, True]
    )
    return Y, dX, found


def _batch_norm(form: Form, wanted: bool, X: Any, dY: Any, parameters: Any) -> Any:
    gamma, beta = parameters
    Y, mean, rstd = _aten.native_batch_norm(X, gamma, beta, None, None, True, 0.1, EPS)
    dX, *found = _aten.native_batch_norm_backward(
        dY, X, gamma, None, None, mean, rstd, True, EPS, [True, True, True]
    )
    return Y, dX, found


_OPERATORS: dict[str, Callable[..., Any]] = {
    "conv": _convolution,
    "pool": _pooling,
    "layer_norm": _layer_norm,
    "batchnorm": _batch_norm,
}


def _step(form: Form, whole: Any) -> Call:
    case = form.case
    assert isinstance(case, StackStep)
    labels = torch.from_numpy(case.labels())
    parameters = form.parameters

    def loss(parameters: Any) -> Any:
        return F.cross_entropy(form.forward(form.X, parameters), labels)

    def step(parameters: Any) -> Any:
        gradients, value = torch.func.grad_and_value(loss)(parameters)
        torch._foreach_add_(parameters, gradients, alpha=-LR)
        return value

    def eager() -> Any:
        with torch.enable_grad():
            value = loss(parameters)
        torch._foreach_add_(parameters, torch.autograd.grad(value, parameters), alpha=-LR)
        return value.detach()

    trained = form.trained(parameters)
    if whole:
        run = whole(step)
        return lambda: (run(parameters), trained)
    for tensor in parameters:
        tensor.requires_grad_()
    return lambda: (eager(), trained)


def _frozen(form: Form) -> Call:
    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            for i, tensor in enumerate(form.parameters):
                self.register_buffer(f"p{i}", tensor)

        def forward(self, X: Any) -> Any:
            return form.forward(X, list(self.buffers()))

    traced = torch.jit.freeze(torch.jit.trace(Network().eval(), form.X))
    run = torch.jit.optimize_for_inference(traced)
    whole: Call = torch.inference_mode()(lambda: run(form.X))
    return whole
