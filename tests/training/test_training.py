"""Whole training runs, plain NumPy against fastnn: same draws, same numbers."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

import fastnn


def iris():
    X, y = load_iris(return_X_y=True)
    return fastnn.Dataset.from_arrays(X, y, batch_size=25)


DATASETS = {"iris": iris, "digits": fastnn.load_digits}
OPTIMIZERS = (
    {"name": "SGD", "lr": 0.1, "momentum": 0.9, "lr_scheduler": "exponential", "stage_length": 5},
    {"name": "SGD", "lr": 0.2, "clip_norm": 0.5},
    {"name": "Adam", "lr": 0.003},
)


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


def assert_same_parameters(fast, naive, tolerance=1e-9):
    for a, b in zip(parameters(fast), parameters(naive), strict=True):
        assert np.linalg.norm(a - b) <= tolerance * np.linalg.norm(b)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", DATASETS)
def test_twenty_epochs_end_in_the_same_parameters(name, optimizer, networks):
    fast, naive = networks(
        [(25, "tanh"), (16, "relu", "he_normal"), (None, "softmax")], optimizer=optimizer
    )
    results = []
    for net in (fast, naive):
        np.random.seed(3)
        curves = net.train(DATASETS[name](), 20)
        results.append((curves, np.random.random()))
    (history, next_fast), (curves, next_naive) = results
    assert next_fast == next_naive  # not one draw more or less
    assert_same_parameters(fast, naive)
    np.testing.assert_allclose(history.loss, curves["loss"], rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(history.validation_error, curves["validation_error"])


def test_a_seeded_model_leaves_the_global_generator_alone(networks):
    layers = [(9, "sigmoid", "sparse"), (None, "softmax", "xavier_normal")]
    fast, naive = networks(layers, seed=5)
    before = np.random.get_state()[1].copy()
    fast.train(iris(), 5)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    naive.train(iris(), 5)
    assert_same_parameters(fast, naive)


def test_regression_with_l2(networks, rng):
    X = rng.normal(size=(60, 5))
    dataset = fastnn.Dataset.from_arrays(X, np.sin(X.sum(axis=1)), batch_size=16)
    fast, naive = networks([(12, "arctan"), (None, "linear")], loss="l2", seed=2)
    history, curves = fast.train(dataset, 3), None
    dataset = fastnn.Dataset.from_arrays(X, np.sin(X.sum(axis=1)), batch_size=16)
    curves = naive.train(dataset, 3)
    assert_same_parameters(fast, naive)
    np.testing.assert_allclose(history.error, curves["error"])


def test_training_twice_goes_on_with_the_same_layers(networks):
    fast, naive = networks([(8, "relu"), (None, "softmax")], seed=0)
    for net in (fast, naive):
        data = iris()
        net.train(data, 2)
        net.train(data, 2)
        assert len(net.layers) == net.n_layers == 2
    assert_same_parameters(fast, naive)


def test_fit_is_train_on_arrays(networks):
    data = iris()
    X, Y = data.train.data_[:100], data.train.labels[:100]
    validation = (data.validate.data_, data.validate.labels)
    trained, _ = networks([(8, "relu"), (None, "softmax")], seed=0)
    a = trained.train(fastnn.Dataset(X, Y, 25), 4)
    for validation_data in (None, validation):
        fitted, _ = networks([(8, "relu"), (None, "softmax")], seed=0)
        b = fitted.fit(X, Y, epochs=4, batch_size=25, validation_data=validation_data, verbose=False)
        assert (a.loss, a.error) == (b.loss, b.error)
        assert_same_parameters(fitted, trained, 0)
    assert (b.validation_loss[-1], b.validation_error[-1]) == fitted.evaluate(*validation)


def test_class_numbers_are_one_hot_rows(networks):
    data = iris()
    X, Y = data.train.data_, data.train.labels
    nets = [networks([(8, "relu"), (None, "softmax")], seed=0)[0] for _ in range(2)]
    nets[0].fit(X, Y, epochs=2, verbose=False)
    nets[1].fit(X.tolist(), np.argmax(Y, axis=1).astype(np.uint8), epochs=2, verbose=False)
    assert_same_parameters(*nets, 0)


def test_float32_training_stays_float32_and_learns(networks):
    net, _ = networks([(32, "relu"), (None, "softmax")], seed=0, dtype="float32")
    data = fastnn.load_digits(dtype="float32")
    net.fit(data.train.data_, data.train.labels, epochs=8, verbose=False)
    assert {p.dtype for p in parameters(net)} == {np.dtype(np.float32)}
    assert net.predict(data.test.data_).dtype == np.float32
    assert net.evaluate(data.test.data_, data.test.labels)[1] < 0.08


def test_mnist(mnist_folder):
    data = fastnn.load_mnist(mnist_folder, batch_size=128)
    layers = [fastnn.FullyConnected(64, "relu"), fastnn.FullyConnected(10, "softmax")]
    net = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "Adam"}, seed=0)
    history = net.train(data, 1)
    assert history.validation_error[0] < 0.08


@pytest.mark.parametrize(
    ("Y", "error", "message"),
    [
        ([0, 1, 3], IndexError, "holds the class 3"),
        ([0, -1, 2], IndexError, "class -1"),
        ([0.0, 1.0, 2.0], TypeError, "integer dtype"),
        ([0, 1], ValueError, "X has 3 rows"),
        ([[1, 0]] * 3, ValueError, "2 columns"),
        ([[1, 0, 0], [1, 0]], ValueError, "Y is not a rectangular array"),
        (["a", "b", "c"], TypeError, "Y must hold real numbers"),
    ],
)
def test_bad_targets_change_nothing(Y, error, message, networks, rng):
    net, _ = networks([(4, "relu"), (3, "softmax")], seed=0)
    X = rng.normal(size=(3, 2))
    net.train_step(X, [0, 1, 2])
    before = [p.copy() for p in parameters(net)]
    for attempt in (lambda: net.train_step(X, Y), lambda: net.fit(X, Y, verbose=False)):
        with pytest.raises(error, match=message):
            attempt()
    for p, b in zip(parameters(net), before, strict=True):
        np.testing.assert_array_equal(p, b)


def test_a_layer_that_cannot_take_its_input_is_named(networks):
    net, _ = networks([(4, "relu"), (3, "softmax")], seed=0)
    net.train_step(np.ones((2, 5)), [0, 1])
    with pytest.raises(ValueError, match=r"layer 0 \(FullyConnected\): X has 6 features"):
        net.train_step(np.ones((2, 6)), [0, 1])
    with pytest.raises(ValueError, match="the last layer"):
        net.train(iris(), 1) if net.layers[-1].n_out != 3 else net.prepare(4, (2, 5))
