"""LayerNorm and Dropout in networks: both roads, threads, figures, files, resumed runs."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import Dropout, FullyConnected, LayerNorm, engine
from fastnn.kernels.compiling.jit import COMPILED

compiled_step = pytest.mark.skipif(not COMPILED, reason="no compiled step here")
STACKS = {
    "within": lambda: [
        FullyConnected(64, "relu"), LayerNorm(), FullyConnected(33, "softmax"), Dropout(0.3),
        LayerNorm(1e-3), FullyConnected(17, "tanh"), Dropout(0.5), Dropout(0.2),
        FullyConnected(5, "softmax"),
    ],
    "first": lambda: [Dropout(0.2), LayerNorm(), FullyConnected(5, "softmax")],
    "last": lambda: [FullyConnected(70, "relu"), FullyConnected(5, "linear"), LayerNorm()],
    "dropout last": lambda: [FullyConnected(64, "relu"), FullyConnected(5, "relu"), Dropout(0.4)],
}  # fmt: skip
OPTIMIZERS = {
    "SGD": {"name": "SGD", "lr": 0.1},
    "momentum": {"name": "SGD", "lr": 0.1, "momentum": 0.9, "clip_norm": 0.5},
    "Adam": {"name": "Adam", "lr": 0.01},
    "clipped together": {"name": "Adam", "lr": 0.01, "global_clip_norm": 0.05},
}


def network(stack, optimizer="Adam", dtype="float64", seed=0):
    layers = STACKS[stack]()
    loss = "cross_entropy" if isinstance(layers[-1], FullyConnected) else "l2"
    return fastnn.NeuralNetwork(loss, layers, OPTIMIZERS[optimizer], seed=seed, dtype=dtype)


def batch(n, dtype="float64"):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 40)).astype(dtype)
    return X, np.eye(5, dtype=dtype)[rng.integers(0, 5, n)]


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


def counts(net):
    return [int(x.buffers["step"][0]) for x in net.layers if isinstance(x, Dropout)]


@compiled_step
@pytest.mark.parametrize("n", [7, 150, 300])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("stack", STACKS)
def test_both_roads_agree(stack, optimizer, n, dtype):
    fast, slow = (network(stack, optimizer, dtype) for _ in range(2))
    X, Y = batch(n, dtype)
    tolerance = 1e-3 if dtype == np.float32 else 1e-11
    for _ in range(3):
        slow.make_parameters(X)
        np.testing.assert_allclose(
            fast.train_batch(X, Y, 0), slow.train_by_layers(X, Y, 0), rtol=tolerance
        )
    assert engine.obstacle(fast) is None
    assert counts(fast) == counts(slow)
    for a, b in zip(parameters(fast), parameters(slow), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(fast.predict(X), slow.outputs_of(X)[0], rtol=tolerance, atol=tolerance)
    found, expected = fast.evaluate(X, Y), slow.evaluate_rows(X, Y)[:2]
    np.testing.assert_allclose(found, expected, rtol=tolerance)


@compiled_step
@pytest.mark.parametrize("n", [30, 300])
@pytest.mark.parametrize("stack", STACKS)
def test_bits_do_not_depend_on_threads(stack, n, dtype):
    X, Y = batch(n, dtype)
    found = []
    for count in (1, 2, 3):
        net = network(stack, "Adam", dtype)
        with fastnn.set_num_threads(count):
            losses = [net.train_step(X, Y) for _ in range(3)]
            found.append((losses, [p.tobytes() for p in parameters(net)]))
    assert found[0] == found[1] == found[2]


@compiled_step
def test_weighted_rows(dtype):
    fast, slow = network("within", dtype=dtype), network("within", dtype=dtype)
    X, Y = batch(40, dtype)
    slow.optimizer = type("Own", (fastnn.Adam,), {})(lr=0.01)
    weights = np.random.default_rng(0).uniform(0, 2, 40)
    for net in (fast, slow):
        net.fit(X, Y, epochs=2, batch_size=16, sample_weight=weights, verbose=False)
    tolerance = 1e-3 if dtype == np.float32 else 1e-11
    for a, b in zip(parameters(fast), parameters(slow), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("own", [False, True], ids=["compiled", "by layers"])
@pytest.mark.parametrize("stack", ["within", "first", "dropout last"])
def test_dropout_is_off_where_a_network_is_only_asked(stack, own):
    net = network(stack)
    if own:
        net.optimizer = type("Own", (fastnn.Adam,), {})(lr=0.01)
    X, Y = batch(30)
    net.fit(X, Y, epochs=1, verbose=False, validation_data=(X, Y))
    assert net.history.validation_loss == [net.evaluate(X, Y)[0]]
    before = counts(net)
    expected = net.predict(X)
    with_loss, _ = net.predict(X, Y)
    np.testing.assert_allclose(with_loss, expected, rtol=1e-12)
    np.testing.assert_array_equal(net.predict(X), expected)
    net.test(fastnn.Dataset(X, Y, 30, test_set=X, test_labels=Y))
    assert counts(net) == before
    assert all(layer.training for layer in net.layers)
    assert (net.forward(X) != expected).any()
    assert counts(net) == [count + 1 for count in before]


@pytest.mark.parametrize("own", [False, True], ids=["compiled", "by layers"])
def test_layers_that_are_not_in_training_stay_so(own):
    net = network("within")
    if own:
        net.optimizer = type("Own", (fastnn.Adam,), {})(lr=0.01)
    X, Y = batch(30)
    net.train_step(X, Y)
    for layer in net.layers:
        layer.training = False
    before = counts(net)
    expected, _ = net.evaluate(X, Y)
    assert net.train_step(X, Y) == pytest.approx(expected, rel=1e-12)
    assert counts(net) == before


def test_each_layer_draws_a_seed_of_its_own():
    seeds = [
        int(layer.buffers["seed"][0])
        for net in (network("within"), network("within", seed=1))
        for layer in [net.train_step(*batch(5)), *net.layers][1:]
        if isinstance(layer, Dropout)
    ]
    assert len(set(seeds)) == 6
    again = network("within")
    again.train_step(*batch(5))
    assert [int(x.buffers["seed"][0]) for x in again.layers if x.buffers] == seeds[:3]


def test_copies_go_on_by_themselves():
    X, Y = batch(20)
    net = network("within")
    net.train_step(X, Y)
    other = copy.deepcopy(net)
    losses = [net.train_step(X, Y) for _ in range(2)]
    assert [other.train_step(X, Y) for _ in range(2)] == losses


@compiled_step
def test_a_batch_in_the_networks_own_memory_counts_one_step():
    net = fastnn.NeuralNetwork(
        "l2", [FullyConnected(40, "linear"), Dropout(0.5), FullyConnected(40, "linear")],
        OPTIMIZERS["SGD"], seed=0,
    )  # fmt: skip
    X = batch(40)[0]
    net.train_step(X, X)
    other = copy.deepcopy(net)
    own, copied = net.layers[0].parameters["W"], net.layers[0].parameters["W"].copy()
    assert net.train_step(own, own) == other.train_step(copied, copied)
    assert counts(net) == counts(other) == [2]


@pytest.mark.parametrize("stack", ["within", "first"])
def test_a_resumed_run_comes_to_the_same_bits(stack, tmp_path):
    pytest.importorskip("safetensors")

    class Break(fastnn.Callback):
        def on_epoch_begin(self, run):
            if run.epoch == 2:
                raise InterruptedError

    X, Y = batch(50)
    options = {"epochs": 4, "batch_size": 16, "verbose": False}
    whole = network(stack)
    whole.fit(X, Y, **options)
    options |= {"checkpoint": tmp_path / "run", "checkpoint_every": 0}
    with pytest.raises(InterruptedError):
        network(stack).fit(X, Y, callbacks=[Break()], **options)
    resumed = network(stack)
    resumed.fit(X, Y, resume=True, **options)
    assert resumed.history.loss == whole.history.loss
    for a, b in zip(parameters(resumed), parameters(whole), strict=True):
        np.testing.assert_array_equal(a, b)
    assert counts(resumed) == counts(whole)


@pytest.mark.parametrize("stack", STACKS)
def test_saved_networks_predict_and_train_with_the_same_bits(stack, tmp_path):
    pytest.importorskip("safetensors")
    X, Y = batch(20)
    net = network(stack)
    net.save(tmp_path / "new")  # before there are parameters
    fastnn.load(tmp_path / "new").train_step(X, Y)
    net.train_step(X, Y)
    net.layers[-1].training = False
    net.save(tmp_path / "net")
    loaded = fastnn.load(tmp_path / "net")
    assert not loaded.layers[-1].training
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    assert loaded.train_step(X, Y) == net.train_step(X, Y)


@compiled_step
def test_many_at_once_are_fits_of_their_own():
    X, Y = batch(50)
    together, alone = ([network("within", seed=seed) for seed in range(3)] for _ in range(2))
    fastnn.fit_many(together, X, Y, epochs=3, batch_size=16)
    for net, other in zip(together, alone, strict=True):
        other.fit(X, Y, epochs=3, batch_size=16, verbose=False)
        for a, b in zip(parameters(net), parameters(other), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_width_is_inferred_for_the_last_layer_that_has_one():
    layers = [FullyConnected(8, "relu"), FullyConnected(None, "linear"), LayerNorm(), Dropout(0.1)]
    net = fastnn.NeuralNetwork("l2", layers, OPTIMIZERS["SGD"], seed=0)
    X, Y = batch(10)
    net.fit(X, Y, epochs=1, verbose=False)
    assert net.layers[1].n_out == net.layers[-1].n_out == 5
    layers = [FullyConnected(None, "relu"), FullyConnected(5, "relu"), LayerNorm()]
    with pytest.raises(ValueError, match="layer 0 has n_out=None"):
        fastnn.NeuralNetwork("l2", layers, OPTIMIZERS["SGD"])


def test_wrong_widths_name_the_layer():
    net = network("within")
    net.train_step(*batch(5))
    net.layers[1].parameters["gain"] = np.ones((1, 64))
    net.layers[1].n_in = 3
    with pytest.raises(ValueError, match=r"layer 1 \(LayerNorm\).*64 features"):
        net.train_step(*batch(5))


def test_a_network_of_dropout_alone_trains_by_layers():
    net = fastnn.NeuralNetwork("l2", [Dropout(0.5)], OPTIMIZERS["SGD"], seed=0)
    X = batch(10)[0]
    assert np.isfinite(net.train_step(X, X))
    np.testing.assert_array_equal(net.predict(X), X)


@pytest.mark.parametrize("own", [False, True], ids=["compiled", "by layers"])
def test_buffers_are_open_to_assignment(own):
    net, other = network("first"), network("first")
    X, Y = batch(30)
    for each in (net, other):
        if own:
            each.optimizer = type("Own", (fastnn.Adam,), {})(lr=0.01)
        each.train_step(X, Y)
    given = np.array([7])
    net.layers[0].buffers["step"] = given
    other.layers[0].buffers["step"][0] = 7
    assert net.train_step(X, Y) == other.train_step(X, Y)
    assert counts(net) == counts(other) == [8]
    assert given.tolist() == [7]
    for value in (np.zeros(2, np.int64), np.zeros(1), np.array(["x"])):
        with pytest.raises(ValueError, match="buffers"):
            net.layers[0].buffers["step"] = value
    assert counts(net) == [8]
    assert net.train_step(X, Y) == other.train_step(X, Y)


@pytest.mark.parametrize("own", [False, True], ids=["compiled", "by layers"])
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda layer: layer.buffers.clear(), "'seed'"),
        (lambda layer: layer.buffers.pop("step"), "'step'"),
        (lambda layer: setattr(layer, "buffers", {"seed": [1], "step": [0], "other": [2]}), "other"),
        (lambda layer: layer.buffers["step"].setflags(write=False), "read-only"),
    ],
    ids=["none", "one", "too many", "read-only"],
)
def test_harmed_buffers_are_an_error_before_anything_changes(harm, message, own):
    net = network("first")
    X, Y = batch(30)
    net.train_step(X, Y)
    if own:
        net.optimizer = type("Own", (fastnn.Adam,), {})(lr=0.01)
    before = [p.copy() for p in parameters(net)]
    harm(net.layers[0])
    for count in (30, 20):  # a plan that there is, and a new one
        if message == "read-only" and count == 30 and not own:
            continue  # as for parameters, a plan that there is goes on
        with pytest.raises(ValueError, match=message):
            net.train_step(X[:count], Y[:count])
    for now, then in zip(parameters(net), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_layer_that_sets_no_output_of_its_own_is_named():
    class Wider(fastnn.Layer):
        def check_input(self, X_shape):
            return (X_shape[0], X_shape[1] + 1)

        def forward(self, X):
            return np.pad(X, ((0, 0), (0, 1)))

        def backward(self, dLdY):
            return dLdY[:, :-1]

        def compile(self, to):
            pass

    if not COMPILED:
        pytest.skip("no compiled step here")
    net = fastnn.NeuralNetwork(
        "l2", [FullyConnected(4, "relu"), Wider(), FullyConnected(3, "linear")], OPTIMIZERS["SGD"]
    )
    with pytest.raises(ValueError, match=r"Wider.compile set to.output .* rows \(4,\); .* says \(5,\)"):
        net.train_step(batch(5)[0], np.zeros((5, 3)))
