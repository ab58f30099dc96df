"""Label smoothing, class weights and binary cross-entropy: by themselves, and in networks."""

import numpy as np
import pytest
from conftest import dense

import fastnn
from fastnn import engine, functional, reference
from fastnn.kernels.compiling.jit import COMPILED

WEIGHTS = [0.5, 2.0, 1.0]
OPTIONS = [{"label_smoothing": 0.1}, {"class_weight": WEIGHTS}]
OPTIONS.append(OPTIONS[0] | OPTIONS[1])


@pytest.fixture(params=OPTIONS, ids=["smoothing", "weights", "both"])
def options(request):
    return request.param


def targets(rng, n):
    """One-hot, soft, unnormalised and empty rows."""
    Y = np.eye(3)[rng.integers(0, 3, n)]
    Y[::4] = rng.uniform(size=(len(Y[::4]), 3))
    Y[1] = 0
    return Y


def test_cross_entropy_equals_the_reference(options, dtype, rng):
    Y, P = targets(rng, 20).astype(dtype), rng.uniform(0.05, 1, (20, 3)).astype(dtype)
    fast, plain = fastnn.CrossEntropy(**options), reference.CrossEntropy("cross_entropy", **options)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert fast(Y, P) == pytest.approx(plain(*np.float64([Y, P])), rel=tolerance)
    gradient = fast.backward(Y, P)
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient, plain.backward(Y, P), rtol=tolerance, atol=tolerance)


def test_cross_entropy_is_that_of_the_functional_form(options, rng):
    Z, labels = rng.normal(size=(20, 3)), rng.integers(0, 3, 20)
    loss, gradient = functional.softmax_cross_entropy(Z, labels, **options)
    P = fastnn.SoftMax()(Z)
    cross_entropy = fastnn.CrossEntropy(**options)
    assert cross_entropy(np.eye(3)[labels], P) == pytest.approx(loss, rel=1e-12)
    composed = fastnn.SoftMax().backward(Z, cross_entropy.backward(np.eye(3)[labels], P))
    np.testing.assert_allclose(composed, gradient, rtol=1e-12, atol=1e-15)


def both(loss, plain_loss, output, n_out):
    layers = [dense(7, "tanh"), dense(n_out, output)]
    optimizer = {"name": "SGD", "lr": 0.1, "momentum": 0.9}
    fast = fastnn.NeuralNetwork(loss, layers, optimizer, seed=0)
    plain = reference.NeuralNetwork(plain_loss.name, layers, optimizer, seed=0)
    plain.loss = plain_loss
    return fast, plain


def assert_same_training(fast, plain, X, Y):
    for _ in range(5):
        out = fast.forward(X)
        np.testing.assert_allclose(out, plain.forward(X), rtol=1e-9)
        assert fast.error(Y, out) == plain.error(Y, out)
        assert fast.backward(Y, out) == pytest.approx(plain.backward(Y, out), rel=1e-9)
        for a, b in zip(fast.layers, plain.layers, strict=True):
            for name in a.gradients:
                np.testing.assert_allclose(a.gradients[name], b.gradients[name], rtol=1e-9, atol=1e-13)
        fast.train_step(X, Y)
        plain.train_step(X, Y)
    assert fast.evaluate(X, Y) == pytest.approx(
        (plain.loss.forward(Y, plain.forward(X)), plain.error(Y, plain.forward(X))), rel=1e-9
    )


def test_a_softmax_network_trains_as_the_reference(options, rng):
    loss, plain_loss = (
        fastnn.CrossEntropy(**options),
        reference.CrossEntropy("cross_entropy", **options),
    )
    fast, plain = both(loss, plain_loss, "softmax", 3)
    assert_same_training(fast, plain, rng.normal(size=(20, 4)), targets(rng, 20))
    if COMPILED:
        assert engine.obstacle(fast) is None


def test_a_sigmoid_network_trains_as_the_reference(rng):
    plain_loss = reference.BinaryCrossEntropy("binary_cross_entropy")
    fast, plain = both("binary_cross_entropy", plain_loss, "sigmoid", 2)
    Y = rng.integers(0, 2, (20, 2)).astype(float)
    Y[::4] = 0.25
    assert_same_training(fast, plain, rng.normal(size=(20, 4)), Y)


def test_a_sigmoid_that_rounds_to_0_or_1_has_exact_loss_and_gradient():
    layer = {"name": "fully_connected", "n_out": 1, "activation": "linear", "weight_init": "ones"}
    net = fastnn.NeuralNetwork("binary_cross_entropy", [layer], {"name": "SGD", "lr": 0.1})
    net.layers[0].activation = fastnn.Sigmoid()
    X, Y = np.array([[800.0], [-800.0], [40.0]]), np.array([[0.0], [1.0], [1.0]])
    out = net.forward(X)
    assert net.backward(Y, out) == pytest.approx((800 + 800 + np.exp(-40)) / 3, rel=1e-15)
    assert net.layers[0].gradients["b"] == pytest.approx(-np.exp(-40) / 3, rel=1e-12)
    assert net.error(Y, out) == 2 / 3


def test_another_out_goes_through_both_gradients(rng):
    fast, plain = both(
        "binary_cross_entropy", reference.BinaryCrossEntropy("binary_cross_entropy"), "sigmoid", 2
    )
    X, Y, other = rng.normal(size=(6, 4)), np.eye(2)[[0, 1] * 3], rng.uniform(0.2, 0.8, (6, 2))
    for net in (fast, plain):
        net.forward(X)
    assert fast.backward(Y, other) == pytest.approx(plain.backward(Y, other))
    for a, b in zip(fast.layers, plain.layers, strict=True):
        np.testing.assert_allclose(a.gradients["W"], b.gradients["W"], rtol=1e-9, atol=1e-15)


def test_yes_and_no_are_learned_from_numbers(rng, capsys):
    X = rng.normal(size=(200, 2))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    net = fastnn.NeuralNetwork(
        "binary_cross_entropy",
        [dense(16, "tanh"), dense(None, "sigmoid")],
        {"name": "Adam", "lr": 0.02},
        seed=0,
    )
    net.fit(X, y, epochs=100)
    assert net.predict(X).shape == (200, 1)
    assert net.evaluate(X, y)[1] < 0.05
    assert "accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("Y", [[0, 2, 1], [[-0.5], [0], [1]]])
def test_answers_beyond_0_and_1(Y):
    net = fastnn.NeuralNetwork("binary_cross_entropy", [dense(1, "sigmoid")], {"name": "SGD", "lr": 1})
    with pytest.raises(ValueError, match="Y must lie between 0 and 1, got"):
        net.train_step(np.ones((3, 2)), Y)
    assert net.layers[0].n_in is None


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ({"label_smoothing": 1.5}, ValueError, "label_smoothing must be .* at most 1, got 1.5"),
        ({"label_smoothing": "a"}, TypeError, "label_smoothing must be a number, got 'a'"),
        ({"class_weight": [[1.0, 2.0]]}, ValueError, r"class_weight must have shape .* got \(1, 2\)"),
        ({"class_weight": ["a"]}, TypeError, "class_weight must hold real numbers"),
    ],
)
def test_options_that_are_none(bad, error, message):
    with pytest.raises(error, match=message):
        fastnn.CrossEntropy(**bad)


def test_class_weights_of_other_classes_change_nothing():
    loss = fastnn.CrossEntropy(class_weight=[1.0, 2.0])
    with pytest.raises(ValueError, match="class_weight has 2 entries for 3 classes"):
        loss(np.eye(3), np.eye(3))
    net = fastnn.NeuralNetwork(loss, [dense(3, "softmax")], {"name": "SGD", "lr": 1})
    with pytest.raises(ValueError, match="class_weight has 2 entries for 3 classes"):
        net.fit(np.eye(3), [0, 1, 2], verbose=False)
    assert net.layers[0].n_in is None


def test_options_cannot_change_under_a_network_that_trains():
    loss = fastnn.CrossEntropy(class_weight=WEIGHTS)
    for name in ("label_smoothing", "class_weight"):
        with pytest.raises(AttributeError):
            setattr(loss, name, None)
    with pytest.raises(ValueError, match="read-only"):
        loss.class_weight[0] = 0


def test_options_need_rows():
    with pytest.raises(ValueError, match=r"Y must be rows \(n, classes\), got shape \(3,\)"):
        fastnn.CrossEntropy(label_smoothing=0.1)(np.ones(3), np.ones(3))


@pytest.mark.parametrize("last", ["sigmoid", "softmax"], ids=["from logits", "from probabilities"])
def test_the_weights_of_no_and_yes(last, dtype):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 4)).astype(dtype), (rng.uniform(size=(30, 3)) < 0.3).astype(dtype)
    loss, plain = (
        module.BinaryCrossEntropy("binary_cross_entropy", class_weight=[0.5, 3.0])
        for module in (fastnn, fastnn.reference)
    )
    layers = [("tanh", 5), (last, 3)]
    nets = [
        fastnn.NeuralNetwork(loss, [fastnn.FullyConnected(k, a) for a, k in layers], kind(0.1), seed=0)
        for kind in (fastnn.SGD, type("Own", (fastnn.SGD,), {}))
    ]
    rtol = 1e-4 if dtype == np.float32 else 1e-11
    w = rng.uniform(size=30)
    for net in nets:
        P = net.predict(X)
        assert net.evaluate(X, Y)[0] == pytest.approx(plain.forward(Y, P), rel=rtol)
        assert net.train_step(X, Y) == pytest.approx(plain.forward(Y, P), rel=rtol)
        net.fit(X, Y, 2, 8, sample_weight=w, shuffle=False, verbose=False)
    np.testing.assert_allclose(*(net.flat_parameters for net in nets), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(loss.backward(Y, P), plain.backward(Y, P), rtol=rtol, atol=rtol)
    assert repr(loss) == "BinaryCrossEntropy(class_weight=[0.5, 3.0])"


def test_the_weights_of_no_and_yes_are_two():
    with pytest.raises(ValueError, match="must be 2 numbers, got 3"):
        fastnn.BinaryCrossEntropy(class_weight=[1, 2, 3])
