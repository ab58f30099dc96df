"""Residual blocks: both roads, names, nested state, and what is refused."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import engine
from fastnn.kernels.compiling.jit import COMPILED


def relu(n_out):
    return fastnn.FullyConnected(n_out, "relu")


def block(**options):
    return fastnn.Residual(
        [fastnn.FullyConnected(7, "relu", **options), fastnn.FullyConnected(4, "linear")]
    )


def batch(rng, n=9, d=4):
    return rng.normal(size=(n, d)), np.eye(3)[rng.integers(0, 3, n)]


def network(layers, kind=fastnn.SGD, **options):
    layers = [*layers, fastnn.FullyConnected(3, "softmax")]
    return fastnn.NeuralNetwork("cross_entropy", layers, kind(0.1, **options), seed=0)


Own = type("Own", (fastnn.SGD,), {})


def test_the_layer_adds_its_input(dtype, rng):
    layer = block()
    X, dY = rng.normal(size=(2, 5, 4)).astype(dtype)
    Y = layer.forward(X)
    assert Y.dtype == dtype
    first, second = layer.layers
    np.testing.assert_array_equal(Y, X + second.forward(first.forward(X)))
    dX = layer.backward(dY)
    assert dX.dtype == dtype
    np.testing.assert_array_equal(dX, dY + first.backward(second.backward(dY)))
    if dtype == np.float64:
        layer.forward(X)
        assert fastnn.check_gradients(layer.forward, layer.backward(dY), X.copy(), dY) < 1e-7
        for name in layer.parameters:
            gradient, values = layer.gradients[name].copy(), layer.parameters[name].copy()
            slope = fastnn.check_gradients(layer.forward_with_param(name, X), gradient, values, dY)
            assert slope < 1e-7


def test_arrays_go_by_the_names_of_their_layers(rng):
    layer = block()
    layer.forward(rng.normal(size=(5, 4)))
    assert list(layer.parameters) == ["0.W", "0.b", "1.W", "1.b"] == list(layer.gradients)
    assert layer.parameters["1.W"] is layer.layers[1].parameters["W"]
    assert list(layer.cache) == ["0.Z", "0.X", "1.Z", "1.X"]
    layer.parameters["0.W"] = np.ones((4, 7))
    assert (layer.layers[0].parameters["W"] == 1).all()
    with pytest.raises(ValueError, match="shape"):
        layer.parameters["0.W"] = np.ones((4, 8))
    with pytest.raises(KeyError, match="names are like"):
        layer.parameters["W"] = np.ones((4, 7))
    layer.clear_gradients()
    assert set(map(str, layer.cache.values())) == {"[]"}
    assert (layer.gradients["1.b"] == 0).all()


def nests():
    inner = fastnn.Residual([fastnn.LayerNorm(), fastnn.FullyConnected(6, "tanh")])
    return {
        "first": [block(l2=0.1)],
        "after relu": [relu(6), inner],
        "after softmax": [fastnn.FullyConnected(6, "softmax"), inner],
        "nested": [fastnn.Residual([relu(6), inner, relu(4)])],
        "without parameters": [fastnn.Residual([fastnn.Dropout(0.0)]), relu(6)],
    }


@pytest.mark.parametrize("clip", [None, 0.05], ids=["", "clipped"])
@pytest.mark.parametrize("case", nests())
def test_both_roads_agree(case, clip, rng):
    compiled = network(nests()[case], global_clip_norm=clip)
    plain = network(nests()[case], Own, global_clip_norm=clip)
    X, Y = batch(rng, 70)
    for _ in range(3):
        losses = compiled.train_step(X, Y), plain.train_step(X, Y)
        np.testing.assert_allclose(*losses, rtol=1e-12)
    assert not COMPILED or engine.obstacle(compiled) is None
    np.testing.assert_allclose(compiled.flat_parameters, plain.flat_parameters, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(compiled.predict(X), plain.predict(X), rtol=1e-12)


def test_the_penalty_is_that_of_the_layers(rng):
    nets = [network([block(l2=0.3)], kind) for kind in (fastnn.SGD, Own)]
    X, Y = batch(rng)
    for net in nets:
        net.fit(X, Y, sample_weight=np.arange(1.0, 10), epochs=2, verbose=False)
    assert nets[0].layers[0].penalised == ("0.W", "1.W")
    assert nets[0].layers[0].penalty("0.W") == 0.3
    np.testing.assert_allclose(nets[0].flat_parameters, nets[1].flat_parameters, rtol=1e-11)


def test_compiled_steps_follow_what_is_assigned_to_inner_layers(rng):
    nets = [network([block()], kind) for kind in (fastnn.SGD, Own)]
    X, Y = batch(rng)
    for net in nets:
        net.train_step(X, Y)
        net.layers[0].layers[0].parameters["W"] = np.full((4, 7), 0.1)
        net.train_step(X, Y)
        net.layers[0].layers[1].l2 = 0.5
        net.train_step(X, Y)
        net.layers[0].layers[0].activation = fastnn.TanH()
        net.train_step(X, Y)
    np.testing.assert_allclose(nets[0].flat_parameters, nets[1].flat_parameters, rtol=1e-11)


@pytest.mark.parametrize("kind", [fastnn.SGD, Own], ids=["compiled", "by layers"])
def test_inner_layers_are_in_training_only_when_the_network_is(kind, rng):
    noisy = fastnn.Residual(
        [fastnn.Dropout(0.5), fastnn.BatchNorm1D(), fastnn.FullyConnected(4, "relu")]
    )
    net = network([noisy], kind)
    X, Y = batch(rng, 20)
    net.train_step(X, Y)
    kept = net.layers[0].buffers["1.running_mu"].copy()
    first = net.predict(X)
    np.testing.assert_array_equal(net.predict(X), first)
    net.evaluate(X, Y)
    np.testing.assert_array_equal(net.layers[0].buffers["1.running_mu"], kept)
    assert all(layer.training for layer in noisy.layers)
    net.train_step(X, Y)
    assert (net.layers[0].buffers["1.running_mu"] != kept).any()
    assert net.layers[0].buffers["0.step"] == 2


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
def test_plans_of_a_block_out_of_training_leave_its_layers_alone(rng, monkeypatch):
    inner = fastnn.Residual([fastnn.Dropout(0.5)])
    layer = fastnn.Residual([inner, fastnn.FullyConnected(4, "relu")])
    net = network([layer])
    X, Y = batch(rng)
    net.train_step(X, Y)
    seen, compiled = [], fastnn.Dropout.compile

    def compile_layer(dropout, to):
        seen.append((dropout.training, inner.training, inner.layers[0].training))
        compiled(dropout, to)

    monkeypatch.setattr(fastnn.Dropout, "compile", compile_layer)
    layer.training = False
    net.train_step(X, Y)
    assert seen == [(False, True, True)]
    assert inner.layers[0].buffers["step"] == 1  # nothing was dropped in the second step


def test_networks_with_blocks_are_saved(rng, tmp_path):
    pytest.importorskip("safetensors")
    inner = fastnn.Residual([fastnn.BatchNorm1D("he_normal"), fastnn.Dropout(0.25)])
    inner.layers[1].training = False
    net = network(
        [fastnn.Residual([fastnn.FullyConnected(6, "relu"), inner, fastnn.FullyConnected(4, "tanh")])]
    )
    X, Y = batch(rng)
    net.train_step(X, Y)
    net.save(tmp_path / "net.safetensors")
    loaded = fastnn.load(tmp_path / "net.safetensors")
    assert repr(loaded) == repr(net)
    assert not loaded.layers[0].layers[1].layers[1].training
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    assert loaded.train_step(X, Y) == net.train_step(X, Y)
    np.testing.assert_array_equal(loaded.flat_parameters, net.flat_parameters)
    other = copy.deepcopy(net)
    assert other.train_step(X, Y) == net.train_step(X, Y)


def test_mappings_make_blocks_and_summaries_count_them(rng):
    dense = {"name": "fully_connected", "n_out": 4, "activation": "relu"}
    layer = {"name": "residual", "layers": [dense, fastnn.LayerNorm()]}
    net = network([fastnn.initialize_layer(**layer)])
    X, Y = batch(rng)
    net.train_step(X, Y)
    assert "0 Residual        -" in str(net.summary())
    assert " 28" in str(net.summary())
    assert not COMPILED or "one compiled call" in str(net.summary())


class Same(fastnn.Layer):
    def check_input(self, X_shape):
        return X_shape

    def forward(self, X):
        return X

    def backward(self, dLdY):
        return dLdY


def test_a_block_with_a_layer_of_ones_own_goes_by_layers(rng):
    net = network([fastnn.Residual([Same(), fastnn.FullyConnected(4, "relu")])])
    X, Y = batch(rng)
    assert np.isfinite(net.train_step(X, Y)).all()
    assert not COMPILED or "layer 0 has a block whose layer 0 is a Same" in str(net.summary())


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fastnn.Residual([]), ValueError, "layers is empty"),
        (lambda: fastnn.Residual(["relu"]), TypeError, r"layers\[0\] must be a Layer, got 'relu'"),
        (lambda: fastnn.Residual([Same()] + 2 * [fastnn.LayerNorm()]), ValueError, "twice"),
        (lambda: fastnn.Residual([relu(None)]), ValueError, r"layers\[0\] has n_out=None"),
    ],
)
def test_bad_blocks_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_shapes_must_match(rng):
    net = network([fastnn.Residual([fastnn.FullyConnected(5, "relu")])])
    X, Y = batch(rng)
    with pytest.raises(
        ValueError, match=r"layer 0 \(Residual\).*shape \(9, 4\) and its output \(9, 5\)"
    ):
        net.train_step(X, Y)
    with pytest.raises(ValueError, match=r"layers\[0\] \(FullyConnected\): X must have shape"):
        block().forward(np.ones(4))
    with pytest.raises(RuntimeError, match="forward pass first"):
        block().backward(np.ones((2, 4)))
