"""MNIST with JAX: a jitted step with donated buffers. The last, short batch is left out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import race

options = race.options()
X, labels, X_test, labels_test = race.load(options.folder, options.threads)
rng = np.random.default_rng(options.seed)
parameters = [
    (jnp.asarray(rng.normal(0, np.sqrt(2 / d), (d, k)), jnp.float32), jnp.zeros(k, jnp.float32))
    for d, k in zip(race.WIDTHS, race.WIDTHS[1:], strict=False)
]


def scores(parameters, x):
    for W, b in parameters[:-1]:
        x = jax.nn.relu(x @ W + b)
    W, b = parameters[-1]
    return x @ W + b


def loss(parameters, x, y):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores(parameters, x)), y[:, None], 1))


@functools.partial(jax.jit, donate_argnums=0)
def step(state, x, y):
    parameters, velocities = state
    gradients = jax.grad(loss)(parameters, x, y)
    velocities = jax.tree.map(lambda v, g: race.MOMENTUM * v + g, velocities, gradients)
    return jax.tree.map(lambda p, v: p - race.LR * v, parameters, velocities), velocities


state = parameters, jax.tree.map(jnp.zeros_like, parameters)
right = jax.jit(lambda parameters, x, y: jnp.mean(scores(parameters, x).argmax(1) == y))


def epoch():
    global state
    order = rng.permutation(len(X))
    for start in range(0, len(X) - race.BATCH + 1, race.BATCH):
        rows = order[start : start + race.BATCH]
        state = step(state, X[rows], labels[rows])


race.run(options, epoch, accuracy=lambda: right(state[0], X_test, labels_test).item())
