"""What a network refuses: the message names the culprit, and the network is as it was."""

import pickle
from contextlib import contextmanager

import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected

X = np.random.default_rng(0).normal(size=(6, 4))
CLASSES = np.array([0, 1, 2, 2, 1, 0])
ROWS = np.eye(3)[CLASSES]


class LayerwiseAdam(fastnn.Adam):
    """Unknown to the engine: a step goes layer by layer."""


def network(optimizer=fastnn.Adam, n_out=3, **options):
    layers = [FullyConnected(5, "tanh"), FullyConnected(n_out, "softmax")]
    return fastnn.NeuralNetwork("cross_entropy", layers, optimizer(), **options)


@pytest.fixture(params=["fresh", "fresh by layers", "trained", "trained by layers"])
def net(request):
    np.random.seed(0)
    net = network(LayerwiseAdam if "layers" in request.param else fastnn.Adam)
    if "trained" in request.param:
        net.train_step(X, CLASSES)
        net.forward(X)
    return net


@contextmanager
def unchanged(net):
    """Parameters, widths, caches, gradients, the optimiser's state, history, random numbers."""

    before, numbers = pickle.dumps(net), pickle.dumps(np.random.get_state())
    yield
    assert pickle.dumps(net) == before, "the network changed"
    assert pickle.dumps(np.random.get_state()) == numbers, "random numbers were drawn"


def fit(net, X, Y, **options):
    return net.fit(X, Y, epochs=1, verbose=False, **options)


def validated(net, X_val, Y_val):
    return fit(net, X, ROWS, validation_data=(X_val, Y_val))


WITH_TARGETS = {
    "train_step": (lambda net, X, Y: net.train_step(X, Y), "X", "Y"),
    "fit": (fit, "X", "Y"),
    "evaluate": (lambda net, X, Y: net.evaluate(X, Y), "X", "Y"),
    "validation": (validated, r"validation_data\[0\]", r"validation_data\[1\]"),
}
CALLS = WITH_TARGETS | {
    "forward": (lambda net, X, _: net.forward(X), "X", ""),
    "predict": (lambda net, X, _: net.predict(X), "X", ""),
}
RAGGED = [[1, 2, 3], [1, 2]] * 3
TEXT = np.full((6, 3), "a")

BAD_TARGETS = {
    "class too high": ([0, 1, 2, 0, 1, 3], IndexError, r"{Y} holds the class 3; there are 3: 0 to 2"),
    "class below 0": ([0, 1, 2, 0, 1, -1], IndexError, r"{Y} holds the class -1"),
    "huge class": (np.full(6, 2**64 - 1, np.uint64), IndexError, r"{Y} holds the class"),
    "float classes": (CLASSES.astype(float), TypeError, r"{Y} .* integer dtype, got float64"),
    "too few classes": (CLASSES[:5], ValueError, r"6 rows, {Y} has shape \(5,\)"),
    "too many rows": (np.eye(3)[[0] * 7], ValueError, r"6 rows, {Y} has shape \(7, 3\)"),
    "a number": (1, ValueError, r"{Y} has shape \(\)"),
    "narrow": (ROWS[:, :2], ValueError, r"{Y} has 2 columns, the last layer 3 outputs"),
    "wide": (np.eye(4)[CLASSES], ValueError, r"{Y} has 4 columns, the last layer 3 outputs"),
    "no columns": (ROWS[:, :0], ValueError, r"{Y} has 0 columns"),
    "rank 3": (np.zeros((6, 3, 2)), ValueError, r"\(6, 3, 2\)"),
    "ragged": (RAGGED, ValueError, r"{Y} is not a rectangular array"),
    "object": (ROWS.astype(object), TypeError, r"{Y} must hold real numbers, got dtype object"),
    "text": (TEXT, TypeError, r"{Y} must hold real numbers, got dtype <U1"),
    "complex": (ROWS.astype(complex), TypeError, r"{Y} must hold real numbers, got dtype complex128"),
}


@pytest.mark.parametrize("call", WITH_TARGETS)
@pytest.mark.parametrize("bad", BAD_TARGETS)
def test_bad_targets(bad, call, net):
    targets, error, message = BAD_TARGETS[bad]
    function, _, name = WITH_TARGETS[call]
    with unchanged(net), pytest.raises(error, match=message.format(Y=name)):
        function(net, X, targets)


BAD_FEATURES = {
    "ragged": (RAGGED, ValueError, "{X} is not a rectangular array"),
    "object": (X.astype(object), TypeError, "{X} must hold real numbers, got dtype object"),
    "text": (TEXT, TypeError, "{X} must hold real numbers, got dtype <U1"),
    "complex": (X.astype(complex), TypeError, "{X} must hold real numbers, got dtype complex128"),
    "a number": (1.0, ValueError, r"{X} (needs a batch axis|must have shape \(batch)"),
    "one axis": (X[:, 0], ValueError, r"layer 0 \(FullyConnected\).*\(6,\)"),
    "three axes": (X[:, :, None], ValueError, r"layer 0 \(FullyConnected\).*\(6, 4, 1\)"),
    "no features": (X[:, :0], ValueError, r"layer 0 \(FullyConnected\): X needs .* feature"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("bad", BAD_FEATURES)
def test_bad_features(bad, call, net):
    features, error, message = BAD_FEATURES[bad]
    function, name, _ = CALLS[call]
    with unchanged(net), pytest.raises(error, match=message.format(X=name)):
        function(net, features, CLASSES)


@pytest.mark.parametrize("call", CALLS)
def test_a_layer_that_cannot_take_its_input_is_named(call):
    function = CALLS[call][0]
    used = FullyConnected(3, "softmax")
    used.forward(np.zeros((1, 7)))
    layers = [FullyConnected(5, "tanh"), used]
    joined = fastnn.NeuralNetwork("cross_entropy", layers, fastnn.SGD())
    message = r"layer 1 \(FullyConnected\): X has 5 features, the layer needs 7"
    with unchanged(joined), pytest.raises(ValueError, match=message):
        function(joined, X, CLASSES)
    trained = network()
    trained.train_step(X, CLASSES)
    message = r"layer 0 \(FullyConnected\): X has 3 features, the layer needs 4"
    with unchanged(trained), pytest.raises(ValueError, match=message):
        function(trained, X[:, :3], CLASSES)


@pytest.mark.parametrize(
    "weights", ["identity", fastnn.Preset(np.zeros((4, 3)))], ids=["square", "4x3"]
)
@pytest.mark.parametrize("call", ["forward", "train_step"])
def test_a_layer_that_cannot_make_its_weights_is_named(weights, call):
    layers = [FullyConnected(5, "tanh"), FullyConnected(3, "softmax", weights)]
    net = fastnn.NeuralNetwork("cross_entropy", layers, fastnn.SGD())
    with unchanged(net), pytest.raises(ValueError, match=r"layer 1 \(FullyConnected\).*\(5, 3\)"):
        getattr(net, call)(*(X, CLASSES)[: 1 + (call == "train_step")])


BAD_OUTPUTS = {
    "object": (ROWS.astype(object), TypeError, "real numbers, got dtype object"),
    "text": (TEXT, TypeError, "real numbers, got dtype <U1"),
    "ragged": (RAGGED, ValueError, "not a rectangular array"),
    "narrow": (ROWS[:, :2], ValueError, r"shape"),
    "short": (ROWS[:5], ValueError, r"shape"),
}


@pytest.mark.parametrize("bad", BAD_OUTPUTS)
def test_backward_of_what_is_no_output(bad):
    net = network()
    out = net.forward(X)
    value, error, message = BAD_OUTPUTS[bad]
    with unchanged(net), pytest.raises(error, match=message):
        net.backward(ROWS, value)
    with unchanged(net), pytest.raises(error, match=message):
        net.backward(value, out)


@pytest.mark.parametrize("kind", [complex, object])
def test_backward_of_the_output_in_a_dtype_of_no_real_numbers(kind):
    net = network()
    out = net.forward(X)
    with pytest.raises(TypeError, match=r"must hold real numbers"):
        net.backward(ROWS, out.astype(kind))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": -1}, ValueError, "epochs must be at least 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer"),
        ({"epochs": None}, TypeError, "epochs"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": -4}, ValueError, "batch_size"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an integer"),
        ({"batch_size": None}, TypeError, "batch_size"),
    ],
)
def test_bad_epochs_and_batch_sizes(options, error, message, net):
    with unchanged(net), pytest.raises(error, match=message):
        net.fit(X, CLASSES, verbose=False, **options)


def test_no_rows_to_train_on(net):
    with unchanged(net), pytest.raises(ValueError, match="X has no rows to train on"):
        net.fit(X[:0], ROWS[:0])


@pytest.mark.parametrize(("columns", "outputs", "name"), [(0, 3, "X"), (4, 0, "Y")])
def test_a_width_is_not_inferred_from_a_refused_batch(columns, outputs, name):
    net = network(n_out=None)
    with unchanged(net), pytest.raises(ValueError, match=rf"\b{name}\b"):
        net.train_step(X[:, :columns], ROWS[:, :outputs])
    with unchanged(net), pytest.raises(ValueError, match=r"layer 1 \(FullyConnected\): n_out is None"):
        net.predict(X)


# Datasets.

DATASETS = {
    "targets of another width": (
        (X, np.eye(4)[CLASSES], 3),
        ValueError,
        "3 outputs, the targets have 4",
    ),
    "text": ((np.full((6, 4), "a"), ROWS, 3), TypeError, "real numbers"),
    "text as targets": ((X, TEXT, 3), TypeError, "real numbers"),
    "validation of another width": ((X, ROWS, 3, X[:, :3], ROWS), ValueError, "3 features"),
    "validation targets of another width": (
        (X, ROWS, 3, X, ROWS[:, :2]),
        ValueError,
        r"2 columns|\(\d, 2\)",
    ),
    "validation without targets": ((X, ROWS, 3, X), ValueError, "labels"),
}


@pytest.mark.parametrize("case", DATASETS)
def test_a_dataset_that_does_not_fit(case, net):
    arguments, error, message = DATASETS[case]
    if case == "targets of another width":
        net.forward(X)
    with unchanged(net), pytest.raises(error, match=message):
        net.train(fastnn.Dataset(*arguments), 1)


def test_a_test_part_is_needed():
    net = network()
    for call in (net.test, net.test_kaggle):
        with unchanged(net), pytest.raises(ValueError, match="the dataset has no test part"):
            call(fastnn.Dataset(X, ROWS, 3))
    with pytest.raises(ValueError, match="labels"):
        net.test(fastnn.Dataset(X, ROWS, 3, test_set=X))
    with unchanged(net), pytest.raises(ValueError, match="needs a logger"):
        net.test(fastnn.Dataset(X, ROWS, 3, X, ROWS, X, ROWS), save_predictions=True)


# The constructor.

SHARED = FullyConnected(3, "relu")
LAYERS = {
    "none": ([], ValueError, "layer_args is empty"),
    "one twice": ([SHARED, SHARED], ValueError, "one Layer object twice"),
    "no width": (
        [(4, "relu"), (None, "relu"), (3, "relu")],
        ValueError,
        "layer 1 has n_out=None",
    ),
    "width 0": ([(0, "relu")], ValueError, "n_out must be at least 1"),
    "width 2.5": ([(2.5, "relu")], TypeError, "n_out must be an integer"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_bad_layers(case):
    layers, error, message = LAYERS[case]

    def make():
        made = [FullyConnected(*args) if isinstance(args, tuple) else args for args in layers]
        return fastnn.NeuralNetwork("l2", made, {"name": "SGD"})

    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("dtype", ["int32", "float16", "complex64", "nonsense", 3])
def test_bad_dtype(dtype):
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64'"):
        network(dtype=dtype)


LAYER = {"name": "fully_connected", "n_out": 3, "activation": "relu", "weight_init": "zeros"}
NAMES = {
    "loss": ({"loss": "hinge"}, "'cross_entropy', .*'l2'"),
    "no loss": ({"loss": None}, "'cross_entropy', .*'l2'"),
    "layer": ({"layer_args": [LAYER | {"name": "dense"}]}, "'fully_connected'"),
    "activation": ({"layer_args": [LAYER | {"activation": "swish"}]}, "'relu'.*'softmax'"),
    "weights": ({"layer_args": [LAYER | {"weight_init": "lecun"}]}, "'zeros'.*'xavier_uniform'"),
    "optimizer": ({"optimizer_args": {"name": "adagrad"}}, "'SGD', 'Adam'"),
    "scheduler": (
        {"optimizer_args": {"name": "SGD", "lr_scheduler": "polynomial"}},
        "'constant', 'exponential'",
    ),
}


@pytest.mark.parametrize("case", NAMES)
def test_unknown_names_list_the_known(case):
    change, known = NAMES[case]
    arguments = {"loss": "l2", "layer_args": [LAYER], "optimizer_args": {"name": "SGD"}}
    fastnn.initialize_model("any", **arguments)
    for make in (fastnn.NeuralNetwork, lambda **options: fastnn.initialize_model("any", **options)):
        with pytest.raises(NotImplementedError, match=f"unknown .*; known: .*{known}"):
            make(**(arguments | change))
