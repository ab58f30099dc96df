"""Activations against their plain NumPy twins, over whatever arrays users pass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

import fastnn
from fastnn import reference

NAMES = sorted({kind.__name__ for kind in fastnn.activations.ACTIVATIONS.values()})
TOLERANCE = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-12}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def pair(name):
    return getattr(fastnn, name)(), getattr(reference, name)()


def misaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    out = raw[1:].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


def strided(a):
    out = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    out[..., ::2] = a
    return out[..., ::2]


def read_only(a):
    out = a.copy()
    out.flags.writeable = False
    return out


LAYOUTS = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "reversed": lambda a: a[..., ::-1].copy()[..., ::-1],
    "read-only": read_only,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "misaligned": misaligned,
}


def assert_same(got, want, dtype):
    assert got.dtype == dtype
    tolerance = TOLERANCE[np.dtype(dtype).name]
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@given(
    st.sampled_from(NAMES),
    st_np.array_shapes(min_dims=1, max_dims=4, max_side=9),
    st.sampled_from(["float16", "float32", "float64"]),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_any_shape_equals_the_reference(name, shape, dtype, seed):
    rng = np.random.default_rng(seed)
    Z = rng.normal(scale=4, size=shape).astype(dtype)
    dY = rng.normal(size=shape).astype(dtype)
    fast, plain = pair(name)
    assert_same(fast.forward(Z), plain.forward(Z.astype(np.float64)), dtype)
    assert_same(fast.backward(Z, dY), plain.backward(*np.float64([Z, dY])), dtype)


@given(st.sampled_from(NAMES), st.sampled_from(sorted(LAYOUTS)), st.data())
@settings(max_examples=80, deadline=None)
def test_any_layout_gives_the_bits_of_the_contiguous_copy(name, layout, data):
    dtype = data.draw(st.sampled_from([np.float16, np.float32, np.float64]))
    finite = st_np.arrays(
        dtype,
        data.draw(st_np.array_shapes(min_dims=2, max_dims=3, max_side=6)),
        elements=st.floats(-20, 20, width=16),
    )
    Z = data.draw(finite)
    dY = Z[::-1].copy()
    odd_Z, odd_dY = LAYOUTS[layout](Z), LAYOUTS[layout](dY)
    fast, _ = pair(name)
    assert fast.forward(odd_Z).tobytes() == fast.forward(Z).tobytes()
    assert fast.backward(odd_Z, odd_dY).tobytes() == fast.backward(Z, dY).tobytes()
    np.testing.assert_array_equal(odd_Z, Z)
    np.testing.assert_array_equal(odd_dY, dY)


def test_results_are_native_and_writeable(name):
    fast, _ = pair(name)
    Z = np.array([[1.0, 2.0]], ">f4")
    out, gradient = fast.forward(Z), fast.backward(Z, Z)
    assert out.dtype.isnative
    assert out.flags.writeable
    assert gradient.dtype.isnative
    assert gradient.flags.writeable


@pytest.mark.parametrize(
    "Z",
    [
        [[1, -2], [0, 3]],
        [[1.5, -2], [0, 3]],
        ((1, -2), (0, 3)),
        np.array([[1, -2], [0, 3]], np.int8),
        np.array([[1, 255], [0, 3]], np.uint8),
        np.array([[2**63, 1]], np.uint64),
        np.array([[True, False]]),
    ],
    ids=["ints", "floats", "tuples", "int8", "uint8", "uint64", "bool"],
)
def test_other_numbers_become_float64(name, Z):
    fast, plain = pair(name)
    wide = np.array(Z, np.float64)
    assert_same(fast.forward(Z), plain.forward(wide), "float64")
    assert_same(fast.backward(Z, Z), plain.backward(wide, wide), "float64")


def test_mixed_floats_are_computed_in_the_wider(name, rng):
    fast, plain = pair(name)
    Z, dY = rng.normal(size=(2, 3, 4))
    Z = Z.astype(np.float32)
    assert_same(fast.backward(Z, dY), plain.backward(Z.astype(float), dY), "float64")


@pytest.mark.parametrize("name", [n for n in NAMES if n != "Linear"])  # which computes nothing
def test_float16_is_computed_in_float32(name, rng):
    Z, dY = rng.normal(scale=3, size=(2, 5, 7)).astype(np.float16)
    fast, _ = pair(name)
    wide_Z, wide_dY = Z.astype(np.float32), dY.astype(np.float32)
    assert fast(Z).tobytes() == fast(wide_Z).astype(np.float16).tobytes()
    want = fast.backward(wide_Z, wide_dY).astype(np.float16)
    assert fast.backward(Z, dY).tobytes() == want.tobytes()


@pytest.mark.parametrize("name", [n for n in NAMES if "SoftMax" not in n])
@pytest.mark.parametrize("Z", [-1.5, 2, np.float32(0.5), np.array(0.25)], ids=repr)
def test_one_number(name, Z):
    fast, plain = pair(name)
    out, gradient = fast(Z), fast.backward(Z, Z)
    assert np.ndim(out) == np.ndim(gradient) == 0
    assert out == pytest.approx(plain.forward(np.float64(Z)), rel=1e-6)
    assert gradient == pytest.approx(plain.backward(np.float64(Z), np.float64(Z)), rel=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_an_empty_batch_is_empty(name, shape, dtype):
    fast, _ = pair(name)
    Z = np.empty(shape, dtype)
    for result in (fast(Z), fast.backward(Z, Z)):
        assert result.shape == shape
        assert result.dtype == dtype


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_gradients_are_those_of_finite_differences(name, shape, rng):
    fast, _ = pair(name)
    Z, dY = rng.normal(size=(2, *shape))
    assert fastnn.check_gradients(fast.forward, fast.backward(Z, dY), Z, dY) < 1e-8


def test_calling_is_forward(name, rng):
    fast, _ = pair(name)
    Z = rng.normal(size=(2, 3))
    np.testing.assert_array_equal(fast(Z), fast.forward(Z))


def test_results_outlive_later_calls(name, rng):
    fast, _ = pair(name)
    Z, dY, other = rng.normal(size=(3, 4, 5))
    results = [fast(Z), fast.backward(Z, dY)]
    before = [r.copy() for r in results]
    fast(other)
    fast.backward(other, other)
    np.testing.assert_array_equal(results, before)


BAD = [
    (np.array([[1, None]], object), TypeError),
    ([["a", "b"]], TypeError),
    ([[1j, 2]], TypeError),
    (None, TypeError),
    (np.array(["2020-01-01"], "datetime64[D]"), TypeError),
    ([[1, 2], [3]], ValueError),
]
BAD_IDS = ["object", "str", "complex", "none", "date", "ragged"]


@pytest.mark.parametrize(("bad", "error"), BAD, ids=BAD_IDS)
def test_errors_name_the_argument(name, bad, error):
    fast, _ = pair(name)
    good = np.zeros((1, 2))
    with pytest.raises(error, match=r"\bZ\b"):
        fast.forward(bad)
    with pytest.raises(error, match=r"\bZ\b"):
        fast.backward(bad, good)
    with pytest.raises(error, match=r"\bdY\b"):
        fast.backward(good, bad)


@pytest.mark.parametrize("shape", [(3, 2), (2,), (1, 3), (2, 3, 1)])
def test_shapes_that_differ_are_not_broadcast(name, shape):
    fast, _ = pair(name)
    with pytest.raises(ValueError, match=r"Z and dY .*\(2, 3\) and \(" + str(shape[0])):
        fast.backward(np.zeros((2, 3)), np.zeros(shape))


@pytest.mark.parametrize("Z", [np.zeros((3, 0)), np.zeros(0), [], 1.0], ids=repr)
def test_softmax_needs_a_class(Z):
    with pytest.raises(ValueError, match="Z needs at least one class"):
        fastnn.SoftMax().forward(Z)
    with pytest.raises(ValueError, match="Z needs at least one class"):
        fastnn.SoftMax().backward(Z, Z)


def test_relu_has_gradient_one_at_zero(dtype):
    Z = np.array([-0.0, 0.0, -1.0, 1.0], dtype)
    assert fastnn.ReLU().backward(Z, np.full(4, 3, dtype)).tolist() == [3, 3, 0, 3]


def test_sigmoid_saturates_without_overflow(dtype):
    Z = np.array([-1e4, 1e4, -np.inf, np.inf], dtype)
    assert fastnn.Sigmoid()(Z).tolist() == [0, 1, 0, 1]
    assert fastnn.Sigmoid().backward(Z, np.ones(4, dtype)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("linear", fastnn.Linear),
        ("identity", fastnn.Linear),
        ("sigmoid", fastnn.Sigmoid),
        ("tanh", fastnn.TanH),
        ("relu", fastnn.ReLU),
        ("softmax", fastnn.SoftMax),
        ("arctan", fastnn.ArcTan),
    ],
)
def test_activations_by_name(name, kind):
    assert type(fastnn.initialize_activation(name)) is kind


@pytest.mark.parametrize("unknown", ["swish", "re lu", None, 3, ["relu"]], ids=repr)
def test_unknown_names_list_the_known(unknown):
    with pytest.raises(NotImplementedError, match=r"activation .*'sigmoid'.*'arctan'"):
        fastnn.initialize_activation(unknown)


def test_identity_is_linear_under_another_name():
    assert fastnn.activations.Identity is fastnn.Linear
