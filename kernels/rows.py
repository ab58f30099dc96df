"""What the softmax family does by rows: maxima, sums, dot products, shifted exponentials.

Short rows are taken four at a time. A sum or maximum over one row is a chain in which each step waits
for the last; four chains side by side keep the processor busy, which is what counts for rows too short
to fill vector registers. At the end of a block the last row stands
in for those that are missing. Long rows are blocks of one.
"""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels._jit import by_dtype, exact, kernel
from fastnn.kernels.math import exp_nonpositive

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


@kernel
def _quad(i: int, n: int) -> tuple[int, int, int]:
    return min(i + 1, n - 1), min(i + 2, n - 1), min(i + 3, n - 1)


@kernel
def pick(index: int, a: float, b: float, c: float, d: float) -> float:
    """Return the entry of ``(a, b, c, d)`` at ``index``."""
    return a if index == 0 else b if index == 1 else c if index == 2 else d


@kernel
def tops(z: Array, i: int) -> tuple[float, float, float, float]:
    """Return the largest entries of the rows i to i + 3; with a NaN in one, any value or NaN."""
    if z.shape[0] == 1:
        a = row_max(z[0])
        return a, a, a, a
    i1, i2, i3 = _quad(i, z.shape[0])
    if z.shape[1] >= 32:
        return row_max(z[i]), row_max(z[i1]), row_max(z[i2]), row_max(z[i3])
    a, b, c, d = z[i, 0], z[i1, 0], z[i2, 0], z[i3, 0]
    for j in range(1, z.shape[1]):
        a = z[i, j] if z[i, j] > a else a
        b = z[i1, j] if z[i1, j] > b else b
        c = z[i2, j] if z[i2, j] > c else c
        d = z[i3, j] if z[i3, j] > d else d
    return a, b, c, d


@kernel
def sums(p: Array, i: int) -> tuple[float, float, float, float]:
    """Return the sums of the rows i to i + 3."""
    a = b = c = d = p.dtype.type(0)
    if p.shape[0] == 1:
        for j in range(p.shape[1]):
            a += p[0, j]
        return a, a, a, a
    i1, i2, i3 = _quad(i, p.shape[0])
    for j in range(p.shape[1]):
        a += p[i, j]
        b += p[i1, j]
        c += p[i2, j]
        d += p[i3, j]
    return a, b, c, d


@kernel
def dots(p: Array, q: Array, i: int) -> tuple[float, float, float, float]:
    """Return the dot products of the rows i to i + 3 of p with those of q."""
    a = b = c = d = p.dtype.type(0)
    if p.shape[0] == 1:
        for j in range(p.shape[1]):
            a += p[0, j] * q[0, j]
        return a, a, a, a
    i1, i2, i3 = _quad(i, p.shape[0])
    for j in range(p.shape[1]):
        a += p[i, j] * q[i, j]
        b += p[i1, j] * q[i1, j]
        c += p[i2, j] * q[i2, j]
        d += p[i3, j] * q[i3, j]
    return a, b, c, d


@kernel
def block_rows(k: int) -> int:
    """Return how many rows are taken through all passes together, in the first-level cache.

    Short rows: a multiple of 4. Long ones, which fill vector registers by themselves: 1.
    """
    return 1 if k >= 128 else 2048 // k // 4 * 4


@kernel
def shifted_exp(z: Array, out: Array) -> None:
    """``out = exp(z - max(z))`` by rows.

    The exponential runs over all rows as one flat array, so that short rows fill whole vector
    registers too. A row with NaN, with +inf or of nothing but -inf gets a NaN, and so does its sum.
    """
    n, k = z.shape
    for i in range(0, n, 4):
        a, b, c, d = tops(z, i)
        for r in range(i, min(i + 4, n)):
            top = pick(r - i, a, b, c, d)
            for j in range(k):
                out[r, j] = z[r, j] - top
    flat = out.reshape(-1)
    for j in range(flat.size):
        flat[j] = exp_nonpositive(flat[j])
