"""Machine code: loops over elements use vectors of full width and call nothing."""

import inspect
import math

import numpy as np
import pytest

from fastnn.cli import inspection
from fastnn.kernels import activations, softmax
from fastnn.kernels.compiling import target
from fastnn.kernels.compiling.jit import exact_light, kernel, loop_bytes
from fastnn.kernels.emitted.transposition import transpose

pytestmark = pytest.mark.skipif(
    not target.FUSED,
    reason="NUMBA_DISABLE_JIT is set, or a multiply-add is a call here, which keeps loops scalar",
)


def kernels(module):
    """Return the public kernels that a module defines, by name."""
    return {
        name: function
        for name, function in vars(module).items()
        if hasattr(function, "py_func") and function.__module__ == module.__name__ and name[0] != "_"
    }


ELEMENTWISE, ROWS = kernels(activations), kernels(softmax)


def compiled(function, dtype, ndim=1):
    """Return a kernel's machine code; parameters that are no arrays are numbers."""
    names = inspect.signature(getattr(function, "py_func", function)).parameters.values()
    array = np.ones((4,) * ndim, dtype)
    return inspection.inspect(function, *(0.5 if p.annotation is float else array for p in names))


@kernel
def _double(z, out):
    for i in range(z.size):
        out[i] = z[i] + z[i]


@pytest.fixture
def width():
    """Width of the machine's vectors."""
    return target.VECTOR_BYTES


@exact_light
def _double_lightly(z, out):
    for i in range(z.size):
        out[i] = z[i] + z[i]


def test_kernels_use_the_widest_vectors_and_light_ones_those_that_llvm_prefers(width):
    assert inspection.main_loop(compiled(_double, np.float32)).vector_bytes == width
    light = inspection.main_loop(compiled(_double_lightly, np.float32), loop_bytes(_double_lightly))
    assert light.vector_bytes == target.loop_bytes()
    # For Intel's CPUs with AVX-512, LLVM prefers vectors of 256 bits.
    assert target.loop_bytes() == width or (width, target.loop_bytes()) == (64, 32)


@kernel
def _transposed_and_doubled(z, out):
    at, to = z.ctypes.data, out.ctypes.data
    transpose(at, 4, to, 4, 4, 4, z.itemsize, z[0, 0])
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = out[i, j] + out[i, j]


def test_the_main_loop_does_arithmetic_if_one_does(dtype):
    # A transposition goes in vectors of the full width even where loops do not.
    loop = inspection.main_loop(compiled(_transposed_and_doubled, dtype, ndim=2))
    assert loop.arithmetic["add"] > 0


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_kernels_use_full_vectors(name, dtype):
    kernel = ELEMENTWISE[name]
    assert inspection.problems(compiled(kernel, dtype), loop_bytes(kernel)) == []


@pytest.mark.parametrize("name", ROWS)
def test_row_kernels_use_full_vectors(name, dtype, width):
    assert inspection.problems(compiled(ROWS[name], dtype, ndim=2), width) == []


@kernel
def _calls(z, out):
    for i in range(z.size):
        out[i] = math.atan(z[i])


@kernel
def _chain(z, out):
    for i in range(1, z.size):
        out[i] = out[i - 1] * z[i]


@kernel
def _one_of_two(z, out):
    for i in range(z.size):
        out[i] = z[i] + z[i]
    for i in range(1, z.size):
        out[i] = out[i - 1] * z[i]


@kernel
def _one_of_two_calls(z, out):
    for i in range(z.size):
        out[i] = z[i] + z[i]
    for i in range(z.size):
        out[i] = math.atan(out[i])


@pytest.mark.parametrize("function", [_calls, _one_of_two_calls])
def test_a_loop_that_calls_is_found(function, dtype, width):
    found = inspection.problems(compiled(function, dtype), width)
    assert found
    assert all("calls atan" in problem for problem in found)


@pytest.mark.parametrize("function", [_chain, _one_of_two])
def test_a_loop_that_stayed_scalar_is_found(function, dtype, width):
    (problem, *_) = inspection.problems(compiled(function, dtype), width)
    assert "scalar" in problem
    assert "mul" in problem


def test_vectors_too_narrow_are_found(dtype, width):
    found = inspection.problems(compiled(_double, dtype), 2 * width)
    assert any(f"vectors of {width} bytes" in problem for problem in found)


def test_a_kernel_without_loop_has_no_vectors(dtype, width):
    @kernel
    def nothing(z, out):
        out[0] = z[0]

    found = inspection.problems(compiled(nothing, dtype), width)
    assert found == [f"no loop over vectors of {width} bytes"]
