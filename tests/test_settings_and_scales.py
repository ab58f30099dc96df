"""Settings that are assigned between steps; numbers of extreme scale in features, weights and rates."""

import math
import warnings

import numpy as np
import pytest

import fastnn
from fastnn import Adam, Exponential, FullyConnected
from fastnn.schedulers import Constant

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 4))
CLASSES = rng.integers(0, 3, 40)
QUIET = {"batch_size": 16, "verbose": False}


class LayerwiseSGD(fastnn.SGD):
    """Unknown to the engine: a step goes layer by layer."""


class LayerwiseAdam(Adam):
    """Likewise."""


@pytest.fixture(params=[fastnn.SGD, LayerwiseSGD], ids=["engine", "layers"])
def road(request):
    return request.param


def network(optimizer, **layer):
    layers = [FullyConnected(5, "tanh", **layer), FullyConnected(3, "softmax")]
    return fastnn.NeuralNetwork("cross_entropy", layers, optimizer, seed=0)


def weights(net):
    return [p.copy() for layer in net.layers for p in layer.parameters.values()]


def bits(net):
    return [p.tobytes() for p in weights(net)]


# Settings.


@pytest.mark.parametrize("how", ["lr", "scheduler's lr", "scheduler"])
@pytest.mark.parametrize("step", ["train_step", "fit", "update"])
def test_a_learning_rate_that_is_assigned_holds_from_the_next_step_on(how, step, road):
    def go(net):
        if step == "train_step":
            net.train_step(X, CLASSES)
        elif step == "fit":
            net.fit(X, CLASSES, 1, shuffle=False, **QUIET)
        else:
            net.backward(np.eye(3)[CLASSES], net.forward(X))
            net.update(1)

    net, other = network(road(0.1)), network(road(0.1))
    for one in (net, other):
        go(one)
    if how == "lr":
        net.optimizer.lr = 0.5
    elif how == "scheduler's lr":
        net.optimizer.lr_scheduler.lr = 0.5
    else:
        net.optimizer.lr_scheduler = Constant(0.5)
    assert net.optimizer.lr == net.optimizer.learning_rate == net.optimizer.lr_scheduler.lr == 0.5
    fresh = road(0.5)
    fresh.cache = other.optimizer.cache
    other.optimizer = fresh
    for one in (net, other):
        go(one)
    assert bits(net) == bits(other)
    assert repr(net.optimizer) == f"{road.__name__}(lr=0.5)"


def test_an_exponential_schedules_rate_and_ones_own(road):
    optimizer = road(0.1, Exponential(0.2, 0.5, 1))
    assert optimizer.lr == 0.2
    optimizer.lr = 0.8
    assert optimizer.lr_scheduler(1) == 0.4
    own = road(0.1, lambda epoch: 0.3)
    assert own.learning_rate == 0.3
    with pytest.raises(AttributeError, match=r"which has no lr to set; set optimizer\.lr_scheduler"):
        own.lr = 1.0
    assert own.learning_rate == 0.3


@pytest.mark.parametrize("make", [Adam, LayerwiseAdam], ids=["engine", "layers"])
@pytest.mark.parametrize(("name", "value"), [("beta_1", 0.5), ("beta_2", 0.9), ("eps", 0.1)])
def test_adams_numbers_may_be_assigned(make, name, value):
    net, other = network(make(0.1)), network(make(0.1, **{name: value}))
    net.train_step(X, CLASSES)
    plain = network(make(0.1))
    plain.train_step(X, CLASSES)
    assert bits(net) == bits(plain)
    net, plain = network(make(0.1)), network(make(0.1))
    setattr(net.optimizer, name, value)
    for one in (net, other, plain):
        one.train_step(X, CLASSES)
        one.train_step(X, CLASSES)
    assert bits(net) == bits(other) != bits(plain)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        (fastnn.SGD(), "lr", -1),
        (fastnn.SGD(), "lr", math.nan),
        (fastnn.SGD(), "lr", "fast"),
        (fastnn.SGD(), "momentum", 2),
        (fastnn.SGD(), "clip_norm", 0),
        (fastnn.SGD(), "lr_scheduler", 0.1),
        (fastnn.SGD(), "lr_scheduler", "constant"),
        (Adam(), "beta_1", 1.0),
        (Adam(), "beta_2", -0.1),
        (Adam(), "eps", 0),
        (Constant(), "lr", -1),
        (Exponential(), "lr", math.inf),
        (Exponential(), "decay", -1),
        (Exponential(), "stage_length", 0),
        (FullyConnected(2, "relu"), "l2", -1),
        (fastnn.LeakyReLU(), "negative_slope", 0.5),  # plans hold it: for another, another activation
        (fastnn.ELU(), "alpha", 0.5),
    ],
)
def test_a_setting_that_cannot_be_raises_and_nothing_changes(part, name, value):
    before = getattr(part, name)
    with pytest.raises((ValueError, TypeError, AttributeError), match=name):
        setattr(part, name, value)
    assert getattr(part, name) is before


def test_assigned_settings_are_saved(tmp_path):
    pytest.importorskip("safetensors")
    net = network(Adam(0.1))
    net.train_step(X, CLASSES)
    net.optimizer.lr, net.optimizer.beta_1 = 0.7, 0.5
    net.save(tmp_path / "net.safetensors")
    again = fastnn.load(tmp_path / "net.safetensors")
    assert (again.optimizer.lr, again.optimizer.learning_rate, again.optimizer.beta_1) == (
        0.7,
        0.7,
        0.5,
    )
    for one in (net, again):
        one.train_step(X, CLASSES)
    assert bits(net) == bits(again)


# Rates.


def test_a_rate_that_overflows_is_refused_before_training(road):
    scheduler = Exponential(0.1, 10.0, 1)
    assert scheduler(300) == pytest.approx(1e299)
    with pytest.raises(ValueError, match=r"overflows at epoch 400: lr=0\.1 times decay=10\.0"):
        scheduler(400)
    with pytest.raises(ValueError, match="overflows at epoch 309"):
        Exponential(10.0, 10.0, 1)(np.int64(309))
    assert Exponential(0.0, 10.0, 1)(400) == 0
    assert Exponential(0.1, 0.5, 1)(1e9) == 0
    net = network(road(0.1, scheduler))
    net.forward(X)
    before = bits(net)
    with pytest.raises(ValueError, match="overflows at epoch 999"):
        net.fit(X, CLASSES, 1000, **QUIET)
    with pytest.raises(ValueError, match="overflows at epoch 999"):
        net.train(fastnn.Dataset(X, np.eye(3)[CLASSES], 8), 1000)
    if road is fastnn.SGD and fastnn.engine.obstacle(net) is None:
        with pytest.raises(ValueError, match="overflows at epoch 999"):
            fastnn.fit_many([net], X, CLASSES, 1000)
    assert bits(net) == before


# Weights of rows.


@pytest.mark.parametrize("scale", [1e-310, 5e-324, 1e-200, 1e200, 4e306])
def test_weights_of_any_scale_are_weights(scale, road):
    given = rng.integers(0, 30, 40) * 1.0
    given[3] = 0
    results = []
    for factor in (1.0, scale):
        net = network(road(0.1))
        history = net.fit(X, CLASSES, 3, sample_weight=given * factor, **QUIET)
        results.append((history.loss, weights(net)))
    np.testing.assert_allclose(*(losses for losses, _ in results), rtol=1e-9)
    for a, b in zip(*(arrays for _, arrays in results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_weights_of_very_different_scale_count_within_their_batch(road):
    given = np.r_[np.full(16, 1e-310), np.full(16, 1.7e308), np.full(8, 1.0)]
    net, other = network(road(0.1)), network(road(0.1))
    net.fit(X, CLASSES, 1, sample_weight=given, shuffle=False, **QUIET)
    other.fit(X, CLASSES, 1, shuffle=False, **QUIET)
    for a, b in zip(weights(net), weights(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("scale", [1e200, 4e307])
def test_a_penalty_beside_heavy_rows_is_none(scale, road):
    """A penalty is by the sum of the weights."""
    net, other = network(road(0.1), l2=0.5), network(road(0.1))
    net.fit(X, CLASSES, 1, sample_weight=np.full(40, scale), **QUIET)
    other.fit(X, CLASSES, 1, **QUIET)
    for a, b in zip(weights(net), weights(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


def test_rows_by_weight_are_finite():
    data = fastnn.Data(X, 16, CLASSES[:, None], weights=np.full(40, 1e-310))
    assert np.isfinite(data.rows_per_weight()).all()
    assert data.rows_per_weight().shape == data.batch_weights().shape == (3,)
    np.testing.assert_allclose(data.batch_weights(), [16, 16, 8])
    huge = fastnn.Data(X, 16, CLASSES[:, None], weights=np.full(40, 1e308))
    np.testing.assert_allclose(huge.rows_per_weight(), 1e-308)
    none = fastnn.Data(X, 16, CLASSES[:, None], weights=np.zeros(40))
    assert not none.rows_per_weight().any()
    assert not none.batch_weights().any()


# Features.


def test_timestamps_are_standardised_before_they_are_rounded():
    seconds = 1.7e9 + np.arange(200.0)[:, None]
    single = fastnn.Dataset.from_arrays(seconds, CLASSES[np.arange(200) % 40], dtype="float32")
    double = fastnn.Dataset.from_arrays(seconds, CLASSES[np.arange(200) % 40])
    for part in ("train", "validate", "test"):
        rounded, exact = getattr(single, part).data_, getattr(double, part).data_
        assert rounded.dtype == np.float32
        np.testing.assert_array_equal(rounded, exact.astype(np.float32))
    assert len(np.unique(single.train.data_)) == len(single.train.data_)
    integers = fastnn.Dataset.from_arrays(
        seconds.astype(np.int64), CLASSES[np.arange(200) % 40], dtype="float32"
    )
    np.testing.assert_array_equal(integers.train.data_, single.train.data_)
    back = single.train.data_ * single.feature_std + single.feature_mean
    assert np.abs(back - np.round(back)).max() < 1e-3


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e170, 8e307])
def test_features_of_any_scale_are_standardised(scale):
    unit = rng.uniform(-1, 1, (50, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = fastnn.Dataset.from_arrays(unit * scale, CLASSES[np.arange(50) % 40])
    expected = fastnn.Dataset.from_arrays(unit, CLASSES[np.arange(50) % 40])
    np.testing.assert_allclose(data.train.data_, expected.train.data_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_standardising_what_is_not_finite_is_refused(value):
    strange = X.copy()
    strange[5, 3] = value
    with pytest.raises(ValueError, match=f"X holds {value} in row 5, column 3.*standardize=False"):
        fastnn.Dataset.from_arrays(strange, CLASSES)
    fastnn.Dataset.from_arrays(strange, CLASSES, standardize=False)
