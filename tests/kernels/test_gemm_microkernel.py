"""Every tile remainder against a float64 product; nothing written outside C."""

import itertools

import numpy as np
import pytest

from fastnn.kernels import gemm_microkernel

pytestmark = pytest.mark.skipif(
    not gemm_microkernel.AVAILABLE, reason="this processor has no vector unit that is known"
)
ROWS = (1, 2, 3, 5, 7, 8, 9, 15, 17)
COLUMNS = (1, 3, 7, 8, 9, 16, 17, 24, 25, 32, 33, 48, 49, 64, 65)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("start", ["nothing", "a bias", "C itself"])
def test_every_remainder(start, transposed, dtype, rng):
    for m, n, k in itertools.product(ROWS, COLUMNS, (1, 2, 37)):
        A = rng.normal(size=(m, k)).astype(dtype)
        B = rng.normal(size=(k, n + 3)).astype(dtype)
        C = np.full((m + 1, n + 5), 7, dtype)
        bias = rng.normal(size=n).astype(dtype)
        stored = np.ascontiguousarray(A.T) if transposed else A
        strides = (1, m) if transposed else (k, 1)
        begin = {"nothing": (0, 0), "a bias": (bias.ctypes.data, 0), "C itself": (C.ctypes.data, n + 5)}
        expected = A.astype(np.float64) @ B[:, :n].astype(np.float64)
        expected += {"nothing": 0, "a bias": bias, "C itself": 7}[start]
        gemm_microkernel.gemm(
            stored.ctypes.data, *strides, B.ctypes.data, n + 3, C.ctypes.data, n + 5,
            m, n, k, *begin[start], dtype.itemsize, dtype.type(0),
        )  # fmt: skip
        bound = (k + 1) * np.finfo(dtype).eps * (np.abs(A) @ np.abs(B[:, :n]) + 10)
        assert (np.abs(C[:m, :n] - expected) <= bound).all(), (m, n, k)
        assert (C[m:] == 7).all()
        assert (C[:, n:] == 7).all()
