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
            m, n, k, *begin[start], gemm_microkernel.PLAIN,
            dtype.itemsize, dtype.type(0), dtype.type(0),
        )  # fmt: skip
        bound = (k + 1) * np.finfo(dtype).eps * (np.abs(A) @ np.abs(B[:, :n]) + 10)
        assert (np.abs(C[:m, :n] - expected) <= bound).all(), (m, n, k)
        assert (C[m:] == 7).all()
        assert (C[:, n:] == 7).all()


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (8, 16), (17, 33)], ids=str)
def test_relu_and_its_gradient_on_the_tile(shape, dtype, rng):
    m, n = shape
    k = 5
    A, B = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    A[-1], B[:, -1] = 0, -0.0  # the last product is a zero, where the gradient is 1
    bias = rng.normal(size=n).astype(dtype)
    bias[-1] = -0.0
    y, dz, tail = np.full((3, m, n), 7, dtype)

    def gemm(out, start, row, mode):
        gemm_microkernel.gemm(
            A.ctypes.data, k, 1, B.ctypes.data, n, out.ctypes.data, n,
            m, n, k, start.ctypes.data, row, mode, dtype.itemsize, dtype.type(0), dtype.type(0),
        )  # fmt: skip

    gemm(tail, bias, 0, gemm_microkernel.PLAIN)
    gemm(y, bias, 0, gemm_microkernel.RELU)
    np.testing.assert_array_equal(y, np.maximum(tail, 0))
    np.testing.assert_array_equal(np.signbit(y), tail < 0)
    gemm(dz, y, n, gemm_microkernel.RELU_GRADIENT)
    np.testing.assert_allclose(dz, (A @ B) * (tail >= 0), rtol=1e-5, atol=1e-5)
    assert dz[-1, -1] == 0
    A[0] = np.nan
    gemm(y, bias, 0, gemm_microkernel.RELU)
    gemm(dz, y, n, gemm_microkernel.RELU_GRADIENT)
    assert np.isnan(y[0]).all()
    assert np.isnan(dz[0]).all()


@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (8, 8), (17, 33), (64, 10)], ids=str)
def test_transposition(shape, dtype, rng):
    m, n = shape
    A, C = rng.normal(size=(m, n + 2)).astype(dtype), np.full((n + 1, m + 3), 7, dtype)
    gemm_microkernel.transpose(
        A.ctypes.data, n + 2, C.ctypes.data, m + 3, m, n, dtype.itemsize, dtype.type(0)
    )
    np.testing.assert_array_equal(C[:n, :m], A[:, :n].T)
    assert (C[n:] == 7).all()
    assert (C[:, m:] == 7).all()
