"""Reading data files, each with an error that says which file is wrong and how."""

import csv
import gzip
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._typing import Array

# The files' SHA-256, as published by the mirror.
_MNIST_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_MNIST_FILES = {
    "train-images-idx3-ubyte.gz": ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    "train-labels-idx1-ubyte.gz": ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte.gz": ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    "t10k-labels-idx1-ubyte.gz": ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}


def load_npy(path: Path) -> Array:
    """Return the array of an ``.npy`` file; pickled objects are refused."""
    if not path.exists():
        raise FileNotFoundError(f"no file {path} under {Path.cwd()}")
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path} is not a readable .npy array: {error}") from None


def fetch_mnist(folder: str | Path | None) -> Path:
    """Download the MNIST files that are not in ``folder`` yet, and return the folder."""
    try:
        import pooch
    except ImportError:
        raise ImportError("download=True needs pooch: pip install 'fastnn-cpu[demo]'") from None
    target = Path(folder) if folder is not None else Path(pooch.os_cache("fastnn")) / "mnist"
    for name, digest in _MNIST_FILES.items():
        pooch.retrieve(_MNIST_MIRROR + name, known_hash=f"sha256:{digest}", fname=name, path=target)
    return target


def read_idx(folder: Path, name: str, n_dims: int) -> Array:
    """Return the uint8 array of the IDX file ``folder/name`` or ``folder/name.gz``.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each dimension
    as a big-endian 32-bit integer, then the data in row-major order.
    """
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.exists()), None)
    if path is None:
        raise FileNotFoundError(f"no file {name} or {name}.gz in {folder}")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} is truncated or no gzip file: {error}") from None
    header = 4 + 4 * n_dims
    if len(content) < header:
        raise ValueError(f"{path} is truncated: {len(content)} bytes, its header has {header}")
    magic = bytes([0, 0, 8, n_dims])
    if content[:4] != magic:
        raise ValueError(
            f"{path} is no IDX file of bytes in {n_dims} dimensions: "
            f"it starts with {content[:4].hex()}, not {magic.hex()}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", n_dims, 4))
    expected = header + int(np.prod(shape, dtype=np.int64))
    if len(content) != expected:
        raise ValueError(
            f"{path} {'is truncated' if len(content) < expected else 'has bytes to spare'}: "
            f"{len(content)} bytes, shape {shape} needs {expected}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def load_npz(path: Path) -> tuple[Array, Array]:
    """Return the arrays ``X`` and ``y`` (or ``Y``) of an ``.npz`` file."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files if name in ("X", "y", "Y")}
            names = ", ".join(archive.files)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"cannot read {path}: {error}") from None
    target = arrays.get("y", arrays.get("Y"))
    if "X" not in arrays or target is None:
        raise ValueError(f"{path} needs arrays X and y, it has {names}")
    return arrays["X"], target


def load_csv(path: Path) -> tuple[Array, Array]:
    """Return features and target of a CSV file, the target in its last column.

    A first line that is not all numbers but for the target is taken as a header. Targets that are
    all whole numbers or not numbers at all are classes, numbered in sorted order.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from None
    if rows and _numbers(rows[0][:-1]) is None:
        rows = rows[1:]
    if not rows or len(rows[0]) < 2:
        raise ValueError(f"{path} needs rows of at least one feature and a target")
    features: list[list[float]] = []
    for number, row in enumerate(rows, 1):
        values = _numbers(row[:-1])
        if values is None or len(row) != len(rows[0]):
            raise ValueError(f"{path}: data row {number} is not {len(rows[0])} cells: {row}")
        features.append(values)
    cells = [row[-1].strip() for row in rows]
    targets = _numbers(cells)
    if targets is not None and not all(map(math.isfinite, targets)):
        raise ValueError(f"{path}: the targets in the last column are not all finite")
    if targets is not None and any(value != int(value) for value in targets):
        return np.array(features), np.array(targets)
    keys: Any = cells if targets is None else targets
    return np.array(features), np.unique(keys, return_inverse=True)[1].reshape(-1)


def _numbers(cells: list[str]) -> list[float] | None:
    try:
        return [float(cell) for cell in cells]
    except ValueError:
        return None
