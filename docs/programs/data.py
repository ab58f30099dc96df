"""Write the arrays that the programs read, ``datasets/NAME/NAME_PART_{data,labels}.npy``.

``python data.py`` writes iris (from scikit-learn), a sine wave, and MNIST. MNIST is read from the four
IDX files in ``$FASTNN_DATA/mnist/``; without that folder it is left out.
"""

import os
from pathlib import Path

import numpy as np


def main():
    """Write all data sets whose source is available."""
    write("sinewave", *sine_wave())
    write("iris", *iris())
    folder = Path(os.environ.get("FASTNN_DATA", ""), "mnist")
    if folder.is_dir():
        write("mnist", *mnist(folder))
    else:
        print("no MNIST: set FASTNN_DATA to a folder that contains mnist/")


def sine_wave(n=2000, steps=20):
    """Return series (n, 1, steps) and the next value of each, (n, 1)."""
    rng = np.random.default_rng(0)
    time = rng.uniform(0, 2 * np.pi, (n, 1)) + 0.3 * np.arange(steps + 1)
    values = np.sin(time) + 0.01 * rng.normal(size=time.shape)
    return values[:, None, :-1], values[:, -1:]


def iris():
    """Return features (150, 4) and one-hot classes (150, 3), in random order."""
    from sklearn.datasets import load_iris

    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], np.eye(3)[y[order]]


def mnist(folder):
    """Return images (70000, 28, 28), uint8, and class numbers (70000,); the test set comes last."""
    import fastnn

    data = fastnn.load_mnist(folder, validation_size=0)
    parts = data.train, data.test
    X = np.concatenate([np.rint(255 * part.data_).astype(np.uint8) for part in parts])
    y = np.concatenate([part.labels.argmax(axis=1) for part in parts])
    return X.reshape(-1, 28, 28), y


def write(name, X, y):
    """Split the rows into training, validation and test; for MNIST the last 10,000 are validation."""
    n = len(X)
    ends = (n - 10_000, n) if name == "mnist" else (n * 7 // 10, n * 8 // 10)
    folder = Path("datasets", name)
    folder.mkdir(parents=True, exist_ok=True)
    for part, data, labels in zip(
        ("train", "val", "test"), np.split(X, ends), np.split(y, ends), strict=True
    ):
        if len(data):
            np.save(folder / f"{name}_{part}_data.npy", data)
            np.save(folder / f"{name}_{part}_labels.npy", labels)
    print(f"{folder}: {n} rows")


if __name__ == "__main__":
    main()
