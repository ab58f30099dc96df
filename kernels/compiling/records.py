"""Records: named fields at an address, read and written by Python and by compiled functions alike.

A record class lists its fields as annotations: ``int`` for 64-bit integers and addresses, ``float`` for
float64 numbers. A subclass adds fields behind those of its base, so that its records can be read as the
base's::

    class Task(Record):
        job: int
        penalty: float

Python makes an array of them with :meth:`Record.make`. In compiled code ``Task(address)`` is the record
at an address, ``Task()`` a new one on the stack; ``task.penalty`` is one load or store at a constant
offset, and ``task.address`` the record's address. A name that is not a field is an error: when Python
writes it, and when a function that uses it compiles.
"""

import inspect
from typing import Any, ClassVar

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.imputils import lower_getattr_generic, lower_setattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import lower_builtin, models, register_model, type_callable

from fastnn._typing import Array

_I64 = ir.IntType(64)
_WORD = 8  # bytes of a field
_KINDS = {int: (np.int64, types.int64), float: (np.float64, types.float64)}


class _Row(types.Type):
    """The type of a record in compiled code; the value is its address."""

    def __init__(self, name: str, fields: dict[str, tuple[int, Any]]) -> None:
        self.fields = fields  # offset in bytes and type, by name
        super().__init__(f"Record({name})")


class Record:
    """Base class of records; see the module's docstring."""

    dtype: ClassVar[np.dtype[Any]] = np.dtype([])
    bytes: ClassVar[int] = 0

    def __init__(self, address: int = 0) -> None:
        raise TypeError(f"{type(self).__name__} is made by make() in Python, by its name in kernels")

    def __init_subclass__(cls) -> None:
        kinds: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            kinds |= {
                name: _KINDS[kind]
                for name, kind in inspect.get_annotations(base).items()
                if kind in _KINDS
            }
        cls.dtype = np.dtype([(name, kind) for name, (kind, _) in kinds.items()])
        cls.bytes = cls.dtype.itemsize
        places = {name: (_WORD * i, kind) for i, (name, (_, kind)) in enumerate(kinds.items())}
        _register(cls, _Row(f"{cls.__module__}.{cls.__qualname__}", places))

    @classmethod
    def make(cls, length: int = 1, /, **values: Any) -> Array:
        """Return an array of so many records, whose fields have these values, or else 0.

        Raises
        ------
        ValueError
            If a name is not a field; the message names it.
        """
        rows = np.zeros(length, cls.dtype)
        for name, value in values.items():
            rows[name] = value
        return rows

    @classmethod
    def place(cls, rows: Array, name: str) -> int:
        """Return the address of a field of the first record of an array."""
        address: int = rows.ctypes.data
        return address + int(cls.dtype.fields[name][1])  # type: ignore[index]


def _register(cls: type[Record], row: _Row) -> None:
    """Make ``cls(address)`` and ``cls()`` known to the compiler."""

    @type_callable(cls)
    def type_of_record(context):
        return lambda address=None: row

    @lower_builtin(cls, types.Integer)
    def at(context, builder, signature, values):
        return context.cast(builder, values[0], signature.args[0], types.int64)

    @lower_builtin(cls)
    def new(context, builder, signature, values):
        with builder.goto_entry_block():
            space = builder.alloca(ir.ArrayType(ir.IntType(8), cls.bytes))
        space.align = 64
        return builder.ptrtoint(space, _I64)


@register_model(_Row)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _I64)


@infer_getattr
class _Fields(AttributeTemplate):
    key = _Row

    def generic_resolve(self, row: Any, name: str) -> Any:
        if name == "address":
            return types.int64
        return row.fields[name][1] if name in row.fields else None


def _place(builder: Any, row: Any, value: Any, name: str) -> Any:
    offset, kind = row.fields[name]
    element = ir.DoubleType() if kind == types.float64 else _I64
    return builder.inttoptr(builder.add(value, _I64(offset)), element.as_pointer())


@lower_getattr_generic(_Row)
def _get(context: Any, builder: Any, row: Any, value: Any, name: str) -> Any:
    return value if name == "address" else builder.load(_place(builder, row, value, name))


@lower_setattr_generic(_Row)
def _set(context: Any, builder: Any, signature: Any, values: Any, name: str) -> None:
    row, kind = signature.args
    value = context.cast(builder, values[1], kind, row.fields[name][1])
    builder.store(value, _place(builder, row, values[0], name))
