"""Kill training runs at random moments, resume them, and compare with a run that was left alone.

``python tests/kill_and_resume.py 200`` kills 200 times: ``make kill-and-resume``.
"""

import json
import random
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from processes import PATIENCE, started

VARIANTS = ("seeded", "global")
_EPOCHS = 5


def train(variant, checkpoint, result):
    """Train a network, going on from its checkpoint, and write all that it came to."""
    import fastnn

    class Slower(fastnn.Callback):
        def on_epoch_begin(self, run):
            run.net.optimizer.lr_scheduler.lr *= 0.8

    data = np.random.default_rng(1)
    dtype = "float64" if variant == "seeded" else "float32"
    X, y = data.normal(size=(40_000, 10)).astype(dtype), data.integers(0, 3, 40_000)
    schedule = {"lr": 0.01, "lr_scheduler": "exponential", "lr_decay": 0.7, "stage_length": 2}
    optimizer = {"name": "Adam"} if variant == "seeded" else {"name": "SGD", "momentum": 0.9}
    np.random.seed(2)
    net = fastnn.NeuralNetwork(
        "cross_entropy",
        [fastnn.FullyConnected(12, fastnn.ELU(0.7)), fastnn.FullyConnected(None, "softmax")],
        {**optimizer, **schedule},
        seed=3 if variant == "seeded" else None,
    )
    print("ready", flush=True)
    net.fit(
        *(X[:39_001], y[:39_001]),
        epochs=_EPOCHS,
        batch_size=4,
        validation_data=(X[39_001:], y[39_001:]),
        verbose=False,
        checkpoint=checkpoint,
        checkpoint_every=0,
        resume=True,
        callbacks=[Slower()],
    )
    Path(result).write_text(json.dumps(outcome(net)), encoding="utf-8")


def outcome(net):
    """Return parameters, the optimiser's state, history and random state, to the last bit."""

    def exact(value):
        if isinstance(value, dict):
            return {key: exact(entry) for key, entry in value.items()}
        if isinstance(value, np.ndarray):
            return value.tobytes().hex()
        return exact(vars(value)) if hasattr(value, "__dict__") else repr(value)

    rng = net.rng.bit_generator.state if net.rng else np.random.get_state(legacy=False)
    parameters = {str(i): dict(layer.parameters) for i, layer in enumerate(net.layers)}
    return exact(
        {"parameters": parameters, "optimizer": net.optimizer.cache, "history": net.history, "rng": rng}
    )


@contextmanager
def run(variant, folder, name):
    """Start a run and wait until it is about to train; kill it when the block is left."""
    files = [str(folder / f"{name}.safetensors"), str(folder / f"{name}.json")]
    command = [sys.executable, __file__, "train", variant, *files]
    with started(command) as process:
        assert process.stdout.readline() == "ready\n"
        yield process


def finish(process, folder, name):
    """Wait for a run's end and return what it came to."""
    assert process.wait(timeout=PATIENCE) == 0
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def kill(variant, folder, kills, seed):
    """Kill runs so many times; return how many runs that took, and how many ended otherwise."""
    delays = random.Random(seed)
    with run(variant, folder, "first") as process:  # compiles, if need be
        expected = finish(process, folder, "first")
    with run(variant, folder, "second") as process:
        began = time.perf_counter()
        assert finish(process, folder, "second") == expected
        longest = (time.perf_counter() - began) / 2
    done = runs = different = 0
    while done < kills:
        runs += 1
        ended = False
        while not ended:
            with run(variant, folder, f"run{runs}") as process:
                time.sleep(delays.uniform(0, longest))
                ended = done == kills or process.poll() is not None
                if ended:
                    different += finish(process, folder, f"run{runs}") != expected
            done += process.returncode != 0
        left = [path.name for path in folder.iterdir() if path.suffix == ".tmp"]
        assert not left, left
    return runs, different


def main():
    if sys.argv[1] == "train":
        train(*sys.argv[2:])
        return
    kills, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    total, share = 0, kills // len(VARIANTS)
    for variant in VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            runs, different = kill(variant, Path(folder), share, seed)
        print(f"{variant}: {share} kills in {runs} runs, {different} of them differ", flush=True)
        total += different
    sys.exit(total > 0)


if __name__ == "__main__":
    main()
