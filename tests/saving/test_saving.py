import contextlib
import os
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kill_and_resume import outcome

import fastnn
from fastnn import losses, weights
from fastnn.activations import ACTIVATIONS
from fastnn.saving import tensors

pytest.importorskip("safetensors", reason="saving needs safetensors")

_DATA = np.random.default_rng(0)
X, Y = _DATA.normal(size=(60, 4)), _DATA.integers(0, 3, 60)


def make(hidden="tanh", loss="cross_entropy", optimizer=None, weight_init="he_normal", **options):
    layers = [
        fastnn.FullyConnected(4, hidden, weight_init),
        fastnn.FullyConnected(None, "softmax" if loss != "l2" else "linear"),
    ]
    options = {"seed": 1, **options}
    return fastnn.NeuralNetwork(loss, layers, optimizer or {"name": "Adam"}, **options)


def fit(net, epochs=2, targets=Y):
    net.fit(X, targets, epochs=epochs, batch_size=7, verbose=False)
    return net


def assert_goes_on_alike(net, path, targets=Y):
    net.save(path)
    loaded = fastnn.load(path)
    assert [repr(vars(layer.activation)) for layer in loaded.layers] == [
        repr(vars(layer.activation)) for layer in net.layers
    ]
    fit(net, targets=targets)
    fit(loaded, targets=targets)
    assert outcome(loaded) == outcome(net)
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(activation, tmp_path):
    assert_goes_on_alike(fit(make(activation)), tmp_path / "net")


@pytest.mark.parametrize("activation", [fastnn.ELU(0.3), fastnn.LeakyReLU(-0.2)])
def test_activations_keep_their_parameters(activation, tmp_path):
    assert_goes_on_alike(fit(make(activation)), tmp_path / "net")


@pytest.mark.parametrize("loss", [*losses.LOSSES, fastnn.CrossEntropy(label_smoothing=0.1)])
def test_every_loss(loss, tmp_path):
    targets = np.eye(3)[Y]
    assert_goes_on_alike(fit(make(loss=loss), targets=targets), tmp_path / "net", targets)


def test_class_weights(tmp_path):
    loss = fastnn.CrossEntropy(class_weight=[1.0, 0.3, np.nextafter(2, 3)])
    assert_goes_on_alike(fit(make(loss=loss)), tmp_path / "net")


@pytest.mark.parametrize(
    "init",
    [
        *(name for name in weights.INITIALIZERS if name != "preset"),
        fastnn.Preset(np.arange(16.0).reshape(4, 4) / 20),
        fastnn.Uniform(-0.1, 0.2),
        fastnn.HeNormal("relu", "fan_out"),
        fastnn.Sparse(0.4, 2.0),
        weights.Constant(0.7),
    ],
)
def test_a_network_without_parameters_draws_the_same_ones(init, tmp_path):
    assert_goes_on_alike(make(weight_init=init), tmp_path / "net")


@pytest.mark.parametrize(
    "optimizer",
    [
        fastnn.SGD(0.1, momentum=0.8, clip_norm=0.5),
        fastnn.Adam(0.1, fastnn.Exponential(0.1, 0.5, 2, True), 0.8, 0.99, 1e-6),
        fastnn.Adam(0.1, eps=0.01, eps_hat=True),
        fastnn.SGD(0.1, "exponential", lr_decay=0.4, stage_length=3),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_optimizers_and_schedules(optimizer, dtype, tmp_path):
    assert_goes_on_alike(fit(make(optimizer=optimizer, dtype=dtype)), tmp_path / "net")


@pytest.mark.parametrize("bits", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_every_random_generator(bits, tmp_path):
    seed = np.random.Generator(getattr(np.random, bits)(5))
    assert_goes_on_alike(fit(make(seed=seed)), tmp_path / "net")


def test_a_network_without_a_seed_leaves_the_global_generator_alone(tmp_path):
    net = fit(make(seed=None))
    before = np.random.get_state()[1].tobytes()
    net.save(tmp_path / "net")
    assert fastnn.load(tmp_path / "net").rng is None
    assert np.random.get_state()[1].tobytes() == before


class Mine(fastnn.TanH):
    pass


class MyLoss(fastnn.L2):
    pass


class MyWeights(fastnn.Zeros):
    pass


class MyLayer(fastnn.FullyConnected):
    pass


class MySGD(fastnn.SGD):
    pass


class MyNetwork(fastnn.NeuralNetwork):
    pass


@pytest.mark.parametrize(
    ("net", "what"),
    [
        (lambda: make(Mine()), r"layers\.0\.activation, a Mine"),
        (lambda: make(loss=MyLoss()), "loss, a MyLoss"),
        (lambda: make(weight_init=MyWeights()), r"layers\.0\.weight_init, a MyWeights"),
        (lambda: make(optimizer=MySGD()), "optimizer, a MySGD"),
        (
            lambda: fastnn.NeuralNetwork("l2", [MyLayer(1, "relu")], {"name": "SGD"}),
            "layers.0, a MyLay",
        ),
        (lambda: MyNetwork("l2", [fastnn.FullyConnected(1, "relu")], {"name": "SGD"}), "a MyNetwork"),
        (lambda: make(weight_init=fastnn.Uniform(low=object())), r"layers\.0\.weight_init\.low"),
    ],
)
def test_what_is_not_fastnns_own_is_named(net, what, tmp_path):
    with pytest.raises(TypeError, match=f"cannot save (a )?{what}"):
        net().save(tmp_path / "net")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "net"
    net = fit(make(loss=fastnn.CrossEntropy(class_weight=[1, 2, 3])))
    net.save(path)
    return path.read_bytes(), outcome(net)


def assert_refused_or_equal(content, path, expected):
    path.write_bytes(content)
    try:
        loaded = fastnn.load(path)
    except fastnn.SavedModelError:
        return
    loaded.history = fastnn.History()
    assert outcome(loaded) == {**expected, "history": outcome(loaded)["history"]}


@settings(max_examples=300, deadline=None)
@given(
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), min_size=1, max_size=4),
    in_header=st.booleans(),
)
def test_flipped_bytes_are_noticed(tmp_path_factory, saved, flips, in_header):
    content, expected = bytearray(saved[0]), saved[1]
    end = 8 + int.from_bytes(content[:8], "little") if in_header else len(content)
    for place, flip in flips:
        content[int(place * (end - 1))] ^= flip
    assert_refused_or_equal(content, tmp_path_factory.getbasetemp() / "flipped", expected)


@settings(max_examples=100, deadline=None)
@given(place=st.floats(0, 1), more=st.binary(max_size=20))
def test_truncation_is_noticed(tmp_path_factory, saved, place, more):
    content, expected = saved
    cut = content[: int(place * len(content))] + more
    assert_refused_or_equal(cut, tmp_path_factory.getbasetemp() / "cut", expected)


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=200))
def test_other_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(content)
    with pytest.raises(fastnn.SavedModelError):
        fastnn.load(path)


# Files whose digest is right, as someone who means harm would write them.

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _places(value, place=()):
    yield place
    if isinstance(value, (dict, list)):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(entry, (*place, key))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_description_gives_a_network_or_the_one_error(tmp_path_factory, saved, data):
    path = tmp_path_factory.getbasetemp() / "described"
    path.write_bytes(saved[0])
    description, arrays = tensors.read(path)
    *parents, last = data.draw(st.sampled_from([p for p in _places(description) if p]))
    entry = description
    for key in parents:
        entry = entry[key]
    entry[last] = data.draw(_json)
    tensors.write(path, description, arrays)
    with contextlib.suppress(fastnn.SavedModelError):
        assert fastnn.load(path).predict(X).shape == (60, 3)


def test_files_from_before_an_argument_was_added(tmp_path):
    net = fit(make(optimizer=fastnn.Adam(0.1)))
    net.save(tmp_path / "net")
    description, arrays = tensors.read(tmp_path / "net")
    assert description["network"]["optimizer"]["arguments"].pop("eps_hat") is False
    tensors.write(tmp_path / "net", description, arrays)
    loaded = fastnn.load(tmp_path / "net")
    assert loaded.optimizer.eps_hat is False
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))


def _set(place, value):
    def change(description, arrays):
        *parents, last = place
        for key in parents:
            description = description[key]
        description[last] = value

    return change


def _array(name, value):
    def change(description, arrays):
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set(["format"], 2), "format 2; this version reads 1"),
        (_set(["network", "layers", 0, "name"], "os.system"), "unknown layer 'os.system'"),
        (_set(["network", "layers", 0, "arguments", "n_out"], 10**12), "W"),
        (_set(["network", "layers", 0, "arguments", "n_out"], 5), "W"),
        (_set(["network", "layers"], []), "at least one layer"),
        (_set(["network", "dtype"], "O"), "dtype"),
        (_set(["network", "seed"], "x"), "seed"),
        (_set(["network", "optimizer", "name"], "SGD"), "optimizer"),
        (_set(["network", "optimizer", "arguments", "lr"], "1e400"), "lr"),
        (_set(["random", "state", "state"], 2**128), "state"),
        (_set(["random", "bit_generator"], "__class__"), "__class__"),
        (_array("layers.0.W", None), "layers"),
        (_array("layers.1.b", None), "b"),
        (_array("layers.0.W", np.zeros((4, 4), np.float32)), "float32"),
        (_array("layers.0.W", np.zeros(())), "W"),
        (_array("layers.1.W", np.zeros((5, 3))), "W"),
        (_array("layers.0.b", np.zeros((1, 5))), "b"),
        (_array("optimizer.W0.m", None), "optimizer"),
        (_array("optimizer.W0.v", np.zeros((4, 5))), "optimizer"),
        (_array("optimizer.W0.t", np.array(-1)), "count"),
        (_array("optimizer.W9.t", np.array(1)), "belong to nothing"),
    ],
)
def test_what_does_not_fit_together_is_refused(saved, tmp_path, change, message):
    path = tmp_path / "net"
    path.write_bytes(saved[0])
    description, arrays = tensors.read(path)
    change(description, arrays)
    tensors.write(path, description, arrays)
    with pytest.raises(fastnn.SavedModelError, match=message):
        fastnn.load(path)


@pytest.mark.parametrize(("bits", "name"), [("MT19937", "pos"), ("Philox", "buffer_pos")])
def test_a_position_outside_a_generators_buffer_is_refused(tmp_path, bits, name):
    make(seed=np.random.Generator(getattr(np.random, bits)(0))).save(tmp_path / "net")
    description, arrays = tensors.read(tmp_path / "net")
    state = description["random"]["state"] if bits == "MT19937" else description["random"]
    state[name] = 10**6
    tensors.write(tmp_path / "net", description, arrays)
    with pytest.raises(fastnn.SavedModelError, match=f"{name}' cannot be 1000000"):
        fastnn.load(tmp_path / "net")


def test_a_huge_network_that_is_only_described_takes_no_memory(tmp_path):
    make().save(tmp_path / "net")
    description, arrays = tensors.read(tmp_path / "net")
    description["network"]["layers"][0]["arguments"]["n_out"] = 10**9
    tensors.write(tmp_path / "net", description, arrays)
    tracemalloc.start()
    fastnn.load(tmp_path / "net")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_safetensors_files_of_others_are_refused(tmp_path):
    from safetensors.numpy import save

    for metadata in (None, {"format": "np"}, {"fastnn": "{}", "digest": "0"}):
        (tmp_path / "file").write_bytes(save({"a": np.zeros(3)}, metadata))
        with pytest.raises(fastnn.SavedModelError):
            fastnn.load(tmp_path / "file")
    (tmp_path / "file").write_bytes(
        save({"a": np.zeros(3, np.float16)}, {"fastnn": "{}", "digest": ""})
    )
    with pytest.raises(fastnn.SavedModelError, match="F16"):
        fastnn.load(tmp_path / "file")


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "1" * 10_000])
def test_descriptions_that_are_no_json_object_are_refused(tmp_path, text, monkeypatch):
    monkeypatch.setattr(tensors, "to_json", lambda description: text)
    tensors.write(tmp_path / "net", {}, {})
    with pytest.raises(fastnn.SavedModelError, match="JSON"):
        fastnn.load(tmp_path / "net")


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        fastnn.load(tmp_path / "none")


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(fastnn.SavedModelError, match=f"{tmp_path.name} is a folder"):
        fastnn.load(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(fastnn.SavedModelError, match="pipe is no regular file"):
            fastnn.load(tmp_path / "pipe")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(fastnn.SavedModelError, match="empty is damaged"):
        fastnn.load(tmp_path / "empty")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    net = make()
    net.save(tmp_path / "net")
    before = (tmp_path / "net").read_bytes()
    fit(net)

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        net.save(tmp_path / "net")
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert (tmp_path / "net").read_bytes() == before


def test_without_safetensors_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[save\]'"):
        make().save(tmp_path / "net")
    with pytest.raises(ImportError, match=r"pip install 'fastnn-cpu\[save\]'"):
        make().fit(X, Y, checkpoint=tmp_path / "c", verbose=False)
