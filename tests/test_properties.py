"""What holds for every shape, dtype and layout."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn
from fastnn import FullyConnected, reference

ELEMENTWISE = ("Linear", "Sigmoid", "TanH", "ReLU", "ArcTan")
DTYPES = ("<f4", ">f4", "<f8", ">f8")
TOLERANCE = {4: 2e-5, 8: 1e-12}
sizes = st.integers(1, 12)
wide = st.one_of(sizes, st.sampled_from([31, 32, 33, 127, 128, 129, 300]))
seeds = st.integers(0, 2**32 - 1)
common = settings(deadline=None, max_examples=40)


@st.composite
def laid_out(draw, shape, dtype, scale=3.0, positive=False):
    """Return an array with any order of axes, steps, directions and alignment in memory."""
    rng = np.random.default_rng(draw(seeds))
    values = rng.uniform(0.05, 1, shape) if positive else rng.normal(scale=scale, size=shape)
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from([1, 2, 3, -1, -2])) for _ in shape]
    space = [abs(steps[axis]) * shape[axis] for axis in order]
    shift = draw(st.sampled_from([0, 1, 4]))
    raw = np.zeros(int(np.prod(space)) * np.dtype(dtype).itemsize + shift, np.uint8)
    array = raw[shift:].view(dtype).reshape(space).transpose(np.argsort(order))
    array = array[tuple(slice(None, None, step) for step in steps)]
    array[...] = values
    array.flags.writeable = draw(st.booleans())
    return array


def plain(array):
    return np.ascontiguousarray(array, np.float64)


def assert_close(got, want, like):
    assert got.dtype == like.dtype.newbyteorder("=")
    tolerance = TOLERANCE[like.itemsize]
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@given(st.data(), st.sampled_from((*ELEMENTWISE, "SoftMax")), st.sampled_from(DTYPES))
@common
def test_activations_agree_with_the_reference(data, name, dtype):
    shape = data.draw(st.lists(sizes, min_size=1, max_size=3).map(tuple))
    Z, dY = (data.draw(laid_out(shape, dtype)) for _ in range(2))
    before = Z.tobytes(), dY.tobytes()
    fast, slow = getattr(fastnn, name)(), getattr(reference, name)()
    assert_close(fast.forward(Z), slow.forward(plain(Z)), Z)
    assert_close(fast.backward(Z, dY), slow.backward(plain(Z), plain(dY)), Z)
    assert (Z.tobytes(), dY.tobytes()) == before


@given(st.data(), sizes, wide, st.sampled_from(DTYPES), st.sampled_from([1.0, 30.0, 1000.0]))
@common
def test_softmax_rows_sum_to_one_and_gradient_rows_to_zero(data, n, k, dtype, scale):
    Z = data.draw(laid_out((n, k), dtype, scale))
    dY = data.draw(laid_out((n, k), dtype))
    softmax = fastnn.SoftMax()
    P, dZ = softmax(Z), softmax.backward(Z, dY)
    eps = np.finfo(P.dtype).eps
    assert (P >= 0).all()
    assert np.abs(plain(P).sum(axis=1) - 1).max() <= (k + 4) * eps
    assert np.abs(plain(dZ).sum(axis=1)).max() <= (k + 8) * eps * np.abs(dY).max()
    np.testing.assert_allclose(P, reference.SoftMax().forward(plain(Z)), rtol=1e-3, atol=1e-30)


@given(st.data(), sizes, wide, st.sampled_from(DTYPES))
@common
def test_softmax_hardly_notices_a_shift_of_a_row(data, n, k, dtype):
    Z = np.rint(data.draw(laid_out((n, k), dtype, 9.0)))
    shift = np.array(data.draw(st.lists(st.integers(-1000, 1000), min_size=n, max_size=n)))[:, None]
    dY = data.draw(laid_out((n, k), dtype))
    moved = Z + shift.astype(Z.dtype)  # integers: nothing is rounded
    softmax = fastnn.SoftMax()
    P = softmax(Z)
    eps = np.finfo(P.dtype).eps
    np.testing.assert_allclose(softmax(moved), P, rtol=8 * eps, atol=0)
    np.testing.assert_allclose(
        softmax.backward(moved, dY), softmax.backward(Z, dY), rtol=0, atol=16 * eps * np.abs(dY).max()
    )
    constant = np.broadcast_to(np.rint(8 * dY[:, :1]), dY.shape)
    assert np.abs(softmax.backward(Z, constant)).max() <= (k + 8) * np.finfo(Z.dtype).eps * 100


@given(st.data(), sizes, wide, st.sampled_from(DTYPES))
@common
def test_softmax_of_permuted_classes_is_permuted(data, n, k, dtype):
    Z = data.draw(laid_out((n, k), dtype))
    order = np.random.default_rng(data.draw(seeds)).permutation(k)
    assert_close(fastnn.SoftMax()(Z[:, order]), fastnn.SoftMax()(Z)[:, order], Z)
    rows = np.random.default_rng(data.draw(seeds)).permutation(n)
    assert fastnn.SoftMax()(Z[rows]).tobytes() == fastnn.SoftMax()(Z)[rows].tobytes()


@given(st.data(), st.sampled_from(["CrossEntropy", "L2"]), sizes, wide, st.sampled_from(DTYPES))
@common
def test_losses_agree_with_the_reference(data, name, n, k, dtype):
    Y, Y_hat = (data.draw(laid_out((n, k), dtype, positive=True)) for _ in range(2))
    fast, slow = getattr(fastnn, name)(), getattr(reference, name)(name)
    want = slow.forward(plain(Y), plain(Y_hat))
    np.testing.assert_allclose(fast.forward(Y, Y_hat), want, rtol=TOLERANCE[Y.itemsize])
    assert_close(fast.backward(Y, Y_hat), slow.backward(plain(Y), plain(Y_hat)), Y)


@given(
    st.data(), sizes, sizes, wide, st.sampled_from((*ELEMENTWISE, "SoftMax")), st.sampled_from(DTYPES)
)
@common
def test_a_fully_connected_layer_agrees_with_the_reference(data, n, d, k, activation, dtype):
    X, dY = data.draw(laid_out((n, d), dtype, 1.0)), data.draw(laid_out((n, k), dtype, 1.0))
    W, b = data.draw(laid_out((d, k), dtype, 0.5)), data.draw(laid_out((1, k), dtype, 0.5))
    fast = FullyConnected(k, activation.lower(), "zeros")
    slow = reference.FullyConnected(k, activation.lower(), "zeros")
    fast.forward(X)
    slow.forward(plain(X))
    for layer in (fast, slow):
        layer.parameters["W"], layer.parameters["b"] = (plain(p) for p in (W, b))
    if activation == "ReLU":  # a sum on the other side of the step, by rounding
        dY = dY * (np.abs(plain(X) @ plain(W) + plain(b)) > 1e-5).astype(dY.dtype)
    assert_close(fast.forward(X), slow.forward(plain(X)), X)
    assert_close(fast.backward(dY), slow.backward(plain(dY)), X)
    for name in "Wb":
        assert_close(fast.gradients[name], slow.gradients[name], X)


@given(
    st.data(),
    st.one_of(sizes, st.sampled_from([63, 64, 65, 130, 257])),
    st.lists(st.one_of(sizes, st.sampled_from([33, 64, 100])), min_size=2, max_size=5),
    st.sampled_from(["SGD", "Adam"]),
    st.booleans(),
)
@common
def test_a_training_step_agrees_with_the_reference(data, n, widths, rule, classes):
    d, *hidden, k = widths
    k += classes and k == 1  # a softmax of one output is refused
    X = data.draw(laid_out((n, d), "<f8", 1.0))
    Y = data.draw(laid_out((n, k), "<f8", positive=True))
    output, loss = ("softmax", "cross_entropy") if classes else ("linear", "l2")
    layers = [
        {"name": "fully_connected", "n_out": width, "activation": activation}
        for width, activation in zip([*hidden, k], [*["tanh"] * len(hidden), output], strict=True)
    ]
    optimizer = {"name": rule, "lr": 0.01, "clip_norm": data.draw(st.sampled_from([None, 0.5]))}
    fast, slow = (m.NeuralNetwork(loss, layers, optimizer, seed=1) for m in (fastnn, reference))
    for _ in range(2):
        losses = fast.train_step(X, Y), slow.train_step(plain(X), plain(Y))
        np.testing.assert_allclose(*losses, rtol=1e-9, atol=1e-12)
    for a, b in zip(fast.layers, slow.layers, strict=True):
        for name in "Wb":
            np.testing.assert_allclose(a.parameters[name], b.parameters[name], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(fast.predict(X), slow.forward(plain(X)), rtol=1e-6, atol=1e-9)
