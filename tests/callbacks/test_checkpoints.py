import dataclasses

import numpy as np
import pytest
from kill_and_resume import outcome

import fastnn
from fastnn.callbacks import Callback

pytest.importorskip("safetensors", reason="checkpoints need safetensors")

_DATA = np.random.default_rng(0)
X, Y = _DATA.normal(size=(203, 4)), _DATA.integers(0, 3, 203)


class Broken(Exception):
    pass


@dataclasses.dataclass
class Break(Callback):
    after: int
    seen: int = 0

    def on_batches_end(self, run, losses, errors):
        self.seen += len(losses)
        if self.seen >= self.after:
            raise Broken


def make(
    seed=0, activation="tanh", width=6, optimizer="Adam", dtype=None, lr=0.02, loss="cross_entropy"
):
    layers = [
        fastnn.FullyConnected(width, activation),
        fastnn.FullyConnected(None, "softmax", fastnn.Normal(0, 0.3)),
    ]
    return fastnn.NeuralNetwork(loss, layers, {"name": optimizer, "lr": lr}, seed=seed, dtype=dtype)


def fit(net, path=None, **options):
    options = {"epochs": 3, "batch_size": 10, "verbose": False, "checkpoint_every": 0, **options}
    X_fit, Y_fit = options.pop("data", (X, Y))
    return net.fit(X_fit, Y_fit, checkpoint=path, **options)


def break_off(path, after=30, net=None, callbacks=(), **options):
    with pytest.raises(Broken):
        fit(net or make(), path, callbacks=[*callbacks, Break(after)], **options)


@pytest.mark.parametrize("products", ["compiled", "blas"])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("validation", [None, (X[:31], Y[:31])])
@pytest.mark.parametrize("seed", [3, None])
@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_a_resumed_run_comes_to_the_same_bits(
    tmp_path, monkeypatch, products, shuffle, validation, seed, optimizer
):
    monkeypatch.setenv("FASTNN_PRODUCTS", products)
    options = {"shuffle": shuffle, "validation_data": validation}

    def begin():
        np.random.seed(5)
        return make(seed, optimizer=optimizer)

    expected = begin()
    fit(expected, **options)
    for after in (3, 20, 21, 42, 59):
        path = tmp_path / f"{after}.safetensors"
        break_off(path, after, begin(), **options)
        np.random.seed(99)
        net = make(seed, optimizer=optimizer)
        history = fit(net, path, resume=True, **options)
        assert outcome(net) == outcome(expected)
        assert history is net.history


def test_the_same_network_goes_on_after_a_break(tmp_path):
    expected, net = make(), make()
    fit(expected)
    break_off(tmp_path / "c", net=net)
    fit(net, tmp_path / "c", resume=True)
    assert outcome(net) == outcome(expected)


@dataclasses.dataclass
class Change(Callback):
    """Changes the network at each begin, or end, of an epoch, or once after some epochs."""

    change: object
    at: str = "epoch end"

    def on_epoch_begin(self, run):
        if self.at == "epoch begin":
            self.change(run.net, run.epoch)

    def on_epoch_end(self, run):
        if self.at == "epoch end":
            self.change(run.net, run.epoch)


def _another_scheduler(net, epoch):
    if epoch == 1:
        net.optimizer.lr_scheduler = fastnn.Exponential(0.005, 0.5, 1)


def _a_schedulers_rate(net, epoch):
    net.optimizer.lr_scheduler.lr *= 0.3


def _a_scheduler_of_half_the_rate(net, epoch):
    net.optimizer.lr_scheduler = fastnn.schedulers.Constant(net.optimizer.learning_rate / 2)


def _other_numbers(net, epoch):
    net.optimizer.clip_norm = 0.5 / (epoch + 1)
    if isinstance(net.optimizer, fastnn.SGD):
        net.optimizer.momentum = 0.3 * epoch
        net.optimizer.nesterov = epoch > 0
    else:
        net.optimizer.beta_1 = 0.8


def _a_penalty(net, epoch):
    net.layers[0].l2 = 0.1 * epoch


def _another_optimizer(net, epoch):
    if epoch == 1:
        net.optimizer = fastnn.SGD(0.01, momentum=0.9)


def _another_loss_and_activation(net, epoch):
    net.loss = fastnn.CrossEntropy(label_smoothing=0.1 * epoch)
    net.layers[0].activation = fastnn.ELU(1 + epoch)


@pytest.mark.parametrize("at", ["epoch begin", "epoch end"])
@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
@pytest.mark.parametrize(
    "change",
    [
        _another_scheduler,
        _a_schedulers_rate,
        _a_scheduler_of_half_the_rate,
        _other_numbers,
        _a_penalty,
        _another_optimizer,
        _another_loss_and_activation,
    ],
)
def test_a_run_is_resumed_that_a_callback_changed(tmp_path, optimizer, change, at):
    expected = make(optimizer=optimizer)
    fit(expected, callbacks=[Change(change, at)])
    for after in (5, 30, 42):
        path = tmp_path / f"{after}.safetensors"
        net = make(optimizer=optimizer)
        with pytest.raises(Broken):
            fit(net, path, callbacks=[Change(change, at), Break(after)])
        for again in (make(optimizer=optimizer), net):  # in another process, and in the same one
            copy = tmp_path / "copy.safetensors"
            copy.write_bytes(path.read_bytes())
            fit(again, copy, resume=True, callbacks=[Change(change, at)])
            assert outcome(again) == outcome(expected)
            assert repr(again.optimizer) == repr(expected.optimizer)


def test_a_run_that_a_callback_changed_is_resumed_twice(tmp_path):
    path, callback = tmp_path / "c", Change(_a_schedulers_rate)
    expected = make()
    fit(expected, callbacks=[callback])
    break_off(path, 25, callbacks=[callback])
    break_off(path, 20, resume=True, callbacks=[callback])
    with pytest.raises(ValueError, match=r"optimizer.arguments.lr is 0\.02, this one's 0\.03"):
        fit(make(lr=0.03), path, resume=True, callbacks=[callback])
    net = make()
    fit(net, path, resume=True, callbacks=[callback])
    assert outcome(net) == outcome(expected)


def test_an_optimizer_that_a_program_holds_is_the_one_that_is_resumed(tmp_path):
    break_off(tmp_path / "c", 45, callbacks=[Change(_a_schedulers_rate)])
    net = make()
    optimizer, scheduler = net.optimizer, net.optimizer.lr_scheduler
    fit(net, tmp_path / "c", resume=True)
    assert net.optimizer is optimizer
    assert optimizer.lr_scheduler is scheduler
    assert scheduler.lr == 0.02 * 0.3 * 0.3


def test_a_checkpoint_of_an_earlier_version_is_resumed(tmp_path):
    from fastnn.saving import tensors

    path = tmp_path / "c"
    break_off(path)
    description, arrays = tensors.read(path)
    del description["run"]["network"]
    tensors.write(path, description, arrays)
    expected, net = make(), make()
    fit(expected)
    fit(net, path, resume=True)
    assert outcome(net) == outcome(expected)


def test_a_finished_run_is_prolonged_by_more_epochs(tmp_path):
    expected, net = make(), make()
    fit(expected, epochs=5)
    fit(make(), tmp_path / "c")
    fit(net, tmp_path / "c", resume=True, epochs=5)
    assert outcome(net) == outcome(expected)


def test_a_checkpoint_is_a_saved_network(tmp_path):
    net = make()
    fit(net, tmp_path / "c", checkpoint_every=1e6)
    np.testing.assert_array_equal(fastnn.load(tmp_path / "c").predict(X), net.predict(X))


def test_without_a_file_a_run_begins_afresh(tmp_path):
    expected, net = make(), make()
    fit(expected)
    fit(net, tmp_path / "none", resume=True)
    assert outcome(net) == outcome(expected)


def test_without_resume_a_run_begins_anew(tmp_path):
    break_off(tmp_path / "c")
    expected, net = make(), make()
    fit(expected)
    fit(net, tmp_path / "c")
    assert outcome(net) == outcome(expected)


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ({"activation": "relu"}, {}, "layers.0.arguments.activation.name is 'TanH', this one's 'ReLU'"),
        ({"width": 7}, {}, "layers.0.arguments.n_out is 6, this one's 7"),
        ({"optimizer": "SGD"}, {}, "optimizer.name is 'Adam', this one's 'SGD'"),
        ({"lr": 0.03}, {}, "optimizer.arguments.lr is 0.02, this one's 0.03"),
        ({"seed": 1}, {}, "seed is 0, this one's 1"),
        ({"seed": None}, {}, "seed is 0, this one's None"),
        ({"dtype": "float32"}, {}, "dtype is None, this one's 'float32'"),
        (
            {"loss": fastnn.CrossEntropy(class_weight=[1, 2, 1])},
            {},
            "loss.arguments.class_weight.array is None, this one's",
        ),
        ({}, {"batch_size": 20}, "batch_size is 10, this one's 20"),
        ({}, {"shuffle": False}, "shuffle is True, this one's False"),
        ({}, {"data": (X[::-1], Y)}, "training data is 'float64"),
        ({}, {"data": (X, np.roll(Y, 1))}, "training targets is 'float64"),
        ({}, {"validation_data": (X, Y)}, "validation data is None, this one's"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, network, options, message):
    break_off(tmp_path / "c")
    content = (tmp_path / "c").read_bytes()
    net = make(**network)
    with pytest.raises(ValueError, match=message) as raised:
        fit(net, tmp_path / "c", resume=True, **options)
    assert not isinstance(raised.value, fastnn.SavedModelError)
    assert [layer.n_out for layer in net.layers][1] is None
    assert not any(layer.parameters for layer in net.layers)
    assert (tmp_path / "c").read_bytes() == content


def test_a_checkpoint_beyond_the_epochs_asked_for_is_refused(tmp_path):
    fit(make(), tmp_path / "c")
    with pytest.raises(ValueError, match="has begun 3 epochs, more than the 2 asked for"):
        fit(make(), tmp_path / "c", resume=True, epochs=2)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    net = make()
    fit(net)
    net.save(tmp_path / "net")
    with pytest.raises(fastnn.SavedModelError, match="no checkpoint"):
        fit(make(), tmp_path / "net", resume=True)
    with pytest.raises(ValueError, match="resume=True needs a checkpoint"):
        fit(make(), resume=True)
    with pytest.raises(FileNotFoundError, match="no folder"):
        fit(make(), tmp_path / "none" / "c")


def _without_losses(run, arrays):
    del arrays["run.losses"]


def _a_row_beyond_the_data(run, arrays):
    arrays["run.training_order"][0] = 203


def _a_row_twice(run, arrays):
    arrays["run.training_order"][0] = arrays["run.training_order"][1]


def _more_losses_than_steps(run, arrays):
    arrays["run.losses"] = arrays["run.errors"] = np.zeros(21)


def _another_history(run, arrays):
    arrays["run.validation_loss"] = np.zeros(1)


def _two_random_states(run, arrays):
    run["random"] = np.random.get_state(legacy=False)["bit_generator"]


def _one_array_more(run, arrays):
    arrays["run.more"] = np.zeros(1)


@pytest.mark.parametrize(
    "change",
    [
        _without_losses,
        _a_row_beyond_the_data,
        _a_row_twice,
        _more_losses_than_steps,
        _another_history,
        _two_random_states,
        _one_array_more,
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path, change):
    from fastnn.saving import tensors

    path = tmp_path / "c"
    break_off(path)
    description, arrays = tensors.read(path)
    change(description["run"], arrays)
    tensors.write(path, description, arrays)
    with pytest.raises(fastnn.SavedModelError):
        fit(make(), path, resume=True)


def test_a_network_that_cannot_be_saved_is_refused_before_it_is_trained(tmp_path):
    class Mine(fastnn.TanH):
        pass

    net = make(activation=Mine())
    with pytest.raises(TypeError, match=r"layers\.0\.activation, a Mine"):
        fit(net, tmp_path / "c")
    assert not net.layers[0].parameters
