import numpy as np
import pytest

import fastnn
from fastnn import reference

EPS = np.finfo(float).eps
PAIRS = {
    "cross_entropy": (fastnn.CrossEntropy(), reference.CrossEntropy("cross_entropy")),
    "binary_cross_entropy": (
        fastnn.BinaryCrossEntropy(),
        reference.BinaryCrossEntropy("binary_cross_entropy"),
    ),
    "l2": (fastnn.L2(), reference.L2("l2")),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]


def rows(rng, shape, dtype=np.float64):
    return rng.uniform(0.05, 1, (2, *shape)).astype(dtype)


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (64, 10), (7,), (2, 3, 4)])
def test_equals_the_reference(pair, shape, dtype, rng):
    fast, plain = pair
    Y, Y_hat = rows(rng, shape, dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert fast(Y, Y_hat) == pytest.approx(plain(*np.float64([Y, Y_hat])), rel=tolerance)
    gradient = fast.backward(Y, Y_hat)
    assert gradient.dtype == dtype
    np.testing.assert_allclose(gradient, plain.backward(Y, Y_hat), rtol=tolerance)


def test_the_loss_is_a_python_float(pair, dtype, rng):
    assert type(pair[0].forward(*rows(rng, (3, 2), dtype))) is float


def test_gradients_are_those_of_finite_differences(pair, rng):
    fast, _ = pair
    Y, Y_hat = rows(rng, (4, 3))
    error = fastnn.check_gradients(
        lambda p: fast.forward(Y, p), fast.backward(Y, Y_hat), Y_hat, np.ones(())
    )
    assert error < 1e-7


def test_arguments_are_not_written(pair, rng):
    Y, Y_hat = before = rows(rng, (4, 3))
    before = before.copy()
    pair[0].forward(Y, Y_hat)
    pair[0].backward(Y, Y_hat)
    np.testing.assert_array_equal((Y, Y_hat), before)


def test_gradients_outlive_later_calls(pair, rng):
    Y, Y_hat = rows(rng, (4, 3))
    gradient = pair[0].backward(Y, Y_hat)
    before = gradient.copy()
    pair[0].backward(Y_hat, Y)
    np.testing.assert_array_equal(gradient, before)


def test_integers_and_odd_layouts(pair, rng):
    fast, plain = pair
    Y = np.asfortranarray(rng.integers(0, 2, (4, 3)).astype(np.uint8))
    Y_hat = rng.uniform(0.1, 1, (4, 6))[:, ::-2]
    wide = Y.astype(float)
    assert fast(Y, Y_hat) == pytest.approx(plain(wide, Y_hat), rel=1e-12)
    assert fast(Y.tolist(), Y_hat.tolist()) == fast(Y, Y_hat)
    np.testing.assert_allclose(fast.backward(Y, Y_hat), plain.backward(wide, Y_hat), rtol=1e-12)


def test_float16_gradients_are_float16(pair):
    Y, Y_hat = np.full((2, 3, 2), 0.5, np.float16)
    assert pair[0].backward(Y, Y_hat).dtype == np.float16


def test_l2_of_unsigned_integers_does_not_wrap():
    Y, Y_hat = np.array([[0]], np.uint8), np.array([[3]], np.uint8)
    assert fastnn.L2()(Y, Y_hat) == 4.5
    assert fastnn.L2().backward(Y_hat, Y).tolist() == [[-3]]


@pytest.mark.parametrize("shape", [(0, 3), (0,)])
def test_an_empty_batch_has_a_nan_loss(pair, shape, dtype):
    empty = np.empty(shape, dtype)
    assert np.isnan(pair[0](empty, empty))
    assert pair[0].backward(empty, empty).shape == shape


def test_nan_propagates(pair, dtype):
    Y, Y_hat = np.full((2, 2, 2), 0.5, dtype)
    Y_hat[0, 1] = np.nan
    assert np.isnan(pair[0](Y, Y_hat))
    gradient = np.isnan(pair[0].backward(Y, Y_hat))
    assert gradient.tolist() == [[False, True], [False, False]]


def test_cross_entropy_of_an_impossible_class():
    loss = fastnn.CrossEntropy()
    assert loss([[0.0, 1.0]], [[1.0, 0.0]]) == pytest.approx(-np.log(EPS))
    assert loss.backward([[0.0, 1.0]], [[1.0, 0.0]]).tolist() == [[0, -np.inf]]


def test_cross_entropy_gradient_is_zero_without_weight():
    gradient = fastnn.CrossEntropy().backward([[0.0, 1.0]], [[0.0, 0.5]])
    assert gradient.tolist() == [[0, -2]]


def test_binary_cross_entropy_gradient_is_zero_without_weight():
    gradient = fastnn.BinaryCrossEntropy().backward([[0.0, 1.0, 0.0]], [[0.0, 1.0, 1.0]])
    assert gradient.tolist() == [[1, -1, np.inf]]


BAD = [
    ([[None]], TypeError),
    ([["a"]], TypeError),
    ([[1j]], TypeError),
    ([[1, 2], [3]], ValueError),
]


@pytest.mark.parametrize("method", ["forward", "backward"])
@pytest.mark.parametrize(("bad", "error"), BAD, ids=["object", "str", "complex", "ragged"])
def test_errors_name_the_argument(pair, method, bad, error):
    call = getattr(pair[0], method)
    with pytest.raises(error, match=r"\bY\b"):
        call(bad, [[1.0]])
    with pytest.raises(error, match=r"\bY_hat\b"):
        call([[1.0]], bad)


@pytest.mark.parametrize("method", ["forward", "backward"])
@pytest.mark.parametrize("shape", [(3, 2), (2,), (2, 1), (1, 3)])
def test_shapes_that_differ_are_not_broadcast(pair, method, shape):
    with pytest.raises(ValueError, match=r"Y and Y_hat .*\(2, 3\)"):
        getattr(pair[0], method)(np.zeros((2, 3)), np.zeros(shape))


def test_two_numbers_are_not_a_batch(pair):
    with pytest.raises(ValueError, match="batch axis"):
        pair[0](1.0, 2.0)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cross_entropy", fastnn.CrossEntropy),
        ("binary_cross_entropy", fastnn.BinaryCrossEntropy),
        ("l2", fastnn.L2),
    ],
)
def test_losses_by_name(name, kind):
    loss = fastnn.initialize_loss(name)
    assert type(loss) is kind
    assert loss.name == name


@pytest.mark.parametrize("unknown", ["hinge", None, 2], ids=repr)
def test_unknown_names_list_the_known(unknown):
    with pytest.raises(NotImplementedError, match="'cross_entropy', 'binary_cross_entropy', 'l2'"):
        fastnn.initialize_loss(unknown)
