"""Sets of constants for compiled functions, which pass them on to one another at no cost.

To numba a tuple is an argument for each of its entries, in every function that it is handed to, and a
type to compare with others entry by entry. A set of constants is nothing at run time: its type knows
it, and reading a field is a constant.
"""

import dataclasses
import hashlib
from typing import Any, TypeVar, dataclass_transform

from numba import typeof
from numba.core import types
from numba.core.imputils import lower_constant, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import models, register_model, typeof_impl

_T = TypeVar("_T")


class _Constants(types.Dummy):
    """The type of one set of constants."""

    def __init__(self, value: Any) -> None:
        self.value = value
        digest = hashlib.sha256(repr(value).encode()).hexdigest()[:16]
        super().__init__(f"{type(value).__name__}_{digest}")


register_model(_Constants)(models.OpaqueModel)


@infer_getattr
class _Fields(AttributeTemplate):
    key = _Constants

    def generic_resolve(self, constants: Any, name: str) -> Any:
        return typeof(getattr(constants.value, name))


@lower_getattr_generic(_Constants)
def _field(context: Any, builder: Any, constants: Any, nothing: Any, name: str) -> Any:
    value = getattr(constants.value, name)
    return context.get_constant_generic(builder, typeof(value), value)


@lower_constant(_Constants)
def _nothing(context: Any, builder: Any, constants: Any, value: Any) -> Any:
    return context.get_dummy_value()


@dataclass_transform(frozen_default=True)
def constants(cls: type[_T]) -> type[_T]:
    """Make a class with annotations a set of constants: numbers, tuples of them, further sets."""
    known = dataclasses.dataclass(frozen=True)(cls)
    typeof_impl.register(known)(lambda value, context: _Constants(value))
    return known
