"""Short forms for users of Keras and scikit-learn: names, mlp, validation_split."""

import numpy as np
import pytest

import fastnn


def data(n=50):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 4)), rng.integers(0, 3, n)


def test_names_ignore_case_and_dense_is_fully_connected():
    X, y = data()
    short = fastnn.NeuralNetwork(
        "Cross_Entropy",
        [fastnn.Dense(8, "ReLU", "HE_normal"), fastnn.Dense(3, "SoftMax")],
        "adam",
        seed=0,
    )
    layers = [
        {"name": "Fully_Connected", "n_out": 8, "activation": "relu", "weight_init": "he_normal"},
        {"name": "fully_connected", "n_out": 3, "activation": "softmax"},
    ]
    long = fastnn.NeuralNetwork("cross_entropy", layers, {"name": "ADAM", "lr": 0.001}, seed=0)
    assert short.loss.name == "cross_entropy"
    for net in (short, long):
        net.fit(X, y, 2, verbose=False)
    np.testing.assert_array_equal(short.flat_parameters, long.flat_parameters)
    assert short.optimizer.lr == 0.001
    assert fastnn.NeuralNetwork("MSE", [fastnn.Dense(1, "linear")], "sgd").optimizer.lr == 0.01
    with pytest.raises(NotImplementedError, match="'SGD', 'Adam'"):
        fastnn.NeuralNetwork("mse", [fastnn.Dense(1, "linear")], "adamant")


@pytest.mark.parametrize("weighted", [False, True])
def test_the_last_rows_are_validated_on(weighted):
    X, y = data()
    w = np.linspace(0, 1, 50) if weighted else None
    split, given = (fastnn.mlp(4, [8], 3, seed=0, dtype="float64") for _ in range(2))
    one = split.fit(X, y, 3, verbose=False, validation_split=0.1, sample_weight=w)
    two = given.fit(
        X[:45], y[:45], 3, verbose=False, validation_data=(X[45:], y[45:]),
        sample_weight=w if w is None else w[:45],
    )  # fmt: skip
    assert vars(one) == vars(two)
    np.testing.assert_array_equal(split.flat_parameters, given.flat_parameters)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_split": 1.0}, "leaves 0 for training"),
        ({"validation_split": 1e-12}, "0 for validation"),
        ({"validation_split": -0.1}, "validation_split must be finite, at least 0 and at most 1"),
        ({"validation_split": 0.1, "validation_data": data()}, "give one of them"),
    ],
)
def test_rows_that_cannot_be_held_out(options, message):
    net = fastnn.mlp(4, [8], 3, seed=0)
    before = net.flat_parameters.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(*data(), 1, verbose=False, **options)
    np.testing.assert_array_equal(net.flat_parameters, before)


def test_shares_that_floats_round_down():
    net, (X, y) = fastnn.mlp(4, [], 3), data(10)
    assert len(net.fit(X, y, 1, verbose=False, validation_split=0.9).validation_loss) == 1


@pytest.mark.parametrize(
    ("task", "loss"),
    [("class", "cross_entropy"), ("Regression", "mse"), ("binary", "binary_cross_entropy")],
)
def test_mlp(task, loss):
    net = fastnn.mlp(4, (8, 6), 3, task, seed=0, dropout=0.1)
    assert (net.loss.name, net.dtype, len(net.layers)) == (loss, np.float32, 5)
    assert [layer.n_in for layer in net.layers] == [4, 8, 8, 6, 6]
    X, y = data()
    history = net.fit(X, np.eye(3)[y], 2, verbose=False)
    assert np.isfinite(history.loss).all()
    assert net.predict(X).dtype == np.float32
    quantiles = fastnn.mlp(
        4, [8], 6, "regression", loss=fastnn.Quantile([0.1, 0.5, 0.9]), activation="tanh"
    )
    assert quantiles.fit(X, X[:, :2], 1, verbose=False).loss


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((4, [8], 3, "classes"), NotImplementedError, "known: 'class', 'binary', 'regression'"),
        ((4, 8, 3), TypeError, "hidden must be a sequence"),
        ((4, "8", 3), TypeError, "hidden must be a sequence"),
        ((4, [8, 0], 3), ValueError, r"hidden\[1\] must be at least 1"),
        ((0, [8], 3), ValueError, "inputs must be at least 1"),
        ((4, [8], 1), ValueError, "softmax of one output"),
    ],
)
def test_arguments_that_make_no_mlp(arguments, error, message):
    with pytest.raises(error, match=message):
        fastnn.mlp(*arguments)
