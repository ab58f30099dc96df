"""Layers and networks in JAX: one jitted function per case, channels last, buffers donated.

A convolution is XLA's own or a product with a column matrix, whichever is faster. Pooling is a maximum
over axes, whose gradient is faster than that of ``reduce_window``. A series is a scan; one product
before the scan multiplies the inputs of all time steps.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from fastnn._typing import Array
from fastnn.bench import blocks, timing
from fastnn.bench.blocks import EPS, Block
from fastnn.bench.contestants import Call
from fastnn.bench.layers import LayerCase, Stack, Stacked, StackStep
from fastnn.bench.networks import LR

_ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": jax.nn.relu, "linear": lambda z: z}


class Way(NamedTuple):
    """One of several variants that compute the same."""

    by_columns: bool = False  # whether convolutions use a column matrix
    unrolled: int = 1  # time steps per iteration of the scan


def call(case: Stacked) -> Call:
    """Return a call of a case, in the fastest of several variants."""
    ways = [Way()]
    if any(isinstance(layer, blocks.Conv2D) for layer in case.layers):
        ways.append(Way(by_columns=True))
    if any(isinstance(layer, blocks.Elman) for layer in case.layers):
        ways.append(Way(unrolled=5))
    return timing.fastest([functools.partial(_call, case, way) for way in ways])


def _call(case: Stacked, way: Way) -> Call:
    forward = functools.partial(_forward, case, way)
    X = _inputs(case.batch())
    parameters = [[*map(jnp.asarray, arrays.values())] for arrays in case.parameters()]
    if isinstance(case, LayerCase):
        return _layer(case, forward, X, parameters)
    if isinstance(case, StackStep):
        return _step(case, forward, X, parameters)
    jitted = jax.jit(lambda X: forward(parameters, X))  # constants: XLA may lay them out anew
    return lambda: jax.block_until_ready(jitted(X))


def _inputs(array: Array) -> Any:
    """Return inputs, of a series with time first."""
    return jnp.asarray(array.transpose(2, 0, 1) if array.ndim == 3 else array)


def _forward(case: Stacked, way: Way, parameters: Any, X: Any) -> Any:
    """Return the last layer's output before its softmax."""
    for layer, own in zip(case.layers, parameters, strict=True):
        last = isinstance(case, Stack) and layer is case.layers[-1]
        X = _apply(layer, X, own, last, way)
    return X


def _apply(layer: Block, X: Any, own: Any, last: bool, way: Way) -> Any:
    match layer:
        case blocks.Conv2D():
            convolved = _by_columns if way.by_columns else _convolution
            return _ACTIVATIONS[layer.activation](convolved(X, own[0], layer.padding) + own[1][0])
        case blocks.MaxPool2D(size=k):
            n, h, w, c = X.shape
            return X.reshape(n, h // k, k, w // k, k, c).max(axis=(2, 4))
        case blocks.Flatten():
            return X.reshape(len(X), -1)
        case blocks.Dense():
            return _ACTIVATIONS["linear" if last else layer.activation](X @ own[0] + own[1])
        case blocks.Elman():
            W, U, b = own
            return _scan(X, W, U, b, way.unrolled)
        case blocks.Normalisation():
            axes = -1 if layer.kind == "layer_norm" else tuple(range(X.ndim - 1))
            centred = X - X.mean(axis=axes, keepdims=True)
            variance = (centred * centred).mean(axis=axes, keepdims=True)
            return centred * lax.rsqrt(variance + EPS) * own[0] + own[1]
    raise TypeError(layer)


def _convolution(X: Any, W: Any, padding: int) -> Any:
    pads, names = [(padding, padding)] * 2, ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(X, W, (1, 1), pads, dimension_numbers=names)


def _by_columns(X: Any, W: Any, padding: int) -> Any:
    kh, kw, channels, k = W.shape
    X = jnp.pad(X, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    n, h, w = len(X), X.shape[1] - kh + 1, X.shape[2] - kw + 1
    shifted = [X[:, i : i + h, j : j + w] for i in range(kh) for j in range(kw)]
    columns = jnp.concatenate(shifted, axis=-1).reshape(-1, kh * kw * channels)
    return (columns @ W.reshape(-1, k)).reshape(n, h, w, k)


def _scan(X: Any, W: Any, U: Any, b: Any, turns: int) -> Any:
    def step(state: Any, z: Any) -> Any:
        return jnp.tanh(z + state @ U), None

    zeros = jnp.zeros((X.shape[1], len(U)), X.dtype)
    return lax.scan(step, zeros, X @ W + b, unroll=turns)[0]


def _layer(case: LayerCase, forward: Callable[..., Any], X: Any, parameters: Any) -> Call:
    dY = jnp.asarray(case.gradient())

    def both(parameters: Any, X: Any, dY: Any) -> Any:
        if case.first:
            Y, back = jax.vjp(lambda parameters: forward(parameters, X), parameters)
            return Y, back(dY)[0]
        Y, back = jax.vjp(forward, parameters, X)
        gradients, dX = back(dY)
        return Y, dX, gradients

    jitted = jax.jit(both)
    return lambda: jax.block_until_ready(jitted(parameters, X, dY))


def _step(case: StackStep, forward: Callable[..., Any], X: Any, parameters: Any) -> Call:
    Y = jnp.asarray(case.one_hot())

    def loss(parameters: Any, X: Any, Y: Any) -> Any:
        return -jnp.sum(Y * jax.nn.log_softmax(forward(parameters, X))) / len(Y)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(parameters: Any, X: Any, Y: Any) -> Any:
        value, gradients = jax.value_and_grad(loss)(parameters, X, Y)
        return value, jax.tree.map(lambda p, g: p - LR * g, parameters, gradients)

    state = [parameters]

    def call() -> Any:
        value, state[0] = jax.block_until_ready(step(state[0], X, Y))
        return value, [*itertools.chain(*state[0])]

    return call
