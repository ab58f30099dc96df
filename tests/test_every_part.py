"""Every activation, layer, loss, optimiser and initialiser of the tables, in a small network."""

import numpy as np
import pytest
from parts import N_OUT, PARTS, batch, network, parameters

import fastnn
from fastnn import engine
from fastnn.kernels.compiling.jit import COMPILED

every_part = pytest.mark.parametrize("part", PARTS, ids=str)


def bits(arrays):
    return [np.asarray(a).tobytes() for a in arrays]


@every_part
@pytest.mark.parametrize("n", [1, 11])
def test_both_roads_agree(part, n, dtype):
    compiled, plain = network(part, dtype), network(part, dtype, compiled=False)
    X, Y = batch(n, dtype, part)
    tolerance = 2e-4 if dtype == np.float32 else 1e-11
    for _ in range(3):
        losses = compiled.train_step(X, Y), plain.train_step(X, Y)
        np.testing.assert_allclose(*losses, rtol=tolerance)
    assert engine.obstacle(plain) is not None
    assert not COMPILED or engine.obstacle(compiled) is None
    for a, b in zip(parameters(compiled), parameters(plain), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    out = compiled.predict(X)
    assert out.dtype == dtype
    np.testing.assert_allclose(out, plain.predict(X), rtol=tolerance, atol=tolerance)


@every_part
def test_gradients_are_those_of_finite_differences(part):
    net = network(part)
    X, Y = batch(6, part=part)
    net.forward(X)
    rng = np.random.default_rng(1)
    for layer in net.layers:
        layer.training = False  # without noise
        for array in layer.parameters.values():  # away from 0, where relu's derivative is a convention
            array[...] += rng.uniform(0.05, 0.2, array.shape)
    net.backward(Y, net.forward(X))
    gradients = [g.copy() for layer in net.layers for g in layer.gradients.values()]
    for array, gradient in zip(parameters(net), gradients, strict=True):
        for i in rng.choice(array.size, min(array.size, 6), replace=False):
            at, h = np.unravel_index(i, array.shape), 1e-6
            middle = array[at]
            losses = []
            for value in (middle + h, middle - h):
                array[at] = value
                losses.append(net.backward(Y, net.forward(X)))
            array[at] = middle
            slope = (losses[0] - losses[1]) / (2 * h)
            assert gradient[at] == pytest.approx(slope, rel=1e-5, abs=1e-8)


@every_part
def test_a_loaded_network_predicts_and_trains_with_the_same_bits(part, dtype, tmp_path):
    pytest.importorskip("safetensors")
    net = network(part, dtype)
    X, Y = batch(9, dtype, part)
    net.train_step(X, Y)
    net.save(tmp_path / "network.safetensors")
    loaded = fastnn.load(tmp_path / "network.safetensors")
    assert bits([loaded.predict(X)]) == bits([net.predict(X)])
    assert loaded.train_step(X, Y) == net.train_step(X, Y)
    assert bits(parameters(loaded)) == bits(parameters(net))
    assert repr(loaded) == repr(net)


@every_part
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "by layers"])
def test_no_rows_change_nothing(part, compiled, dtype):
    net = network(part, dtype, compiled=compiled)
    X, Y = batch(4, dtype, part)
    net.train_step(X, Y)
    before = bits(parameters(net))
    assert net.predict(X[:0]).shape == (0, N_OUT)
    assert net.predict(X[:0]).dtype == dtype
    assert np.isnan(net.evaluate(X[:0], Y[:0])).all()
    assert bits(parameters(net)) == before
    assert np.isfinite(net.train_step(X[:1], Y[:1]))


@every_part
def test_an_epoch_is_the_same_on_both_roads(part, dtype):
    nets = [network(part, dtype, compiled=compiled) for compiled in (True, False)]
    X, Y = batch(23, dtype, part)
    losses = [net.fit(X, Y, epochs=2, batch_size=5, verbose=False).loss for net in nets]
    np.testing.assert_allclose(*losses, rtol=2e-4 if dtype == np.float32 else 1e-11)
