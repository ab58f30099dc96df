"""Saved networks and checkpoints with seeded mutations: a valid one comes out, or the one error."""

import copy
import json

import numpy as np
import pytest

import fastnn
from fastnn.saving import tensors

pytest.importorskip("safetensors", reason="saving needs safetensors")

_DATA = np.random.default_rng(0)
X, Y = _DATA.normal(size=(50, 4)), _DATA.integers(0, 3, 50)


VALUES = [
    None, True, 0, -1, 1, 2, 3, 2**63, 10**30, 10**400, 0.5, -0.5, 1e308, 5e-324, float("nan"),
    float("inf"), "", "SGD", "relu", "float32", "nan", "\ud800", [], {}, [[]], {"array": "layers.0.W"},
    {"float": "inf"}, {"name": "TanH", "arguments": {}}, "<100>", "<900>", "<9000>",
]  # fmt: skip
ARRAYS = [
    np.zeros(()), np.zeros(0), np.zeros((0, 10**12)), np.full((4, 5), np.nan), np.zeros((5, 3)),
    np.zeros((1, 5)), np.zeros((4, 5), np.float32), np.array(-1), np.array(2**62), np.arange(50),
    np.arange(50)[::-1].copy(), np.arange(3), np.zeros(10**4), np.zeros((1,) * 30),
]  # fmt: skip


def make(seed=1):
    layers = [
        fastnn.FullyConnected(5, fastnn.ELU(0.5), fastnn.Uniform(-0.5, 0.5), l2=0.1),
        fastnn.FullyConnected(None, "softmax"),
    ]
    loss = fastnn.CrossEntropy(label_smoothing=0.1, class_weight=[1, 2, 3])
    optimizer = fastnn.Adam(0.01, fastnn.Exponential(0.01, 0.9, 2), clip_norm=1.0)
    return fastnn.NeuralNetwork(loss, layers, optimizer, seed=seed)


def places(value, place=()):
    """Yield where in nested JSON something stands."""
    if place:
        yield place
    if isinstance(value, (dict, list)):
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(entry, (*place, key))


def mutate(description, arrays, rng):
    """Change a description and arrays at some places."""
    for _ in range(rng.integers(1, 4)):
        names, kind = list(arrays), rng.integers(9)
        name = names[rng.integers(len(names))] if names else "x"
        array = ARRAYS[rng.integers(len(ARRAYS))]
        if kind < 5:
            found = list(places(description))
            *parents, last = found[rng.integers(len(found))]
            entry = description
            for key in parents:
                entry = entry[key]
            if kind == 0:
                del entry[last]
            elif kind == 1 and isinstance(entry, dict):
                entry[names[0] if names else "more"] = entry.pop(last)
            else:
                entry[last] = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
        elif kind == 5:
            arrays.pop(name, None)
        elif kind == 6:
            arrays[names[rng.integers(len(names))] if names else "y"] = arrays.pop(name, array)
        elif kind == 7 and name in arrays:
            arrays[name] = arrays[name].T.copy()
        else:
            arrays[name] = array


def written(path, description, arrays):
    """Write a file whose digest is right."""
    text = json.dumps(description)
    for depth in (100, 900, 9000):  # lists in lists
        text = text.replace(f'"<{depth}>"', "[" * depth + "]" * depth)
    metadata = {"fastnn": text, "digest": tensors.digest(text, arrays)}
    path.write_bytes(tensors.require_safetensors().numpy.save(arrays, metadata))


def assert_valid(net):
    made = [layer.n_in for layer in net.layers if layer.n_in is not None]
    assert all(type(layer) is fastnn.FullyConnected for layer in net.layers)
    if made:
        with np.errstate(all="ignore"):
            assert net.predict(np.ones((2, made[0]))).shape == (2, net.layers[-1].n_out)


@pytest.mark.parametrize("seed", [0, 1])
def test_descriptions_and_arrays_of_networks(seed, tmp_path):
    rng, path = np.random.default_rng(seed), tmp_path / "net"
    net = make()
    net.fit(X, Y, 1, verbose=False)
    net.save(path)
    description, arrays = tensors.read(path)
    refused = []
    for _ in range(600):
        changed = copy.deepcopy(description), dict(arrays)
        mutate(*changed, rng)
        written(path, *changed)
        try:
            assert_valid(fastnn.load(path))
        except fastnn.SavedModelError as error:
            refused.append(str(error))
    assert 50 < len(refused) < 600
    assert all("net" in error for error in refused)


# A mutated learning rate may diverge.
@pytest.mark.filterwarnings("ignore:.* loss is .* in epoch:RuntimeWarning")
@pytest.mark.parametrize("seed", [1, None])
def test_descriptions_and_arrays_of_checkpoints(seed, tmp_path):
    class Break(fastnn.Callback):
        def on_batches_end(self, run, losses, errors):
            if run.epoch == 1:
                raise ZeroDivisionError

    def fit(**options):
        net = make(seed)
        net.fit(
            *(X, Y, 2, 10), validation_data=(X[:9], Y[:9]), verbose=False,
            checkpoint=path, checkpoint_every=0, **options,
        )  # fmt: skip
        return net

    rng, path, refused = np.random.default_rng(seed or 0), tmp_path / "run", []
    with pytest.raises(ZeroDivisionError):
        fit(callbacks=[Break()])
    description, arrays = tensors.read(path)
    for _ in range(200):
        changed = copy.deepcopy(description), dict(arrays)
        mutate(*changed, rng)
        written(path, *changed)
        try:
            with np.errstate(all="ignore"):
                net = fit(resume=True)
        except ValueError as error:
            refused.append(error)
        else:
            assert_valid(net)
    assert 50 < len(refused) < 200
    for error in refused:  # some are whole, but not of this run
        assert isinstance(error, fastnn.SavedModelError) or any(
            why in str(error) for why in ("belongs to another run", "more than the 2 asked for")
        )


@pytest.mark.parametrize("place", [["format"], ["run"], ["run", "network"], ["run", "data"]])
@pytest.mark.parametrize("value", ["<100>", "<900>", "<9000>", {"a": "<900>"}, [], 7, "text", None])
def test_nested_json_anywhere(place, value, tmp_path):
    path, net = tmp_path / "run", make()
    net.fit(X, Y, 1, verbose=False, checkpoint=path)
    description, arrays = tensors.read(path)
    entry = description
    for key in place[:-1]:
        entry = entry[key]
    entry[place[-1]] = value
    written(path, description, arrays)
    with pytest.raises(ValueError, match=r"run (is|has|holds|belongs)|run: its description"):
        make().fit(X, Y, 1, verbose=False, checkpoint=path, resume=True)


def test_bits_and_lengths(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "net"
    net = make()
    net.fit(X, Y, 1, verbose=False)
    net.save(path)
    content, expected, refused = path.read_bytes(), net.predict(X), []
    header = 8 + int.from_bytes(content[:8], "little")
    for i in range(1000):
        changed = bytearray(content)
        place = int(rng.integers(header if i % 2 else len(content)))
        if i % 3:
            changed[place] ^= 1 << int(rng.integers(8))
        else:
            del changed[place : place + int(rng.integers(1, 30))]
        if i % 7 == 0:
            del changed[int(rng.integers(len(changed))) :]
        path.write_bytes(changed)
        try:
            loaded = fastnn.load(path)
        except fastnn.SavedModelError as error:
            refused.append(str(error))
        else:
            np.testing.assert_array_equal(loaded.predict(X), expected)
    assert all("net" in error for error in refused)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F64", "shape": [2**40, 2**40], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [10**9], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]},
        {"dtype": "F64", "shape": [1], "data_offsets": [0, 2**62]},
        {"dtype": "F64", "shape": [0, 2**62], "data_offsets": [0, 0]},
        {"dtype": "BOOL", "shape": [8], "data_offsets": [0, 8]},
    ],
)
def test_headers_of_absurd_shapes(entry, tmp_path):
    header = {"__metadata__": {"fastnn": "{}", "digest": ""}, "layers.0.W": entry}
    text = json.dumps(header).encode()
    (tmp_path / "net").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(fastnn.SavedModelError, match="net"):
        fastnn.load(tmp_path / "net")
