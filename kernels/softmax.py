"""Row softmax and its gradient, over ``(n, k)`` arrays with ``k >= 1``.

The gradient never builds the ``k x k`` Jacobian ``diag(p) - p p^T``: multiplied out, its product
with ``dy`` is ``p * (dy - sum(dy * p))``, ``4 k`` operations a row in place of ``3 k**2``.
"""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels._jit import by_dtype, exact, kernel
from fastnn.kernels.math import exp

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
def shifted_exp(z: Array, out: Array) -> None:
    """``out = exp(z - max(z))`` by rows.

    The exponential runs over a block of rows as one flat array, so that short rows fill whole vector
    registers too. A row with NaN, with +inf or of nothing but -inf gets a NaN, and so does its sum.
    """
    n, k = z.shape
    block = max(1, 1024 // k)
    for start in range(0, n, block):
        stop = min(start + block, n)
        for i in range(start, stop):
            top = row_max(z[i])
            for j in range(k):
                out[i, j] = z[i, j] - top
        flat = out[start:stop].reshape(-1)
        for j in range(flat.size):
            flat[j] = exp(flat[j])


@kernel
def softmax(z: Array, out: Array) -> None:
    """``out = exp(z) / sum(exp(z))`` by rows, shifted by the row's maximum."""
    one = z.dtype.type(1)
    shifted_exp(z, out)
    for i in range(z.shape[0]):
        total = z.dtype.type(0)
        for j in range(z.shape[1]):
            total += out[i, j]
        scale = one / total
        for j in range(z.shape[1]):
            out[i, j] *= scale


@kernel
def softmax_jvp(p: Array, dy: Array, out: Array) -> None:
    """``out = p * (dy - sum(dy * p))`` by rows: the softmax gradient where ``p`` is known."""
    for i in range(p.shape[0]):
        dot = p.dtype.type(0)
        for j in range(p.shape[1]):
            dot += p[i, j] * dy[i, j]
        for j in range(p.shape[1]):
            out[i, j] = p[i, j] * (dy[i, j] - dot)


@kernel
def softmax_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = p * (dy - sum(dy * p))`` by rows with ``p = softmax(z)``."""
    one = z.dtype.type(1)
    shifted_exp(z, out)
    for i in range(z.shape[0]):
        total = z.dtype.type(0)
        dot = z.dtype.type(0)
        for j in range(z.shape[1]):
            total += out[i, j]
            dot += out[i, j] * dy[i, j]
        scale = one / total
        mean = dot * scale
        for j in range(z.shape[1]):
            out[i, j] = (out[i, j] * scale) * (dy[i, j] - mean)
