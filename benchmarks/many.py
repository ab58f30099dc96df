"""Many small networks at once: ``fastnn.fit_many``, JAX, processes of scikit-learn.

The networks differ in their seeds: 64-64-10, relu, softmax and cross-entropy, on scikit-learn's digits,
shuffled batches of 32, plain SGD, float32. Each contestant trains all of them, in a process of its own,
after one uncounted run that compiles or starts processes; contestants take turns over the rounds. All
must end with about the same loss and accuracy. JAX has a device for each thread, and on it trains its
share of the networks by ``vmap``, or one after the other by ``lax.map``. The ratio is a contestant's
time to that of fit_many.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np
from rich.console import Console
from rich.table import Table

from fastnn.bench import contestants, machine, runner
from fastnn.bench.startup import last_line

WIDTHS, BATCH, LR = (64, 64, 10), 32, 0.1
_ALIKE = 0.1  # by what share mean losses may differ, of networks drawn at random


def fastnn_networks(count):
    import fastnn

    layers = [{"name": "fully_connected", "n_out": n, "activation": "relu"} for n in WIDTHS[1:]]
    layers[-1]["activation"] = "softmax"
    rule = {"name": "SGD", "lr": LR}
    return [
        fastnn.NeuralNetwork("cross_entropy", layers, rule, seed=seed, dtype="float32")
        for seed in range(count)
    ]


def parameters_of(networks):
    return [[p for layer in net.layers for p in layer.parameters.values()] for net in networks]


def fit_many(X, labels, count, epochs, threads):
    import fastnn

    networks = fastnn_networks(count)
    start = time.perf_counter()
    fastnn.fit_many(networks, X, labels, epochs=epochs, batch_size=BATCH)
    return time.perf_counter() - start, parameters_of(networks)


def fit_loop(X, labels, count, epochs, threads):
    networks = fastnn_networks(count)
    start = time.perf_counter()
    for net in networks:
        net.fit(X, labels, epochs=epochs, batch_size=BATCH, verbose=False)
    return time.perf_counter() - start, parameters_of(networks)


def jax_epoch(X, labels):
    """Return an epoch of one network, ``epoch(parameters, order)``, to be jitted."""
    import jax
    import jax.numpy as jnp

    X, Y = jnp.asarray(X), jnp.eye(WIDTHS[-1], dtype=X.dtype)[labels]

    def loss(parameters, x, y):
        W, b, V, c = parameters
        scores = jax.nn.relu(x @ W + b) @ V + c
        return -jnp.sum(y * jax.nn.log_softmax(scores)) / len(x)

    def step(parameters, rows):
        gradients = jax.grad(loss)(parameters, X[rows], Y[rows])
        return [p - LR * g for p, g in zip(parameters, gradients, strict=True)], None

    def epoch(parameters, order):
        whole = len(order) // BATCH * BATCH
        parameters, _ = jax.lax.scan(step, parameters, order[:whole].reshape(-1, BATCH))
        return step(parameters, order[whole:])[0]

    return epoch


def jax_many(together, X, labels, count, epochs, threads):
    """Train on a device for each thread, each with its share of the networks.

    ``together(epoch)`` is the epoch of a device's networks: of all at once, or in turn.
    """
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", threads)
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    epoch = jax.pmap(together(jax_epoch(X, labels)), donate_argnums=0)
    rng = np.random.default_rng(0)
    shares = (threads, count // threads)
    parameters = [
        jax.numpy.array(array)
        for d, k in itertools.pairwise(WIDTHS)
        for array in (
            rng.normal(0, np.sqrt(2 / d), (*shares, d, k)).astype(np.float32),
            np.zeros((*shares, k), np.float32),
        )
    ]
    orders = np.broadcast_to(np.arange(len(X)), (*shares, len(X)))
    warm = epoch([p.copy() for p in parameters], orders)
    jax.block_until_ready(epoch(warm, orders))  # compiled for what it returns, too
    start = time.perf_counter()
    for _ in range(epochs):
        parameters = epoch(parameters, rng.permuted(orders, axis=-1))
    jax.block_until_ready(parameters)
    seconds = time.perf_counter() - start
    flat = [np.asarray(p).reshape(count, *p.shape[2:]) for p in parameters]
    return seconds, list(zip(*flat, strict=True))


def jax_vmap(*arguments):
    import jax

    return jax_many(jax.vmap, *arguments)


def jax_map(*arguments):
    import jax

    return jax_many(
        lambda epoch: lambda *stacked: jax.lax.map(lambda one: epoch(*one), stacked), *arguments
    )


def sklearn_fit(X, labels, epochs, seed):
    from sklearn import set_config
    from sklearn.neural_network import MLPClassifier

    set_config(assume_finite=True, skip_parameter_validation=True)
    warnings.simplefilter("ignore")  # that it has not converged
    net = MLPClassifier(
        WIDTHS[1:-1], solver="sgd", alpha=0, batch_size=BATCH, learning_rate_init=LR, momentum=0,
        nesterovs_momentum=False, max_iter=epochs, n_iter_no_change=epochs, random_state=seed,
    )  # fmt: skip
    net.fit(X, labels)
    return [a for pair in zip(net.coefs_, net.intercepts_, strict=True) for a in pair]


def sklearn_joblib(X, labels, count, epochs, threads):
    from joblib import Parallel, delayed, parallel_config

    with parallel_config("loky", n_jobs=threads, inner_max_num_threads=1), Parallel() as workers:
        workers(delayed(sklearn_fit)(X, labels, 1, seed) for seed in range(2 * threads))
        start = time.perf_counter()
        parameters = workers(delayed(sklearn_fit)(X, labels, epochs, seed) for seed in range(count))
        return time.perf_counter() - start, parameters


# contestant: who trains, and whose version says whether it is there
TABLE = {
    "fit_many": (fit_many, "fastnn"),
    "loop of fit": (fit_loop, "fastnn"),
    "JAX vmap": (jax_vmap, "jax"),
    "JAX map": (jax_map, "jax"),
    "scikit-learn, joblib": (sklearn_joblib, "sklearn"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, action="append", help="default: 1 and all cores")
    parser.add_argument("--contestant", choices=list(TABLE), help="train here, print JSON")
    options = parser.parse_args()
    if options.contestant:
        print(
            json.dumps(train(options.contestant, options.networks, options.epochs, options.threads[0]))
        )
        return
    console = Console(width=100)
    about = machine.describe()
    console.print(f"{about['processor']}, {about['cores']} cores; load average {about['load']}")
    for threads in options.threads or dict.fromkeys((1, machine.cores())):
        console.print(table(race(threads, options), threads, options))


def train(name, count, epochs, threads):
    """Return the seconds of training all networks, and their mean loss and accuracy in the end."""
    from sklearn.datasets import load_digits

    X, labels = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    contestant, _ = TABLE[name]
    contestant(X, labels, 2 * threads, 1, threads)  # compiles
    seconds, networks = contestant(X, labels, count, epochs, threads)
    losses, hits = zip(*(judged(net, X, labels) for net in networks), strict=True)
    assert len(networks) == count
    return {"seconds": seconds, "loss": np.mean(losses), "accuracy": np.mean(hits)}


def judged(parameters, X, labels):
    """Return the loss and accuracy of a network on the rows it was trained on."""
    W, b, V, c = (np.asarray(p, np.float64) for p in parameters)
    scores = np.maximum(X @ W + b, 0) @ V + c
    scores -= scores.max(axis=1, keepdims=True)
    own = scores[np.arange(len(X)), labels]
    return np.mean(np.log(np.exp(scores).sum(axis=1)) - own), np.mean(scores.argmax(axis=1) == labels)


def race(threads, options):
    """Return each contestant's results, one a round, or what is wrong with it."""
    found = {
        name: [] if contestants.version(library) else "not installed"
        for name, (_, library) in TABLE.items()
    }
    for number in range(options.rounds):
        for name in [name for name in found if not isinstance(found[name], str)]:
            print(f"round {number + 1} of {options.rounds}, {threads} threads: {name}", flush=True)
            command = [
                sys.executable, __file__, f"--contestant={name}", f"--networks={options.networks}",
                f"--epochs={options.epochs}", f"--threads={threads}",
            ]  # fmt: skip
            done = subprocess.run(
                command, env=runner.environment(threads), capture_output=True, text=True
            )
            if done.returncode:
                found[name] = last_line(done.stderr)
            else:
                found[name].append(json.loads(done.stdout))
    return found


def table(found, threads, options):
    """Return what was measured; a contestant that learned something else is marked."""
    made = Table(
        "", "networks/s", "ratio", "rounds", "mean loss", "accuracy",
        title=f"{options.networks} networks, {options.epochs} epochs, {threads} threads",
    )  # fmt: skip

    def median(name, what):
        return statistics.median(result[what] for result in found[name])

    for name, results in found.items():
        if isinstance(results, str):
            made.add_row(name, results)
            continue
        rates = sorted(options.networks / result["seconds"] for result in results)
        alike = abs(median(name, "loss") / median("fit_many", "loss") - 1) < _ALIKE
        made.add_row(
            name,
            f"{statistics.median(rates):.1f}",
            f"{median(name, 'seconds') / median('fit_many', 'seconds'):.2f}",
            f"{rates[0]:.1f} - {rates[-1]:.1f}",
            f"{median(name, 'loss'):.4f}" + ("" if alike else " (not alike)"),
            f"{median(name, 'accuracy'):.2%}",
        )
    return made


if __name__ == "__main__":
    main()
