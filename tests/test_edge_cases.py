"""The numerical contract's edge cases: on functions, on a layer, on a network over both roads."""

import math

import numpy as np
import pytest

import fastnn
from fastnn import FullyConnected
from fastnn.activations import ACTIVATIONS
from fastnn.reference.formulas import FORMULAS

ELEMENTWISE = sorted({a.__name__ for a in ACTIVATIONS.values()} - {"SoftMax", "LogSoftMax"})


class LayerwiseSGD(fastnn.SGD):
    """Unknown to the engine: a step goes layer by layer."""


@pytest.fixture(params=[fastnn.SGD, LayerwiseSGD], ids=["engine", "layers"])
def road(request):
    return request.param


def network(road, output="softmax", loss="cross_entropy", hidden="tanh", seed=0, dtype=None):
    layers = [FullyConnected(5, hidden), FullyConnected(3, output)]
    return fastnn.NeuralNetwork(loss, layers, road(0.1), seed=seed, dtype=dtype)


def parameters(net):
    return [p for layer in net.layers for p in layer.parameters.values()]


def bits(arrays):
    return [np.asarray(a).tobytes() for a in arrays]


def huge(dtype):
    return float(np.finfo(dtype).max) / 4


X = np.random.default_rng(0).normal(size=(9, 4))
ROWS = np.eye(3)[np.arange(9) % 3]

# Rows of two features, and the outputs of a layer that computes from them the logits
# a - 10 b, a + b, a + b: the largest numbers overflow in the first, or all of them.
SPECIAL = {
    "nan": ((math.nan, 1), None),
    "all -inf": ((-math.inf, 1), None),
    "all +inf": ((math.inf, 1), None),
    "+inf and -inf": ((0, -math.inf), None),
    "one +inf": ((0, -1.0), None),
    "one -inf": ((0, 1.0), (0, 0.5, 0.5)),
}
WEIGHTS = [[1, 1, 1], [-10, 1, 1]]


def special_row(name, dtype):
    a, b = SPECIAL[name][0]
    return (a, b * huge(dtype) if name.startswith("one") else b)


def special_layer(dtype):
    layer = FullyConnected(3, "softmax")
    layer.forward(np.zeros((1, 2), dtype))
    layer.parameters["W"] = WEIGHTS
    return layer


# A row with NaN, of nothing but -inf, with +inf; some -inf; huge logits.


@pytest.mark.parametrize("k", [2, 5, 40, 200])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, (math.inf, -math.inf)], ids=repr)
def test_softmax_of_a_row_that_has_none_is_nan_and_alone(bad, k, dtype, rng):
    Z, dY = rng.normal(size=(2, 7, k)).astype(dtype)
    forward, backward = fastnn.SoftMax()(Z), fastnn.SoftMax().backward(Z, dY)
    for row in (0, 3, 6):
        odd = Z.copy()
        odd[row, : np.size(bad) if bad != -math.inf else k] = bad
        for got, want in (
            (fastnn.SoftMax()(odd), forward),
            (fastnn.SoftMax().backward(odd, dY), backward),
        ):
            assert np.isnan(got[row]).all()
            assert bits(np.delete(got, row, 0)) == bits(np.delete(want, row, 0))


@pytest.mark.parametrize("k", [3, 40, 200])
def test_softmax_with_some_minus_infinity_is_that_of_the_rest(k, dtype, rng):
    Z, dY = rng.normal(size=(2, 6, k)).astype(dtype)
    gone = np.arange(k) % 3 == 1
    Z[:, gone] = -np.inf
    tolerance = 1e-6 if dtype == np.float32 else 1e-14
    for got, want in (
        (fastnn.SoftMax()(Z), fastnn.SoftMax()(Z[:, ~gone])),
        (fastnn.SoftMax().backward(Z, dY), fastnn.SoftMax().backward(Z[:, ~gone], dY[:, ~gone])),
    ):
        assert (got[:, gone] == 0).all()
        np.testing.assert_allclose(got[:, ~gone], want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_stays_where_it_is(name, dtype, rng):
    activation = getattr(fastnn, name)()
    Z, dY = rng.normal(size=(2, 5, 7)).astype(dtype)
    want, gradient = activation(Z), activation.backward(Z, dY)
    Z[2, 3] = dY[2, 3] = np.nan
    at = np.isnan(Z)
    for got, clean in ((activation(Z), want), (activation.backward(Z, dY), gradient)):
        assert np.isnan(got[at]).all()
        assert bits(got[~at]) == bits(clean[~at])


@pytest.mark.parametrize("scale", [1e4, "huge", math.inf], ids=str)
@pytest.mark.parametrize("name", FORMULAS)
def test_activations_far_out_are_their_limits(name, scale, dtype):
    big, row = huge(dtype) if scale == "huge" else scale, FORMULAS[name]
    ends = np.array([-big, big], dtype)
    activation = ACTIVATIONS[name](*row.parameter)
    Z = np.tile(ends, 20)
    found = activation(Z), activation.backward(Z, np.ones_like(Z))
    for exact, got in zip((row.function, row.slope), found, strict=True):
        values = exact.plain(ends, *row.parameter)
        with np.errstate(under="ignore"):
            wanted = np.where(np.isnan(values), exact.ends, values).astype(dtype)
        np.testing.assert_allclose(got, np.tile(wanted, 20), rtol=4 * np.finfo(dtype).eps)


def test_softmax_does_not_flush_what_is_below_the_smallest_normal_number():
    Z = np.array([[0.0, -720.0]])
    assert fastnn.SoftMax()(Z)[0, 1] == pytest.approx(math.exp(-720), rel=1e-9)
    Z = np.array([[0, -95]], np.float32)
    assert float(fastnn.SoftMax()(Z)[0, 1]) == pytest.approx(math.exp(-95), rel=1e-3)


@pytest.mark.parametrize("through", ["layer", "network"])
def test_special_rows_of_a_batch(through, dtype, road):
    layer = special_layer(dtype)
    batch = [(1, 0.1), *(special_row(name, dtype) for name in SPECIAL), (1, 0.1)]
    if through == "network":
        out = fastnn.NeuralNetwork("cross_entropy", [layer], road()).predict(np.array(batch, dtype))
    else:
        out = layer.forward(np.array(batch, dtype))
    e = np.exp([0, 1.1, 1.1])
    wanted = [e / e.sum(), *(np.full(3, np.nan) if w is None else w for _, w in SPECIAL.values())]
    np.testing.assert_allclose(out, [*wanted, e / e.sum()], rtol=1e-6)
    assert out[-2, 0] == 0
    if through == "layer":
        undefined = np.isnan(out)
        assert (
            np.isnan(layer.backward(np.ones_like(out))).any(axis=1).tolist() == undefined[:, 0].tolist()
        )


@pytest.mark.parametrize("name", SPECIAL)
def test_the_loss_of_special_rows_on_both_roads(name, dtype, road):
    batch = np.array([(1, 0.1), special_row(name, dtype)], dtype)
    first = math.log(2 + math.exp(-1.1))
    for target in range(3):
        wanted = math.nan
        if SPECIAL[name][1] is not None:
            wanted = (first + (math.log(2) if target else math.inf)) / 2
        net = fastnn.NeuralNetwork("cross_entropy", [special_layer(dtype)], road(0.0))
        Y = np.eye(3)[[1, target]]
        backward = net.backward(Y, net.forward(batch))
        losses = [backward, net.evaluate(batch, Y)[0], net.train_step(batch, Y)]
        np.testing.assert_allclose(losses, [wanted] * 3, rtol=1e-6)


@pytest.mark.parametrize("target", range(3))
def test_the_loss_of_huge_logits_is_exact_on_both_roads(target, dtype, road):
    big = 1e4 if dtype == np.float32 else 1e300
    net = fastnn.NeuralNetwork("cross_entropy", [FullyConnected(3, "softmax", "identity")], road(1.0))
    batch, Y = np.array([[big, -big, 0]], dtype), np.eye(3)[[target]]
    wanted = (0, 2 * big, big)[target]
    out = net.forward(batch)
    assert out.tolist() == [[1, 0, 0]]
    assert net.backward(Y, out) == wanted
    gradient = net.layers[0].gradients["b"]
    assert gradient.tolist() == [[1 - Y[0, 0], -Y[0, 1], -Y[0, 2]]]
    assert net.evaluate(batch, Y)[0] == net.train_step(batch, Y) == wanted
    assert net.layers[0].parameters["b"].tolist() == (-gradient).tolist()


@pytest.mark.parametrize("call", ["train_step", "evaluate"])
def test_an_infinite_squared_loss_is_reported_without_a_warning(call, road):
    net = network(road, "linear", "l2")
    net.forward(X)
    net.layers[1].parameters["W"] = np.full((5, 3), 1e200)
    assert np.ravel(getattr(net, call)(X, ROWS))[0] == math.inf


def test_a_step_that_overflows_is_a_whole_step(road):
    net = fastnn.NeuralNetwork("l2", [FullyConnected(1, "linear", "zeros")], road(1e308))
    net.forward([[1.0]])
    net.layers[0].parameters["W"], net.layers[0].parameters["b"] = [[1.5e308]], [-1.5e308]
    assert net.train_step([[1.0]], [[-1.0]]) == 0.5
    assert [p.tolist() for p in parameters(net)] == [[[0.5e308]], [[-math.inf]]]


def test_a_huge_gradient_is_clipped_to_the_norm(dtype, road):
    net = fastnn.NeuralNetwork(
        "cross_entropy", [FullyConnected(2, "softmax", "zeros")], road(1.0, clip_norm=5.0)
    )
    batch = np.full((1, 2), 1e25 if dtype == np.float32 else 1e200, dtype)
    assert net.train_step(batch, [0]) == pytest.approx(math.log(2))
    np.testing.assert_allclose(net.layers[0].parameters["W"], [[2.5, -2.5]] * 2, rtol=1e-6)


# NaN while training.


@pytest.mark.parametrize("where", ["features", "targets", "weights", "bias"])
@pytest.mark.parametrize(("output", "loss"), [("softmax", "cross_entropy"), ("linear", "l2")])
def test_nan_spreads_to_all_parameters_and_is_reported(where, output, loss, dtype, road):
    net, batch, Y = network(road, output, loss, dtype=dtype), X.copy(), ROWS.copy()
    net.forward(X)
    if where == "features":
        batch[4, 1] = np.nan
    elif where == "targets":
        Y[4] = np.nan
    else:
        net.layers[0].parameters["W" if where == "weights" else "b"][0, 2] = np.nan
    with pytest.warns(RuntimeWarning, match="the training loss is nan in epoch 1"):
        history = net.fit(batch, Y, epochs=1, verbose=False, check_finite=False)
    assert math.isnan(history.loss[0])
    assert all(np.isnan(p).all() for p in parameters(net))


def test_the_error_of_rows_without_softmax_is_that_of_the_output(road):
    for target in range(3):
        net = network(road)
        net.forward(X)
        net.layers[1].parameters["b"] = [0, math.nan, 5]
        Y = np.eye(3)[[target] * 9]
        assert math.isnan(net.error(Y, net.predict(X)))  # nobody knows its class
        with pytest.warns(RuntimeWarning, match="the training loss is nan"):
            assert math.isnan(net.fit(X, Y, epochs=1, verbose=False).error[0])


# An empty batch.


@pytest.mark.parametrize(("output", "loss"), [("softmax", "cross_entropy"), ("linear", "l2")])
def test_a_batch_of_no_rows(output, loss, dtype, road):
    net = network(road, output, loss, dtype=dtype)
    empty, no_rows = X[:0].astype(dtype), ROWS[:0]
    for _ in range(2):
        assert net.predict(empty).shape == (0, 3)
        assert np.isnan(net.evaluate(empty, no_rows)).all()
        assert math.isnan(net.backward(no_rows, net.forward(empty)))
        assert not any(g.any() for layer in net.layers for g in layer.gradients.values())
        before = bits(parameters(net))
        assert math.isnan(net.train_step(empty, no_rows))
        assert bits(parameters(net)) == before
        net.train_step(X, ROWS)
