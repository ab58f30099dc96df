"""A fully connected layer's matrix products, by BLAS, into arrays the caller provides.

x ``(n, d)``, w ``(d, k)``, b and db ``(1, k)``, z and dz ``(n, k)``. ``np.dot`` on a transposed view
hands BLAS its transpose flag: nothing is copied.
"""

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import exact


@exact
def affine(x: Array, w: Array, b: Array, out: Array) -> None:
    """``out = x w + b``."""
    if x.shape[0] == 0:
        return
    np.dot(x, w, out)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] += b[0, j]


@exact
def weight_gradient(x: Array, dz: Array, dw: Array, db: Array) -> None:
    """``dw = x^T dz`` and ``db = sum(dz)`` over the batch."""
    db[:] = 0
    if x.shape[0] == 0:
        dw[:] = 0
        return
    np.dot(x.T, dz, dw)
    for i in range(dz.shape[0]):
        for j in range(dz.shape[1]):
            db[0, j] += dz[i, j]


@exact
def input_gradient(dz: Array, w: Array, dx: Array) -> None:
    """``dx = dz w^T``."""
    if dz.shape[0] != 0:
        np.dot(dz, w.T, dx)
