"""Row softmax and its gradient, over ``(n, k)`` arrays with ``k >= 1``.

The gradient never builds the ``k x k`` Jacobian ``diag(p) - p p^T``: multiplied out, its product
with ``dy`` is ``p * (dy - sum(dy * p))``, ``4 k`` operations a row in place of ``3 k**2``.
"""

from fastnn._typing import Array
from fastnn.kernels._jit import kernel
from fastnn.kernels.rows import block_rows, dots, pick, shifted_exp, sums


@kernel
def softmax(z: Array, out: Array) -> None:
    """``out = exp(z) / sum(exp(z))`` by rows, shifted by the row's maximum."""
    n, k = z.shape
    one = z.dtype.type(1)
    block = block_rows(k)
    for start in range(0, n, block):
        p = out[start : start + block]
        shifted_exp(z[start : start + block], p)
        for i in range(0, p.shape[0], 4):
            a, b, c, d = sums(p, i)
            for r in range(i, min(i + 4, p.shape[0])):
                scale = one / pick(r - i, a, b, c, d)
                for j in range(k):
                    p[r, j] *= scale


@kernel
def softmax_jvp(p: Array, dy: Array, out: Array) -> None:
    """``out = p * (dy - sum(dy * p))`` by rows: the softmax gradient where ``p`` is known."""
    n, k = p.shape
    block = block_rows(k)
    for start in range(0, n, block):
        p_block = p[start : start + block]
        dy_block = dy[start : start + block]
        for i in range(0, p_block.shape[0], 4):
            a, b, c, d = dots(p_block, dy_block, i)
            for r in range(i, min(i + 4, p_block.shape[0])):
                dot = pick(r - i, a, b, c, d)
                for j in range(k):
                    out[start + r, j] = p_block[r, j] * (dy_block[r, j] - dot)


@kernel
def softmax_backward(z: Array, dy: Array, out: Array) -> None:
    """``out = p * (dy - sum(dy * p))`` by rows with ``p = softmax(z)``."""
    n, k = z.shape
    one = z.dtype.type(1)
    block = block_rows(k)
    for start in range(0, n, block):
        p = out[start : start + block]
        dy_block = dy[start : start + block]
        shifted_exp(z[start : start + block], p)
        for i in range(0, p.shape[0], 4):
            s0, s1, s2, s3 = sums(p, i)
            d0, d1, d2, d3 = dots(p, dy_block, i)
            for r in range(i, min(i + 4, p.shape[0])):
                scale = one / pick(r - i, s0, s1, s2, s3)
                mean = pick(r - i, d0, d1, d2, d3) * scale
                for j in range(k):
                    p[r, j] = (p[r, j] * scale) * (dy_block[r, j] - mean)
