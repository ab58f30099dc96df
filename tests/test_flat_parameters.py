"""All parameters of a network as one array."""

import copy

import numpy as np
import pytest

import fastnn


@pytest.fixture
def net(rng):
    layers = [fastnn.FullyConnected(7, "relu"), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, fastnn.Adam(lr=0.1), seed=0)
    net.train_step(rng.normal(size=(9, 4)), np.arange(9) % 3)
    return net


def arrays(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


def test_parameters_are_aligned_views_of_it(net):
    flat = net.flat_parameters
    assert flat is net.flat_parameters
    for p in arrays(net):
        assert np.shares_memory(p, flat)
        assert p.ctypes.data % 64 == 0
    assert np.sum(flat**2) == pytest.approx(sum(np.sum(p**2) for p in arrays(net)), rel=1e-12)


def test_what_is_written_there_is_used_and_trained(net, rng):
    X, y = rng.normal(size=(9, 4)), np.arange(9) % 3
    net.flat_parameters[:] = 0
    assert net.evaluate(X, y)[0] == pytest.approx(np.log(3))
    net.train_step(X, y)
    assert np.any(net.flat_parameters)


def test_an_assigned_array_is_gathered_and_the_old_one_left_alone(net, rng):
    old = net.layers[0].parameters["W"]
    before, new = old.copy(), rng.normal(size=old.shape)
    net.layers[0].parameters["W"] = new
    flat = net.flat_parameters
    np.testing.assert_array_equal(net.layers[0].parameters["W"], new)
    assert np.shares_memory(net.layers[0].parameters["W"], flat)
    np.testing.assert_array_equal(old, before)
    assert not np.shares_memory(new, flat)


def test_a_copy_has_its_own(net):
    twin = copy.deepcopy(net)
    twin.flat_parameters[:] = 1
    assert not np.any(net.flat_parameters == 1)
    assert all((p == 1).all() for p in arrays(twin))


def test_the_optimizers_arrays_are_views_of_one_each(net):
    moments = list(net.optimizer.cache.values())
    for name in ("m", "v"):
        bases = {id(getattr(m, name).base) for m in moments}
        assert len(bases) == 1


def test_before_the_first_batch_there_are_none():
    net = fastnn.NeuralNetwork("l2", [fastnn.FullyConnected(3, "relu")], fastnn.SGD())
    with pytest.raises(RuntimeError, match="before its first batch"):
        net.flat_parameters  # noqa: B018
