"""JAX: each function jitted whole; gradients by its own differentiation, or a formula if faster."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fastnn.bench.cases import Case, KernelCase
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.networks import LR, Inference, TrainingStep


class Jax(Contestant):
    """Jitted JAX; for a ready buffer, the last result is donated to the next call."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_platforms", "cpu")
        # a call that is waited for at once gains nothing from another thread, and loses the hand-over
        jax.config.update("jax_cpu_enable_async_dispatch", False)

    def call(self, case: Case) -> Call | None:
        if isinstance(case, TrainingStep):
            return _training_step(case)
        if isinstance(case, Inference):
            return _inference(case)
        assert isinstance(case, KernelCase)
        function = _function(case.kernel)
        if function is None:
            return None
        inputs = [jnp.asarray(array) for array in case.inputs()]
        if case.ready:
            return _donating(function, inputs)
        jitted = jax.jit(function)
        return lambda: jax.block_until_ready(jitted(*inputs))


def _donating(function: Callable[..., Any], inputs: list[Any]) -> Call:
    def into(out: Any, *arrays: Any) -> Any:
        return function(*arrays)

    jitted = jax.jit(into, donate_argnums=0, keep_unused=True)
    last = [jnp.zeros_like(inputs[0])]

    def call() -> Any:
        result = jax.block_until_ready(jitted(last[0], *inputs))
        last[0] = result[-1] if isinstance(result, tuple) else result
        return result

    return call


def _scores(parameters: list[Any], X: Any) -> Any:
    A = X
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        A = jax.nn.relu(A @ W + b)
    return A @ parameters[-2] + parameters[-1]


def _inference(case: Inference) -> Call:
    X, parameters = jnp.asarray(case.batch()[0]), [*map(jnp.asarray, case.parameters())]
    jitted = jax.jit(lambda X: _scores(parameters, X))  # constants: XLA may lay them out anew
    return lambda: jax.block_until_ready(jitted(X))


def _training_step(case: TrainingStep) -> Call:
    X, Y = jnp.asarray(case.batch()[0]), jnp.asarray(case.one_hot())

    def step(parameters: Any, velocities: Any, X: Any, Y: Any) -> Any:
        def loss(parameters: Any) -> Any:
            return -jnp.sum(Y * jax.nn.log_softmax(_scores(parameters, X))) / case.n

        value, gradients = jax.value_and_grad(loss)(parameters)
        if case.momentum:
            velocities = [case.momentum * v + g for v, g in zip(velocities, gradients, strict=True)]
            gradients = velocities
        return value, [p - LR * g for p, g in zip(parameters, gradients, strict=True)], velocities

    jitted = jax.jit(step, donate_argnums=(0, 1))
    parameters = [*map(jnp.asarray, case.parameters())]
    state = [parameters, [*map(jnp.zeros_like, parameters)] if case.momentum else []]

    def call() -> Any:
        loss, *state[:] = jax.block_until_ready(jitted(*state, X, Y))
        return loss, state[0]

    return call


def _function(kernel: str) -> Callable[..., Any] | None:
    """Return a kernel's function, or None if there is none."""
    if kernel in _OTHERS:
        return _OTHERS[kernel]
    forward = _FORWARD.get(kernel.removesuffix("_backward"))
    if forward is None or not kernel.endswith("_backward"):
        return forward
    return functools.partial(_backward, forward)


def _backward(forward: Callable[[Any], Any], z: Any, dy: Any) -> Any:
    return jax.vjp(forward, z)[1](dy)[0]


def _jvp(p: Any, dy: Any) -> Any:
    return p * (dy - jnp.sum(dy * p, axis=-1, keepdims=True))


def _cross_entropy(z: Any, y: Any) -> Any:
    return jax.value_and_grad(lambda z: -jnp.sum(y * jax.nn.log_softmax(z)) / len(z))(z)


def _cross_entropy_labels(z: Any, labels: Any) -> Any:
    top = jnp.max(z, axis=-1, keepdims=True)
    e = jnp.exp(z - top)
    total = jnp.sum(e, axis=-1, keepdims=True)
    own = jnp.take_along_axis(z, labels[:, None], axis=-1)
    y = jax.nn.one_hot(labels, z.shape[1], dtype=z.dtype)
    return jnp.mean(jnp.log(total) + top - own), (e / total - y) / len(z)


_OTHERS: dict[str, Callable[..., Any]] = {
    "softmax_jvp": _jvp,
    "softmax_backward": lambda z, dy: _jvp(jax.nn.softmax(z), dy),
    "softmax_cross_entropy": _cross_entropy,
    "softmax_cross_entropy_labels": _cross_entropy_labels,
    "elu_backward": lambda z, dy: dy * jnp.exp(jnp.minimum(z, 0)),
    "softplus_backward": lambda z, dy: dy * jax.nn.sigmoid(z),
}
_FORWARD: dict[str, Callable[..., Any]] = {
    "softmax": jax.nn.softmax,
    "log_softmax": jax.nn.log_softmax,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "arctan": jnp.arctan,
}
