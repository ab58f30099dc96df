"""An electric fence: NumPy arrays beside pages that may not be touched.

After :func:`build`, every array that this process makes ends where a protected page begins (or begins
where one ends). A read or write outside of it ends the process with SIGSEGV, so this is for processes
of their own, as those of ``fenced.py``.

NumPy is given another allocator, which its C API provides for (NEP 49).
"""

import ctypes
import mmap
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import fastnn  # noqa: F401  all of it
from fastnn import _arrays

PAGE = mmap.PAGESIZE
PLACES = ("end", "start")
_SET_HANDLER = 304  # of PyDataMem_SetHandler in the table of NumPy's C API
_PROT_READ_WRITE, _PRIVATE_ANONYMOUS = 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_SIZE, _POINTER = ctypes.c_size_t, ctypes.c_void_p


class _Handler(ctypes.Structure):
    """PyDataMem_Handler."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", _POINTER),
        ("malloc", ctypes.CFUNCTYPE(_POINTER, _POINTER, _SIZE)),
        ("calloc", ctypes.CFUNCTYPE(_POINTER, _POINTER, _SIZE, _SIZE)),
        ("realloc", ctypes.CFUNCTYPE(_POINTER, _POINTER, _POINTER, _SIZE)),
        ("free", ctypes.CFUNCTYPE(None, _POINTER, _POINTER, _SIZE)),
    )


class _Pages:
    """Memory in whole pages, with a protected one before and after."""

    def __init__(self, place: str) -> None:
        self._at_end = place == "end"
        self._maps: dict[int, tuple[int, int, int]] = {}  # by address: size, and what was mapped
        libc = ctypes.CDLL(None, use_errno=True)
        self._mmap = libc.mmap
        self._mmap.restype = _POINTER
        self._mmap.argtypes = [
            _POINTER,
            _SIZE,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_int64,
        ]
        self._mprotect, self._munmap = libc.mprotect, libc.munmap
        self._mprotect.argtypes = [_POINTER, _SIZE, ctypes.c_int]
        self._munmap.argtypes = [_POINTER, _SIZE]

    def malloc(self, _: Any, size: int) -> int:
        """Return the address of so many bytes of zeros, or 0."""
        inside = -(-max(size, 1) // PAGE) * PAGE
        length = inside + 2 * PAGE
        base = self._mmap(None, length, 0, _PRIVATE_ANONYMOUS, -1, 0)
        if base in (None, ctypes.c_void_p(-1).value):
            return 0
        if self._mprotect(base + PAGE, inside, _PROT_READ_WRITE):
            return 0
        address = base + PAGE + (inside - size if self._at_end else 0)
        self._maps[address] = size, base, length
        return address

    def calloc(self, context: Any, count: int, size: int) -> int:
        return self.malloc(context, count * size)

    def realloc(self, context: Any, address: int | None, size: int) -> int:
        new = self.malloc(context, size)
        if new and address:
            ctypes.memmove(new, address, min(size, self._maps[address][0]))
            self.free(context, address, 0)
        return new

    def free(self, _: Any, address: int | None, __: int) -> None:
        if address:
            _size, base, length = self._maps.pop(address)
            self._munmap(base, length)


_kept: list[Any] = []  # what C code has pointers to


def build(place: str) -> None:
    """Fence all arrays that are made from now on, those of plans and parameters without alignment."""
    pages = _Pages(place)
    handler = _Handler(b"fence", 1, None, *_callbacks(pages))
    new_capsule = ctypes.pythonapi.PyCapsule_New
    new_capsule.restype, new_capsule.argtypes = ctypes.py_object, [_POINTER, ctypes.c_char_p, _POINTER]
    name = b"mem_handler"
    capsule = new_capsule(ctypes.addressof(handler), name, None)
    _kept.extend((pages, handler, name, capsule))
    _numpy_function(_SET_HANDLER, ctypes.py_object, ctypes.py_object)(capsule)
    _replace(_arrays.aligned_zeros, np.zeros)
    _replace(_arrays.aligned_views, _separate)


def _replace(function: Any, other: Any) -> None:
    """Put another function in the place of one, in all modules of fastnn that have taken it."""
    name = function.__name__
    users = [module for key, module in sys.modules.items() if key.split(".")[0] == "fastnn"]
    users = [module for module in users if vars(module).get(name) is function]
    assert len(users) > 2, f"nobody uses {name} but {users}"
    for module in users:
        setattr(module, name, other)


def _callbacks(pages: _Pages) -> list[Any]:
    types = dict(_Handler._fields_[3:])
    return [types[name](getattr(pages, name)) for name in types]


def _numpy_function(index: int, *signature: Any) -> Callable[..., Any]:
    core = getattr(np, "_core", None) or np.core
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = _POINTER, [ctypes.py_object, ctypes.c_char_p]
    table = pointer(core._multiarray_umath._ARRAY_API, None)
    address = ctypes.cast(table, ctypes.POINTER(_POINTER))[index]
    return ctypes.PYFUNCTYPE(*signature)(address)


def _separate(shapes: Any, dtype: Any) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return an array each, in place of views of one, between which there is no fence."""
    views = [np.zeros(shape, dtype) for shape in shapes]
    return np.zeros(sum(view.size for view in views), dtype), views
