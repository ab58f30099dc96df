"""Write the files of this folder: saved networks, checkpoints, and what came of them.

Later versions must read them: ``tests/saving/test_old_files.py``. They are written once by each version
of the format and never again: ``python tests/data/write.py tests/data``.
"""

import sys
from pathlib import Path

import numpy as np

import fastnn
from fastnn import FullyConnected

STEPS = 3


def rows():
    """Return features, and targets for each loss."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(24, 4))
    labels = rng.integers(0, 3, 24)
    return X, {
        "cross_entropy": np.eye(3)[labels],
        "binary_cross_entropy": rng.integers(0, 2, (24, 3)).astype(float),
        "l2": rng.normal(size=(24, 3)),
    }


def networks():
    """Yield names and networks, of every optimiser, loss and kind of argument that is saved."""

    def layers(hidden, output, **options):
        return [FullyConnected(5, hidden, **options), FullyConnected(3, output)]

    weights = fastnn.CrossEntropy(label_smoothing=0.1, class_weight=[1.0, 2.0, 0.5])
    yield (
        "sgd",
        fastnn.NeuralNetwork("cross_entropy", layers("relu", "softmax"), fastnn.SGD(0.1), seed=0),
    )
    yield (
        "momentum",
        fastnn.NeuralNetwork(
            weights,
            layers(fastnn.LeakyReLU(0.2), "softmax", l2=0.1),
            fastnn.SGD(0.1, fastnn.Exponential(0.1, 0.5, 2), momentum=0.9, clip_norm=1.0),
            seed=1,
            dtype="float32",
        ),
    )
    yield (
        "nesterov",
        fastnn.NeuralNetwork(
            "binary_cross_entropy",
            layers("gelu", "sigmoid", weight_init="he_normal"),
            fastnn.SGD(0.1, momentum=0.9, nesterov=True),
            seed=2,
        ),
    )
    yield (
        "adam",
        fastnn.NeuralNetwork(
            "l2",
            layers("tanh", "linear", weight_init=fastnn.Normal(0.0, 0.3)),
            fastnn.Adam(0.01, beta_1=0.8),
            seed=3,
        ),
    )


def steps(net, X, Y):
    """Train some batches; return the parameters."""
    for i in range(STEPS):
        net.train_step(X[8 * i : 8 * i + 8], Y[8 * i : 8 * i + 8])
    return [parameter for layer in net.layers for parameter in layer.parameters.values()]


class Break(fastnn.Callback):
    """Ends a run by an error after its second epoch, which leaves a checkpoint."""

    def on_epoch_end(self, run):
        if run.epoch == 1:
            raise InterruptedError


def main(folder: Path) -> None:
    """Write all files."""
    X, targets = rows()
    expected = {}

    def keep(name, parameters):
        expected.update({f"{name}.{i}": parameter for i, parameter in enumerate(parameters)})

    for name, net in networks():
        Y = targets[net.loss.name]
        steps(net, X, Y)
        net.save(folder / f"{name}.safetensors")
        expected[f"{name}.outputs"] = net.predict(X)
        keep(f"{name}.trained", steps(net, X, Y))
    for name, net in networks():
        Y = targets[net.loss.name]
        path = folder / f"{name}-run.safetensors"
        options = {"epochs": 5, "batch_size": 10, "verbose": False, "checkpoint": path}
        try:
            net.fit(X, Y, checkpoint_every=0, callbacks=[Break()], **options)
        except InterruptedError:
            content = path.read_bytes()
        (resumed,) = [other for known, other in networks() if known == name]
        resumed.fit(X, Y, resume=True, **options)
        keep(f"{name}.resumed", [p for layer in resumed.layers for p in layer.parameters.values()])
        path.write_bytes(content)
    np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
