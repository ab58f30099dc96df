"""The Elman layer: formulas, gradients, caches, skipped time steps, and what the layer checks."""

import copy
import pickle

import numpy as np
import pytest

import fastnn
from fastnn import Elman, reference
from fastnn.activations import ACTIVATIONS
from fastnn.kernels.compiling.jit import COMPILED
from fastnn.reference.layers import Elman as PlainElman

SHAPES = [(1, 1, 1), (7, 3, 5), (40, 8, 6), (3, 2, 1), (50, 17, 3)]


def close(got, expected, dtype="float64"):
    tolerance = 2e-4 if np.dtype(dtype) == np.float32 else 1e-10
    assert np.shape(got) == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


def batch(shape, rng, dtype="float64", masked=False):
    """Return inputs; with ``masked``, rows have different lengths, one of them 0."""
    X = rng.normal(size=shape)
    if masked:
        for row in X:
            row[:, rng.integers(0, shape[2] + 1) :] = 0.5
        X[0] = 0.5
    return X.astype(dtype)


def pair(k, X, activation="tanh", **options):
    """Return a layer and its twin in plain NumPy, with the same parameters."""
    layer, plain = Elman(k, activation, **options), PlainElman(k, activation, **options)
    plain._init_parameters(X.shape)
    for name, array in plain.parameters.items():
        array += np.random.default_rng(1).uniform(-0.2, 0.2, array.shape)
        plain.parameters[name] = array.astype(X.dtype).astype(float)
    layer.forward(X)
    for name, array in plain.parameters.items():
        layer.parameters[name] = array
    return layer, plain


class Own(fastnn.TanH):
    """An activation that has no compiled kernel."""


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
@pytest.mark.parametrize("sequences", [False, True], ids=["last", "sequences"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_layer_is_the_formula(shape, sequences, masked, dtype, rng):
    X = batch(shape, rng, dtype, masked)
    layer, plain = pair(19, X, return_sequences=sequences, mask_value=0.5 if masked else None)
    Y, expected = layer.forward(X), plain.forward(X.astype(float))
    assert Y.dtype == dtype
    close(Y, expected, dtype)
    for name, count in (("s", shape[2] + 1), ("X", shape[2]), ("Z", shape[2])):
        assert isinstance(layer.cache[name], list)
        assert len(layer.cache[name]) == count
        close(np.array(layer.cache[name]), np.array(plain.cache[name]), dtype)
    dY = rng.normal(size=Y.shape).astype(dtype)
    for times in (1, 2):  # gradients are added
        dX, expected = layer.backward(dY), plain.backward(dY.astype(float))
        assert isinstance(dX, list)
        close(np.stack(dX, axis=2), expected, dtype)
        for name in ("W", "U", "b"):
            assert layer.gradients[name].dtype == dtype
            close(layer.gradients[name] / times, plain.gradients[name] / times, dtype)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name, rng):
    X = batch((5, 3, 4), rng, masked=True)
    layer, plain = pair(6, X, name, mask_value=0.5)
    Y = layer.forward(X)
    close(Y, plain.forward(X))
    dY = rng.normal(size=Y.shape)
    close(np.stack(layer.backward(dY), axis=2), plain.backward(dY))
    close(layer.gradients["U"], plain.gradients["U"])


@pytest.mark.parametrize("sequences", [False, True])
def test_an_own_activation_and_compiled_code_agree(sequences, rng):
    X = batch((20, 3, 6), rng, masked=True)
    layer, _ = pair(5, X, return_sequences=sequences, mask_value=0.5)
    own = Elman(5, Own(), return_sequences=sequences, mask_value=0.5)
    own.forward(X)
    own.parameters = layer.parameters
    Y = layer.forward(X)
    close(own.forward(X), Y)
    dY = rng.normal(size=Y.shape)
    close(own.backward(dY), layer.backward(dY))
    for name in ("W", "U", "b"):
        close(own.gradients[name], layer.gradients[name])


@pytest.mark.parametrize("sequences", [False, True])
def test_gradients_are_those_of_finite_differences(sequences, rng):
    X = batch((4, 3, 5), rng, masked=True)
    layer, _ = pair(4, X, return_sequences=sequences, mask_value=0.5)
    dY = rng.normal(size=layer.forward(X).shape)
    dX = np.stack(layer.backward(dY), axis=2)
    gradients = dict(layer.gradients)
    for name, gradient in gradients.items():
        value = layer.parameters[name].copy()
        function = layer.forward_with_param(name, X)
        assert fastnn.check_gradients(function, gradient, value, dY) < 1e-7
    kept = X != 0.5  # moving a skipped step's input would be no longer skipping it
    slopes = np.zeros_like(X)
    for at in zip(*np.nonzero(kept), strict=True):
        moved = X.copy()
        moved[at] += 1e-6
        above = layer.forward(moved)
        moved[at] -= 2e-6
        slopes[at] = ((above - layer.forward(moved)) * dY).sum() / 2e-6
    np.testing.assert_allclose(dX, slopes, rtol=1e-5, atol=1e-8)


def test_skipped_steps_carry_state_and_gradient(rng):
    layer = Elman(6, mask_value=0.0)
    X = batch((5, 3, 7), rng)
    long = np.concatenate([X[:, :, :3], np.zeros((5, 3, 2)), X[:, :, 3:], np.zeros((5, 3, 4))], axis=2)
    expected = layer.forward(X)
    dY = rng.normal(size=expected.shape)
    dX = layer.backward(dY)
    gradients = dict(layer.gradients)
    layer.clear_gradients()
    np.testing.assert_allclose(layer.forward(long), expected, rtol=1e-13)
    found = layer.backward(dY)
    for i in (3, 4, 9, 10, 11, 12):
        assert not found[i].any()
    close([*found[:3], *found[5:9]], dX)
    for name, gradient in gradients.items():
        close(layer.gradients[name], gradient)


def test_as_in_pytorch(dtype, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X = batch((6, 3, 5), rng, dtype)
    for activation in ("tanh", "relu"):
        layer = Elman(4, activation, return_sequences=True)
        Y = layer.forward(X)
        layer.parameters["b"] = rng.normal(size=4)
        Y = layer.forward(X)
        rnn = torch.nn.RNN(
            3, 4, nonlinearity=activation, batch_first=True, dtype=getattr(torch, dtype.name)
        )
        with torch.no_grad():
            for name, array in (
                ("W", rnn.weight_ih_l0),
                ("U", rnn.weight_hh_l0),
                ("b", rnn.bias_ih_l0),
            ):
                array.copy_(torch.from_numpy(layer.parameters[name].T.squeeze()))
            rnn.bias_hh_l0.zero_()
        x = torch.tensor(X.transpose(0, 2, 1), requires_grad=True)
        out = rnn(x)[0]
        close(Y.transpose(0, 2, 1), out.detach().numpy(), dtype)
        dY = rng.normal(size=Y.shape).astype(dtype)
        out.backward(torch.from_numpy(dY.transpose(0, 2, 1).copy()))
        close(np.stack(layer.backward(dY), axis=1), x.grad.numpy(), dtype)
        for name, array in (("W", rnn.weight_ih_l0), ("U", rnn.weight_hh_l0)):
            close(layer.gradients[name], array.grad.numpy().T, dtype)


# Programs


def test_draws_and_names(rng):
    np.random.seed(4)
    layer = fastnn.initialize_layer("elman", "tanh", "xavier_uniform", 5)
    X = batch((3, 2, 4), rng)
    layer.forward(X)
    np.random.seed(4)
    draw = fastnn.initialize_weights("xavier_uniform", activation="tanh")
    np.testing.assert_array_equal(layer.parameters["W"], draw((2, 5)))
    np.testing.assert_array_equal(layer.parameters["U"], draw((5, 5)))
    assert not layer.parameters["b"].any()
    assert layer.parameters["b"].shape == (1, 5)
    assert (layer.n_in, layer.n_out) == (2, 5)
    assert list(layer.cache) == ["s", "X", "Z"]
    assert set(layer.gradients) == {"W", "U", "b"}
    layer.clear_gradients()
    assert list(layer.cache.values()) == [[], [], []]


def test_steps_one_by_one(rng):
    X = batch((4, 3, 5), rng)
    whole, stepped = Elman(6), Elman(6)
    Y = whole.forward(X)
    stepped._init_parameters(X.shape)
    stepped.parameters = whole.parameters
    stepped._init_cache(X.shape)
    for time in range(5):
        state = stepped.forward_step(X[:, :, time])
    close(state, Y)
    dY = rng.normal(size=Y.shape)
    close(stepped.backward(dY), whole.backward(dY))
    close(stepped.gradients["U"], whole.gradients["U"])


def test_what_programs_write_into_the_cache_is_read(rng):
    X = batch((4, 3, 5), rng)
    layer, plain = pair(6, X)
    dY = rng.normal(size=layer.forward(X).shape)
    plain.forward(X)
    for each in (layer, plain):
        each.cache["s"][0] = np.ones((4, 6))
        each.cache["X"][2] = each.cache["X"][2] + 1
        each.cache["Z"][1][...] = 0.3
    close(np.stack(layer.backward(dY), axis=2), plain.backward(dY))
    for name in ("W", "U", "b"):
        close(layer.gradients[name], plain.gradients[name])


@pytest.mark.parametrize("mask_value", [None, 0.5])
@pytest.mark.parametrize("sequences", [False, True])
def test_reading_the_cache_changes_no_bits(sequences, mask_value, rng):
    X = batch((9, 3, 5), rng, masked=mask_value is not None)
    layer = Elman(4, return_sequences=sequences, mask_value=mask_value)
    dY = rng.normal(size=layer.forward(X).shape)
    expected = *layer.backward(dY), *layer.gradients.values()
    layer.clear_gradients()
    held = layer.cache
    layer.forward(X)
    assert [len(held[name]) for name in ("s", "X", "Z")] == [6, 5, 5]  # the dict that was read before
    got = *layer.backward(dY), *layer.gradients.values()
    assert all(map(np.array_equal, got, expected))
    held["Z"][2] += 1  # is read, though the states are not those of it any more
    plain = PlainElman(4, return_sequences=sequences, mask_value=mask_value)
    plain.forward(X)
    plain.parameters.update(layer.parameters)
    plain.cache.update(held)
    close(np.stack(layer.backward(dY), axis=2), plain.backward(dY))


def test_a_state_that_is_kept(rng):
    class Stateful(Elman):
        def _init_cache(self, X_shape):
            last = self.cache["s"][-1] if self.cache["s"] else None
            super()._init_cache(X_shape)
            if last is not None:
                self.cache["s"][0] = last

    X = batch((4, 3, 6), rng)
    layer = Stateful(5)
    layer.forward(X[:, :, :2])
    Y, plain = layer.forward(X[:, :, 2:]), Elman(5)
    plain.forward(X)
    plain.parameters = layer.parameters
    close(Y, plain.forward(X))


def test_arrays_are_the_callers(rng):
    X = batch((4, 3, 5), rng)
    kept = X.copy()
    layer = Elman(6, return_sequences=True)
    Y = layer.forward(X)
    dX = layer.backward(Y)
    handed = [Y, *layer.cache["s"], *layer.cache["Z"], *dX, *layer.gradients.values()]
    before = [array.copy() for array in handed]
    Y[...] = 7  # no state is changed by it
    layer.forward(X + 1)
    layer.backward(Y)
    for array, value in zip(handed[1:], before[1:], strict=True):
        np.testing.assert_array_equal(array, value)
    np.testing.assert_array_equal(X, kept)


def test_copies_and_pickles_go_backward(rng):
    X = batch((4, 3, 5), rng)
    layer = Elman(6)
    dY = rng.normal(size=layer.forward(X).shape)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    expected = layer.backward(dY)
    for each in copies:
        close(each.backward(dY), expected)


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X.astype("float32").astype(">f8"),
        lambda X: np.asfortranarray(X.astype("float32").astype(float)),
        lambda X: X.astype("float32").astype(float).tolist(),
        lambda X: np.repeat(X.astype("float32").astype(float), 2, axis=2)[:, :, ::2],
    ],
)
def test_input_forms(change, rng):
    X = batch((4, 3, 5), rng)
    layer = Elman(6)
    expected = layer.forward(X.astype("float32").astype(float))
    np.testing.assert_array_equal(layer.forward(change(X)), expected)
    assert layer.forward(np.ones((2, 3, 4), np.uint8)).dtype == np.float64


@pytest.mark.parametrize("sequences", [False, True])
def test_no_rows(sequences, rng):
    layer = Elman(6, return_sequences=sequences)
    layer.forward(batch((2, 3, 5), rng))
    Y = layer.forward(np.zeros((0, 3, 5)))
    assert Y.shape == ((0, 6, 5) if sequences else (0, 6))
    assert [x.shape for x in layer.backward(Y)] == [(0, 3)] * 5
    assert not any(gradient.any() for gradient in layer.gradients.values())


@pytest.mark.skipif(not COMPILED, reason="no threads here")
def test_bits_do_not_depend_on_threads(rng, dtype):
    X = batch((60, 12, 20), rng, dtype)
    found = []
    for count in (1, 2, 3):
        with fastnn.set_num_threads(count):
            layer = Elman(40, weight_init=fastnn.XavierUniform("tanh"))
            layer.init_weights.rng = np.random.default_rng(0)
            Y = layer.forward(X)
            dX = layer.backward(Y)
        found.append([a.tobytes() for a in (Y, *dX, *layer.gradients.values())])
    assert found[0] == found[1] == found[2]


@pytest.mark.skipif(not COMPILED, reason="no compiled step here")
@pytest.mark.parametrize("n", [6, 70])
def test_blocks_of_rows_in_a_compiled_step(n, rng):
    # Few rows of much work, which a step cuts into smaller blocks; many rows, in a block of layers.
    nets = []
    for optimizer in (fastnn.SGD(0.1), type("Own", (fastnn.SGD,), {})(0.1)):
        block = fastnn.Residual([Elman(3, return_sequences=True)])
        layers = [
            *([block] if n == 70 else []),
            Elman(300 if n == 6 else 40),
            fastnn.Dense(2, "softmax"),
        ]
        nets.append(fastnn.NeuralNetwork("cross_entropy", layers, optimizer, seed=0))
    X, Y = batch((n, 3, 12), rng), np.eye(2)[rng.integers(0, 2, n)]
    for _ in range(2):
        close(*(net.train_step(X, Y) for net in nets))
    for layers in zip(*(net.layers for net in nets), strict=True):
        for a, b in zip(*(layer.parameters.values() for layer in layers), strict=True):
            close(a, b)
    assert fastnn.engine.obstacle(nets[0]) is None
    close(nets[0].predict(X), nets[1].predict(X))


def test_parameters_that_are_assigned_before_the_first_input_set_the_dtype(rng):
    X, layer, whole = batch((4, 3, 5), rng, "float32"), Elman(6), Elman(6)
    whole.forward(X.astype(float))
    layer.n_in, layer.parameters = 3, whole.parameters
    Y, expected = layer.forward(X), whole.forward(X.astype(float))
    assert layer.dtype == Y.dtype == np.float64
    np.testing.assert_array_equal(Y, expected)
    for step in layer.backward(Y):
        assert step.dtype == np.float64


# Errors


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: Elman(0), ValueError, "n_out must be at least 1"),
        (lambda: Elman(2.5), TypeError, "n_out must be an integer"),
        (lambda: Elman(2, "tan"), NotImplementedError, "unknown activation 'tan'"),
        (lambda: Elman(2, return_sequences=1), TypeError, "return_sequences must be True or False"),
        (lambda: Elman(2, mask_value="a"), TypeError, "mask_value must be a number"),
        (lambda: Elman(2, mask_value=np.nan), ValueError, "mask_value must be finite"),
        (lambda: Elman(2).forward(np.ones((2, 3))), ValueError, r"\(batch, features, time steps\)"),
        (lambda: Elman(2).forward(np.ones((2, 0, 3))), ValueError, "at least one feature"),
        (lambda: Elman(2).forward(np.ones((2, 3, 0))), ValueError, "one time step"),
        (lambda: Elman(None).forward(np.ones((2, 3, 4))), ValueError, "n_out is None"),
        (
            lambda: Elman(2).backward(np.ones((2, 2))),
            (RuntimeError, ValueError),
            "forward pass first|hold",
        ),
    ],
)
def test_errors(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_errors_of_a_made_layer(rng):
    layer = Elman(4)
    layer.forward(batch((3, 2, 5), rng))
    with pytest.raises(ValueError, match=r"X has 3 features, the layer needs 2"):
        layer.forward(np.ones((2, 3, 5)))
    with pytest.raises(ValueError, match=r"output's shape \(3, 4\)"):
        layer.backward(np.ones((3, 5)))
    with pytest.raises(ValueError, match=r"X_t must have shape \(3, 2\)"):
        layer.forward_step(np.ones((3, 3)))
    layer.cache["X"].append(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"cache\['X'\] must hold 5 arrays"):
        layer.backward(np.ones((3, 4)))
    layer.clear_gradients()
    with pytest.raises(RuntimeError, match="forward pass first"):
        layer.backward(np.ones((3, 4)))
    with pytest.raises(RuntimeError, match="_init_cache"):
        layer.forward_step(np.ones((3, 2)))
    del layer.parameters["U"]
    with pytest.raises(ValueError, match="must hold 'W', 'U' and 'b'"):
        layer.forward(np.ones((3, 2, 5)))
    states = Elman(4, return_sequences=True)
    states.forward(np.ones((3, 2, 5)))
    with pytest.raises(ValueError, match="5 arrays of shape"):
        states.backward([np.ones((3, 4))] * 4)
    assert reference.layers.LAYERS["elman"] is PlainElman
