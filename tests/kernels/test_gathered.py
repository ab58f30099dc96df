"""Gathered products and overlapping rows, against exact integer arithmetic."""

import itertools

import numpy as np
import pytest

from fastnn.kernels.compiling import jit
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.emitted.gathered import gather_multiply
from fastnn.kernels.emitted.overlaps import add_rows
from fastnn.kernels.emitted.tile import PLAIN, RELU

pytestmark = pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
SHAPES = itertools.product((1, 2, 3, 5, 8, 9, 19), (1, 3, 8, 16, 17, 33, 47, 64, 65), (1, 7))


@jit.exact
def product(x, rows, steps, b, out, columns, repeats, distance, start, mode):
    gather_multiply(
        x.ctypes.data, rows.ctypes.data, steps.ctypes.data, b.ctypes.data, b.shape[1], out.ctypes.data,
        out.shape[1], rows.size, columns, steps.size, repeats, distance, start.ctypes.data, 0, mode,
        x.itemsize, x[0],
    )  # fmt: skip


@jit.exact
def overlapping(rows, width, out, step):
    add_rows(
        rows.ctypes.data, rows.shape[1] * rows.itemsize, rows.shape[0], width, out.ctypes.data,
        step * out.itemsize, out[0],
    )  # fmt: skip


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("mode", [PLAIN, RELU], ids=["plain", "relu"])
def test_products_are_those_of_gathered_matrices(dtype, repeats, mode):
    rng, size = np.random.default_rng(0), np.dtype(dtype).itemsize
    x = rng.integers(-9, 10, 500).astype(dtype)
    for m, columns, k in SHAPES:
        rows, steps = rng.integers(0, 100, m), rng.integers(0, 100, k)
        b = rng.integers(-9, 10, (repeats * k, columns)).astype(dtype)
        start = rng.integers(-9, 10, (1, columns)).astype(dtype)
        out = np.full((m + 1, columns + 3), 77, dtype)
        product(x, rows * size, steps * size, b, out, columns, repeats, 100 * size, start, mode)
        places = np.add.outer(np.add.outer(rows, 100 * np.arange(repeats)), steps)
        expected = start + x[places].reshape(m, -1) @ b
        expected = np.maximum(expected, 0) if mode == RELU else expected
        np.testing.assert_array_equal(out[:m, :columns], expected)
        assert (out[m:] == 77).all()
        assert (out[:, columns:] == 77).all()


def test_rows_are_added_where_they_overlap(dtype):
    rng = np.random.default_rng(0)
    for m, width, step in itertools.product((1, 2, 7), (1, 5, 16, 17, 40), (1, 3, 20)):
        rows = rng.integers(-9, 10, (m, width + 2)).astype(dtype)
        out = rng.integers(-9, 10, (m - 1) * step + width + 1).astype(dtype)
        expected = out.copy()
        for i, row in enumerate(rows):
            expected[i * step : i * step + width] += row[:width]
        overlapping(rows, width, out, step)
        np.testing.assert_array_equal(out, expected)
