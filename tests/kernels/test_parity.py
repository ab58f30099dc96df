"""Every kernel against its plain NumPy twin, the one that ``fastnn profile`` shows beside it."""

import inspect

import numpy as np
import pytest

from fastnn.kernels.rows import SHORT
from fastnn.reference.twins import kernels, twin

# Files of the kernels that layers, losses and optimisers call; the other kernels are called by these.
FILES = {name.split(".")[0] for name in kernels() if twin(name)}
KERNELS = {
    name: kernel
    for name, kernel in kernels().items()
    if name.split(".")[0] in FILES
    and (SHORT or not name.endswith("_short"))  # lanes need a vector unit
}
ROWS, COLUMNS = 5, 11


def signature(function):
    return list(inspect.signature(getattr(function, "py_func", function)).parameters)


def draw(name, dtype):
    return twin(name).case(KERNELS[name], ROWS, COLUMNS, np.dtype(dtype).name)


def n_inputs(name, case):
    """Return how many of a kernel's arguments are not arrays that it fills."""
    return len(case.inputs) + len(twin(name).fixed)


def run(name, case):
    """Return what a kernel returned, updated and wrote, in its twin's order."""
    value = case.run()
    updated = [case.arguments[i] for i in twin(name).updated]
    written = case.arguments[n_inputs(name, case) :]
    return [*([] if value is None else [value]), *updated, *written]


def expectation(name, case):
    expected = twin(name).naive(*case.inputs)
    return expected if isinstance(expected, tuple) else (expected,)


def test_every_kernel_has_a_twin():
    assert {"activations", "softmax", "cross_entropy", "losses", "products", "optimizers"} <= FILES
    assert [name for name in KERNELS if twin(name) is None] == []


@pytest.mark.parametrize("name", KERNELS)
def test_the_twin_takes_all_arguments_but_the_outputs(name):
    case = draw(name, "float32")
    names = signature(KERNELS[name])
    assert len(names) == len(case.arguments)
    assert "out" not in names[: n_inputs(name, case)]


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_equals_its_twin(name, dtype):
    case = draw(name, dtype)
    before = [np.copy(a) for a in case.arguments]
    expected = expectation(name, case)
    got = run(name, case)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=tolerance, atol=tolerance)
    for i in range(n_inputs(name, case)):
        if i not in twin(name).updated:
            np.testing.assert_array_equal(case.arguments[i], before[i])


@pytest.mark.parametrize("name", sorted(KERNELS.keys() - {"cross_entropy.strangers"}))  # of integers
def test_nan_propagates(name, dtype):
    case = draw(name, dtype)
    case.inputs[0].reshape(-1)[3] = np.nan
    with np.errstate(invalid="ignore"):
        expected = expectation(name, case)
    for g, e in zip(run(name, case), expected, strict=True):
        np.testing.assert_array_equal(np.isnan(g), np.isnan(e))
