"""LeNet-5 on MNIST with JAX: a jitted step with donated buffers. The last, short batch is left out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import race
from jax import lax

options = race.options()
X, labels, X_test, labels_test = race.load(options.folder, options.threads)
X, X_test = (images.reshape(-1, 28, 28, 1) for images in (X, X_test))
rng = np.random.default_rng(options.seed)
SHAPES = (5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10)
parameters = [
    (
        jnp.asarray(rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape), jnp.float32),
        jnp.zeros(shape[-1], jnp.float32),
    )
    for shape in SHAPES
]


def convolution(x, W, b, padding):
    names = ("NHWC", "HWIO", "NHWC")
    z = lax.conv_general_dilated(x, W, (1, 1), padding, dimension_numbers=names)
    a = jax.nn.relu(z + b)
    n, h, w, c = a.shape
    return a.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def scores(parameters, x):
    x = convolution(x, *parameters[0], "SAME")
    x = convolution(x, *parameters[1], "VALID").reshape(len(x), -1)
    for W, b in parameters[2:-1]:
        x = jax.nn.relu(x @ W + b)
    W, b = parameters[-1]
    return x @ W + b


def loss(parameters, x, y):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores(parameters, x)), y[:, None], 1))


@functools.partial(jax.jit, donate_argnums=0)
def step(state, lr, x, y):
    parameters, velocities = state
    gradients = jax.grad(loss)(parameters, x, y)
    velocities = jax.tree.map(lambda v, g: race.MOMENTUM * v + g, velocities, gradients)
    return jax.tree.map(lambda p, v: p - lr * v, parameters, velocities), velocities


lr = race.LENET_LR
state = parameters, jax.tree.map(jnp.zeros_like, parameters)
right = jax.jit(lambda parameters, x, y: jnp.mean(scores(parameters, x).argmax(1) == y))


def epoch():
    global state, lr
    order = rng.permutation(len(X))
    for start in range(0, len(X) - race.BATCH + 1, race.BATCH):
        rows = order[start : start + race.BATCH]
        state = step(state, lr, X[rows], labels[rows])
    lr *= race.LENET_DECAY


race.run(options, epoch, accuracy=lambda: right(state[0], X_test, labels_test).item())
