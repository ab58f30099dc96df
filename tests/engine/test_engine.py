"""The engine's step against the same step over the layers' methods."""

import copy
import threading

import numpy as np
import pytest

import fastnn
from fastnn import engine
from fastnn._changes import Changes, WatchedDict
from fastnn.engine import plans
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.layers import dense as kernels
from fastnn.layers import dense

compiled_step = pytest.mark.skipif(not COMPILED, reason="no compiled step here")
HIDDEN = sorted(set(fastnn.activations.ACTIVATIONS) - {"identity"})
OPTIMIZERS = (
    {"name": "SGD", "lr": 0.1},
    {"name": "SGD", "lr": 0.1, "momentum": 0.9, "clip_norm": 0.05},
    {"name": "Adam", "lr": 0.01},
    {"name": "Adam", "lr": 0.01, "clip_norm": 0.05},
    {"name": "Adam", "lr": 0.01, "beta_1": 0.5, "beta_2": 0.9, "eps": 0.1},
    {"name": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True},
)


def twins(hidden, output, loss, optimizer, dtype):
    layers = [
        {"name": "fully_connected", "n_out": 7, "activation": hidden},
        {"name": "fully_connected", "n_out": 5, "activation": hidden},
        {"name": "fully_connected", "n_out": 3, "activation": output},
    ]
    return [fastnn.NeuralNetwork(loss, layers, optimizer, seed=1, dtype=dtype) for _ in range(2)]


def batch(rng, dtype, n=11):
    X = rng.normal(size=(n, 4)).astype(dtype)
    return X, np.eye(3, dtype=dtype)[rng.integers(0, 3, n)]


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


LOSSES = {
    "cross-entropy": lambda: fastnn.CrossEntropy(),
    "options": lambda: fastnn.CrossEntropy(label_smoothing=0.1, class_weight=[1.0, 2.0, 0.5]),
    "binary": lambda: fastnn.BinaryCrossEntropy(),
    "l2": lambda: fastnn.L2(),
}
OUTPUTS = [
    ("softmax", "cross-entropy"),
    ("sigmoid", "cross-entropy"),
    ("softmax", "options"),
    ("sigmoid", "options"),
    ("sigmoid", "binary"),
    ("softmax", "binary"),
    *((name, "l2") for name in HIDDEN),
]


def assert_both_roads_agree(fast, slow, dtype, rng):
    if not COMPILED:
        pytest.skip("no compiled step here: both networks would train by their layers")
    assert engine.obstacle(fast) is None
    tolerance = 2e-4 if dtype == np.float32 else 1e-11
    for _ in range(3):
        X, Y = batch(rng, dtype)
        slow.make_parameters(X)
        np.testing.assert_allclose(
            fast.train_batch(X, Y, 0), slow.train_by_layers(X, Y, 0), rtol=tolerance
        )
    for a, b in zip(parameters(fast), parameters(slow), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
def test_both_roads_give_the_same_numbers(output, loss, optimizer, dtype, rng):
    assert_both_roads_agree(*twins("tanh", output, LOSSES[loss](), optimizer, dtype), dtype, rng)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_both_roads_agree_on_every_hidden_activation(hidden, optimizer, dtype, rng):
    networks = twins(hidden, "softmax", LOSSES["cross-entropy"](), optimizer, dtype)
    assert_both_roads_agree(*networks, dtype, rng)


@pytest.mark.parametrize("n", [1, 31, 300, 1500])
@pytest.mark.parametrize("output", HIDDEN)
def test_outputs_and_evaluation_are_those_of_the_layers(output, n, dtype, rng):
    net, _ = twins("relu", output, LOSSES["l2"](), OPTIMIZERS[0], dtype)
    X, Y = batch(rng, dtype, n)
    net.train_step(X, Y)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-13}
    np.testing.assert_allclose(net.predict(X), net.forward(X), **tolerance)
    np.testing.assert_allclose(net.evaluate(X, Y), net.evaluate_rows(X, Y)[:2], **tolerance)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("n", [3, 50, 140, 150])
def test_stretches_of_an_epoch_are_the_same_steps(n, optimizer, dtype, rng):
    fast, slow = twins("relu", "softmax", LOSSES["cross-entropy"](), optimizer, dtype)
    X, Y = batch(rng, dtype, 150)
    history = fast.fit(X, Y, epochs=3, batch_size=n, shuffle=False, verbose=False)
    for epoch in range(3):
        results = [slow.train_batch(X[i : i + n], Y[i : i + n], epoch) for i in range(0, 150, n)]
        loss, error = np.average(results, axis=0, weights=[min(n, 150 - i) for i in range(0, 150, n)])
        assert history.loss[epoch] == pytest.approx(loss, rel=1e-14)
        assert history.error[epoch] == pytest.approx(error, rel=1e-14)
    for a, b in zip(parameters(fast), parameters(slow), strict=True):
        np.testing.assert_array_equal(a, b)


@compiled_step
def test_threads_with_small_stacks_multiply_large_matrices(dtype, rng):
    X = rng.normal(size=(700, 700)).astype(dtype)
    net = fastnn.NeuralNetwork(
        "l2", [fastnn.FullyConnected(k, "linear") for k in (1100, 1)], fastnn.SGD(), seed=1, dtype=dtype
    )
    net.predict(X)  # makes the parameters
    found = []
    with fastnn.set_num_threads(1):
        expected = net.predict(X)  # compiles, which takes a larger stack
        before = threading.stack_size(128 * 1024)
        try:
            thread = threading.Thread(target=lambda: found.append(net.predict(X)))
            thread.start()
            thread.join()
        finally:
            threading.stack_size(before)
    np.testing.assert_array_equal(found[0], expected)


def test_without_momentum_fit_leaves_the_last_step_in_the_cache(rng):
    fast, slow = twins("relu", "softmax", "cross_entropy", OPTIMIZERS[0], "float64")
    X, Y = batch(rng, np.float64, 50)
    fast.fit(X, Y, epochs=2, batch_size=20, shuffle=False, verbose=False)
    for _ in range(2):
        for i in range(0, 50, 20):
            before = [p.copy() for p in parameters(slow)]
            slow.train_step(X[i : i + 20], Y[i : i + 20])
    for step, old, new in zip(fast.optimizer.cache.values(), before, parameters(slow), strict=True):
        np.testing.assert_allclose(step, old - new, rtol=1e-9, atol=1e-14)


def test_momentum_that_is_raised_after_a_step_begins_at_zero(rng):
    fast, slow = twins("relu", "softmax", "cross_entropy", OPTIMIZERS[0], "float64")
    X, Y = batch(rng, np.float64)
    for net in (fast, slow):
        net.fit(X, Y, epochs=1, verbose=False)
        net.train_step(X, Y)
    fast.optimizer.momentum = 0.9
    for net in (fast, slow):
        net.train_step(X, Y)
    for a, b in zip(parameters(fast), parameters(slow), strict=True):
        np.testing.assert_array_equal(a, b)


CHANGES = {
    "an entry": lambda d: d.update(W0=1),
    "or": lambda d: d.__ior__({"W0": 1}),
    "a default": lambda d: d.setdefault("b0", 1),
    "del": lambda d: d.__delitem__("W0"),
    "pop": lambda d: d.pop("W0"),
    "popitem": lambda d: d.popitem(),
    "clear": lambda d: d.clear(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_a_watched_dict_is_counted(change):
    watched = WatchedDict(W0=0)
    before = Changes.count
    change(watched)
    assert Changes.count > before


def test_several_threads_pick_the_rows_of_a_wide_batch(rng):
    X, labels = rng.normal(size=(70, 1600)), rng.integers(0, 3, 70)
    layers = [{"name": "fully_connected", "n_out": n, "activation": "softmax"} for n in (8, 3)]
    nets = [fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD"}, seed=0) for _ in range(2)]
    for net, threads in zip(nets, (1, 3), strict=True):
        with fastnn.set_num_threads(threads):
            net.fit(X, labels, epochs=2, batch_size=32, verbose=False)
    for a, b in zip(*map(parameters, nets), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_replaced_parameter_is_used_and_the_old_array_left_alone(rng):
    fast, _ = twins("relu", "softmax", "cross_entropy", OPTIMIZERS[0], "float64")
    X, Y = batch(rng, np.float64)
    fast.train_step(X, Y)
    old = fast.layers[1].parameters["W"]
    before, mine = old.copy(), rng.normal(size=old.shape)
    kept = mine.copy()
    fast.layers[1].parameters["W"] = mine
    fast.train_step(X, Y)
    np.testing.assert_array_equal(old, before)
    np.testing.assert_array_equal(mine, kept)
    assert not np.array_equal(fast.layers[1].parameters["W"], mine)


def test_a_copied_network_trains_its_own_parameters(rng):
    net, _ = twins("relu", "softmax", "cross_entropy", OPTIMIZERS[1], "float64")
    X, Y = batch(rng, np.float64)
    net.train_step(X, Y)
    twin = copy.deepcopy(net)
    before = [p.copy() for p in parameters(net)]
    twin.train_step(X, Y)
    for p, b in zip(parameters(net), before, strict=True):
        np.testing.assert_array_equal(p, b)
    net.train_step(X, Y)
    for p, q in zip(parameters(net), parameters(twin), strict=True):
        np.testing.assert_array_equal(p, q)


def test_an_optimizer_taken_from_another_network_starts_anew(rng):
    first, _ = twins("relu", "softmax", "cross_entropy", OPTIMIZERS[1], "float64")
    X, Y = batch(rng, np.float64)
    first.train_step(X, Y)
    layers = [fastnn.FullyConnected(300, "relu"), fastnn.FullyConnected(3, "softmax")]
    second = fastnn.NeuralNetwork("cross_entropy", layers, first.optimizer)
    assert np.isfinite(second.train_step(X, Y))
    assert second.optimizer.cache["W0"].shape == (4, 300)


def test_read_only_batches_and_batches_of_any_size(rng):
    net, _ = twins("tanh", "softmax", "cross_entropy", OPTIMIZERS[0], "float64")
    for n in (5, 40, 1, 0, 17):
        X, Y = batch(rng, np.float64, n)
        X.flags.writeable = Y.flags.writeable = False
        assert np.isfinite(net.train_step(X, Y)) == (n > 0)


def test_what_the_engine_does_not_know_is_named(rng):
    class Doubled(fastnn.ReLU):
        def forward(self, Z):
            return 2 * super().forward(Z)

    layers = [fastnn.FullyConnected(4, Doubled()), fastnn.FullyConnected(3, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.1})
    assert "Doubled" in net.summary()
    X, Y = batch(rng, np.float64)
    first = net.train_step(X, Y)
    for _ in range(20):
        last = net.train_step(X, Y)
    assert last < first


HOMES = {"_LARGE": dense, "_NEAR": plans}  # whose thresholds these are


def wide(dtype, rule):
    layers = [{"name": "fully_connected", "n_out": k, "activation": "relu"} for k in (1100, 1030)]
    return fastnn.NeuralNetwork("l2", layers, rule, seed=1, dtype=dtype)


def results(net, X, Y):
    return [net.train_step(X, Y), net.train_step(X, Y), net.evaluate(X, Y), net.predict(X)]


def detours(net, X):
    """Return whether a step transposes, and whether rows go through all layers at once."""
    training = [job for phase in net.engine._training.get(X.shape).to.contents for job, _ in phase]
    (inference,) = net.engine._inference.get(X.shape)
    jobs = [job for phase in inference.to.contents for job, _ in phase]
    return kernels.transpose_input in training, kernels.forward_rows in jobs


@compiled_step
@pytest.mark.parametrize("rule", OPTIMIZERS[1:3], ids=["SGD", "Adam"])
@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ({"_LARGE": 10**9, "_NEAR": 10**9}, (False, True)),
        ({"_LARGE": 0}, (True, True)),
        ({"_LARGE": 10**9, "_NEAR": 0}, (False, False)),
        ({"_LARGE": 0, "_NEAR": 0}, (True, False)),
    ],
    ids=["none", "transposition", "by columns", "both"],
)
def test_detours_change_no_bit(thresholds, expected, rule, dtype, rng, monkeypatch):
    X, Y = rng.normal(size=(70, 9)).astype(dtype), rng.normal(size=(70, 1030)).astype(dtype)
    net, plain = wide(dtype, rule), wide(dtype, rule)
    for name in HOMES:
        monkeypatch.setattr(HOMES[name], name, 10**9)
    found = results(plain, X, Y)
    with fastnn.set_num_threads(3):
        for name, value in thresholds.items():
            monkeypatch.setattr(HOMES[name], name, value)
        other = results(net, X, Y)
        assert detours(net, X) == expected
    for a, b in zip(other + parameters(net), found + parameters(plain), strict=True):
        np.testing.assert_array_equal(a, b)


@compiled_step
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_narrow_layers_go_backward_by_rows_with_the_same_bits(activation, dtype, rng, monkeypatch):
    """Rows are many, columns few: also with a last batch that has no row in the last blocks."""
    X, Y = rng.normal(size=(1700, 5)).astype(dtype), rng.normal(size=(1700, 3)).astype(dtype)
    found = []
    for threads, least in ((3, plans._BY_ROWS), (1, plans._BY_ROWS), (3, 10**9)):
        monkeypatch.setattr(plans, "_BY_ROWS", least)
        widths = [fastnn.FullyConnected(k, activation) for k in (33, 17)]
        layers = [*widths, fastnn.FullyConnected(3, "linear")]
        net = fastnn.NeuralNetwork("l2", layers, OPTIMIZERS[2], seed=1, dtype=dtype)
        with fastnn.set_num_threads(threads):
            net.fit(X, Y, 2, 1000, verbose=False)
            contents = net.engine._training.get((1000, 5)).to.contents
        jobs = [job for phase in contents for job, _ in phase]
        assert (kernels.backward_rows in jobs) == (least < 10**9)
        found.append([*parameters(net), np.array(net.history.loss)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rule", OPTIMIZERS, ids=lambda rule: "-".join(map(str, rule.values())))
def test_rules_of_penalised_blocks_of_any_width(rule, dtype, rng):
    """Widths of whole vectors, of none, and of one and a part; by rows of X where those are more."""
    X = rng.normal(size=(150, 400)).astype(dtype)
    Y = np.eye(3, dtype=dtype)[rng.integers(0, 3, 150)]
    layers = [fastnn.FullyConnected(k, "tanh", l2=5.0) for k in (64, 17)]
    layers.append(fastnn.FullyConnected(3, "softmax", l2=2.0))
    one = fastnn.NeuralNetwork("cross_entropy", layers, rule, seed=1, dtype=dtype)
    two, slow = copy.deepcopy(one), copy.deepcopy(one)
    slow.make_parameters(X)
    for _ in range(3):
        with fastnn.set_num_threads(1):
            one.train_step(X, Y)
        with fastnn.set_num_threads(2):
            two.train_step(X, Y)
        slow.train_by_layers(X, Y, None)
    for a, b, c in zip(parameters(one), parameters(two), parameters(slow), strict=True):
        np.testing.assert_array_equal(a, b)
        tolerance = 1e-3 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(a, c, rtol=tolerance, atol=tolerance)


@compiled_step
@pytest.mark.parametrize("n", [11, 90])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[::2])
@pytest.mark.parametrize(("output", "loss"), OUTPUTS[:8])
def test_weighted_rows_are_the_same_on_both_roads(output, loss, optimizer, n, rng):
    X, Y = batch(rng, np.float64, n)
    weights = rng.uniform(0, 2, n)
    weights[:4] = 0  # the first batch's, with this order
    fast, slow = twins("tanh", output, LOSSES[loss](), optimizer, np.float64)
    for net in (fast, slow):
        net.prepare(3, X.shape)
        net.make_parameters(X)
        net.layers[0].l2 = 0.5
    for _ in range(2):
        data = fastnn.datasets.Data(X, 4, Y, weights=weights)
        found = list(fast.train_batches(data, False, 0, data.samples_per_epoch))
        assert len(found) < data.samples_per_epoch  # in stretches
        found = [np.concatenate(part) for part in zip(*found, strict=True)]
        for i in range(0, n, 4):
            expected = slow.train_by_layers(X[i : i + 4], Y[i : i + 4], 0, weights[i : i + 4])
            np.testing.assert_allclose(
                [part[i // 4] for part in found], expected, rtol=1e-12, atol=1e-15
            )
    for a, b in zip(parameters(fast), parameters(slow), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_row_of_weight_two_counts_as_two(dtype, rng):
    X, Y = batch(rng, dtype, 40)
    weighted, repeated = twins("relu", "softmax", "cross_entropy", OPTIMIZERS[0], dtype)
    for net in (weighted, repeated):
        net.layers[1].l2 = 0.3
    settings = {"epochs": 3, "shuffle": False, "verbose": False}
    counts = rng.integers(0, 3, 40)
    weighted.fit(X, Y, batch_size=40, sample_weight=counts, **settings)
    rows = np.repeat(np.arange(40), counts)
    repeated.fit(X[rows], Y[rows], batch_size=len(rows), **settings)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(weighted.history.loss, repeated.history.loss, rtol=tolerance)
    for a, b in zip(parameters(weighted), parameters(repeated), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_steps_without_weights_follow_steps_with(rng):
    X, Y = batch(rng, np.float64, 40)
    net, plain = twins("relu", "softmax", "l2", OPTIMIZERS[2], np.float64)
    settings = {"epochs": 2, "batch_size": 8, "verbose": False}
    net.fit(X, Y, sample_weight=np.full(40, 3.0), **settings)
    plain.fit(X, Y, **settings)
    for road in (net, plain):
        road.fit(X, Y, **settings)
        road.train_step(X[:8], Y[:8])
    for a, b in zip(parameters(net), parameters(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("wrong", [[1.0], [-1.0, 1.0], [np.nan, 1.0]])
def test_weights_that_are_none_are_named(wrong):
    net = fastnn.NeuralNetwork("l2", [fastnn.FullyConnected(1, "linear")], {"name": "SGD"})
    with pytest.raises(ValueError, match="sample_weight must"):
        net.fit([[1.0], [2.0]], [1.0, 2.0], sample_weight=wrong)


@compiled_step
def test_one_setting_asks_for_blas(dtype, rng, monkeypatch):
    monkeypatch.setenv("FASTNN_PRODUCTS", "blas")
    net = twins("relu", "softmax", "cross_entropy", OPTIMIZERS[0], dtype)[0]
    X, Y = batch(rng, dtype)
    assert "FASTNN_PRODUCTS asks for BLAS" in net.summary()
    assert np.isfinite(net.train_step(X, Y))
    assert net.engine.step(net, X, Y, 0) is None
    assert net.engine.predict(net, X) is None
