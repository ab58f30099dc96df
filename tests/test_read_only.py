"""Read-only arrays (memory maps, frombuffer, pandas): no copies, no second compilation, same bits."""

import sys

import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected, functional
from fastnn.engine import stretches
from fastnn.kernels.compiling.inlined import Kernel


class LayerwiseSGD(fastnn.SGD):
    """Unknown to the engine: a step goes layer by layer."""


@pytest.fixture(params=[fastnn.SGD, LayerwiseSGD], ids=["engine", "layers"])
def road(request):
    return request.param


def network(road=fastnn.SGD, output="softmax", loss="cross_entropy"):
    layers = [FullyConnected(5, "tanh"), FullyConnected(3, output)]
    return fastnn.NeuralNetwork(loss, layers, road(0.1, clip_norm=1.0), seed=0)


def locked(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def from_file(array, folder):
    path = folder / "X.bin"
    array.tofile(path)
    return np.memmap(path, array.dtype, "r", shape=array.shape)


FORMS = {
    "locked": lambda a, _: locked(a),
    "frombuffer": lambda a, _: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
    "memmap": from_file,
}


def read_only_signatures():
    """Return the kernels that have code for read-only arrays."""
    modules = [module for name, module in sys.modules.items() if name.startswith("fastnn.kernels")]
    kernels = {id(k): k for module in modules for k in vars(module).values()}.values()
    return {
        (kernel.__name__, str(signature))
        for kernel in kernels
        if isinstance(kernel, Kernel)
        for signature in kernel.signatures
        if any(hasattr(argument, "layout") and not argument.mutable for argument in signature)
    }


@pytest.fixture
def no_second_code():
    before = read_only_signatures()
    yield
    assert read_only_signatures() == before


def bits(net):
    return [p.tobytes() for layer in net.layers for p in layer.parameters.values()]


def data(dtype, n=40):
    rng = np.random.default_rng(3)
    return rng.normal(size=(n, 4)).astype(dtype), np.eye(3, dtype=dtype)[rng.integers(0, 3, n)]


@pytest.fixture
def read(monkeypatch):
    """Return a list to which every compiled stretch adds the address that it reads X from."""
    addresses, train = [], stretches.train

    def watched(together, pool):
        found = train(together, pool)
        addresses.append(int(together[0].plan.picking["all_X"][0]))
        return found

    monkeypatch.setattr(stretches, "train", watched)
    return addresses


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weighted", [False, True])
def test_fit_reads_a_read_only_array_where_it_lies(
    form, weighted, dtype, tmp_path, read, no_second_code
):
    if fastnn.engine.obstacle(network()) is not None:
        pytest.skip("no compiled steps here")
    X, Y = data(dtype)
    weights = np.linspace(0.5, 2, len(X)) if weighted else None
    given = FORMS[form](X, tmp_path)
    results = []
    for x in (X, given):
        read.clear()
        net = network()
        history = net.fit(x, Y, epochs=2, batch_size=7, verbose=False, sample_weight=weights)
        results.append((bits(net), history.loss))
    assert results[0] == results[1]
    # the first batch makes the parameters; every other is one of a compiled stretch
    assert set(read) == {given.ctypes.data}
    assert not given.flags.writeable


@pytest.mark.parametrize("form", FORMS)
def test_every_call_takes_read_only_arrays_with_the_code_it_has(
    form, dtype, road, tmp_path, no_second_code
):
    results = []
    arrays = data(dtype)
    for x, y in (arrays, (FORMS[form](arrays[0], tmp_path), locked(arrays[1]))):
        net = network(road)
        found = [net.train_step(x, y) for _ in range(3)]
        found += [net.train_step(x[2:9], y[2:9]), *net.evaluate(x, y), *net.predict(x).ravel()]
        net.backward(y, net.forward(x))
        net.fit(x, y, epochs=2, batch_size=9, verbose=False, validation_data=(x, y))
        results.append((found, bits(net), net.history))
    assert results[0] == results[1]


def test_parts_take_read_only_arrays_with_the_code_they_have(dtype, no_second_code):
    X, Y = data(dtype)
    Z = X[:, :3].copy()
    results = []
    for z, y in ((Z, Y), (locked(Z), locked(Y))):
        layer = FullyConnected(3, "linear", weight_init="ones")
        found = [layer.forward(z), layer.backward(z)]
        for activation in (fastnn.TanH(), fastnn.SoftMax(), fastnn.Linear(), fastnn.LeakyReLU()):
            found += [activation.forward(z), activation.backward(z, y)]
        for loss in (fastnn.CrossEntropy(), fastnn.BinaryCrossEntropy(), fastnn.L2()):
            found += [loss.forward(y, abs(z)), loss.backward(y, abs(z))]
        found += [*fastnn.CrossEntropy().from_logits(y, z), *functional.binary_cross_entropy(z, y)]
        labels = locked(y.argmax(axis=1)) if not y.flags.writeable else y.argmax(axis=1)
        found += [*functional.softmax_cross_entropy(z, y), *functional.softmax_cross_entropy(z, labels)]
        for optimizer in (fastnn.SGD(clip_norm=0.1), fastnn.Adam()):
            found.append(optimizer.update("W", z, y))
        results.append([np.asarray(part).tobytes() for part in found])
    assert results[0] == results[1]


def test_nobody_is_handed_a_writable_view_of_read_only_memory(dtype):
    X, Y = (locked(array) for array in data(dtype))
    seen = []

    class Watching(fastnn.Layer):
        def forward(self, A):
            seen.append(A)
            return A

        def backward(self, dLdY):
            return dLdY

    net = fastnn.NeuralNetwork(
        "cross_entropy", [Watching(), FullyConnected(3, "softmax")], fastnn.SGD()
    )
    net.train_step(X, Y)
    net.fit(X, Y, epochs=1, shuffle=False, verbose=False, batch_size=len(X))
    net.predict(X)
    layer = FullyConnected(3, "linear")
    layer.forward(X)
    seen += [layer.cache["X"], fastnn.Linear().forward(X), fastnn.Linear().backward(X, X)]
    assert len(seen) == 6
    for array in seen:
        assert not (np.shares_memory(array, X) and array.flags.writeable)


def test_many_networks_read_a_read_only_array_where_it_lies(dtype, no_second_code):
    if fastnn.engine.obstacle(network()) is not None:
        pytest.skip("no compiled steps here")
    X, Y = data(dtype)
    results = []
    for x in (X, locked(X)):
        nets = [network(), network()]
        histories = fastnn.fit_many(nets, x, Y, epochs=2)
        results.append(([bits(net) for net in nets], histories))
    assert results[0] == results[1]


def test_estimators_read_a_read_only_array_where_it_lies(read, no_second_code):
    pytest.importorskip("sklearn")
    from fastnn.sklearn import MLPClassifier

    if fastnn.engine.obstacle(network()) is not None:
        pytest.skip("no compiled steps here")
    X, Y = data(np.dtype(np.float64))
    fitted = []
    for x in (X, locked(X)):
        read.clear()
        model = MLPClassifier((5,), solver="sgd", max_iter=3, tol=0.0, random_state=0)
        with pytest.warns(Warning, match="haven't converged|hasn't converged"):
            model.fit(x, Y.argmax(axis=1))
        assert set(read) == {x.ctypes.data}
        fitted.append([*(W.tobytes() for W in model.coefs_), model.predict_proba(x).tobytes()])
    assert fitted[0] == fitted[1]
