"""Files are replaced as a whole: after a crash there is the old content or the new one."""

from __future__ import annotations

import errno
import glob
import json
import math
import os
import re
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PAUSES = (0.01, 0.03, 0.1, 0.3, 1.0) if os.name == "nt" else ()  # seconds between attempts to replace


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    When it returns, the new content is on disk under that name. A symbolic link is followed. A file
    that is replaced keeps its mode; a new one gets that of the umask. A path that is no regular file,
    such as a pipe or ``/dev/stdout``, is written to directly.

    Raises
    ------
    OSError
        ``IsADirectoryError`` if the path is a folder, ``FileNotFoundError`` if its folder does not
        exist, others as the system raises them. The old file is unchanged.
    """
    if _is_special(path):
        Path(path).write_bytes(content)
        return
    target = _target(path)
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    temporary = _temporary(target)
    try:
        _create(temporary, content, mode)
        _replace(temporary, target)
        _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(path: str | os.PathLike[str]) -> None:
    """Raise the ``OSError`` that :func:`write_atomically` would; a file that exists is not touched."""
    if _is_special(path):
        return
    temporary = _temporary(_target(path))
    try:
        _create(temporary, b"", None)
    except OSError as error:
        why = f"cannot write to the folder {temporary.parent}: {error.strerror}"
        raise OSError(error.errno, why, os.fspath(path)) from None
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | os.PathLike[str]) -> None:
    """Delete temporary files beside ``path`` of processes killed in :func:`write_atomically`."""
    target = Path(os.path.realpath(path))
    own = re.compile(rf"\.{re.escape(target.name)}\.\d+-\d+\.tmp")  # not that of a longer name
    for temporary in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        if own.fullmatch(temporary.name):
            temporary.unlink(missing_ok=True)


def to_json(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON, in which numbers that are not finite are ``null``."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return value


def _is_special(path: str | os.PathLike[str]) -> bool:
    """Return whether there is something at a path that is neither a file nor a folder."""
    found = Path(path)
    return found.exists() and not found.is_file() and not found.is_dir()


def _target(path: str | os.PathLike[str]) -> Path:
    """Return the file that a path stands for; raise ``OSError`` if there cannot be one."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "this is a folder, not a file", os.fspath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, f"no folder {target.parent}", os.fspath(path))
    return target


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.tmp")


def _create(path: Path, content: bytes, mode: int | None) -> None:
    """Write a new file, at no time open to more users than ``mode`` allows, and bring it to disk."""
    path.unlink(missing_ok=True)  # left by a killed process with the same id
    at_first = 0o666 if mode is None else mode & 0o700 | 0o200

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, at_first)

    with open(path, "xb", opener=opener) as file:
        file.write(content)
        if mode is not None:
            os.chmod(path, mode)
        file.flush()
        os.fsync(file.fileno())


def _replace(source: Path, target: Path) -> None:
    """Rename a file; on Windows, try again for a while if the old one is open."""
    for pause in _PAUSES:
        try:
            os.replace(source, target)
        except PermissionError:
            time.sleep(pause)
        else:
            return
    os.replace(source, target)


def _sync_folder(folder: Path) -> None:
    """Make sure that a renaming is on disk, where folders can be opened (not on Windows)."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written to, but not listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not supported by the file system
            raise
    finally:
        os.close(descriptor)
