"""Arrays of any dtype and layout, on functions and on a network over both roads; the environment."""

import os
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected


class LayerwiseSGD(fastnn.SGD):
    """Unknown to the engine: a step goes layer by layer."""


@pytest.fixture(params=[fastnn.SGD, LayerwiseSGD], ids=["engine", "layers"])
def road(request):
    return request.param


def network(road, output="softmax", loss="cross_entropy"):
    layers = [FullyConnected(5, "tanh"), FullyConnected(3, output)]
    return fastnn.NeuralNetwork(loss, layers, road(0.1), seed=0)


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


def bits(arrays):
    return [np.asarray(a).tobytes() for a in arrays]


X = np.random.default_rng(0).normal(size=(9, 4))
ROWS = np.eye(3)[np.arange(9) % 3]


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "bool"])
@pytest.mark.parametrize(("output", "loss"), [("softmax", "cross_entropy"), ("linear", "l2")])
def test_integers_are_converted_before_any_arithmetic(kind, output, loss, road):
    batch, Y = (np.random.default_rng(1).integers(0, 256, (2, 9, 3))).astype(kind)
    net, other = network(road, output, loss), network(road, output, loss)
    assert net.train_step(batch, Y) == other.train_step(batch.astype(float), Y.astype(float))
    assert bits(parameters(net)) == bits(parameters(other))
    assert bits([net.predict(batch)]) == bits([net.predict(batch.astype(float))])


def test_masked_entries_are_refused(road):
    masked, clear = np.ma.masked_greater(X, 1), np.ma.masked_greater(X, 100)
    labels = np.ma.masked_equal(np.arange(9) % 3, 2)
    net = network(road)
    options = {"epochs": 1, "verbose": False}
    calls = [
        lambda: net.fit(masked, ROWS, **options),
        lambda: net.fit(X, labels, **options),
        lambda: net.fit(X, ROWS, sample_weight=np.ma.masked_equal(np.arange(9), 2), **options),
        lambda: net.train_step(masked, ROWS),
        lambda: net.predict(masked),
        lambda: net.evaluate(X, labels),
        lambda: net.forward(masked),
        lambda: fastnn.Dataset.from_arrays(masked, labels.data),
        lambda: fastnn.Dataset.from_arrays(X, labels),
        lambda: fastnn.SoftMax()(masked),
        lambda: fastnn.integers_to_one_hot(labels),
        lambda: fastnn.Dataset(masked, ROWS, 3),
        lambda: fastnn.Dataset(X, np.ma.masked_equal(ROWS, 1), 3),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="masked entries"):
            call()
    assert net.fit(clear, ROWS, **options) == network(road).fit(X, ROWS, **options)


def test_the_error_of_small_integers_does_not_wrap(road):
    Y, Y_hat = np.array([[0, 100]], np.uint8), np.array([[20, 200]], np.uint8)
    assert network(road, loss="l2").error(Y, Y_hat) == (20**2 + 100**2) / 2
    assert network(road, loss="l2").error(Y > 0, Y_hat > 0) == 0.5


def test_float16_is_computed_in_float32_and_returned_as_float16(road):
    half = X.astype(np.float16)
    net, other = network(road), network(road)
    assert net.train_step(half, ROWS) == other.train_step(half.astype(np.float32), ROWS)
    assert bits(parameters(net)) == bits(parameters(other))
    for out in (net.predict(half), net.forward(half)):
        assert out.dtype == np.float16
        assert bits([out]) == bits([net.predict(half.astype(np.float32)).astype(np.float16)])


def misaligned(a, _):
    out = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


def read_only(a, _):
    out = a.copy()
    out.flags.writeable = False
    return out


def memmap(a, folder):
    path = folder / f"{a.shape[1]}.bin"
    a.tofile(path)
    return np.memmap(path, a.dtype, "r", shape=a.shape)


LAYOUTS = {
    "big-endian": lambda a, _: a.astype(a.dtype.newbyteorder(">")),
    "fortran": lambda a, _: np.asfortranarray(a),
    "strided": lambda a, _: np.repeat(np.repeat(a, 2, axis=1), 3, axis=0)[::3, ::2],
    "reversed": lambda a, _: a[::-1, ::-1].copy()[::-1, ::-1],
    "misaligned": misaligned,
    "read-only": read_only,
    "memmap": memmap,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_bits(layout, dtype, road, tmp_path):
    batch, Y = X.astype(dtype), ROWS.astype(dtype)
    odd, odd_Y = (LAYOUTS[layout](a, tmp_path) for a in (batch, Y))
    results = []
    for x, y in ((batch, Y), (odd, odd_Y)):
        net = network(road)
        net.backward(y, net.forward(x))
        results.append([*net.layers[0].gradients.values(), net.train_step(x, y), net.predict(x)])
        results[-1] += [
            fastnn.SoftMax()(x),
            fastnn.CrossEntropy().backward(y, x[:, :3]),
            *parameters(net),
        ]
    assert bits(results[0]) == bits(results[1])
    assert results[1][3].dtype == dtype
    assert bits([odd, odd_Y]) == bits([LAYOUTS[layout](a, tmp_path) for a in (batch, Y)])


@pytest.mark.parametrize("call", ["activation", "softmax", "layer", "network", "targets"])
def test_a_dimension_beyond_32_bits_is_refused(call, road):
    long = np.broadcast_to(np.float32(0), (1, 2**31))  # takes no memory
    calls = {
        "activation": fastnn.TanH().forward,
        "softmax": fastnn.SoftMax().forward,
        "layer": FullyConnected(2, "relu").forward,
        "network": network(road).predict,
        "targets": lambda y: network(road, "linear", "l2").train_step(X[:1], y),
    }
    with pytest.raises(ValueError, match=r"2\*\*31 - 1"):
        calls[call](long)


# The floating-point environment.

SUBNORMAL = """
import threading
import numpy as np

def check():
    for dtype in (np.float32, np.float64):
        tiny = np.full(64, np.finfo(dtype).tiny)
        assert (tiny / 4 > 0).all() and (tiny / 4 * 4 == tiny).all()
    assert 5e-324 * 1.0 > 0

check()
import fastnn
check()
X, y = np.random.default_rng(0).normal(size=(2000, 40)), np.arange(2000) % 3
layers = [fastnn.FullyConnected(50, "tanh"), fastnn.FullyConnected(3, "softmax")]
net = fastnn.NeuralNetwork("cross_entropy", layers, fastnn.SGD(), seed=0)
net.fit(X, y, epochs=1, verbose=False)
net.predict(X)
fastnn.SoftMax()(X)
check()
thread = threading.Thread(target=check)
thread.start()
thread.join()
print("unchanged")
"""


def test_subnormal_numbers_survive_importing_and_calling_fastnn():
    command = [sys.executable, "-c", SUBNORMAL]
    run = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ)
    assert run.stdout == "unchanged\n", run.stderr
    assert run.stderr == ""
