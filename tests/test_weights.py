"""Initialisers: the draws they make, their scales, and how they are asked for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn
from fastnn import weights
from fastnn.weights import initialize_weights

GAINS = {
    None: 1, "linear": 1, "identity": 1, "sigmoid": 1, "softmax": 1, "arctan": 1,
    "tanh": 5 / 3, "relu": 2**0.5,
}  # fmt: skip
CLASSES = {
    "zeros": weights.Zeros, "ones": weights.Ones, "identity": weights.Identity,
    "uniform": weights.Uniform, "normal": weights.Normal, "constant": weights.Constant,
    "preset": weights.Preset, "sparse": weights.Sparse,
    "he_uniform": weights.HeUniform, "he_normal": weights.HeNormal,
    "xavier_uniform": weights.XavierUniform, "xavier_normal": weights.XavierNormal,
}  # fmt: skip
SCALED = ("he_uniform", "he_normal", "xavier_uniform", "xavier_normal")
RANDOM = ("uniform", "normal", "sparse", *SCALED)


def expected_std(name, shape, activation, mode):
    fan_in, fan_out = shape[0], shape[-1]
    if name.startswith("xavier"):
        return GAINS[activation] * math.sqrt(2 / (fan_in + fan_out))
    return GAINS[activation] / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def expected_draws(source, name, shape, activation=None, mode="fan_in"):
    if name == "uniform":
        return source.uniform(-1, 1, shape)
    if name == "normal":
        return source.normal(0, 1, shape)
    if name == "sparse":
        W = source.normal(0, 0.01, shape)
        for column in W.T:
            rows = np.arange(shape[0])
            source.shuffle(rows)
            column[rows[: math.ceil(shape[0] * 0.1)]] = 0
        return W
    std = expected_std(name, shape, activation, mode)
    if name.endswith("uniform"):
        return source.uniform(-math.sqrt(3) * std, math.sqrt(3) * std, shape)
    return source.normal(0, std, shape)


def assert_draws(make, name, shape, *options):
    np.random.seed(4)
    got, next_draw = make()(shape), np.random.random()
    np.random.seed(4)
    want = expected_draws(np.random, name, shape, *options)
    np.testing.assert_allclose(got, want, rtol=1e-14)
    assert got.dtype == np.float64
    assert next_draw == np.random.random()
    own = make()
    own.rng = np.random.default_rng(8)
    np.random.seed(4)
    got, next_draw = own(shape), np.random.random()
    np.random.seed(4)
    assert next_draw == np.random.random()
    rng = np.random.default_rng(8)
    np.testing.assert_allclose(got, expected_draws(rng, name, shape, *options), rtol=1e-14)
    assert own.rng.random() == rng.random()


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (25, 3), [4, 6]])
def test_draws_of_the_global_generator_and_of_an_own_one(name, shape):
    assert_draws(lambda: initialize_weights(name), name, shape)


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("activation", GAINS)
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
@pytest.mark.parametrize("shape", [(7, 4), (3, 5, 2, 9)])
def test_scales_follow_activation_and_fans(name, activation, mode, shape):
    assert_draws(lambda: initialize_weights(name, activation, mode), name, shape, activation, mode)
    assert_draws(lambda: initialize_weights(name, activation), name, shape, activation, "fan_in")


@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_mean_variance_and_range_of_many_draws(name, activation, mode):
    shape = (600, 200)
    np.random.seed(0)
    W = initialize_weights(name, activation, mode)(shape)
    gain = {"linear": 1, "tanh": 25 / 9, "relu": 2}[activation]
    variance = gain * (2 / 800 if name.startswith("xavier") else 1 / (600 if mode == "fan_in" else 200))
    assert abs(W.var() / variance - 1) < 5 * math.sqrt(2 / W.size)
    assert abs(W.mean()) < 5 * math.sqrt(variance / W.size)
    reach = np.abs(W).max() / math.sqrt(variance)
    assert 1.73 < reach <= 3**0.5 if name.endswith("uniform") else reach > 3.5


@pytest.mark.parametrize(
    ("name", "value"), [("zeros", 0), ("ones", 1), ("constant", 0.5)], ids=lambda v: str(v)
)
@pytest.mark.parametrize("shape", [(3, 2), (2, 3, 1, 4)])
def test_the_same_weight_everywhere(name, value, shape):
    W = initialize_weights(name)(shape)
    assert W.dtype == np.float64
    np.testing.assert_array_equal(W, np.broadcast_to(value, shape))
    np.testing.assert_array_equal(weights.Constant(3)(shape), np.broadcast_to(3.0, shape))
    assert weights.Constant(3)(shape).dtype == np.float64


def test_identity():
    np.testing.assert_array_equal(initialize_weights("identity")((3, 3)), np.eye(3))
    for shape in ((2, 3), (3, 3, 3), (3,)):
        with pytest.raises(ValueError, match="square"):
            initialize_weights("identity")(shape)


def test_parameters_of_the_plain_distributions():
    np.random.seed(1)
    W, Z = weights.Uniform(2, 5)((4, 4)), weights.Normal(7, 0.5)((4, 4))
    np.random.seed(1)
    np.testing.assert_array_equal(W, np.random.uniform(2, 5, (4, 4)))
    np.testing.assert_array_equal(Z, np.random.normal(7, 0.5, (4, 4)))


@given(rows=st.integers(1, 60), columns=st.integers(1, 8), sparsity=st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_sparse_has_its_zeros_in_every_column(rows, columns, sparsity):
    W = weights.Sparse(sparsity, std=2.0)((rows, columns))
    assert (np.count_nonzero(W == 0, axis=0) == math.ceil(rows * sparsity)).all()


def test_sparse_draws_its_zeros_column_by_column():
    np.random.seed(0)
    W = weights.Sparse(0.5, std=0.1)((200, 50))
    assert len({tuple(np.flatnonzero(column)) for column in W.T}) == 50
    assert abs(W[W != 0].std() / 0.1 - 1) < 5 / math.sqrt(2 * np.count_nonzero(W))


def test_preset_weights_are_copied_into_a_layer():
    W = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(weights.Preset()(W), W)
    preset = weights.Preset(W)
    layer = fastnn.FullyConnected(3, "linear", weight_init=preset)
    X = np.ones((1, 2))
    np.testing.assert_array_equal(layer.forward(X), [[3, 5, 7]])
    layer.parameters["W"] -= 1
    first = preset((2, 3))
    first[...] = -1
    np.testing.assert_array_equal(preset((2, 3)), np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(W, np.arange(6.0).reshape(2, 3))
    W[...] = 9
    np.testing.assert_array_equal(preset((2, 3)), np.arange(6.0).reshape(2, 3))
    with pytest.raises(ValueError, match=r"shape \(2, 3\), the layer needs \(2, 4\)"):
        preset((2, 4))


def test_preset_weights_of_integers_train_as_floats():
    preset = weights.Preset([[1, 2], [3, 4]])
    assert preset((2, 2)).dtype == np.float64
    layer = fastnn.FullyConnected(2, "linear", weight_init=preset)
    np.testing.assert_array_equal(layer.forward([[1.0, 1.0]]), [[4, 6]])
    assert layer.parameters["W"].dtype == np.float64


@pytest.mark.parametrize("name", RANDOM)
def test_a_layer_rounds_the_same_draws_to_its_dtype(name, dtype):
    np.random.seed(2)
    layer = fastnn.FullyConnected(4, "tanh", weight_init=name)
    layer.forward(np.ones((1, 3), dtype))
    np.random.seed(2)
    want = expected_draws(np.random, name, (3, 4), "tanh")
    assert layer.parameters["W"].dtype == layer.parameters["b"].dtype == dtype
    np.testing.assert_allclose(layer.parameters["W"], want, rtol=4 * np.finfo(dtype).eps)


def test_a_seeded_model_draws_layer_by_layer_from_its_own_generator():
    layers = [fastnn.FullyConnected(4, "relu"), fastnn.FullyConnected(2, "softmax", "he_normal")]
    np.random.seed(6)
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD"}, seed=3)
    net.forward(np.ones((1, 5)))
    next_draw = np.random.random()
    np.random.seed(6)
    assert next_draw == np.random.random()
    rng = np.random.default_rng(3)
    for layer, name, shape in zip(
        layers, ("xavier_uniform", "he_normal"), ((5, 4), (4, 2)), strict=True
    ):
        activation = "relu" if name == "xavier_uniform" else "softmax"
        want = expected_draws(rng, name, shape, activation)
        np.testing.assert_allclose(layer.parameters["W"], want, rtol=1e-14)


@pytest.mark.parametrize("name", CLASSES)
def test_a_name_gives_its_class(name):
    assert type(initialize_weights(name, "relu", "fan_out")) is CLASSES[name]


@pytest.mark.parametrize("name", ["glorot", "HeNormal", "", None, ["zeros"]])
def test_an_unknown_initialiser(name):
    with pytest.raises(NotImplementedError, match="unknown weight initialiser") as caught:
        initialize_weights(name)
    assert all(repr(known) in str(caught.value) for known in CLASSES)


@pytest.mark.parametrize("name", ["he_uniform", "he_normal"])
def test_an_unknown_mode(name):
    with pytest.raises(ValueError, match="mode must be 'fan_in' or 'fan_out', got 'fan_avg'"):
        initialize_weights(name, "relu", "fan_avg")
