"""Calls of compiled code with arrays beside protected pages: no read or write outside of an array.

    python tests/fenced.py COUNT [FIRST]

makes so many calls, numbered from FIRST on, with arrays at either side. Each is drawn by its number and
printed before it is made, so the last one printed is the one that ended the process.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np

SMALL = (*range(1, 19), 31, 32, 33, 63, 64, 65, 100)
LARGE = (127, 128, 129, 200, 255, 256, 257, 300)
FOLDER = Path(__file__).parent


def size(draw, large=0.15):
    return draw.choice(LARGE if draw.random() < large else SMALL)


# What may come before fully connected layers: layers, and the shape of a row of what they take.
FRONTS = {
    "convolution": (
        [
            {"name": "conv2d", "n_out": 6, "kernel_shape": (3, 2), "activation": "relu"},
            {"name": "pool2d", "kernel_shape": 2, "stride": 2},
            {"name": "conv2d", "n_out": 17, "kernel_shape": 3, "activation": "tanh", "pad": "valid"},
            {"name": "batchnorm2d"},
            {"name": "conv2d", "n_out": 3, "kernel_shape": 2, "activation": "relu", "stride": 2},
            {"name": "pool2d", "kernel_shape": (2, 1), "mode": "average", "pad": 1},
            {"name": "flatten"},
        ],
        (9, 10, 3),
    ),
    "wide convolution": (
        [
            {"name": "conv2d", "n_out": 5, "kernel_shape": 3, "activation": "relu"},
            {"name": "global_average_pool2d"},
        ],
        (4, 5, 19),
    ),
    "recurrence": (
        [
            {"name": "elman", "n_out": 5, "activation": "tanh", "return_sequences": True},
            {"name": "elman", "n_out": 17, "activation": "relu"},
        ],
        (3, 4),
    ),
}


def network(draw):
    """Draw a network and what is asked of it, as keywords of :func:`run_network`."""
    from fastnn.activations import ACTIVATIONS
    from fastnn.layers import LAYERS
    from fastnn.losses import LOSSES
    from fastnn.optimizers import OPTIMIZERS

    images = ("batchnorm2d", "pool2d", "global_average_pool2d")
    others = [name for name, kind in LAYERS.items() if kind.keeps_width and name not in images]

    loss = draw.choice((*LOSSES, "options"))
    last = draw.choice(("softmax", "sigmoid")) if loss != "l2" else draw.choice(sorted(ACTIVATIONS))
    depth = draw.choice((1, 2, 2, 3, 4))
    optimizer = {"name": draw.choice(sorted(OPTIMIZERS)), "lr": 0.01}
    if optimizer["name"] == "SGD" and draw.random() < 0.6:
        optimizer |= {"momentum": 0.9, "nesterov": draw.random() < 0.5}
    if draw.random() < 0.3:
        optimizer[draw.choice(("clip_norm", "global_clip_norm"))] = 0.01
    n, widths = size(draw), [size(draw) for _ in range(depth + 1)]
    if draw.random() < 0.03:  # rows on a page each, panels that are packed
        n, widths[draw.randrange(depth + 1)] = draw.choice((512, 517)), draw.choice((512, 700, 1027))
    if loss in ("cross_entropy", "options") or last == "softmax":
        widths[-1] = max(widths[-1], 2)  # one class is refused
    return {
        "dtype": draw.choice(("float32", "float64")),
        "n": n,
        "batch": draw.randint(1, n),
        "widths": widths,
        "activations": [draw.choice(sorted(ACTIVATIONS)) for _ in range(depth - 1)] + [last],
        "front": draw.choice((None, None, *FRONTS)),
        "before": [draw.choice((None, None, *others)) for _ in range(depth)],
        "loss": loss,
        "optimizer": optimizer,
        "l2": draw.choice((0.0, 0.0, 0.1)),
        "weighted": draw.random() < 0.3,
        "threads": draw.choice((1, 1, 2, 3)),
        "road": draw.choice(("engine", "engine", "engine", "many", "layers")),
    }


def run_network(
    dtype, n, batch, widths, activations, front, before, loss, optimizer, l2, weighted, threads, road
):
    import fastnn

    rng = np.random.default_rng(n)

    def make():
        chosen = loss
        if loss == "options":
            weights = rng.uniform(0.5, 1.5, widths[-1])
            chosen = fastnn.CrossEntropy(label_smoothing=0.1, class_weight=weights)
        layers = list(FRONTS[front][0]) if front else []
        for k, name, other in zip(widths[1:], activations, before, strict=True):
            block = [fastnn.LayerNorm(), fastnn.BatchNorm1D()]  # of a residual layer
            layers += [fastnn.initialize_layer(other, layers=block)] if other else []
            layers.append(fastnn.FullyConnected(k, name, l2=l2))
        return fastnn.NeuralNetwork(chosen, layers, optimizer, seed=0, dtype=dtype)

    shape = FRONTS[front][1] if front else (widths[0],)
    X, Y = rng.normal(size=(n, *shape)).astype(dtype), targets(loss, n, widths[-1], dtype, rng)
    weights = rng.uniform(0.5, 1.5, n) if weighted else None
    with fastnn.set_num_threads(threads), np.errstate(all="ignore"):
        if road == "many":
            folds = [rng.integers(0, n, batch), rng.permutation(n)]
            fastnn.fit_many([make(), make()], X, Y, epochs=2, batch_size=batch, rows=folds)
            return
        net = make()
        if road == "layers":
            net.prepare(widths[-1], X.shape)
            for _ in range(2):
                net.backward(Y, net.forward(X))
                net.update(0)
            return
        net.predict(X)
        net.train_step(X, Y)
        net.fit(X, Y, epochs=2, batch_size=batch, sample_weight=weights, verbose=False)
        net.train_step(X[:batch], Y[:batch])
        net.evaluate(X, Y)
        net.predict(X[: n // 2 + 1])


def targets(loss, n, k, dtype, rng):
    if loss in ("cross_entropy", "options"):
        return np.eye(k, dtype=dtype)[rng.integers(0, k, n)]
    return rng.integers(0, 2, (n, k)).astype(dtype) if loss[0] == "b" else rng.normal(size=(n, k))


def kernel(draw):
    """Draw a public kernel and a shape, as keywords of :func:`run_kernel`."""
    from fastnn.kernels.rows import SHORT
    from fastnn.reference.twins import kernels, twin

    names = [name for name in kernels() if twin(name)]
    name = draw.choice([name for name in names if SHORT or not name.endswith("_short")])
    k = draw.randint(1, SHORT) if name.endswith("_short") else size(draw)
    return {"name": name, "n": size(draw), "k": k, "dtype": draw.choice(("float32", "float64"))}


def run_kernel(name, n, k, dtype):
    from fastnn.reference.twins import kernels, twin

    twin(name).case(kernels()[name], n, k, dtype).run()


def product(draw):
    """Draw a product of the micro-kernel, as keywords of :func:`run_product`."""
    from fastnn.kernels.emitted import tile

    modes = (tile.PLAIN, tile.RELU, tile.RELU_GRADIENT, tile.SGD, tile.DESCENT)
    return {
        "m": size(draw),
        "n": size(draw),
        "k": size(draw),
        "mode": draw.choice(modes),
        "transposed": draw.random() < 0.5,
        "start": draw.random() < 0.5,
        "dtype": draw.choice(("float32", "float64")),
    }


def run_product(m, n, k, mode, transposed, start, dtype):
    from fastnn.kernels.compiling import jit
    from fastnn.kernels.emitted import gemm, tile, transposition

    @jit.exact
    def multiply(*arguments):
        gemm.gemm(*arguments)

    @jit.exact
    def transpose(*arguments):
        transposition.transpose(*arguments)

    one = np.dtype(dtype).type(1)
    A = np.ones((k, m) if transposed else (m, k), dtype)
    strides = (1, m) if transposed else (k, 1)
    B, T, C, V = (np.ones(shape, dtype) for shape in ((k, n), (n, k), (m, n), (m, n)))
    plain = mode in (tile.PLAIN, tile.RELU)
    begin = (0, 0) if plain and not start else (V.ctypes.data, n)
    at, size = (B.ctypes.data, n, C.ctypes.data, n), A.itemsize
    multiply(A.ctypes.data, *strides, *at, m, n, k, *begin, mode, size, (one, one))
    transpose(B.ctypes.data, n, T.ctypes.data, k, k, n, size, one)


def function(draw):
    """Draw a call of a function or an activation, as keywords of :func:`run_function`."""
    from fastnn.activations import ACTIVATIONS

    losses = ("rows", "labels", "binary")
    shape = (draw.choice((700, 3000)), size(draw)) if draw.random() < 0.05 else (size(draw), size(draw))
    name = draw.choice((*losses, *sorted(ACTIVATIONS)))
    if name in ("rows", "labels"):
        shape = (shape[0], max(shape[1], 2))  # one class is refused
    return {
        "name": name,
        "shape": shape,
        "dtype": draw.choice(("float32", "float64")),
        "threads": draw.choice((1, 2, 3)),
    }


def run_function(name, shape, dtype, threads):
    import fastnn
    from fastnn import functional

    rng, (n, k) = np.random.default_rng(0), shape
    Z, Y = rng.normal(size=shape).astype(dtype), rng.uniform(size=shape).astype(dtype)
    weights = {"sample_weight": rng.uniform(size=n), "class_weight": rng.uniform(size=k)}
    with fastnn.set_num_threads(threads):
        if name == "binary":
            functional.binary_cross_entropy(Z, Y)
        elif name == "labels":
            functional.softmax_cross_entropy(Z, rng.integers(0, k, n), label_smoothing=0.1, **weights)
        elif name == "rows":
            functional.softmax_cross_entropy(Z, Y)
            functional.softmax_cross_entropy(Z, Y, label_smoothing=0.1, **weights)
        else:
            activation = fastnn.initialize_activation(name)
            activation.forward(Z)
            activation.backward(Z, Y)


KINDS = (
    (network, run_network),
    (network, run_network),
    (kernel, run_kernel),
    (product, run_product),
    (function, run_function),
)


def call(number):
    """Print and make the call of a number."""
    draw = random.Random(number)
    describe, run = KINDS[number % len(KINDS)]
    keywords = describe(draw)
    print(number, describe.__name__, keywords, flush=True)
    run(**keywords)


def crash(place, first, count, script=__file__):
    """Make calls in a process; return the last one's line and how it ended, or None if all is well."""
    command = [sys.executable, str(script), place, str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=os.environ)
    if done.returncode == 0:
        return None
    last = done.stdout.splitlines()[-1] if done.stdout else "no call"
    return f"{last}: ended with code {done.returncode}\n{done.stderr[-2000:]}"


def make_calls(place, first, count):
    """Make calls in this process, with arrays beside protected pages."""
    import fence

    fence.build(place)
    for number in range(first, first + count):
        call(number)
    sys.stdout.flush()
    os._exit(0)  # at the interpreter's end arrays are freed when the allocator is gone


def main(arguments):
    if arguments[0] in ("start", "end"):
        make_calls(arguments[0], *map(int, arguments[1:]))
    count, first = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    failures, portion = [], 250
    for start in range(first, first + count, portion):
        for place in ("end", "start"):
            found = crash(place, start, min(portion, first + count - start))
            failures += [found] if found else []
            print(f"calls {start} to {start + portion - 1}, {place}: {found or 'no fault'}", flush=True)
    return int(bool(failures))


if __name__ == "__main__":
    sys.path.insert(0, str(FOLDER.parent))
    sys.exit(main(sys.argv[1:]))
