"""The softmax gradient from logits: the seed's loop over samples against the compiled kernel."""

import numpy as np
import pytest

import fastnn
from fastnn import reference

SIZES = [(64, 10), (128, 10), (1024, 10), (256, 100), (256, 1000)]


@pytest.mark.parametrize("contestant", ["naive", "fast"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "k"), SIZES)
def test_softmax_backward(benchmark, timed, rng, n, k, dtype, contestant):
    benchmark.group = f"softmax backward, ({n}, {k}) {dtype}"
    Z = rng.normal(size=(n, k)).astype(dtype)
    dY = rng.normal(size=(n, k)).astype(dtype)
    softmax = {"naive": reference.SoftMax, "fast": fastnn.SoftMax}[contestant]()
    P = fastnn.SoftMax().forward(Z).astype(np.float64)
    expected = P * (dY - np.sum(dY * P, axis=1, keepdims=True))
    np.testing.assert_allclose(softmax.backward(Z, dY), expected, rtol=1e-3, atol=1e-6)
    timed(lambda: softmax.backward(Z, dY), n)
