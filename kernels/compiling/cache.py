"""Compiled kernels on disk, one file for each kernel and types of arguments.

Numba has such a cache; this one differs where a library needs it to:

- Kernels inline one another across files, so code is fresh while none of these files has changed.
- A file says itself what it was made from and is replaced as a whole. So any number of processes may
  start on an empty folder: numba's index and the files it numbers are two writes, between which another
  process finds the old file under the new name.
- It is read from a folder that is not writable, such as one that was filled when a container was built.
- Loading does not prepare the compiler, which takes longer than all kernels of a training step.
- A file holds a digest of its code, so a file that was damaged is compiled anew and replaced.
- Code is only loaded from folders and files that nobody but the user and root can write to.
"""

import functools
import hashlib
import logging
import os
import pickle
import stat
import sys
import time
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

_HERE = Path(__file__).parent.parent  # the package of all kernels
_MADE_BY = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__)
_SLOW = 1.0  # seconds of compiling after which it is announced
_STAMP_BYTES = _BODY_BYTES = hashlib.sha256().digest_size
compiled: list[str] = []  # names of the kernels that this process has compiled


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


_SOURCES = _digest(*(path.read_bytes() for path in sorted(_HERE.rglob("*.py"))))


@functools.cache
def _sources(file: str) -> bytes | None:
    """Return a digest of what code of a file depends on, or None if there is no such file."""
    path = Path(file)
    if path.is_relative_to(_HERE):
        return _SOURCES
    return _digest(_SOURCES, path.read_bytes()) if path.is_file() else None


@functools.cache
def _folders(home: Path) -> list[Path]:
    """Return where code of a folder's kernels may be; it is written to the first that can be."""
    name = f"{home.name}_{hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:16]}"
    chosen = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    if chosen:
        return [Path(chosen, name)]
    everybody = AppDirs(appname="numba", appauthor=False).user_cache_dir
    return [home / "__pycache__", Path(everybody, name)]


def folder() -> Path | None:
    """Return where compiled kernels are kept, or None if no folder for them is writable and trusted."""
    for path in _folders(_HERE):
        above = next(p for p in (path, *path.parents) if p.exists())
        if above.is_dir() and os.access(above, os.W_OK) and not _distrust(path):
            return path
    return None


def _only_ours(found: os.stat_result) -> bool:
    """Return whether nobody but this user and root can write to a file or folder.

    The folders above need no check: a folder that another user puts in the place of ours belongs to
    that user. Windows has no such modes; a user's folders are private there.
    """
    if os.name != "posix":
        return True
    others = stat.S_IWGRP | stat.S_IWOTH
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & others


def _distrust(folder: Path) -> str:
    """Return why code in a folder is not trusted, and a remedy; empty if it is trusted."""
    try:
        found = folder.stat()
    except OSError:  # there is nothing to distrust
        return ""
    if _only_ours(found):
        return ""
    if found.st_uid not in (0, os.geteuid()):
        return f"{folder} belongs to another user (chown it to the user that runs Python, or to root)"
    return f"other users can write to {folder} (run: chmod go-w '{folder}')"


class KernelCache(NullCache):
    """The cache of one function: what numba asks for compiled code before it compiles."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._name = f"{function.__module__}.{function.__qualname__}".replace("<locals>.", "")
        file = Path(function.__code__.co_filename)
        self._home = _HERE if file.is_relative_to(_HERE) else file.parent

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return the code for a signature, or None if it is to be compiled."""
        name, stamp = self._entry(signature, context.codegen())
        for path in self._paths(name):
            code = _read(path, stamp)
            found = None if code is None else _rebuilt(context, code)
            if found is not None:
                return found
        _teller.begins(self)
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what was compiled."""
        _teller.ends(self)
        compiled.append(self._name)
        name, stamp = self._entry(signature, result.codegen)
        if stamp is None or result.library.has_dynamic_globals or result.lifted:
            return  # holds addresses of this process
        code = dumps(result._reduce())
        if not any(_write(path, stamp, code) for path in self._paths(name)):
            _teller.unkept(self._home)

    def _paths(self, name: str) -> list[Path]:
        return [path / name for path in _folders(self._home)]

    def _entry(self, signature: Any, codegen: Any) -> tuple[str, bytes | None]:
        """Return a file's name and what it begins with, if it is fresh."""
        code = self._function.__code__  # what it does is in the sources
        cells = [cell.cell_contents for cell in self._function.__closure__ or ()]
        variant = (*_MADE_BY, *codegen.magic_tuple(), signature, code.co_firstlineno)
        key = _digest(self._name.encode(), repr(variant).encode(), dumps(cells) if cells else b"")
        sources = _sources(code.co_filename)
        name = self._name.replace("<", "").replace(">", "")
        return f"{name}-{key.hex()[:16]}.nbc", sources and _digest(sources, key)


def _read(path: Path, stamp: bytes | None) -> memoryview | None:
    """Return the code in a file, or None if it is not there, not fresh, damaged or not trusted."""
    try:
        if _distrust(path.parent):
            return None
        with path.open("rb") as file:
            content = file.read() if _only_ours(os.fstat(file.fileno())) else b""
    except (OSError, MemoryError):
        return None
    head = _STAMP_BYTES + _BODY_BYTES
    code = memoryview(content)[head:]
    if content[:_STAMP_BYTES] != stamp or content[_STAMP_BYTES:head] != hashlib.sha256(code).digest():
        return None
    return code


def _rebuilt(context: Any, code: memoryview) -> CompileResult | None:
    """Return compiled code from its pickle, or None if that fails; it is compiled anew then."""
    try:
        reduced = pickle.loads(code)
        rtsys.initialize(context)  # of the compiler, all that compiled code needs
        return CompileResult._rebuild(context, *reduced)
    except Exception:  # unpickling may raise anything
        return None


def _write(path: Path, stamp: bytes, code: bytes) -> bool:
    """Replace a file as a whole; return whether its folder lets us, or somebody else just has."""
    part = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)  # whatever the umask allows others
        if _distrust(path.parent):
            return False
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(part, flags, 0o644), "wb") as file:
            file.write(stamp + hashlib.sha256(code).digest() + code)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        return _read(path, stamp) is not None
    return True


def _in_notebook() -> bool:
    """Return whether a notebook runs this code; IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = getattr(ipython, "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class _Teller:
    """Tells, once in a process each, that kernels take long to compile and that they cannot be kept."""

    def __init__(self) -> None:
        self._outer: KernelCache | None = None  # compiles now, other kernels perhaps within
        self._began = self._spent = 0.0
        self._said: set[str] = set()

    def begins(self, cache: KernelCache) -> None:
        now = time.perf_counter()
        if self._outer is None:
            self._outer, self._began = cache, now
        self._slow(self._spent + now - self._began)

    def ends(self, cache: KernelCache) -> None:
        if cache is self._outer:
            self._outer = None
            self._spent += time.perf_counter() - self._began
            self._slow(self._spent)

    def _slow(self, seconds: float) -> None:
        """Write to the log if it has a handler, else to a terminal or a notebook, if there is one."""
        if seconds < _SLOW or not self._first("slow"):
            return
        kept = folder()
        where = f", once; they are kept in {kept}" if kept else ""
        message = f"compiling kernels for this machine{where}"
        logger = logging.getLogger("fastnn")
        if logger.isEnabledFor(logging.INFO) and logger.hasHandlers():
            logger.info(message)
        elif _in_notebook():
            print(f"fastnn: {message}", flush=True)  # notebooks show stderr in red
        elif sys.stderr is not None and sys.stderr.isatty():
            print(f"fastnn: {message}", file=sys.stderr)

    def unkept(self, home: Path) -> None:
        if self._first("unkept"):
            places = [_distrust(path) or f"{path} is not writable" for path in _folders(home)]
            warnings.warn(
                "compiled kernels cannot be kept, so every process compiles them anew: "
                f"{'; '.join(places)}. Change that, or set the environment variable NUMBA_CACHE_DIR to "
                "a folder that only you can write to",
                RuntimeWarning,
                stacklevel=2,
            )

    def _first(self, what: str) -> bool:
        first = what not in self._said
        self._said.add(what)
        return first


_teller = _Teller()
