"""Reading data files, each with an error that says which file is wrong and how."""

import io
import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from fastnn._typing import Array

_DEFLATE_RATIO = 1032  # to which zip and gzip compress at best
_LONGEST_HEADER = 2**14  # bytes of an .npy header; NumPy reads 10,000
_LARGEST_IDX = 2**30  # bytes after decompression; MNIST's largest file is 47 MB
# The files' SHA-256, as published by the mirror.
_MNIST_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_MNIST_FILES = {
    "train-images-idx3-ubyte.gz": ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    "train-labels-idx1-ubyte.gz": ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte.gz": ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    "t10k-labels-idx1-ubyte.gz": ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}


def load_npy(path: Path) -> Array:
    """Return the array of an ``.npy`` file; pickled objects are refused.

    Raises ``FileNotFoundError``, or ``ValueError`` for a file that is not an array or is truncated.
    """
    if not path.exists():
        raise FileNotFoundError(f"no file {path} under {Path.cwd()}")
    with path.open("rb") as file:
        try:
            return _read_npy(file, os.fstat(file.fileno()).st_size)
        except Exception as error:  # parsing a header raises many kinds
            raise ValueError(f"{path} is not a readable .npy array: {error}") from None


def _read_npy(file: IO[bytes], size: int) -> Array:
    """Return the array of a stream of ``size`` bytes, which must hold what its header describes."""
    head = io.BytesIO(file.read(_LONGEST_HEADER))
    version = np.lib.format.read_magic(head)
    first = version == (1, 0)
    read_header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(head)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    needed = head.tell() + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or needed > size:
        raise ValueError(f"its shape {shape} of {dtype} needs {needed} bytes, it has {size}")
    file.seek(0)
    return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


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
    start = 4 + 4 * n_dims
    header = _content(path, start)
    if len(header) < start:
        raise ValueError(f"{path} is truncated: {len(header)} bytes, its header has {start}")
    magic = bytes([0, 0, 8, n_dims])
    if header[:4] != magic:
        raise ValueError(
            f"{path} is no IDX file of bytes in {n_dims} dimensions: "
            f"it starts with {header[:4].hex()}, not {magic.hex()}"
        )
    shape = tuple(int(size) for size in np.frombuffer(header, ">u4", n_dims, 4))
    expected = start + math.prod(shape)
    most = path.stat().st_size
    if path.suffix == ".gz":
        most = min(_DEFLATE_RATIO * most, _LARGEST_IDX)
    if expected > most:
        raise ValueError(
            f"{path} is truncated or damaged: shape {shape} needs {expected} bytes, "
            f"at most {most} can be in it"
        )
    content = _content(path, expected + 1)
    if len(content) < expected:
        raise ValueError(f"{path} is truncated: {len(content)} bytes, shape {shape} needs {expected}")
    if len(content) > expected:
        raise ValueError(f"{path} has bytes to spare: shape {shape} needs {expected}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _content(path: Path, limit: int) -> bytes:
    """Return a file's first ``limit`` bytes, of a ``.gz`` file after decompression."""
    with path.open("rb") as file:
        if path.suffix != ".gz":
            return file.read(limit)
        try:
            return _gunzip(file.read(), limit)
        except (EOFError, zlib.error) as error:
            raise ValueError(f"{path} is truncated or no gzip file: {error}") from None


def _gunzip(packed: bytes, limit: int) -> bytes:
    """Decompress at most ``limit`` bytes of gzip's format."""
    parts: list[bytes] = []
    while packed and limit:
        member = zlib.decompressobj(wbits=31)  # gzip, with its checksum
        parts.append(member.decompress(packed, limit))
        limit -= len(parts[-1])
        if not member.eof and limit:
            raise EOFError("it ends before its end-of-stream marker")
        packed = member.unused_data.lstrip(b"\0")
    return b"".join(parts)


def load_npz(path: Path) -> tuple[Array, Array]:
    """Return the arrays ``X`` and ``y`` (or ``Y``) of an ``.npz`` file."""
    with path.open("rb") as file:
        try:
            size = os.fstat(file.fileno()).st_size
            with zipfile.ZipFile(file) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                known = [name for name in ("X", "y", "Y") if name in names]
                arrays = {name: _member(archive, f"{name}.npy", size) for name in known}
        except Exception as error:  # of zipfile and its decompressors, of NumPy
            raise ValueError(f"cannot read {path}: {error}") from None
    target = arrays.get("y", arrays.get("Y"))
    if "X" not in arrays or target is None:
        raise ValueError(f"{path} needs arrays X and y, it has {', '.join(names)}")
    return arrays["X"], target


def _member(archive: zipfile.ZipFile, name: str, size: int) -> Array:
    """Return an array of an archive of ``size`` bytes, which limit the array's size."""
    member = archive.getinfo(name)
    if member.file_size > _DEFLATE_RATIO * size:
        raise ValueError(f"{name} claims {member.file_size} bytes, which a file of {size} cannot hold")
    with archive.open(member) as file:
        return _read_npy(file, member.file_size)
