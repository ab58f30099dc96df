"""Files of named arrays and a description in JSON: safetensors, with a digest of all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn._writing import to_json, write_atomically

_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    "I64": np.dtype(np.int64),
}


class SavedModelError(ValueError):
    """A file that is no saved network or checkpoint, or is damaged; the message says how."""


def write(path: Path, description: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
    """Write a file atomically. Arrays are float32, float64 or int64."""
    save = require_safetensors().numpy.save
    text = to_json(description)
    metadata = {"fastnn": text, "digest": digest(text, tensors)}
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    write_atomically(path, save(arrays, metadata))


def read(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return description and arrays of a file that :func:`write` wrote.

    Raises :class:`SavedModelError` if it did not, or if a bit of it has changed since. Nothing is
    allocated but what the file holds.
    """
    safetensors = require_safetensors()
    if path.exists() and not path.is_file():
        what = "a folder" if path.is_dir() else "no regular file"
        raise SavedModelError(f"{path} is {what}, not a saved network")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.keys() != {"fastnn", "digest"}:
                raise SavedModelError(f"{path} is a safetensors file, but none of fastnn's")
            dtypes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            for name, dtype in dtypes.items():
                if dtype not in _DTYPES:
                    raise SavedModelError(f"{path}: {name} is {dtype}, not one of {', '.join(_DTYPES)}")
            tensors = {n: np.asarray(file.get_tensor(n), _DTYPES[dtype]) for n, dtype in dtypes.items()}
    except safetensors.SafetensorError as error:
        raise SavedModelError(f"{path} is damaged or no safetensors file: {error}") from None
    if metadata["digest"] != digest(metadata["fastnn"], tensors):
        raise SavedModelError(f"{path} is damaged: its digest is not that of its content")
    try:
        description = json.loads(metadata["fastnn"])
    except (ValueError, RecursionError) as error:
        raise SavedModelError(f"{path}: its description is no JSON: {error}") from None
    if not isinstance(description, dict):
        raise SavedModelError(f"{path}: its description is no JSON object")
    return description, tensors


def digest(text: str, arrays: Mapping[str, Array]) -> str:
    """Return a digest of a text and of arrays: their names, dtypes, shapes and bytes."""
    found = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        found.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(array.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def require_safetensors() -> Any:
    """Return the module, or raise ``ImportError`` that says how to install it."""
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError("saved networks need safetensors: pip install 'fastnn-cpu[save]'") from None
    return safetensors
