"""Batch normalisation: formulas, gradients, running statistics, and what the layers check."""

import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import engine, reference
from fastnn.kernels.compiling import target
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.kernels.layers import batch_norm as kernels

TOLERANCES = {"float32": 2e-6, "float64": 1e-12}
SHAPES = [(2, 1), (5, 7), (37, 129), (65, 17), (300, 5), (40, 600), (3, 4, 5, 6), (2, 9, 7, 16)]


def close(got, expected, dtype):
    """Assert that arrays agree, relative to the largest value."""
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    assert got.shape == expected.shape
    assert np.abs(got - expected).max(initial=0) <= TOLERANCES[dtype.name] * scale


def made(shape, rng, dtype="float64", **options):
    """Return a layer whose parameters are not those it starts with, and its twin in longdouble."""
    name = f"BatchNorm{len(shape) // 2}D"
    layer, plain = getattr(fastnn, name)(**options), getattr(reference.layers, name)(**options)
    layer.dtype = np.dtype(dtype)
    layer._init_parameters(shape)
    plain._init_parameters(shape)
    for name in ("gamma", "beta"):
        layer.parameters[name] = rng.normal(size=(1, shape[-1]))
        plain.parameters[name] = layer.parameters[name].astype(np.longdouble)
    return layer, plain


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_layer_is_the_formula(shape, dtype, rng):
    layer, plain = made(shape, rng, dtype, eps=1e-5)
    for _ in range(2):
        X, dY = (3 + rng.normal(size=(2, *shape))).astype(dtype)
        wide = X.astype(np.longdouble)
        Y, expected = layer.forward(X), plain.forward(wide)
        assert Y.dtype == dtype
        close(Y, expected, dtype)
        close(layer.cache["X_hat"], plain.cache["X_hat"], dtype)
        dX, expected = layer.backward(dY), plain.backward(dY.astype(np.longdouble))
        assert dX.dtype == dtype
        if len(X) > 2:  # with two rows dX is next to 0, a difference of equal terms
            close(dX, expected, dtype)
        for name in ("gamma", "beta"):
            assert layer.gradients[name].dtype == dtype
            close(layer.gradients[name], plain.gradients[name], dtype)
    assert layer.cache["running_mu"].dtype == dtype
    close(layer.cache["running_mu"], plain.running_mu, dtype)
    close(layer.cache["running_var"], plain.running_var, dtype)
    layer.training = plain.training = False
    close(layer.forward(X), plain.forward(wide), dtype)
    close(layer.backward(dY), plain.backward(dY.astype(np.longdouble)), dtype)


@pytest.mark.parametrize("mode", ["train", "test"])
@pytest.mark.parametrize("shape", [(7, 3), (3, 2, 4, 2)], ids=str)
def test_gradients_are_those_of_finite_differences(shape, mode, rng):
    layer, _ = made(shape, rng)
    X, dY = rng.normal(size=(2, *shape))
    for _ in range(20):
        layer.forward(X)
    layer.momentum = 1.0  # the running statistics stay
    fresh = lambda x: layer.forward(x, mode=mode)  # noqa: E731
    fresh(X)
    dX = layer.backward(dY)
    assert fastnn.check_gradients(fresh, dX, X.copy(), dY) < 1e-7
    for name in ("gamma", "beta"):
        layer.training = mode == "train"
        gradient = layer.gradients[name].copy()
        function = layer.forward_with_param(name, X)
        assert fastnn.check_gradients(function, gradient, layer.parameters[name].copy(), dY) < 1e-7


@pytest.mark.parametrize("offset", [1e6, -3e3])
def test_columns_far_from_zero_keep_their_digits(offset, rng):
    X = rng.integers(-8, 8, (500, 3)) + offset
    X[0] += 1e3  # deviations are from a row that lies apart
    mean, rest, squares = np.empty((3, 1, 3))
    kernels.column_moments(X, mean, rest, squares)
    wide = X.astype(np.longdouble)
    np.testing.assert_allclose(mean[0], wide.mean(axis=0).astype(float), rtol=3e-16)
    exact = ((wide - wide.mean(axis=0)) ** 2).sum(axis=0).astype(float)
    np.testing.assert_allclose(squares[0], exact, rtol=2e-14)
    kernels.column_moments(np.full((77, 3), 0.1), mean, rest, squares)
    assert (squares == 0).all()


def test_running_statistics_begin_as_zeros_and_follow_the_batches(rng):
    layer = fastnn.BatchNorm1D("ones", momentum=0.8)
    layer._init_parameters((4, 3))
    assert list(layer.parameters) == ["gamma", "beta"] == list(layer.gradients)
    assert list(layer.cache) == ["X", "X_hat", "mu", "var", "running_mu", "running_var"]
    mu, var = np.zeros((1, 3)), np.zeros((1, 3))
    seen = []
    for _ in range(3):
        X = rng.normal(size=(6, 3))
        layer.forward(X, mode="train")
        mu, var = 0.8 * mu + 0.2 * X.mean(axis=0), 0.8 * var + 0.2 * X.var(axis=0)
        seen.append((layer.cache["running_mu"], layer.cache["running_var"], mu, var))
    for got_mu, got_var, mu, var in seen:  # none of them was overwritten
        np.testing.assert_allclose(got_mu, mu, rtol=1e-12)
        np.testing.assert_allclose(got_var, var, rtol=1e-12)
    Y = layer.forward(X, mode="test")
    np.testing.assert_allclose(Y, (X - mu) / np.sqrt(var + 1e-8), rtol=1e-12)
    np.testing.assert_allclose(layer.cache["running_mu"], mu, rtol=1e-12)
    layer.clear_gradients()
    assert layer.cache["X"] == []
    np.testing.assert_allclose(layer.cache["running_var"], var, rtol=1e-12)
    layer.cache["running_mu"] = np.zeros(3)
    assert (layer.buffers["running_mu"] == 0).all()
    assert (dict(layer.cache.items())["running_mu"] == 0).all()
    with pytest.raises(ValueError, match=r"running_mu'\] has shape \(1, 3\), got \(4,\)"):
        layer.cache["running_mu"] = np.zeros(4)


@pytest.mark.parametrize("given", [False, True], ids=["_init_parameters", "n_in"])
def test_backward_reads_a_cache_that_a_program_has_filled(given, rng):
    X, dY = rng.normal(size=(2, 9, 4))
    layer = fastnn.BatchNorm1D(n_in=4 if given else None)
    if not given:
        layer._init_parameters(X.shape)
    layer.parameters["gamma"] = rng.normal(size=4)
    mu, var = X.mean(axis=0), X.var(axis=0)
    layer.cache["X"], layer.cache["mu"], layer.cache["var"] = X, mu, var
    layer.cache["X_hat"] = (X - mu) / np.sqrt(var + layer.eps)
    dX = layer.backward(dY)
    other = fastnn.BatchNorm1D()
    other._init_parameters(X.shape)
    other.parameters["gamma"] = layer.parameters["gamma"]
    other.forward(X)
    np.testing.assert_allclose(dX, other.backward(dY), rtol=1e-12)
    assert layer.gradients["gamma"].shape == layer.gradients["beta"].shape == (1, 4)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_have_the_running_statistics(copied, rng):
    layer = fastnn.BatchNorm1D()
    layer.forward(rng.normal(size=(5, 2)))
    other = copied(layer)
    np.testing.assert_array_equal(other.cache["running_mu"], layer.cache["running_mu"])
    assert list(other.cache) == list(layer.cache)
    other.forward(np.ones((3, 2)), mode="test")
    assert len(layer.cache["X"]) == 5


def test_one_row_and_none(dtype):
    layer = fastnn.BatchNorm1D("ones", n_in=None)
    Y = layer.forward(np.array([[3.0, -1.0]], dtype))
    assert (Y == 0).all()
    assert (layer.backward(np.ones_like(Y)) == 0).all()
    before = layer.cache["running_mu"]
    assert layer.forward(np.zeros((0, 2), dtype)).shape == (0, 2)
    assert layer.backward(np.zeros((0, 2), dtype)).shape == (0, 2)
    assert (layer.gradients["gamma"] == 0).all()
    np.testing.assert_array_equal(layer.cache["running_mu"], before)


def network():
    layers = [
        {"name": "fully_connected", "n_out": 24, "activation": "relu"},
        {"name": "batchnorm1d", "momentum": 0.9},
        {"name": "fully_connected", "n_out": 3, "activation": "softmax"},
    ]
    return fastnn.NeuralNetwork("cross_entropy", layers, {"name": "SGD", "lr": 0.1}, seed=0)


def data(n, rng):
    return rng.normal(size=(n, 6)), np.eye(3)[rng.integers(0, 3, n)]


@pytest.mark.parametrize("n", [1, 50, 700])
def test_running_statistics_are_those_of_both_roads(n, rng):
    compiled, plain = network(), network()
    plain.optimizer = type("Own", (fastnn.SGD,), {})(0.1)
    X, Y = data(n, rng)
    for _ in range(3):
        assert compiled.train_step(X, Y) == pytest.approx(plain.train_step(X, Y), rel=1e-12)
    for name in ("running_mu", "running_var"):
        a, b = (net.layers[1].cache[name] for net in (compiled, plain))
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    kept = compiled.layers[1].cache["running_mu"]
    before = kept.copy()
    compiled.train_step(X, Y)
    np.testing.assert_array_equal(kept, before)  # it was the caller's
    kept = compiled.layers[1].cache["running_mu"]
    assert (kept != before).any()
    compiled.predict(X), compiled.evaluate(X, Y)
    np.testing.assert_array_equal(compiled.layers[1].cache["running_mu"], kept)


def test_layers_that_are_not_in_training_are_constants_in_compiled_steps(rng):
    compiled, plain = network(), network()
    plain.optimizer = type("Own", (fastnn.SGD,), {})(0.1)
    X, Y = data(70, rng)
    for net in (compiled, plain):
        net.train_step(X, Y)
        net.layers[1].training = False
    kept = compiled.layers[1].cache["running_mu"]
    assert compiled.train_step(X, Y) == pytest.approx(plain.train_step(X, Y), rel=1e-10)
    assert compiled.train_step(X, Y) == pytest.approx(plain.train_step(X, Y), rel=1e-10)
    np.testing.assert_array_equal(compiled.layers[1].cache["running_mu"], kept)


def test_results_do_not_depend_on_the_number_of_threads(rng):
    found = []
    X, Y = data(3000, rng)
    before = fastnn.get_num_threads()
    try:
        for threads in (1, 2, 3):
            fastnn.set_num_threads(threads)
            net = network()
            net.fit(X, Y, epochs=2, batch_size=1000, verbose=False)
            arrays = [*net.layers[1].parameters.values(), *net.layers[1].buffers.values()]
            found.append([array.tobytes() for array in arrays])
    finally:
        fastnn.set_num_threads(before)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("shape", [(40, 7), (6, 5, 4, 3)], ids=str)
def test_torch_computes_the_same(shape, rng):
    torch = pytest.importorskip("torch")
    layer, _ = made(shape, rng, eps=1e-5)
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    theirs = kind(shape[-1], 1e-5, 1 - layer.momentum, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(layer.parameters["gamma"][0]))
        theirs.bias.copy_(torch.from_numpy(layer.parameters["beta"][0]))
        theirs.running_var.copy_(torch.from_numpy(layer.buffers["running_var"][0]))
    for training in (True, True, False):
        layer.training = training
        theirs.train(training)
        X, dY = rng.normal(size=(2, *shape)) + 2
        x = torch.from_numpy(np.moveaxis(X, -1, 1)).requires_grad_()
        Y = layer.forward(X)
        out = theirs(x)
        out.backward(torch.from_numpy(np.moveaxis(dY, -1, 1)))
        np.testing.assert_allclose(Y, np.moveaxis(out.detach().numpy(), 1, -1), rtol=1e-10, atol=1e-12)
        dX = layer.backward(dY)
        np.testing.assert_allclose(dX, np.moveaxis(x.grad.numpy(), 1, -1), rtol=1e-8, atol=1e-11)
        if len(shape) == 4:  # the teaching library's running variance is the biased one
            running = theirs.running_mean, theirs.running_var
            for name, expected in zip(("running_mu", "running_var"), running, strict=True):
                np.testing.assert_allclose(layer.buffers[name][0], expected.numpy(), rtol=1e-12)
        else:
            theirs.running_var.copy_(torch.from_numpy(layer.buffers["running_var"][0]))


def test_draws_and_defaults():
    np.random.seed(3)
    gamma = fastnn.BatchNorm1D(n_in=5).parameters["gamma"]
    np.random.seed(3)
    np.testing.assert_array_equal(gamma, fastnn.initialize_weights("xavier_uniform")((1, 5)))
    made = {
        name: fastnn.initialize_layer(name) for name in ("batchnorm1d", "batchnorm2d", "layer_norm")
    }
    assert made["batchnorm1d"].momentum == made["batchnorm2d"].momentum == 0.95
    assert [layer.eps for layer in made.values()] == [1e-8, 1e-5, 1e-5]
    assert fastnn.initialize_layer("batchnorm1d", momentum=None).momentum == 0.9
    assert fastnn.initialize_layer("batchnorm1d", eps=0.1, momentum=0.5).eps == 0.1
    assert repr(fastnn.BatchNorm1D(n_in=3)) == "BatchNorm1D()"


BAD = {
    "mode": (lambda layer: layer.forward(np.ones((2, 3)), mode="eval"), "mode must be 'train' or"),
    "rank": (lambda layer: layer.forward(np.ones((2, 3, 4))), r"shape \(batch, features\), got"),
    "width": (lambda layer: layer.forward(np.ones((2, 4))), "X has 4 features, the layer needs 3"),
    "nothing": (lambda layer: layer.forward(np.ones((2, 0))), "at least one"),
    "dLdY": (lambda layer: layer.backward(np.ones((4, 3))), r"output's shape \(5, 3\), got \(4, 3\)"),
    "eps": (lambda layer: setattr(layer, "eps", -1), "eps must be finite, at least 0"),
    "momentum": (lambda layer: setattr(layer, "momentum", 1.1), "at most 1, got 1.1"),
    "gamma": (lambda layer: layer.parameters.update(gamma=np.ones(4)), "shape"),
    "n_in": (lambda layer: fastnn.BatchNorm1D(n_in=0), "n_in must be at least 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    call, message = BAD[case]
    layer = fastnn.BatchNorm1D()
    layer.forward(np.arange(15.0).reshape(5, 3))
    before = layer.cache["running_mu"]
    with pytest.raises(ValueError, match=message):
        call(layer)
    np.testing.assert_array_equal(layer.cache["running_mu"], before)


def test_backward_needs_a_forward():
    with pytest.raises(RuntimeError, match="needs a forward pass first"):
        fastnn.BatchNorm1D(n_in=3).backward(np.ones((2, 3)))


class Flat(fastnn.Layer):
    """Images as rows."""

    def check_input(self, X_shape):
        return X_shape[0], int(np.prod(X_shape[1:]))

    def forward(self, X):
        self.cache["shape"] = X.shape
        return X.reshape(self.check_input(X.shape))

    def backward(self, dLdY):
        return dLdY.reshape(self.cache["shape"])

    def cost(self, X_shape):
        return 0

    def compile(self, to):
        to.output = to.reshaped((to.input.width,))


@pytest.mark.parametrize("first", [True, False], ids=["first", "second"])
def test_images_on_both_roads(first, rng):
    def net(kind):
        layers = [fastnn.BatchNorm2D(), Flat(), fastnn.FullyConnected(3, "softmax")]
        layers[:0] = [] if first else [fastnn.BatchNorm2D(momentum=0.5)]
        return fastnn.NeuralNetwork("cross_entropy", layers, kind(0.1), seed=0)

    nets = net(fastnn.SGD), net(type("Own", (fastnn.SGD,), {}))
    X, Y = rng.normal(size=(70, 4, 3, 5)), np.eye(3)[rng.integers(0, 3, 70)]
    assert not target.COMPILED or engine.obstacle(nets[0]) is None
    for _ in range(3):
        losses = [one.train_step(X, Y) for one in nets]
        assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    np.testing.assert_allclose(nets[0].predict(X), nets[1].predict(X), rtol=1e-12)
    for a, b in zip(
        nets[0].layers[0].buffers.values(), nets[1].layers[0].buffers.values(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
@pytest.mark.parametrize("kind", [fastnn.BatchNorm1D, fastnn.BatchNorm2D, fastnn.LayerNorm])
def test_large_batches_use_all_cores_for_the_same_numbers(kind, rng):
    """A batch of at least 4 MB gives the same results as the plain layer."""
    shape = (300, 8, 8, 32) if kind is fastnn.BatchNorm2D else (1100, 500)
    layer, plain = kind(), getattr(reference, kind.__name__)()
    X, dY = rng.normal(size=(2, *shape))
    for each in (layer, plain):
        np.random.seed(0)
        each.Y = each.forward(X)
    np.testing.assert_allclose(layer.Y, plain.Y, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(layer.backward(dY), plain.backward(dY), rtol=1e-9, atol=1e-12)
    for name, gradient in layer.gradients.items():
        np.testing.assert_allclose(gradient, plain.gradients[name], rtol=1e-9, atol=1e-9)
