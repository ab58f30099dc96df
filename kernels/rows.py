"""What the softmax family does with rows: shifted exponentials and their sums.

``exp(z - top)``, with top the row's largest entry, would carry the rounding error of that difference,
amplified by its size. So the error is found exactly (D. Knuth's two-sum, "The Art of Computer
Programming", vol. 2, 4.2.2) and added to the remainder that the exponential is taken of. A common
factor, ``SCALE``, keeps terms normal whose share of the sum is subnormal, and cancels in the quotient.

Long rows, one after the other, fill vector registers by themselves. Short ones, up to ``SHORT``
entries, are transposed, ``LANES`` rows at a time: in a ``(k, LANES)`` block ``t``, ``t[j, r]`` is entry
j of row r. Then every step is a loop over lanes, with whole vectors and no entry left over. Missing
rows are zeros.
"""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels._jit import array_at, by_dtype, exact, fma, inlined, kernel, stack
from fastnn.kernels.gemm_microkernel import AVAILABLE, transpose
from fastnn.kernels.math import DOUBLE, SINGLE, reduce
from fastnn.kernels.polynomials import polynomial

SHORT = 64 if AVAILABLE else 0
LANES = 64
# Entries whose sum is taken by itself, so that rounding errors, which in float64 count, do not pile up.
_BLOCK_32, _BLOCK_64 = 2048, 64

# How far below the largest an entry counts for nothing, and the exponents of SCALE.
_DEPTH_32, _DEPTH_64 = np.float32(-110), np.float64(-760)
_SCALE_BITS_32, _SCALE_BITS_64 = np.int32(127 + 40), np.int64(1023 + 80)
_SCALE_32, _SCALE_64 = 2.0**40, 2.0**80

# The largest entry of a row; with a NaN in it, any value or NaN. LLVM vectorises a maximum of integers
# but not of floats that may be NaN. A float's bits, all but the sign flipped where it is negative,
# order as integers the way the floats do.


@exact
def _row_max_32(row: Array) -> np.float32:
    bits = row.view(np.int32)
    top = np.int32(-(2**31))
    for j in range(bits.size):
        top = max(top, np.int32(bits[j] ^ ((bits[j] >> np.int32(31)) & np.int32(2**31 - 1))))
    return np.int32(top ^ ((top >> np.int32(31)) & np.int32(2**31 - 1))).view(np.float32)


@exact
def _row_max_64(row: Array) -> np.float64:
    bits = row.view(np.int64)
    top = np.int64(-(2**63))
    for j in range(bits.size):
        top = max(top, bits[j] ^ ((bits[j] >> np.int64(63)) & np.int64(2**63 - 1)))
    return np.int64(top ^ ((top >> np.int64(63)) & np.int64(2**63 - 1))).view(np.float64)


row_max = by_dtype(_row_max_32, _row_max_64)


@inlined
def _relative_exp_32(z, top):
    x = z - top
    back = x - z
    error = (z - (x - back)) - (top + back)
    deep = x < _DEPTH_32
    error = SINGLE.zero if deep else error
    x = _DEPTH_32 if deep else x
    high, low, t = reduce(x, SINGLE)
    low += error
    r = high + low
    q = high + (low + (r * r) * polynomial(r, SINGLE.exp))
    n = np.int32(np.float32(t).view(np.int32) - np.float32(SINGLE.magic).view(np.int32))
    a = np.int32(np.int32(n + _SCALE_BITS_32) << np.int32(23)).view(np.float32)
    return SINGLE.zero if deep else a + a * q


@inlined
def _relative_exp_64(z, top):
    x = z - top
    back = x - z
    error = (z - (x - back)) - (top + back)
    deep = x < _DEPTH_64
    error = DOUBLE.zero if deep else error
    x = _DEPTH_64 if deep else x
    high, low, t = reduce(x, DOUBLE)
    low += error
    r = high + low
    top = DOUBLE.one + high
    rest = (high - (top - DOUBLE.one)) + (low + (r * r) * polynomial(r, DOUBLE.exp))
    n = np.float64(t).view(np.int64) - np.float64(DOUBLE.magic).view(np.int64)
    a = np.int64((n + _SCALE_BITS_64) << np.int64(52)).view(np.float64)
    return DOUBLE.zero if deep else a * (top + rest)


# SCALE exp(z - top); exactly SCALE for z = top. NaN where z is, or top is infinite.
relative_exp = by_dtype(_relative_exp_32, _relative_exp_64)


@inlined
def scale_of(like: Any) -> float:
    """Return SCALE for an array's dtype."""
    return _SCALE_32 if like.itemsize == 4 else _SCALE_64


@exact
def reciprocal(total: float, like: Any) -> tuple[Any, Any]:
    """Return ``1 / total`` in two parts of an array's dtype: ``p high + p low`` rounds once."""
    inverse = 1.0 / total
    high = like.dtype.type(inverse)
    if like.itemsize == 4:
        return high, like.dtype.type(inverse - np.float64(high))
    return high, high * fma(-high, total, 1.0)


@exact
def add(total: float, lost: float, term: float) -> tuple[float, float]:
    """Return a sum and what its roundings have left out of it, with one more term.

    Source: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen",
    ZAMM 54, 1974.
    """
    new = total + term
    if abs(total) >= abs(term):
        lost += (total - new) + term
    else:
        lost += (term - new) + total
    return new, lost if new - new == 0.0 else 0.0


# Long rows. Sums are kept in float64.


@inlined
def _block(like):
    return _BLOCK_32 if like.itemsize == 4 else _BLOCK_64


@kernel
def exp_row(z: Array, top: float, out: Array) -> float:
    """``out = SCALE exp(z - top)``; return the sum.

    A row with NaN, with +inf or of nothing but -inf gets a NaN, and so does its sum.
    """
    total = lost = 0.0
    for start in range(0, z.size, _block(z)):
        z_part, out_part = z[start : start + _block(z)], out[start : start + _block(z)]
        part = 0.0
        for j in range(z_part.size):
            e = relative_exp(z_part[j], top)
            out_part[j] = e
            part += np.float64(e)
        total, lost = add(total, lost, part)
    return total + lost


@kernel
def exp_row_but_one(z: Array, top: float, out: Array) -> float:
    """As :func:`exp_row`, but return the sum without one of its largest terms, which are SCALE."""
    rest = lost = 0.0
    count = 0
    for start in range(0, z.size, _block(z)):
        z_part, out_part = z[start : start + _block(z)], out[start : start + _block(z)]
        part = 0.0
        for j in range(z_part.size):
            e = relative_exp(z_part[j], top)
            out_part[j] = e
            part += np.float64(e) if z_part[j] != top else 0.0
        for j in range(z_part.size):
            count += z_part[j] == top
        rest, lost = add(rest, lost, part)
    return _but_one(rest + lost, count, top, scale_of(out))


@exact
def _but_one(rest: float, count: int, top: float, scale: float) -> float:
    """Return a sum without its largest terms with all of them but one; NaN if top is infinite."""
    return (rest if count <= 1 else rest + (count - 1) * scale) + np.float64(top - top)


@kernel
def dot_row(p: Array, q: Array) -> float:
    """Return the dot product of two rows."""
    total = lost = 0.0
    for start in range(0, p.size, _block(p)):
        p_part, q_part = p[start : start + _block(p)], q[start : start + _block(p)]
        part = 0.0
        for j in range(p_part.size):
            part += np.float64(p_part[j]) * np.float64(q_part[j])
        total, lost = add(total, lost, part)
    return total + lost


@kernel
def sum_row(p: Array) -> float:
    """Return the sum of a row."""
    total = lost = 0.0
    for start in range(0, p.size, _block(p)):
        p_part = p[start : start + _block(p)]
        part = 0.0
        for j in range(p_part.size):
            part += np.float64(p_part[j])
        total, lost = add(total, lost, part)
    return total + lost


# Short rows, as lanes.

_ENTRIES = max(SHORT, 1) * LANES * 8  # bytes of a block
# Where, on the stack, a kernel keeps up to three blocks, and numbers a lane: see `lanes_at`.
first_block, second_block, third_block = stack(_ENTRIES), stack(_ENTRIES), stack(_ENTRIES)
tops_at, rests_at, lows_at, dots_at, ties_at = (stack(LANES * 8) for _ in range(5))


@inlined
def lane_values(address: int, like: Any) -> Any:
    """Return the array of one number a lane at an address."""
    return array_at(address, 1, LANES, like)[0]


@kernel
def load_lanes(z: Array, start: int, t: Array) -> None:
    """Write the rows of z from ``start`` on to the lanes of t; those missing are 0."""
    n, k = z.shape
    rows = min(n - start, LANES)
    for i in range(rows, LANES):
        for j in range(k):
            t[j, i] = 0
    at = z.ctypes.data + start * k * z.itemsize
    transpose(at, k, t.ctypes.data, LANES, rows, k, z.itemsize, t[0, 0])


@kernel
def store_lanes(t: Array, start: int, out: Array) -> None:
    """Write the lanes of t to the rows of out from ``start`` on."""
    n, k = out.shape
    at = out.ctypes.data + start * k * out.itemsize
    transpose(t.ctypes.data, LANES, at, k, k, min(n - start, LANES), out.itemsize, t[0, 0])


@exact
def lane_tops(t: Array, tops: Array) -> None:
    """Write each lane's largest entry; with a NaN in it, any value or NaN."""
    for r in range(LANES):
        tops[r] = t[0, r]
    for j in range(1, t.shape[0]):
        for r in range(LANES):
            tops[r] = t[j, r] if t[j, r] > tops[r] else tops[r]


@exact
def exp_lanes(t: Array, tops: Array, rests: Array, parts: Array, ties: Array) -> None:
    """``t = SCALE exp(t - tops)``, and the lanes' sums but one; ``parts`` and ``ties`` are scratch."""
    scale = scale_of(t)
    for r in range(LANES):
        rests[r] = 0.0
        ties[r] = -1.0
    for start in range(0, t.shape[0], 8):  # sums of eight, so that rounding errors do not pile up
        for r in range(LANES):
            parts[r] = 0.0
        for j in range(start, min(start + 8, t.shape[0])):
            row = t[j]
            for r in range(LANES):
                ties[r] += 1.0 if row[r] == tops[r] else 0.0
                e = relative_exp(row[r], tops[r])
                parts[r] += np.float64(e) if row[r] != tops[r] else 0.0
                row[r] = e
        for r in range(LANES):
            rests[r] += parts[r]
    for r in range(LANES):
        more = ties[r] if ties[r] > 0.0 else 0.0
        rests[r] += more * scale + np.float64(tops[r] - tops[r])
