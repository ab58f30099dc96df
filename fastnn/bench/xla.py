"""JAX: each function jitted whole; gradients by its own differentiation, or a formula if faster."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fastnn.bench import xla_layers
from fastnn.bench.cases import Case, KernelCase
from fastnn.bench.contestants import Call, Contestant
from fastnn.bench.layers import Stacked
from fastnn.bench.networks import (
    ADAM_LR,
    BETA_1,
    BETA_2,
    EPS,
    LR,
    Dense,
    Epochs,
    Inference,
    Training,
    TrainingStep,
)


class Jax(Contestant):
    """Jitted JAX; for a ready buffer, the last result is donated to the next call."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_platforms", "cpu")
        # a call that is waited for at once gains nothing from another thread, and loses the hand-over
        jax.config.update("jax_cpu_enable_async_dispatch", False)

    def call(self, case: Case) -> Call | None:
        if isinstance(case, Stacked):
            return xla_layers.call(case)
        if isinstance(case, TrainingStep):
            return _training_step(case) if case.optimizer in ("SGD", *_DECAYS) else None
        if isinstance(case, Epochs):
            return _epochs(case)
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


_HIDDEN = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def _scores(case: Dense, parameters: list[Any], X: Any) -> Any:
    A = X
    for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        A = _HIDDEN[case.hidden](A @ W + b)
    return A @ parameters[-2] + parameters[-1]


def _inference(case: Inference) -> Call:
    X, parameters = jnp.asarray(case.batch()[0]), [*map(jnp.asarray, case.parameters())]
    jitted = jax.jit(lambda X: _scores(case, parameters, X))  # constants: XLA may lay them out anew
    return lambda: jax.block_until_ready(jitted(X))


_DECAYS = {"Adam": 0.0, "AdamW": 0.01}


def _huber(d: Any) -> Any:
    return jnp.where(jnp.abs(d) <= 1, 0.5 * d * d, jnp.abs(d) - 0.5)


_LOSSES = {
    "l2": lambda scores, Y: 0.5 * jnp.sum((scores - Y) ** 2) / len(Y),
    "mse": lambda scores, Y: jnp.mean((scores - Y) ** 2),
    "mae": lambda scores, Y: jnp.mean(jnp.abs(scores - Y)),
    "huber": lambda scores, Y: jnp.mean(_huber(scores - Y)),
    "poisson": lambda scores, Y: jnp.mean(jnp.exp(scores) - Y * scores),
    "quantile": lambda scores, Y: jnp.mean(0.5 * jnp.abs(scores - Y)),  # of the median
}


def _loss(case: Training, parameters: Any, X: Any, Y: Any) -> Any:
    scores = _scores(case, parameters, X)
    if case.error in _LOSSES:
        return _LOSSES[case.error](scores, Y)
    return -jnp.sum(Y * jax.nn.log_softmax(scores)) / len(X)


def _step(case: Training, parameters: Any, state: Any, X: Any, Y: Any) -> Any:
    """Return the loss, new parameters, and what the optimiser keeps: velocities, moments, nothing."""
    value, gradients = jax.value_and_grad(functools.partial(_loss, case))(parameters, X, Y)
    if case.optimizer in _DECAYS:
        count, first, second = state
        count = count + 1
        first = [BETA_1 * m + (1 - BETA_1) * g for m, g in zip(first, gradients, strict=True)]
        second = [BETA_2 * v + (1 - BETA_2) * g * g for v, g in zip(second, gradients, strict=True)]
        correction = jnp.sqrt(1 - BETA_2**count)
        size, eps = ADAM_LR * correction / (1 - BETA_1**count), case.rule.get("eps", EPS) * correction
        moments = zip(parameters, first, second, strict=True)
        kept = 1 - ADAM_LR * _DECAYS[case.optimizer]
        new = [kept * p - size * m / (jnp.sqrt(v) + eps) for p, m, v in moments]
        return value, new, (count, first, second)
    if case.momentum:
        state = [case.momentum * v + g for v, g in zip(state, gradients, strict=True)]
        gradients = state
    return value, [p - LR * g for p, g in zip(parameters, gradients, strict=True)], state


def _begin(case: Training) -> list[Any]:
    """Return parameters and what the optimiser keeps, as new arrays."""
    parameters = [*map(jnp.asarray, case.parameters())]

    def zeros() -> list[Any]:
        return [*map(jnp.zeros_like, parameters)]

    if case.optimizer in _DECAYS:
        return [parameters, (jnp.asarray(0, case.dtype), zeros(), zeros())]
    return [parameters, zeros() if case.momentum else []]


def _training_step(case: TrainingStep) -> Call:
    X, Y = jnp.asarray(case.batch()[0]), jnp.asarray(case.one_hot())
    jitted = jax.jit(functools.partial(_step, case), donate_argnums=(0, 1))
    state = _begin(case)

    def call() -> Any:
        loss, *state[:] = jax.block_until_ready(jitted(*state, X, Y))
        return loss, state[0]

    return call


def _epochs(case: Epochs) -> Call:
    """All epochs as one scan over scans over batches, whose rows are picked inside; none is left out.

    A batch that is all of the data is not picked.
    """
    X, labels = case.data()
    rows, n, whole = case.rows, case.n, case.rows // case.n * case.n
    X, Y = jnp.asarray(X), jnp.asarray(np.eye(case.widths[-1], dtype=case.dtype)[labels])

    def step(X: Any, Y: Any, state: Any, picked: Any) -> Any:
        some = (X, Y) if picked is None else (X[picked], Y[picked])
        loss, parameters, kept = _step(case, state[0], state[1], *some)
        return [parameters, kept], loss

    def epoch(X: Any, Y: Any, state: Any, order: Any) -> Any:
        state, losses = jax.lax.scan(functools.partial(step, X, Y), state, order[:whole].reshape(-1, n))
        if whole < rows:
            state, last = step(X, Y, state, order[whole:])
            losses = jnp.append(losses, last)
        return state, jnp.mean(losses)

    def run(X: Any, Y: Any, state: Any, orders: Any) -> Any:
        if n >= rows:
            return jax.lax.scan(lambda s, _: step(X, Y, s, None), state, length=case.at_once)
        return jax.lax.scan(functools.partial(epoch, X, Y), state, orders)

    jitted = jax.jit(run, donate_argnums=2)
    rng, state = np.random.default_rng(0), [_begin(case)]

    def call() -> Any:
        orders = None
        if n < rows:
            orders = np.stack([rng.permutation(rows) for _ in range(case.at_once)]).astype(np.int32)
        state[0], losses = jax.block_until_ready(jitted(X, Y, state[0], orders))
        return losses[-1]

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
