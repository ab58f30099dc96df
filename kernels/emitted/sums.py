"""Sums of up to ``BLOCK`` terms, in float64, in one order on every processor.

LLVM may not reorder a sum that bits rest on, and a sum in the written order does not vectorise. So
these are written in vectors. Sixteen partial sums take the terms in turn, four more take fours of what
is left, and one takes the last three; in the end, halves of them are added. That order is the same
whatever vectors there are, and rounding errors pile up over a sixteenth of the terms only.

Longer sums add blocks (:mod:`fastnn.kernels.rows`). A sum of what a loop computes writes its terms to
:func:`terms` first.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import lower_builtin, type_callable

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import emit_muladd
from fastnn.kernels.compiling.target import VECTOR_BYTES

BLOCK = 1024
_TOGETHER, _FEW = 16, 4
_I32, _I64, _DOUBLE = ir.IntType(32), ir.IntType(64), ir.DoubleType()


def sum_of(p: Array) -> float:
    """Return ``sum(p)`` of a contiguous array of up to ``BLOCK`` numbers, as all functions here."""
    return np.sum(p, dtype=np.float64)


def sum_of_products(p: Array, q: Array) -> float:
    """Return ``sum(p q)``."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sum(np.float64(p) * np.float64(q)))


def sum_of_halves(p: Array, cut: float) -> tuple[float, float]:
    """Return the sums of the high and of the low parts of terms: see :mod:`shifted_exp`."""
    wide = np.float64(p)
    high = (wide + cut) - cut
    return np.sum(high), np.sum(wide - high)


def sum_of_squares(p: Array, q: Array) -> float:
    """Return ``sum((p - q)**2)``."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sum((np.float64(p) - np.float64(q)) ** 2))


def sums_of_deviations(p: Array, center: float) -> tuple[float, float]:
    """Return ``sum(p - center)`` and ``sum((p - center)**2)``."""
    with np.errstate(over="ignore", invalid="ignore"):
        gaps = np.float64(p) - center
        return np.sum(gaps), np.sum(gaps * gaps)


def sums_of_products(p: Array, q: Array, r: Array, center: float) -> tuple[float, float]:
    """Return ``sum(p q)`` and ``sum(p q (r - center))``."""
    with np.errstate(over="ignore", invalid="ignore"):
        products = np.float64(p) * np.float64(q)
        return np.sum(products), np.sum(products * (np.float64(r) - center))


def sums_of_gaps(p: Array, weights: Array, top: float, cut: float) -> tuple[float, float, float]:
    """Return :func:`sum_of_halves` of the weights, and ``sum(weights (top - p))``.

    Where a weight is 0 nothing is added, even at p = -inf.
    """
    w, gaps = np.float64(weights), top - np.float64(p)
    return *sum_of_halves(weights, cut), np.sum(w * np.where(w == 0, 0.0, gaps))


def sums_apart(p: Array, value: Any) -> tuple[float, float]:
    """Return the sum of the terms that equal a value, and that of the others."""
    wide = np.float64(p)
    return np.sum(wide[p == value]), np.sum(wide[p != value])


def terms(count: int, like: Any) -> Array:
    """Return an array on the stack, not initialised, of up to ``BLOCK`` numbers like ``like``."""
    return np.empty(count, type(like))


# How it is done in compiled code: on vectors of so many lanes, or on numbers, of one lane.


def _spread(builder: Any, value: Any, lanes: int) -> Any:
    """Return a number in every lane."""
    if lanes == 1:
        return value
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, _I32(0))
    zeros = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _read(builder: Any, array: Any, index: Any, lanes: int) -> Any:
    """Return elements of an array from an index on."""
    pointer, wide = builder.gep(array.data, [index]), _DOUBLE
    size = 4 if isinstance(array.data.type.pointee, ir.FloatType) else 8
    if lanes > 1:
        vector, wide = ir.VectorType(array.data.type.pointee, lanes), ir.VectorType(_DOUBLE, lanes)
        pointer = builder.bitcast(pointer, vector.as_pointer())
    value = builder.load(pointer)
    value.align = size
    return value if size == 8 else builder.fpext(value, wide)


def _halved(builder: Any, vectors: list[Any]) -> Any:
    """Return the sum of all lanes, each half added to the other, first of the vectors, then of one."""
    while len(vectors) > 1:
        half = len(vectors) // 2
        vectors = [builder.fadd(*pair) for pair in zip(vectors[:half], vectors[half:], strict=True)]
    vector = vectors[0]
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        indices = ir.VectorType(_I32, lanes)
        low, high = (
            builder.shuffle_vector(
                vector, vector, ir.Constant(indices, list(range(first, first + lanes)))
            )
            for first in (0, lanes)
        )
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, _I32(0))


def _sums(
    builder: Any, count: Any, numbers: int, add: Callable[[list[Any], Any, int], list[Any]]
) -> list[Any]:
    """Return so many sums of ``count`` terms; ``add(sums, index, lanes)`` adds the next to each."""
    lanes = max(VECTOR_BYTES // 8, _FEW)  # of which there are 16 in any case, in one vector or more

    def zeros(size: int) -> list[Any]:
        zero = _spread(builder, _DOUBLE(0.0), size)
        return [cgutils.alloca_once_value(builder, zero) for _ in range(numbers)]

    def step(places: list[Any], index: Any, size: int) -> None:
        values = add([builder.load(place) for place in places], index, size)
        for value, place in zip(values, places, strict=True):
            builder.store(value, place)

    def loop(start: Any, stop: Any, length: int) -> Any:
        return cgutils.for_range_slice(builder, start, stop, _I64(length), _I64)

    chains, few, single = [zeros(lanes) for _ in range(_TOGETHER // lanes)], zeros(_FEW), zeros(1)
    end = builder.and_(count, _I64(-_TOGETHER))
    with loop(_I64(0), end, _TOGETHER) as (i, _):
        for c, chain in enumerate(chains):
            step(chain, builder.add(i, _I64(c * lanes)), lanes)
    end_of_few = builder.and_(count, _I64(-_FEW))
    with loop(end, end_of_few, _FEW) as (i, _):
        step(few, i, _FEW)
    with loop(end_of_few, count, 1) as (i, _):
        step(single, i, 1)
    sums = []
    for n in range(numbers):
        total = _halved(builder, [builder.load(chain[n]) for chain in chains])
        total = builder.fadd(total, _halved(builder, [builder.load(few[n])]))
        sums.append(builder.fadd(total, builder.load(single[n])))
    return sums


def _flat(array: Any) -> bool:
    """Return whether this is the type of an array whose elements these functions can read."""
    known = isinstance(array, types.Array) and isinstance(array.dtype, types.Float)
    return known and array.ndim == 1 and array.layout == "C"


def _array(context: Any, builder: Any, kind: Any, value: Any) -> tuple[Any, Any]:
    """Return an array's fields and its size."""
    from numba.np.arrayobj import make_array

    array = make_array(kind)(context, builder, value)
    return array, cgutils.unpack_tuple(builder, array.shape, 1)[0]


_PAIR, _TRIPLE = types.UniTuple(types.float64, 2), types.UniTuple(types.float64, 3)


@type_callable(sum_of)
def _type_of_sum(context):
    return lambda p: types.float64 if _flat(p) else None


@lower_builtin(sum_of, types.Array)
def _emit_sum(context, builder, signature, values):
    array, count = _array(context, builder, signature.args[0], values[0])

    def add(sums: list[Any], index: Any, lanes: int) -> list[Any]:
        return [builder.fadd(sums[0], _read(builder, array, index, lanes))]

    return _sums(builder, count, 1, add)[0]


@type_callable(sum_of_products)
def _type_of_products(context):
    return lambda p, q: types.float64 if _flat(p) and _flat(q) else None


@lower_builtin(sum_of_products, types.Array, types.Array)
def _emit_products(context, builder, signature, values):
    p, count = _array(context, builder, signature.args[0], values[0])
    q, _ = _array(context, builder, signature.args[1], values[1])

    def add(sums: list[Any], index: Any, lanes: int) -> list[Any]:
        pair = [_read(builder, array, index, lanes) for array in (p, q)]
        return [emit_muladd(builder, *pair, sums[0])]

    return _sums(builder, count, 1, add)[0]


@type_callable(sum_of_halves)
def _type_of_halves(context):
    return lambda p, cut: _PAIR if _flat(p) else None


@lower_builtin(sum_of_halves, types.Array, types.Float)
def _emit_halves(context, builder, signature, values):
    array, count = _array(context, builder, signature.args[0], values[0])

    def add(sums: list[Any], index: Any, lanes: int) -> list[Any]:
        term, cut = _read(builder, array, index, lanes), _spread(builder, values[1], lanes)
        high = builder.fsub(builder.fadd(term, cut), cut)
        return [builder.fadd(sums[0], high), builder.fadd(sums[1], builder.fsub(term, high))]

    return context.make_tuple(builder, _PAIR, _sums(builder, count, 2, add))


@type_callable(sum_of_squares)
def _type_of_squares(context):
    return lambda p, q: types.float64 if _flat(p) and _flat(q) else None


@lower_builtin(sum_of_squares, types.Array, types.Array)
def _emit_squares(context, builder, signature, values):
    p, count = _array(context, builder, signature.args[0], values[0])
    q, _ = _array(context, builder, signature.args[1], values[1])

    def add(sums: list[Any], index: Any, lanes: int) -> list[Any]:
        d = builder.fsub(*(_read(builder, array, index, lanes) for array in (p, q)))
        return [emit_muladd(builder, d, d, sums[0])]

    return _sums(builder, count, 1, add)[0]


@type_callable(sums_of_deviations)
def _type_of_deviations(context):
    return lambda p, center: _PAIR if _flat(p) else None


@lower_builtin(sums_of_deviations, types.Array, types.Float)
def _emit_deviations(context, builder, signature, values):
    array, count = _array(context, builder, signature.args[0], values[0])

    def add(sums: list[Any], index: Any, lanes: int) -> list[Any]:
        gap = builder.fsub(_read(builder, array, index, lanes), _spread(builder, values[1], lanes))
        return [builder.fadd(sums[0], gap), emit_muladd(builder, gap, gap, sums[1])]

    return context.make_tuple(builder, _PAIR, _sums(builder, count, 2, add))


@type_callable(sums_of_products)
def _type_of_three(context):
    return lambda p, q, r, center: _PAIR if _flat(p) and _flat(q) and _flat(r) else None


@lower_builtin(sums_of_products, types.Array, types.Array, types.Array, types.Float)
def _emit_three(context, builder, signature, values):
    (p, count), (q, _), (r, _) = (
        _array(context, builder, *pair) for pair in zip(signature.args[:3], values, strict=False)
    )

    def add(sums: list[Any], index: Any, lanes: int) -> list[Any]:
        product = builder.fmul(*(_read(builder, array, index, lanes) for array in (p, q)))
        gap = builder.fsub(_read(builder, r, index, lanes), _spread(builder, values[3], lanes))
        return [builder.fadd(sums[0], product), emit_muladd(builder, product, gap, sums[1])]

    return context.make_tuple(builder, _PAIR, _sums(builder, count, 2, add))


@type_callable(sums_of_gaps)
def _type_of_gaps(context):
    return lambda p, weights, top, cut: _TRIPLE if _flat(p) and _flat(weights) else None


@lower_builtin(sums_of_gaps, types.Array, types.Array, types.Float, types.Float)
def _emit_gaps(context, builder, signature, values):
    p, count = _array(context, builder, signature.args[0], values[0])
    weights, _ = _array(context, builder, signature.args[1], values[1])
    top = context.cast(builder, values[2], signature.args[2], types.float64)

    def add(sums: list[Any], index: Any, lanes: int) -> list[Any]:
        term, weight = (_read(builder, array, index, lanes) for array in (p, weights))
        zero, cut = (_spread(builder, x, lanes) for x in (_DOUBLE(0.0), values[3]))
        gap = builder.fsub(_spread(builder, top, lanes), term)
        gap = builder.select(builder.fcmp_ordered("==", weight, zero), zero, gap)
        below = emit_muladd(builder, weight, gap, sums[2])
        if signature.args[1].dtype.bitwidth == 32:
            return [builder.fadd(sums[0], weight), sums[1], below]  # float64 has bits to spare
        high = builder.fsub(builder.fadd(weight, cut), cut)
        low = builder.fsub(weight, high)
        return [builder.fadd(sums[0], high), builder.fadd(sums[1], low), below]

    return context.make_tuple(builder, _TRIPLE, _sums(builder, count, 3, add))


@type_callable(sums_apart)
def _type_of_apart(context):
    return lambda p, value: _PAIR if _flat(p) else None


@lower_builtin(sums_apart, types.Array, types.Float)
def _emit_apart(context, builder, signature, values):
    array, count = _array(context, builder, signature.args[0], values[0])
    number = context.cast(builder, values[1], signature.args[1], types.float64)

    def add(sums: list[Any], index: Any, lanes: int) -> list[Any]:
        term, value = _read(builder, array, index, lanes), _spread(builder, number, lanes)
        zero = _spread(builder, _DOUBLE(0.0), lanes)
        same = builder.fcmp_ordered("==", term, value)
        parts = builder.select(same, term, zero), builder.select(same, zero, term)
        return [builder.fadd(total, part) for total, part in zip(sums, parts, strict=True)]

    return context.make_tuple(builder, _PAIR, _sums(builder, count, 2, add))


@type_callable(terms)
def _type_of_terms(context):
    return lambda count, like: types.Array(like, 1, "C") if isinstance(like, types.Float) else None


@lower_builtin(terms, types.Integer, types.Float)
def _emit_terms(context, builder, signature, values):
    from numba.np.arrayobj import make_array, populate_array

    kind = signature.return_type
    element, size = context.get_data_type(kind.dtype), _I64(kind.dtype.bitwidth // 8)
    with builder.goto_entry_block():
        space = builder.alloca(ir.ArrayType(element, BLOCK))
    space.align = 64
    array = make_array(kind)(context, builder)
    data = builder.bitcast(space, element.as_pointer())
    count = context.cast(builder, values[0], signature.args[0], types.int64)
    populate_array(array, data, [count], [size], size, meminfo=None)
    return array._getvalue()
