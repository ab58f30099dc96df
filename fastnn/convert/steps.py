"""A network as a sequence of affine maps, activations and layers, for PyTorch and ONNX."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastnn._counterpart import Counterpart
from fastnn._own import says
from fastnn._typing import Array
from fastnn.activations import ACTIVATIONS, Activation, Linear, LogSoftMax, ReLU, SoftMax, TanH
from fastnn.layers import (
    BatchNorm1D,
    BatchNorm2D,
    Conv2D,
    Elman,
    Embedding,
    Flatten,
    FullyConnected,
    GlobalAveragePool2D,
    Layer,
    Pool2D,
    Residual,
)
from fastnn.losses import L2, LOSSES, CrossEntropy, Loss, initialize_loss
from fastnn.models import NeuralNetwork
from fastnn.optimizers import Optimizer


@dataclass(frozen=True)
class Affine:
    """``X W + b``, with ``W (d, k)`` and ``b (k,)``."""

    W: Array
    b: Array


Step = Affine | Activation | Layer
# Layers that are converted as one step.
WHOLE = (
    Conv2D,
    Pool2D,
    Flatten,
    GlobalAveragePool2D,
    Embedding,
    Elman,
    BatchNorm1D,
    BatchNorm2D,
    Residual,
)


def counterparts(library: str) -> dict[Any, Counterpart]:
    """Return the activations that ``library``, ``"torch"`` or ``"onnx"``, has too."""
    named = {kind: getattr(kind, library) for kind in ACTIVATIONS.values()}
    return {kind: found for kind, found in named.items() if found is not None}


def steps_of(net: NeuralNetwork, library: str) -> list[Step]:
    """Return a network's steps, which hold its own arrays. Linear activations are left out.

    Raises ``TypeError`` for layers that are not converted, and for activations that ``library``,
    ``"torch"`` or ``"onnx"``, does not have; ``RuntimeError`` without parameters.
    """
    _check_kinds(net.layers, "layer ")
    _ = net.flat_parameters  # raises if there are none, or of several dtypes
    _check_activations(net.layers, "layer ", library)
    return steps_through(net.layers)


def _check_kinds(layers: Sequence[Layer], where: str) -> None:
    for i, layer in enumerate(layers):
        if type(layer) is not FullyConnected and type(layer) not in WHOLE:
            known = ", ".join(kind.__name__ for kind in (FullyConnected, *WHOLE))
            raise TypeError(f"{where}{i} is a {type(layer).__name__}; converted are: {known}")
        if type(layer) is Flatten and layer.keep_dim != "first":
            raise TypeError(
                f"{where}{i} is a Flatten(keep_dim={layer.keep_dim!r}); only 'first' is converted"
            )
        if isinstance(layer, Elman):
            _check_recurrence(f"{where}{i}", layer)
        _check_kinds(layer.nested, f"{where}{i}.")


def _check_activations(layers: Sequence[Layer], where: str, library: str) -> None:
    known = counterparts(library)
    for i, layer in enumerate(layers):
        kind = type(layer.activation)
        if layer.activation is not None and kind is not Linear and kind not in known:
            what = {"torch": "PyTorch module", "onnx": "ONNX operator"}[library]
            raise TypeError(
                f"{where}{i} is a {type(layer).__name__} with {kind.__name__}: no {what} for the "
                f"activation {kind.__name__}; there are: {', '.join(k.__name__ for k in known)}"
            )
        _check_activations(layer.nested, f"{where}{i}.", library)


def steps_through(layers: Sequence[Layer]) -> list[Step]:
    """Return the steps of layers that are converted."""
    steps: list[Step] = []
    for layer in layers:
        if type(layer) is not FullyConnected:
            steps.append(layer)
            continue
        steps.append(Affine(layer.parameters["W"], layer.parameters["b"].reshape(-1)))
        if type(layer.activation) is not Linear:
            steps.append(layer.activation)
    return steps


def layers_of(steps: Iterable[Step]) -> list[Layer]:
    """Return the layers of a block's steps, with copies of their arrays.

    Raises ``TypeError`` for an activation that does not follow an affine map.
    """
    layers: list[Layer] = []
    affine: Affine | None = None  # the last step, if it may take an activation
    for step in steps:
        if isinstance(step, Affine):
            layers.append(FullyConnected.of(step.W, step.b.reshape(1, -1), Linear()))
        elif isinstance(step, Layer):
            layers.append(step)
        elif affine is not None:
            layers[-1] = FullyConnected.of(affine.W, affine.b.reshape(1, -1), step)
        else:
            raise TypeError(
                f"{type(step).__name__} follows no linear layer; in a block, an activation must "
                "follow a linear layer"
            )
        affine = step if isinstance(step, Affine) else None
    return layers


def _check_recurrence(where: str, layer: Elman) -> None:
    """Raise ``TypeError`` for an Elman layer that PyTorch and ONNX do not have."""
    if type(layer.activation) not in (TanH, ReLU):
        name = type(layer.activation).__name__
        raise TypeError(f"{where} is an Elman with {name}; only TanH and ReLU are converted")
    if layer.mask_value is not None:
        raise TypeError(
            f"{where} is an Elman(mask_value={layer.mask_value}); a layer with a mask is not "
            "converted, only mask_value=None"
        )


def network(
    steps: Iterable[Step],
    loss: str | Loss | None,
    logits: bool,
    optimizer_args: Mapping[str, Any] | Optimizer | None,
) -> NeuralNetwork:
    """Return a network of these steps with copies of their arrays.

    Raises ``TypeError`` if they are not linear layers with an activation each, ``ValueError`` if they
    do not fit one another or the loss.
    """
    affine: list[Affine | Layer] = []
    activations: list[Activation | None] = []
    for step in steps:
        if isinstance(step, Layer):
            # A Flatten after nothing but affine maps takes rows already.
            if type(step) is not Flatten or any(isinstance(before, Layer) for before in affine):
                affine.append(step)
                activations.append(None)
        elif isinstance(step, Affine):
            affine.append(step)
            activations.append(Linear())
        elif not activations or type(activations[-1]) is not Linear:
            place = "another activation" if activations else "no linear layer"
            raise TypeError(f"{type(step).__name__} follows {place}; here a layer is X W + b, then one")
        else:
            activations[-1] = step
    if not any(isinstance(step, Affine) for step in affine):
        raise TypeError("there is no linear layer to convert")
    _check_shapes(affine)
    dtypes = {str(array.dtype) for step in affine for array in _arrays(step)}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        raise TypeError(
            f"parameters must all be float32 or all float64, got {', '.join(sorted(dtypes))}"
        )
    last = activations[-1]
    if last is None:
        raise TypeError(f"{type(affine[-1]).__name__} comes last; the last layer must be linear")
    made, activations[-1] = _loss(last, loss, logits)
    layers: list[Layer] = []
    for step, activation in zip(affine, activations, strict=True):
        if isinstance(step, Affine):
            assert activation is not None
            step = FullyConnected.of(step.W, step.b.reshape(1, -1), activation)
        layers.append(step)
    optimizer = {"name": "SGD", "lr": 0.01} if optimizer_args is None else optimizer_args
    return NeuralNetwork(made, layers, optimizer, dtype=dtypes.pop())


def _arrays(step: Affine | Layer) -> Iterable[Array]:
    return (step.W, step.b) if isinstance(step, Affine) else step.parameters.values()


def _check_shapes(affine: Sequence[Affine | Layer]) -> None:
    """Raise ``ValueError`` unless each step takes what the one before it gives."""
    width: int | None = None
    for i, step in enumerate(affine):
        if isinstance(step, Layer):
            width = None
            continue
        W, b = step.W.shape, step.b.shape
        if len(W) != 2 or 0 in W or b != W[1:]:
            raise ValueError(f"layer {i} has W {W} and b {b}; it needs W (d, k) and b (k,)")
        if width not in (None, W[0]):
            raise ValueError(f"layer {i} has W {W}, layer {i - 1} before it has {width} outputs")
        width = W[1]


def _loss(last: Activation, loss: str | Loss | None, logits: bool) -> tuple[Loss, Activation]:
    """Return the loss and the last activation that go together."""
    if loss is None:
        fitting = {kind.fuses: kind for kind in LOSSES.values() if kind.fuses}
        loss = CrossEntropy() if logits else fitting.get(type(last), L2)()
    made = loss if isinstance(loss, Loss) else initialize_loss(loss)
    takes = says(made, "fuses")  # the activation that PyTorch's loss from logits holds
    if logits:
        if takes is None:
            raise ValueError(f"logits=True goes with the losses with cross-entropy, not {made.name!r}")
        if type(last) is not Linear and (takes is not SoftMax or type(last) is not LogSoftMax):
            raise ValueError(f"logits=True, but the last activation is {type(last).__name__}")
        return made, takes()
    if takes is not None and type(last) in (Linear, LogSoftMax):
        raise ValueError(f"{made.name} takes probabilities, not logits: pass logits=True")
    return made, last
