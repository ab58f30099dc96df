"""Class numbers as columns, of any integer dtype; a softmax of one output; labels out of range."""

import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected, functional, reference

rng = np.random.default_rng(0)
X = rng.normal(size=(30, 4))
CLASSES = np.arange(30) % 3
ROWS = np.eye(3)[CLASSES]
QUIET = {"epochs": 2, "batch_size": 8, "verbose": False}


class LayerwiseSGD(fastnn.SGD):
    """Unknown to the engine: a step goes layer by layer."""


@pytest.fixture(params=[fastnn.SGD, LayerwiseSGD], ids=["engine", "layers"])
def road(request):
    return request.param


def network(road=fastnn.SGD, n_out=None, activation="softmax", loss="cross_entropy"):
    layers = [FullyConnected(5, "tanh"), FullyConnected(n_out, activation)]
    return fastnn.NeuralNetwork(loss, layers, road(0.1), seed=0)


def weights(net):
    return [p.tobytes() for layer in net.layers for p in layer.parameters.values()]


@pytest.mark.parametrize("kind", ["int64", "uint8", "uint64", "int32"])
def test_an_integer_column_is_class_numbers(kind, road):
    column = CLASSES.astype(kind)[:, None]
    net, other = network(road), network(road)
    given = net.fit(X, column, **QUIET, validation_data=(X, column))
    assert given == other.fit(X, ROWS, **QUIET, validation_data=(X, ROWS))
    assert net.layers[-1].n_out == 3
    for _ in range(2):
        assert net.train_step(X, column) == other.train_step(X, ROWS)
    assert net.train_step(X, column.tolist()) == other.train_step(X, ROWS)
    assert net.evaluate(X, column) == other.evaluate(X, ROWS)
    assert weights(net) == weights(other)


def test_a_boolean_column_is_two_classes(road):
    yes = CLASSES[:, None] == 1
    net, other = network(road), network(road)
    assert net.fit(X, yes, **QUIET) == other.fit(X, np.c_[~yes, yes].astype(float), **QUIET)
    assert net.layers[-1].n_out == 2


def test_many_networks_datasets_and_functions_take_columns():
    column = CLASSES[:, None]
    nets, others = [network()], [network()]
    if fastnn.engine.obstacle(nets[0]) is None:
        options = {"epochs": 2, "batch_size": 8}
        assert fastnn.fit_many(nets, X, column, **options) == fastnn.fit_many(
            others, X, ROWS, **options
        )
    for given in (column, column.astype(np.uint64), CLASSES):
        dataset = fastnn.Dataset.from_arrays(X, given)
        assert dataset.out_dim == 3
        np.testing.assert_array_equal(dataset.train.labels.sum(axis=1), 1)
    Z = X[:, :3]
    for given in (column, column.astype(np.uint64), CLASSES.astype(np.int8)):
        loss, dZ = functional.softmax_cross_entropy(Z, given)
        expected_loss, expected = functional.softmax_cross_entropy(Z, CLASSES)
        assert loss == expected_loss
        np.testing.assert_array_equal(dZ, expected)
    np.testing.assert_array_equal(fastnn.integers_to_one_hot(column.astype(np.uint64)), ROWS)


@pytest.mark.parametrize("Y", [CLASSES[:, None] % 2, (CLASSES[:, None] % 2) * 1.0, CLASSES * 0])
def test_a_softmax_of_one_output_is_refused(Y, road):
    column = Y if Y.ndim == 2 else Y[:, None]
    net = network(road, n_out=1)
    net.forward(X)
    before = weights(net)
    calls = [
        lambda: net.fit(X, Y, **QUIET),
        lambda: net.train_step(X, Y),
        lambda: net.evaluate(X, Y),
        lambda: net.train(fastnn.Dataset(X, column, 8), 1),
        lambda: functional.softmax_cross_entropy(X[:, :1], Y),
    ]
    if road is fastnn.SGD and fastnn.engine.obstacle(net) is None:
        calls.append(lambda: fastnn.fit_many([net], X, Y))
    for call in calls:
        with pytest.raises(ValueError, match="'binary_cross_entropy' with a sigmoid"):
            call()
    assert weights(net) == before
    if Y.dtype.kind == "f" or not Y.any():
        fresh = network(road)
        with pytest.raises(ValueError, match="'binary_cross_entropy' with a sigmoid"):
            fresh.fit(X, Y, **QUIET)
        assert fresh.layers[-1].n_out is None


def test_one_output_of_another_kind_trains_on_columns(road):
    column = CLASSES[:, None] % 2
    for activation, loss in (("sigmoid", "binary_cross_entropy"), ("linear", "l2")):
        history = network(road, 1, activation, loss).fit(X, column, **QUIET)
        assert np.isfinite(history.loss).all()
    sigmoid = network(road, 1, "sigmoid")  # the teaching library's cross-entropy of yes alone
    other = network(road, 1, "sigmoid")
    assert sigmoid.train_step(X, column) == other.train_step(X, column.astype(float))


@pytest.mark.parametrize("loss", ["l2", "binary_cross_entropy"])
def test_a_softmax_of_one_output_is_refused_with_every_loss(loss, road):
    column = CLASSES[:, None] % 2
    for n_out in (1, None):
        with pytest.raises(ValueError, match="the softmax of one output is always 1"):
            network(road, n_out, "softmax", loss).fit(X, column, **QUIET)
        with pytest.raises(ValueError, match="the softmax of one output is always 1"):
            network(road, n_out, "softmax", loss).train(fastnn.Dataset(X, column, 8), 1)


def test_a_cross_entropy_of_another_name_takes_class_numbers(road):
    net, other = (
        network(road, None, "softmax", fastnn.CrossEntropy(n)) for n in ("x", "cross_entropy")
    )
    assert net.fit(X, CLASSES, **QUIET).loss == other.fit(X, CLASSES, **QUIET).loss
    assert weights(net) == weights(other)


@pytest.mark.parametrize("activation", ["sigmoid", "linear", "tanh"])
def test_fit_refuses_cross_entropy_of_one_output(activation, road):
    net = network(road, 1, activation)
    net.forward(X)
    before = weights(net)
    calls = [
        lambda: net.fit(X, CLASSES % 2, **QUIET),
        lambda: net.fit(X, (CLASSES[:, None] % 2) * 1.0, **QUIET),
        lambda: network(road, None, activation).fit(X, CLASSES * 0, **QUIET),
    ]
    if road is fastnn.SGD and fastnn.engine.obstacle(net) is None:
        calls.append(lambda: fastnn.fit_many([net], X, CLASSES % 2))
    for call in calls:
        with pytest.raises(ValueError, match="'binary_cross_entropy' with a sigmoid"):
            call()
    assert weights(net) == before


def test_class_numbers_of_no_rows_are_an_empty_batch(road):
    net = network(road, 3)
    assert np.isnan(net.evaluate(X[:0], CLASSES[:0])).all()
    assert np.isnan(net.evaluate(X[:0], CLASSES[:0, None])).all()


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (np.array([0, 1, -1]), IndexError, "holds the class -1; there are 3"),
        (np.array([0, 1, 3]), IndexError, "holds the class 3; there are 3: 0 to 2"),
        (np.array([0, 1, 2**63 + 1], np.uint64), IndexError, "holds the class 9223372036854775809"),
        (np.array([0, 1, 2**64 - 1], np.uint64), IndexError, "holds the class 18446744073709551615"),
        (np.array([0.0, 1.0, 2.0]), TypeError, "integer dtype|class numbers"),
    ],
)
@pytest.mark.parametrize("column", [False, True])
def test_labels_out_of_range_are_named(labels, error, message, column, road):
    if column and error is TypeError:
        error, message = ValueError, "columns|shape"
    given = labels[:, None] if column else labels
    net = network(road, 3)
    net.forward(X)
    before = weights(net)
    for call in (
        lambda: net.fit(X[:3], given, **QUIET),
        lambda: net.train_step(X[:3], given),
        lambda: net.evaluate(X[:3], given),
        lambda: functional.softmax_cross_entropy(X[:3, :3], given),
    ):
        with pytest.raises(error, match=message):
            call()
    assert weights(net) == before


@pytest.mark.parametrize("label", [2**40, 2**63 + 5])
def test_numbers_that_count_no_classes(label):
    labels = np.array([0, 1, label], np.uint64)
    for call in (
        lambda: network().fit(X[:3], labels, **QUIET),
        lambda: fastnn.Dataset.from_arrays(X[:3], labels),
        lambda: fastnn.integers_to_one_hot(labels),
    ):
        with pytest.raises(ValueError, match=f"class {label}; classes are numbered from 0"):
            call()


def test_the_teaching_librarys_rows_of_integers_stay_rows(road):
    """``train`` on a ``Dataset`` takes labels as they are."""
    labels = np.array([[2], [5], [1]])
    net = network(road, None, "linear", "l2")
    other = reference.NeuralNetwork(
        "l2",
        [
            {"name": "fully_connected", "n_out": n, "activation": a}
            for n, a in ((5, "tanh"), (1, "linear"))
        ],
        {"name": "SGD", "lr": 0.1},
        seed=0,
    )
    history = net.train(fastnn.Dataset(X[:3], labels, 2), 2)
    expected = other.train(fastnn.Dataset(X[:3], labels, 2), 2)
    np.testing.assert_allclose(history.loss, expected["loss"], rtol=1e-12)
