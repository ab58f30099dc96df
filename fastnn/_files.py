"""Reading data files, each with an error that says which file is wrong and how."""

import glob
import gzip
import os
import threading
import zipfile
import zlib
from pathlib import Path

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


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    When it returns, the new content is on disk under that name.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a renaming outlast a loss of power, where a folder can be opened (not on Windows)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Delete what processes that were killed in :func:`write_atomically` left beside ``path``."""
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        temporary.unlink(missing_ok=True)
