"""Passes of layers' own methods are kept and used again; nothing a caller holds changes by that."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.layers import alone, conv2d_alone

pytestmark = pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
LAYERS = {
    "conv2d": (lambda: fastnn.Conv2D(8, 3, "relu"), (16, 20, 20, 8)),
    "layer_norm": (fastnn.LayerNorm, (300, 256)),
    "batchnorm1d": (fastnn.BatchNorm1D, (300, 256)),
    "batchnorm2d": (fastnn.BatchNorm2D, (30, 16, 16, 10)),
    "pool2d": (lambda: fastnn.Pool2D(2, stride=2), (32, 28, 28, 8)),
}


def passed(make, X, dY):
    """Return the output, the input's and the parameters' gradients of a new layer."""
    np.random.seed(0)
    layer = make()
    Y = layer.forward(X)
    return [Y, layer.backward(dY), *layer.gradients.values()]


@pytest.fixture(params=LAYERS)
def case(request, rng):
    """Return a layer's maker and two batches with gradients of outputs."""
    make, shape = LAYERS[request.param]
    batches = rng.normal(size=(2, *shape)).astype(np.float32)
    return make, [(X, rng.normal(size=make().forward(X).shape).astype(np.float32)) for X in batches]


def test_what_was_handed_out_stays(case):
    make, (first, second) = case
    found = passed(make, *first)
    before = [array.copy() for array in found]
    passed(make, *second)
    for array, expected in zip(found, before, strict=True):
        np.testing.assert_array_equal(array, expected)
    for array, expected in zip(passed(make, *first), before, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_threads_do_not_share_a_pass(case):
    make, batches = case
    layers = [make() for _ in range(4)]
    for layer in layers:
        np.random.seed(0)
        layer.forward(batches[0][0])
    jobs = [(layer, *batches[i % 2]) for i, layer in enumerate(layers)]

    def often(layer, X, dY):
        found = {(layer.forward(X).tobytes(), layer.backward(dY).tobytes()) for _ in range(20)}
        return len(found) == 1 and found.pop()

    with ThreadPoolExecutor(4) as executor:
        results = [*executor.map(often, *zip(*jobs, strict=True))]
    assert results[0]
    assert results[0] == results[2] != results[1] == results[3]


def test_large_passes_are_not_kept(monkeypatch, rng):
    X = rng.normal(size=(4, 9, 9, 3))
    for most, kept in ((1, False), (2**26, True)):
        monkeypatch.setattr(alone, "_BYTES", most)
        conv2d_alone.forward._idle.clear()
        fastnn.Conv2D(4, 3, "relu").forward(X)
        assert bool(conv2d_alone.forward._idle) == kept


def test_few_passes_are_kept(monkeypatch, rng):
    monkeypatch.setattr(alone, "_MOST", 2)
    conv2d_alone.forward._idle.clear()
    layer = fastnn.Conv2D(4, 3, "relu")
    for n in range(1, 6):
        layer.forward(rng.normal(size=(n, 9, 9, 3)))
    assert len(conv2d_alone.forward._idle) == 2


def test_all_passes_together_take_little_memory(monkeypatch, rng):
    conv2d_alone.forward._idle.clear()
    layer = fastnn.Conv2D(4, 3, "relu")
    layer.forward(rng.normal(size=(1, 9, 9, 3)))
    (one,) = conv2d_alone.forward._idle.values()
    monkeypatch.setattr(alone, "_BYTES", 8 * one.nbytes)
    for n in range(2, 9):
        layer.forward(rng.normal(size=(n, 9, 9, 3)))
    kept = [*conv2d_alone.forward._idle.values()]
    assert 1 <= len(kept) < 8
    assert sum(made.nbytes for made in kept) <= 8 * one.nbytes
