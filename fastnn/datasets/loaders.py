"""Datasets by name: arrays in files, scikit-learn's digits, MNIST."""

from pathlib import Path

import numpy as np

from fastnn._threads import get_num_threads
from fastnn._typing import Array, DTypeLike
from fastnn._validation import canonical, one_hot, require_float_dtype, require_number
from fastnn.datasets import files
from fastnn.datasets.dataset import Dataset
from fastnn.utils.data_structures import integers_to_one_hot

_NAMES = dict.fromkeys(("iris", "higgs", "sinewave", "mnist"))


def initialize_dataset(name: str, batch_size: int = 50) -> Dataset:
    """Return a dataset kept as six arrays ``datasets/NAME/NAME_{train,val,test}_{data,labels}.npy``.

    The folder ``datasets`` is looked for under the working directory. The test labels of ``"higgs"``
    are unknown; rows of zeros stand in when their file is missing. ``"mnist"`` has no test part: its
    images become ``(n, 28, 28, 1)``, divided by 255 in float32 and then kept as float64, its labels
    one-hot rows of 10 classes.

    Raises
    ------
    NotImplementedError
        If ``name`` is not ``"iris"``, ``"higgs"``, ``"sinewave"`` or ``"mnist"``.
    FileNotFoundError
        If an array is missing; the message says where it was looked for.
    """
    name = canonical("dataset", name, _NAMES)
    folder = Path("datasets") / name
    if name == "mnist":
        return _mnist_arrays(folder, batch_size)
    parts: list[Array] = []
    for part in ("train", "val", "test"):
        parts.append(files.load_npy(folder / f"{name}_{part}_data.npy"))
        path = folder / f"{name}_{part}_labels.npy"
        if name == "higgs" and part == "test" and not path.exists():
            parts.append(np.zeros((len(parts[-1]), parts[1].shape[1])))
        else:
            parts.append(files.load_npy(path))
    return Dataset(parts[0], parts[1], batch_size, *parts[2:])


def _mnist_arrays(folder: Path, batch_size: int) -> Dataset:
    parts: list[Array] = []
    for part in ("train", "val"):
        images = files.load_npy(folder / f"mnist_{part}_data.npy")
        labels = files.load_npy(folder / f"mnist_{part}_labels.npy")
        if images.size != 28 * 28 * len(images):
            raise ValueError(f"{folder}: mnist_{part}_data has shape {images.shape}, no 28 x 28 images")
        scaled = np.divide(images.reshape(-1, 28, 28, 1), np.float32(255), dtype=np.float32)
        parts.append(scaled.astype(np.float64))
        whole = labels.ndim == 2 and labels.shape[1] == 10
        parts.append(labels if whole else integers_to_one_hot(labels, 9))
    return Dataset(parts[0], parts[1], batch_size, parts[2], parts[3])


def load_digits(
    batch_size: int = 50,
    *,
    validation_size: float = 0.1,
    test_size: float = 0.2,
    seed: int | None = 0,
    dtype: DTypeLike = "float64",
) -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits: 8 x 8 pixels, 10 classes, standardised.

    Raises
    ------
    ImportError
        If scikit-learn is not installed; the message says how to install it.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise ImportError("load_digits needs scikit-learn: pip install 'fastnn-cpu[demo]'") from None
    X, y = load(return_X_y=True)
    return Dataset.from_arrays(
        X,
        y,
        batch_size=batch_size,
        validation_size=validation_size,
        test_size=test_size,
        seed=seed,
        dtype=dtype,
    )


def load_mnist(
    folder: str | Path | None = None,
    batch_size: int = 50,
    *,
    validation_size: float = 0.1,
    download: bool = False,
    seed: int | None = 0,
    dtype: DTypeLike = "float32",
) -> Dataset:
    """Return MNIST: 60,000 training and 10,000 test images, 784 pixels in [0, 1], 10 classes.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".

    Parameters
    ----------
    folder : path, optional
        Where the four IDX files are, gzipped or not, under their original names. With ``download``,
        where to put them: by default the user's cache folder.
    validation_size : float
        The fraction of the training images to validate with, drawn by ``seed``.
    download : bool
        Fetch what is missing from a public mirror through ``pooch``, and check its SHA-256.

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message names it.
    ValueError
        If a file is truncated or not in IDX format; the message names it.
    ImportError
        If ``download`` is asked for and ``pooch`` is not installed.
    """
    from concurrent.futures import ThreadPoolExecutor  # takes milliseconds to import

    resolved = files.fetch_mnist(folder) if download else folder
    if resolved is None:
        raise ValueError("load_mnist needs the folder of its files, or download=True")
    float_dtype = require_float_dtype("dtype", dtype) or np.dtype(np.float32)
    fraction = require_number("validation_size", validation_size, low=0, high=0.99)

    def part(name: str) -> tuple[Array, Array]:
        images = files.read_idx(Path(resolved), f"{name}-images-idx3-ubyte", 3)
        labels = files.read_idx(Path(resolved), f"{name}-labels-idx1-ubyte", 1)
        if len(images) != len(labels):
            raise ValueError(f"{resolved}: {name} has {len(images)} images and {len(labels)} labels")
        rows = one_hot(labels.astype(np.int64), 10, f"{name} labels", float_dtype)
        return images.reshape(len(images), -1), rows

    def pixels(images: Array) -> Array:
        scaled: Array = np.divide(images, float_dtype.type(255), dtype=float_dtype)
        return scaled

    with ThreadPoolExecutor(get_num_threads()) as readers:  # decompressing needs no GIL
        (X, Y), (X_test, Y_test) = readers.map(part, ("train", "t10k"))
    order = np.random.default_rng(seed).permutation(len(X))
    validation, train = np.split(order, [round(len(X) * fraction)])
    has_validation = len(validation) > 0
    return Dataset(
        pixels(X[train]),
        Y[train],
        batch_size,
        pixels(X[validation]) if has_validation else None,
        Y[validation] if has_validation else None,
        pixels(X_test),
        Y_test,
    )
