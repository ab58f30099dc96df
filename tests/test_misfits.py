"""Networks and data that do not fit raise an error that names them, before compiled code sees them."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected, NeuralNetwork

rng = np.random.default_rng(0)
X = rng.normal(size=(200, 4))
LABELS = rng.integers(0, 3, 200)
Y = np.eye(3)[LABELS]


class Own(fastnn.TanH):
    """Unknown to the engine."""


class OwnSoftMax(fastnn.SoftMax):
    """Likewise."""


def network(optimizer=None, dtype=None, hidden=8):
    layers = [FullyConnected(hidden, "relu"), FullyConnected(3, "softmax")]
    optimizer = optimizer or fastnn.SGD(0.1, momentum=0.9)
    return NeuralNetwork("cross_entropy", layers, optimizer, seed=0, dtype=dtype)


def trained(**options):
    net = network(**options)
    net.fit(X, LABELS, epochs=1, batch_size=16, verbose=False)
    net.predict(X)
    net.evaluate(X, LABELS)
    return net


def layer(n_in, n_out, dtype=np.float64, activation="softmax"):
    made = FullyConnected(n_out, activation)
    made.forward(np.ones((2, n_in), dtype))
    return made


def parameters(net):
    return [p.copy() for layer in net.layers for p in layer.parameters.values()]


CALLS = {
    "predict": lambda net: net.predict(X),
    "predict one row": lambda net: net.predict(X[:1]),
    "evaluate": lambda net: net.evaluate(X, Y),
    "train_step": lambda net: net.train_step(X[:16], Y[:16]),
    "fit": lambda net: net.fit(X, Y, epochs=1, batch_size=16, verbose=False),
    "forward": lambda net: net.forward(X),
    "fit_many": lambda net: fastnn.fit_many([net], X, Y, epochs=1),
}


def replace_layer(n_in):
    def change(net):
        net.layers[1] = layer(n_in, 3)

    return change


def replace_bias(net):
    values = net.layers[0].parameters
    del values["b"]
    values["b"] = np.ones((1, 1))


def add_parameter(net):
    net.layers[0].parameters["extra"] = np.ones((8, 8))


def remove_parameter(net):
    del net.layers[0].parameters["b"]


MISFITS = {
    "wide layer": (replace_layer(3_000_000), r"layer 1 \(FullyConnected\): X has 8 features"),
    "a little wider": (replace_layer(50), r"layer 1 \(FullyConnected\): X has 8 features.* 50"),
    "narrower": (replace_layer(7), r"layer 1 \(FullyConnected\): X has 8 features.* 7"),
    "bias": (replace_bias, r"layer 0 \(FullyConnected\): .*b \(1, 1\)"),
    "another parameter": (add_parameter, r"layer 0 .*'W', 'b', 'extra'"),
    "a parameter less": (remove_parameter, r"layer 0 .*holds 'W'"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("misfit", MISFITS)
def test_parameters_that_do_not_fit(call, misfit):
    change, message = MISFITS[misfit]
    net = trained()
    change(net)
    before = parameters(net)
    with pytest.raises(ValueError, match=message):
        CALLS[call](net)
    for now, then in zip(parameters(net), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize("call", ["predict", "evaluate", "train_step", "fit"])
def test_layers_made_apart(call):
    net = NeuralNetwork("l2", [layer(4, 8, activation="relu"), layer(50, 3)], fastnn.SGD())
    with pytest.raises(ValueError, match="layer 1"):
        CALLS[call](net)


def test_a_network_with_a_layer_less_is_another():
    net = trained()
    del net.layers[1]
    assert net.n_layers == 1
    assert net.predict(X).shape == (200, 8)
    with pytest.raises(ValueError, match="3 columns"):
        net.train_step(X, Y)


def test_n_in_says_nothing_to_compiled_code():
    net = trained()
    net.layers[0].n_in = 50
    for call in ("predict", "train_step"):
        with pytest.raises(ValueError, match="X has 50 features, the layer needs 4"):
            {"predict": net.predict, "train_step": lambda x: net.train_step(x, Y[:3])}[call](
                np.ones((3, 50))
            )


def test_n_out_that_is_not_that_of_the_parameters():
    net = trained()
    net.layers[0].n_out = 50
    with pytest.raises(ValueError, match=r"layer 0 .*50 outputs need"):
        net.forward(X)


def test_the_order_of_parameters_does_not_matter():
    net, other = trained(), trained()
    net.layers[0].parameters.move_to_end("W")
    other.fit(X, Y, epochs=1, verbose=False)
    net.fit(X, Y, epochs=1, verbose=False)
    np.testing.assert_array_equal(net.predict(X), other.predict(X))


def test_class_weights_of_another_number_of_classes():
    net = trained()
    net.loss = fastnn.CrossEntropy(class_weight=[1, 2])
    for call in ("evaluate", "train_step", "fit"):
        with pytest.raises(ValueError, match="2 entries for 3 classes"):
            CALLS[call](net)


class Once(fastnn.Callback):
    """Does something after the first batches of a run."""

    def __init__(self, do):
        self.do = do

    def on_batches_end(self, run, losses, errors):
        if self.do is not None:
            do, self.do = self.do, None
            do(run)


def fit_with(do, **options):
    net = trained(**options)
    net.fit(X, Y, epochs=3, batch_size=16, verbose=False, callbacks=[Once(do)])
    return net


@pytest.mark.parametrize("widths", [(9, 3), (3_000_000, 3), (8, 4), (8, 2)])
def test_a_layer_that_does_not_fit_replaced_in_a_callback(widths):
    def do(run):
        run.net.layers[1] = layer(*widths)

    with pytest.raises(ValueError, match=r"layer 1|the network needs|columns"):
        fit_with(do)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layer(8, 3),
        lambda: layer(8, 3, np.float32),
        lambda: FullyConnected(3, "softmax"),
        lambda: FullyConnected(3, OwnSoftMax()),
    ],
    ids=["alike", "float32", "unmade", "unknown to the engine"],
)
def test_a_layer_replaced_in_a_callback_is_trained(make):
    replaced = []

    def do(run):
        replaced.append(make())
        run.net.layers[1] = replaced[0]
        if replaced[0].parameters:
            replaced.append(replaced[0].parameters["W"].copy())

    net = fit_with(do)
    assert net.layers[1] is replaced[0]
    assert len(net.history.loss) == 3
    assert replaced[0].parameters["W"].shape == (8, 3)
    if len(replaced) == 2:
        assert not np.array_equal(replaced[0].parameters["W"], replaced[1])


def test_float64_layers_in_a_float32_run():
    def do(run):
        for i, widths in enumerate([(4, 8), (8, 3)]):
            run.net.layers[i] = layer(*widths)

    net = fit_with(do, dtype="float32")
    assert net.flat_parameters.dtype == np.float64


def test_read_only_parameters_are_not_trained():
    net = trained()
    net.layers[1].parameters["b"].flags.writeable = False
    before = parameters(net)
    for call in (CALLS["fit"], lambda net: net.train_step(X[:5], Y[:5])):
        with pytest.raises(ValueError, match=r"layer 1: parameters\['b'\] is read-only"):
            call(net)
    net.forward(X[:5])
    net.backward(Y[:5], net.forward(X[:5]))
    with pytest.raises(ValueError, match=r"layer 1: parameters\['b'\] is read-only"):
        net.update()
    for now, then in zip(parameters(net), before, strict=True):
        np.testing.assert_array_equal(now, then)
    assert net.predict(X).shape == (200, 3)


# The data of a run.

DATA = {
    "fewer rows": lambda part: setattr(part, "data_", X[:10]),
    "fewer labels": lambda part: setattr(part, "labels", Y[:10]),
    "fewer columns of labels": lambda part: setattr(part, "labels", Y[:, :2].copy()),
    "fewer features": lambda part: setattr(part, "data_", X[:, :3].copy()),
    "more features": lambda part: setattr(part, "data_", np.ones((200, 50))),
}


@pytest.mark.parametrize("change", DATA)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_data_replaced_under_a_run(change, when):
    dataset = fastnn.Dataset(X, Y, 16)
    net = trained()

    def do(run):
        DATA[change](dataset.train)

    if when == "before":
        do(None)
    with pytest.raises(ValueError, match=r"rows|features|columns|shape"):
        net.train(dataset, 3, callbacks=[Once(do if when == "meanwhile" else None)])


@pytest.mark.parametrize("optimizer", [fastnn.SGD, type("OwnSGD", (fastnn.SGD,), {})])
def test_data_replaced_in_the_middle_of_a_pass(optimizer):
    part = fastnn.Data(X, 16, Y, 3)
    part.sample()
    for name in ("data_", "labels"):
        with pytest.raises(ValueError, match="in the middle of a pass"):
            setattr(part, name, getattr(part, name)[:10])
    part.data_ = 2 * X
    part.reset()
    part.data_, part.labels = X[:40], Y[:40]
    assert (part.n_samples, part.samples_per_epoch) == (40, 3)
    dataset = fastnn.Dataset(X, Y, 16)
    dataset.train.data_, dataset.train.labels = X[:40], Y[:40]
    net = network(optimizer=optimizer(0.1))
    net.train(dataset, 1)
    assert len(net.history.loss) == 1


@pytest.mark.parametrize("optimizer", [fastnn.SGD, type("OwnSGD", (fastnn.SGD,), {})])
@pytest.mark.parametrize("size", [8, 64, 300])
def test_a_batch_size_that_is_changed(optimizer, size):
    changed, made = fastnn.Dataset(X, Y, 16), fastnn.Dataset(X, Y, size)
    changed.train.batch_size = size
    nets = [network(optimizer=optimizer(0.1)) for _ in range(2)]
    for net, dataset in zip(nets, (changed, made), strict=True):
        net.train(dataset, 2)
    assert nets[0].history == nets[1].history
    assert changed.train.samples_per_epoch == made.train.samples_per_epoch
    changed.train.sample()
    if size < 200:
        with pytest.raises(ValueError, match="in the middle of a pass"):
            changed.train.batch_size = 16


def test_a_pass_of_fewer_batches():
    parameters = []
    for optimizer in (fastnn.SGD, type("OwnSGD", (fastnn.SGD,), {})):
        dataset, net = fastnn.Dataset(X, Y, 16), network(optimizer=optimizer(0.1))
        dataset.train.samples_per_epoch = 3
        net.train(dataset, 2)
        parameters.append(net.flat_parameters)
    np.testing.assert_allclose(*parameters, rtol=1e-12)


def test_a_batch_size_of_a_subclass_without_arrays():
    class Own(fastnn.Data):
        def __init__(self):
            self.batch_size = 5

    assert Own().batch_size == 5


@pytest.mark.parametrize("shapes", [((1, 1), (1, 30_000_000)), ((4, 3), (4, 2)), ((3, 2), (4, 2))])
@pytest.mark.parametrize("loss", [fastnn.CrossEntropy(), fastnn.BinaryCrossEntropy()])
def test_from_logits_of_other_shapes(shapes, loss):
    for a, b in (shapes, shapes[::-1]):
        with pytest.raises(ValueError, match="Y and Z must have the same shape"):
            loss.from_logits(np.ones(a), np.ones(b))


def test_from_logits_needs_classes():
    for shape in ((3,), (3, 0), (3, 2, 2)):
        with pytest.raises(ValueError, match=r"must have shape \(n, classes\)"):
            fastnn.CrossEntropy().from_logits(np.ones(shape), np.ones(shape))


def test_gradients_of_other_shapes():
    made = layer(4, 3)
    made.forward(X[:5])
    for dZ in (np.ones((4, 3)), np.ones((5, 2)), np.ones((5, 3_000_000)), np.ones(3)):
        with pytest.raises(ValueError, match="dZ has shape"):
            made.parameter_gradients(dZ)
    with pytest.raises(ValueError, match="dZ has shape"):
        made.input_gradient(np.ones((5, 2)))
    made.cache["X"] = X[:5, :3]
    with pytest.raises(ValueError, match="cached X"):
        made.parameter_gradients(np.ones((5, 3)))


def test_error_of_something_without_classes():
    with pytest.raises(ValueError, match=r"\(n, classes\)"):
        network().error(np.ones(3), np.ones(3))


def test_rows_of_fit_many_are_the_callers_no_more():
    from fastnn import many

    rows = np.arange(10)
    found = many._rows([rows], 1, 20)
    rows[:] = 10**9
    np.testing.assert_array_equal(found[0], np.arange(10))


def test_the_order_of_a_stretch_is_checked():
    net = trained()
    (plan,) = [p for p in net.engine._training._plans.values() if p.n == 16][:1] or [None]
    if plan is None:
        pytest.skip("no compiled steps here")
    for order in ([[0, 200]], [[-1, 0]]):
        with pytest.raises(ValueError, match="X has 200 rows"):
            fastnn.engine.stretches.Stretch(plan, net.optimizer, X, Y, np.array(order), 0)
    with pytest.raises(ValueError, match="10 weights"):
        fastnn.engine.stretches.Stretch(plan, net.optimizer, X, Y, np.array([[0]]), 0, np.ones(10))
    assert plan.step["changed_count"] > 0


# Arrays that a step reads and writes.

OPTIMIZERS = [
    lambda: fastnn.SGD(0.1),
    lambda: fastnn.SGD(0.1, momentum=0.9, clip_norm=1.0),
    lambda: fastnn.Adam(0.1),
    lambda: type("OwnSGD", (fastnn.SGD,), {})(0.1),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("of", ["weights", "flat", "state"])
def test_a_step_on_the_networks_own_memory_is_one_on_a_copy(optimizer, of):
    nets = [network(optimizer=optimizer(), hidden=4) for _ in range(2)]
    for net in nets:
        net.train_step(X[:4], Y[:4])

    def data(net):
        if of == "weights":
            return net.layers[0].parameters["W"]
        if of == "flat":
            return net.flat_parameters[:16].reshape(4, 4)
        return next(iter(np.atleast_1d(getattr(s, "m", s)) for s in net.optimizer.cache.values()))

    for _ in range(3):
        nets[0].train_step(data(nets[0]), Y[:4])
        nets[1].train_step(data(nets[1]).copy(), Y[:4])
        np.testing.assert_array_equal(*(net.flat_parameters for net in nets))
    nets[0].fit(data(nets[0]), Y[:4], epochs=3, batch_size=2, verbose=False)
    nets[1].fit(data(nets[1]).copy(), Y[:4], epochs=3, batch_size=2, verbose=False)
    if of != "state":  # which a run's stretches change
        np.testing.assert_array_equal(*(net.flat_parameters for net in nets))


@pytest.mark.parametrize("road", ["engine", "layers"])
def test_assigned_state_is_copied(road):
    kinds = [
        (fastnn.SGD(0.1, momentum=0.9), lambda cache, mine: cache.__setitem__("W0", mine)),
        (fastnn.SGD(0.1), lambda cache, mine: cache.__setitem__("W0", mine)),
        (fastnn.Adam(0.1), lambda cache, mine: setattr(cache["W0"], "m", mine)),
        (fastnn.Adam(0.1), lambda cache, mine: setattr(cache["W0"], "v", mine)),
    ]
    for optimizer, assign in kinds:
        net = network(optimizer=optimizer)
        if road == "layers":
            net.layers[0].activation = Own()
        net.train_step(X[:4], Y[:4])
        mine = np.ones((4, 8))
        assign(optimizer.cache, mine)
        net.train_step(X[:4], Y[:4])
        net.fit(X, Y, epochs=1, verbose=False)
        np.testing.assert_array_equal(mine, 1)


def test_assigned_state_is_used():
    net, other = network(), network()
    for each in (net, other):
        each.train_step(X[:4], Y[:4])
    net.optimizer.cache["W0"] = [*np.full((4, 8), 100.0)]
    other.optimizer.cache = dict(other.optimizer.cache, W0=np.full((4, 8), 100.0))
    for each in (net, other):
        each.train_step(X[:4], Y[:4])
    np.testing.assert_array_equal(net.flat_parameters, other.flat_parameters)
    assert (net.layers[0].parameters["W"] < -50).all()
    assert (net.optimizer.cache["W0"] > 50).all()


def test_a_shallow_copy_is_refused():
    net = trained()
    with pytest.raises(TypeError, match="deepcopy"):
        copy.copy(net)
    other = copy.deepcopy(net)
    other.fit(X, Y, epochs=1, verbose=False)
    assert not np.array_equal(other.flat_parameters, net.flat_parameters)


def test_networks_that_share_a_layer_are_not_trained_side_by_side():
    layers = [FullyConnected(8, "relu"), FullyConnected(3, "softmax")]
    nets = [NeuralNetwork("cross_entropy", layers, fastnn.SGD()) for _ in range(2)]
    with pytest.raises(ValueError, match="one layer twice"):
        fastnn.fit_many(nets, X, Y)
    nets = [trained(), trained()]
    nets[1].layers[0].parameters.adopt({"W": nets[0].layers[0].parameters["W"]})
    with pytest.raises(ValueError, match="share an array"):
        fastnn.fit_many(nets, X, Y)
    nets[0].layers[1].parameters.adopt({"b": nets[0].layers[0].parameters["b"][:, :3]})
    with pytest.raises(ValueError, match="share memory"):
        nets[0].fit(X, Y, epochs=1, verbose=False)


@pytest.mark.parametrize("name", ["negative_slope", "alpha"])
def test_settings_that_cannot_be_changed_say_so(name):
    activation = {"negative_slope": fastnn.LeakyReLU(0.1), "alpha": fastnn.ELU(0.1)}[name]
    assert getattr(activation, name) == 0.1
    with pytest.raises(AttributeError):
        setattr(activation, name, 0.5)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_size_of_batches_changed_between_passes(size):
    part = fastnn.Data(X, 16, Y, 3)
    part.sample()
    with pytest.raises(ValueError, match="in the middle of a pass"):
        part.batch_size = size
    part.reset()
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        part.batch_size = 0
    part.batch_size = size
    assert part.samples_per_epoch == -(-200 // size)
    dataset = fastnn.Dataset(X, Y, 16)
    dataset.train.batch_size = size
    net, other = network(), network()
    net.train(dataset, 2)
    other.train(fastnn.Dataset(X, Y, size), 2)
    np.testing.assert_array_equal(net.flat_parameters, other.flat_parameters)
