"""`global_clip_norm`: all gradients of a network are scaled by one factor."""

import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected
from fastnn.kernels.compiling.jit import COMPILED


def network(optimizer, dtype="float64", **options):
    layers = [FullyConnected(20, "tanh", **options), FullyConnected(3, "softmax", **options)]
    return fastnn.NeuralNetwork("cross_entropy", layers, optimizer, seed=0, dtype=dtype)


def batch(n=30, dtype="float64", scale=1.0):
    rng = np.random.default_rng(0)
    X = scale * rng.normal(size=(n, 6))
    return X.astype(dtype), np.eye(3, dtype=dtype)[rng.integers(0, 3, n)]


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


@pytest.mark.parametrize("l2", [0.0, 0.5])
@pytest.mark.parametrize("limit", [0.01, 100.0])
def test_a_step_is_that_of_the_scaled_gradients(limit, l2):
    net = network(fastnn.SGD(0.1, global_clip_norm=limit), l2=l2)
    plain = network(fastnn.SGD(0.1), l2=l2)
    X, Y = batch()
    plain.backward(Y, plain.forward(X))
    gradients = [g.copy() for layer in plain.layers for g in layer.gradients.values()]
    norm = np.sqrt(sum((g**2).sum() for g in gradients))
    before = [p.copy() for p in parameters(plain)]
    net.train_step(X, Y)
    factor = min(1.0, limit / norm)
    for now, then, gradient in zip(parameters(net), before, gradients, strict=True):
        np.testing.assert_allclose(now, then - 0.1 * factor * gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
@pytest.mark.parametrize("kind", [fastnn.SGD, fastnn.Adam])
def test_both_roads_agree_and_threads_change_no_bit(kind, dtype):
    X, Y = batch(300, dtype)
    nets = [network(kind(0.01, global_clip_norm=0.05), dtype, l2=0.1) for _ in range(3)]
    one, two, slow = nets
    for _ in range(3):
        with fastnn.set_num_threads(1):
            one.train_step(X, Y)
        with fastnn.set_num_threads(2):
            two.train_step(X, Y)
        slow.make_parameters(X)
        slow.train_by_layers(X, Y, None)
    tolerance = 1e-3 if dtype == np.float32 else 1e-11
    for a, b, c in zip(*map(parameters, nets), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_norms_neither_overflow_nor_vanish(scale):
    layers = [FullyConnected(4, "linear"), FullyConnected(3, "linear")]
    net = fastnn.NeuralNetwork("l2", layers, fastnn.SGD(1.0, global_clip_norm=1.0), seed=0)
    X, _ = batch()
    net.forward(X)
    before = [p.copy() for p in parameters(net)]
    net.train_step(X, scale * np.ones((30, 3)))
    moved = np.sqrt(sum(((p - q) ** 2).sum() for p, q in zip(parameters(net), before, strict=True)))
    assert moved <= 1 + 1e-12
    if scale > 1:
        assert moved == pytest.approx(1.0)


def test_a_gradient_that_is_not_a_number_reaches_all_parameters():
    net = network(fastnn.SGD(0.1, global_clip_norm=0.1))
    X, Y = batch()
    X[0, 0] = np.nan
    net.train_step(X, Y)
    assert np.isnan(parameters(net)[0]).any()


def test_the_two_norms_exclude_each_other():
    with pytest.raises(ValueError, match=r"clip_norm=1\.0 .*global_clip_norm=2\.0"):
        fastnn.SGD(0.1, clip_norm=1.0, global_clip_norm=2.0)
    with pytest.raises(ValueError, match="global_clip_norm"):
        fastnn.Adam(0.1, global_clip_norm=0.0)
    optimizer = fastnn.initialize_optimizer("SGD", 0.1, global_clip_norm=2.0)
    assert optimizer.global_clip_norm == 2.0


@pytest.mark.parametrize("own", [False, True], ids=["compiled", "by layers"])
def test_both_norms_set_later_are_an_error_before_anything_changes(own):
    kind = type("Own", (fastnn.SGD,), {}) if own else fastnn.SGD
    net = network(kind(0.1, clip_norm=1.0))
    X, Y = batch()
    net.train_step(X, Y)
    before = [p.copy() for p in parameters(net)]
    net.optimizer.global_clip_norm = 1.0
    with pytest.raises(ValueError, match="global_clip_norm"):
        net.train_step(X, Y)
    for now, then in zip(parameters(net), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_it_may_be_set_between_steps():
    net = network(fastnn.SGD(0.1))
    X, Y = batch()
    net.train_step(X, Y)
    net.optimizer.global_clip_norm = 1e-9
    before = [p.copy() for p in parameters(net)]
    net.train_step(X, Y)
    for now, then in zip(parameters(net), before, strict=True):
        np.testing.assert_allclose(now, then, atol=1e-9)


def test_it_is_saved(tmp_path):
    pytest.importorskip("safetensors")
    for limit in (None, 0.5):
        net = network(fastnn.Adam(0.1, global_clip_norm=limit))
        net.train_step(*batch())
        net.save(tmp_path / "net")
        assert fastnn.load(tmp_path / "net").optimizer.global_clip_norm == limit
        assert (b"global_clip_norm" in (tmp_path / "net").read_bytes()) == (limit is not None)
