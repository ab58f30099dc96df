"""What the MNIST scripts share: the files, the options, and the race to an accuracy."""

import argparse
import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

WIDTHS, BATCH, LR, MOMENTUM = (784, 256, 128, 10), 128, 0.1, 0.9
LENET_LR, LENET_DECAY = 0.05, 0.8  # the learning rate of the first epoch, and its factor after each
_MOST_EPOCHS = 30


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, help="of the four IDX files")
    parser.add_argument("--goal", type=float, default=0.0, help="test accuracy to stop at")
    parser.add_argument("--epochs", type=int, default=1, help="as many at least")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def load(folder, threads):
    """Return X, labels, X_test, labels_test: float32 rows in [0, 1] and int64 class numbers."""
    with ThreadPoolExecutor(threads) as readers:  # decompressing needs no GIL
        train, test = readers.map(lambda name: _part(folder, name), ("train", "t10k"))
    return (*train, *test)


def _part(folder, name):
    images = _read(folder / f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, WIDTHS[0])
    labels = _read(folder / f"{name}-labels-idx1-ubyte.gz", 8)
    return np.divide(images, np.float32(255), dtype=np.float32), labels.astype(np.int64)


def _read(path, header):
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def run(options, epoch, accuracy):
    """Train until the test accuracy is reached; print the number of epochs and the accuracy."""
    epochs, reached = 0, -1.0
    while reached < options.goal and epochs < _MOST_EPOCHS:
        epoch()
        epochs += 1
        if epochs >= options.epochs:
            reached = float(accuracy())
    print(json.dumps({"epochs": epochs, "accuracy": round(reached, 4)}))
