"""Sums over rows, in float64, and short rows as lanes.

Long rows, one after the other, fill vector registers by themselves. Short ones, up to ``SHORT``
entries, are transposed, up to ``LANES`` rows at a time: in a ``(k, lanes)`` block ``t``, ``t[j, r]`` is
entry j of row r. Then every step is a loop over lanes, with whole vectors and no entry left over.
Missing rows are zeros.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import COMPILED, by_dtype, inlined, inner
from fastnn.kernels.compiling.memory import array_at, stack
from fastnn.kernels.elementary.shifted_exp import cut_of, halves, scale_of, scaled_exp
from fastnn.kernels.emitted.sums import BLOCK, sum_of, sum_of_products
from fastnn.kernels.emitted.transposition import transpose

SHORT = 64 if COMPILED else 0
LANES = 64
_DOUBLE = np.float64(0)


@inner
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


@inner
def dot_row(p: Array, q: Array) -> float:
    """Return the dot product of two rows."""
    total = lost = 0.0
    for start in range(0, p.size, BLOCK):
        part = sum_of_products(p[start : start + BLOCK], q[start : start + BLOCK])
        total, lost = add(total, lost, part)
    return total + lost


@inner
def sum_row(p: Array) -> float:
    """Return the sum of a row."""
    total = lost = 0.0
    for start in range(0, p.size, BLOCK):
        total, lost = add(total, lost, sum_of(p[start : start + BLOCK]))
    return total + lost


def by_blocks(term: Callable[..., float]) -> Callable[..., float]:
    """Return ``f(p, q, *numbers)`` of flat arrays: the sum of ``term`` of each block of them."""
    compiled = inner(term)

    @inner
    def summed(p: Array, q: Array, *numbers: Any) -> float:
        total = lost = 0.0
        for start in range(0, p.size, BLOCK):
            some = slice(start, start + BLOCK)
            total, lost = add(total, lost, compiled(p[some], q[some], *numbers))
        return total + lost

    return summed


def by_blocks_to(term: Callable[..., float]) -> Callable[..., float]:
    """Return ``f(out, p, q, *numbers)``, likewise, of a ``term`` that also writes to ``out``."""
    compiled = inner(term)

    @inner
    def summed(out: Array, p: Array, q: Array, *numbers: Any) -> float:
        total = lost = 0.0
        for start in range(0, p.size, BLOCK):
            some = slice(start, start + BLOCK)
            total, lost = add(total, lost, compiled(out[some], p[some], q[some], *numbers))
        return total + lost

    return summed


# Short rows, as lanes.

_BLOCK_BYTES = SHORT * LANES * 8
_NUMBERS = 8
# Where, on the stack, a kernel keeps up to two blocks, and up to eight numbers a lane twice, in the
# arrays' dtype and in float64.
_first, _second = stack(_BLOCK_BYTES), stack(_BLOCK_BYTES)
_values, _sums = stack(_NUMBERS * LANES * 8), stack(_NUMBERS * LANES * 8)


@inlined
def lanes_of(rows: int) -> int:
    """Return how many lanes the next block of so many rows takes: whole vectors, at most LANES."""
    return min(LANES, (rows + 15) // 16 * 16)


@inlined
def lanes_in(t: Any) -> Any:
    """Return how many lanes a block has, so that LLVM knows that no loop over them has a remainder."""
    return t.shape[1] & -16


@inlined
def first(k: int, lanes: int, like: Any) -> Any:
    """Return one block of the calling kernel's."""
    return array_at(_first(), k, lanes, like)


@inlined
def second(k: int, lanes: int, like: Any) -> Any:
    """Return the other block of the calling kernel's."""
    return array_at(_second(), k, lanes, like)


@inlined
def values(lanes: int, like: Any) -> Any:
    """Return an array of eight numbers a lane."""
    return array_at(_values(), _NUMBERS, lanes, like)


@inlined
def sums(lanes: int) -> Any:
    """Return an array of eight float64 numbers a lane."""
    return array_at(_sums(), _NUMBERS, lanes, _DOUBLE)


@inner
def load_lanes(z: Array, start: int, t: Array) -> None:
    """Write the rows of z from ``start`` on to the lanes of t; those missing are 0."""
    n, k = z.shape
    lanes = lanes_in(t)
    rows = min(n - start, lanes)
    for i in range(rows, lanes):
        for j in range(k):
            t[j, i] = 0
    at = np.int64(z.ctypes.data) + start * k * z.itemsize
    transpose(at, k, np.int64(t.ctypes.data), lanes, rows, k, z.itemsize, t[0, 0])


@inner
def store_lanes(t: Array, start: int, out: Array) -> None:
    """Write the lanes of t to the rows of out from ``start`` on."""
    n, k = out.shape
    lanes = lanes_in(t)
    at = np.int64(out.ctypes.data) + start * k * out.itemsize
    transpose(np.int64(t.ctypes.data), lanes, at, k, k, min(n - start, lanes), out.itemsize, t[0, 0])


@inner
def lane_tops(t: Array, tops: Array) -> None:
    """Write each lane's largest entry; with a NaN in it, any value or NaN."""
    lanes = lanes_in(t)
    for r in range(lanes):
        tops[r] = t[0, r]
    for j in range(1, t.shape[0]):
        row = t[j]
        for r in range(lanes):
            tops[r] = tops[r] if row[r] <= tops[r] else row[r]


@inner
def _exp_row(row: Array, tops: Array, lanes: int) -> None:
    for r in range(lanes):
        row[r] = scaled_exp(row[r], tops[r])


@inner
def exp_lanes(t: Array, tops: Array, rests: Array, lows: Array) -> None:
    """``t = SCALE exp(t - tops)``, and the lanes' sums but for one largest term; lows is scratch."""
    scale, cut = scale_of(t), cut_of(t)
    lanes = lanes_in(t)
    for r in range(lanes):
        rests[r] = -scale
        lows[r] = 0.0
    for j in range(t.shape[0]):
        row = t[j]
        _exp_row(row, tops, lanes)
        for r in range(lanes):
            high, low = halves(row[r], cut)
            rests[r] += high
            lows[r] += low
    for r in range(lanes):
        rests[r] += lows[r]


@inner
def _exp_lanes_32(t: Array, tops: Array, totals: Array, lows: Array) -> None:
    lanes = lanes_in(t)
    for r in range(lanes):
        totals[r] = 0.0
    for j in range(t.shape[0]):
        row = t[j]
        _exp_row(row, tops, lanes)
        for r in range(lanes):
            totals[r] += np.float64(row[r])  # which has bits to spare


@inner
def _exp_lanes_64(t: Array, tops: Array, totals: Array, lows: Array) -> None:
    exp_lanes(t, tops, totals, lows)
    for r in range(lanes_in(t)):
        totals[r] += scale_of(t)


# (t, tops, totals, lows): `exp_lanes` with the lanes' whole sums
exp_lanes_and_totals = by_dtype(_exp_lanes_32, _exp_lanes_64)
