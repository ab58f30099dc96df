"""Dropout: the statistics of its mask, its steps and seeds, and what it does outside training."""

import copy

import numpy as np
import pytest

import fastnn
from fastnn import reference
from fastnn.kernels.compiling import target
from fastnn.kernels.layers import dropout as kernels

RATES = [0.0, 0.1, 0.5, 0.9, 0.999]


def made(rate=0.5, seed=0, **attributes):
    """Return a layer that draws its seed from a generator."""
    layer = fastnn.Dropout(rate)
    layer.rng = np.random.default_rng(seed)
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


@pytest.mark.parametrize("rate", RATES)
def test_the_layer_is_its_twin(rate, dtype, rng):
    X, dY = rng.normal(size=(2, 7, 33)).astype(dtype)
    layer, plain = fastnn.Dropout(rate), reference.Dropout(rate)
    np.random.seed(3)
    plain.forward(X)
    np.random.seed(3)
    layer.forward(X)
    assert layer.buffers == plain.buffers
    for _ in range(3):
        for got, expected in ((layer.forward(X), plain.forward(X)),
                              (layer.backward(dY), plain.backward(dY))):  # fmt: skip
            assert got.dtype == dtype
            np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps)
    assert layer.buffers == plain.buffers


@pytest.mark.parametrize("rate", RATES)
def test_the_rate_is_within_five_sigma(rate, dtype):
    n = 200_000
    Y = made(rate).forward(np.ones((400, n // 400), dtype))
    assert set(np.unique(Y)) <= {0, dtype.type(1 / (1 - rate))}
    assert abs(np.mean(Y == 0) - rate) <= 5 * np.sqrt(rate * (1 - rate) / n)


def test_what_is_kept_is_scaled_so_that_the_expectation_stays(rng):
    X = rng.uniform(1, 2, size=(4, 16))
    layer = made(0.25)
    mean = np.mean([layer.forward(X) for _ in range(2000)], axis=0)
    sigma = X * np.sqrt(0.25 / 0.75 / 2000)
    assert np.abs((mean - X) / sigma).max() < 5


def test_masks_of_steps_and_seeds_differ_and_are_independent():
    X, n = np.ones((100, 1000)), 100_000
    layer, other = made(0.5, seed=0), made(0.5, seed=1)
    masks = [layer.forward(X) > 0, layer.forward(X) > 0, other.forward(X) > 0]
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert abs(np.mean(a == b) - 0.5) < 5 * 0.5 / np.sqrt(n)
    columns, rows = masks[0][:, :-1] == masks[0][:, 1:], masks[0][:-1] == masks[0][1:]
    for neighbours in (columns, rows):
        assert abs(neighbours.mean() - 0.5) < 5 * 0.5 / np.sqrt(neighbours.size)


def test_the_same_seed_and_step_give_the_same_mask(rng):
    X = rng.normal(size=(5, 6))
    layer, again = made(seed=4), made(seed=4)
    first = layer.forward(X)
    np.testing.assert_array_equal(again.forward(X), first)
    assert (layer.forward(X) != first).any()
    layer.buffers["step"][0] = 0
    np.testing.assert_array_equal(layer.forward(X), first)


def test_the_mask_is_that_of_the_elements_place_in_the_batch(dtype, rng):
    x = rng.normal(size=1000).astype(dtype)
    whole = np.empty_like(x)
    kernels.dropout(x, 0.3, 11, 5, 0, whole)
    for first in (0, 1, 63, 64, 100, 999):
        part = np.empty_like(x[first:])
        kernels.dropout(x[first:], 0.3, 11, 5, first, part)
        np.testing.assert_array_equal(part, whole[first:])
    kernels.dropout_backward(x, 0.3, 11, 5, 0, x)  # in place
    np.testing.assert_array_equal(x, whole)


def test_float32_and_float64_have_one_mask(rng):
    X = rng.normal(size=(9, 50))
    single, double = made(dtype=np.dtype("float32")), made()
    np.testing.assert_array_equal(single.forward(X) == 0, double.forward(X) == 0)


def test_backward_takes_the_mask_of_the_last_forward(rng):
    X, dY = rng.normal(size=(2, 6, 40))
    layer = made(0.4)
    for _ in range(3):
        mask = layer.forward(X) / X
        np.testing.assert_allclose(layer.backward(dY), dY * mask, rtol=1e-15)
    assert layer.buffers["step"].tolist() == [3]


def test_the_gradient_is_that_of_finite_differences(rng):
    X, dY = rng.normal(size=(2, 6, 5))
    layer = made(0.4)
    layer.forward(X)

    def forward(x):
        layer.buffers["step"][0] = 0
        return layer.forward(x)

    assert fastnn.check_gradients(forward, layer.backward(dY), X, dY) < 1e-7


def test_mode_test_is_the_identity_and_no_step(dtype, rng):
    X, dY = rng.normal(size=(2, 6, 5)).astype(dtype)
    layer = made(0.4, training=False)
    np.testing.assert_array_equal(layer.forward(X), X)
    np.testing.assert_array_equal(layer.backward(dY), dY)
    assert layer.buffers["step"].tolist() == [0]
    layer.training = True
    assert (layer.forward(X) != X).any()
    assert layer.buffers["step"].tolist() == [1]
    with pytest.raises(TypeError, match="training"):
        layer.training = "off"


def test_rate_0_is_the_identity(dtype, rng):
    X = rng.normal(size=(6, 5)).astype(dtype)
    layer = made(0.0)
    np.testing.assert_array_equal(layer.forward(X), X)
    np.testing.assert_array_equal(layer.backward(X), X)


def test_a_rate_next_to_1():
    rate = np.nextafter(1.0, 0.0)
    assert np.isfinite(made(rate).forward(np.ones((50, 50)))).all()


def test_the_seed_is_drawn_once(rng):
    X = rng.normal(size=(2, 3))
    layer = made(seed=7)
    assert not layer.buffers
    layer.forward(X)
    assert {name: (array.dtype, array.shape) for name, array in layer.buffers.items()} == {
        "seed": (np.int64, (1,)),
        "step": (np.int64, (1,)),
    }
    seed = layer.buffers["seed"].copy()
    state = layer.rng.bit_generator.state
    layer.forward(X)
    layer.initial_parameters(X.shape, X.dtype)
    np.testing.assert_array_equal(layer.buffers["seed"], seed)
    assert layer.rng.bit_generator.state == state
    assert fastnn.Dropout().initial_parameters((2, 3), np.dtype("float64")) == {}


@pytest.mark.parametrize("shape", [(0,), (0, 3), (1,), (4, 1), (2, 3, 4), (5, 0)], ids=str)
def test_every_shape_with_a_batch_axis(shape, dtype):
    layer = made()
    assert layer.check_input(shape) == shape
    assert layer.forward(np.ones(shape, dtype)).shape == shape
    assert layer.backward(np.ones(shape, dtype)).shape == shape


def test_nan_passes_at_every_place(dtype):
    X = np.full((8, 50), np.nan, dtype)
    layer = made()
    assert np.isnan(layer.forward(X)).all()
    assert np.isnan(layer.backward(X)).all()


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1, True, np.nan, np.inf])
def test_rates_out_of_range(rate):
    with pytest.raises(ValueError, match=f"rate must be at least 0 and below 1, got {rate!r}"):
        fastnn.Dropout(rate)
    layer = fastnn.Dropout(0.25)
    with pytest.raises(ValueError, match="rate"):
        layer.rate = rate
    assert layer.rate == 0.25


@pytest.mark.parametrize("rate", [None, "half"])
def test_a_rate_must_be_a_number(rate):
    with pytest.raises(TypeError, match="rate must be a number"):
        fastnn.Dropout(rate)


def test_backward_needs_a_forward_and_its_shape():
    layer = made()
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(np.zeros((2, 3)))
    layer.forward(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"\(2, 3\), got \(3, 3\)"):
        layer.backward(np.zeros((3, 3)))
    layer.clear_gradients()
    with pytest.raises(RuntimeError, match="forward"):
        layer.backward(np.zeros((2, 3)))


def test_a_number_has_no_batch_axis():
    with pytest.raises(ValueError, match="batch axis"):
        made().forward(1.0)


def test_repr_copy_and_table(rng):
    assert repr(fastnn.Dropout()) == "Dropout()"
    assert repr(fastnn.Dropout(0.25)) == "Dropout(rate=0.25)"
    layer = fastnn.initialize_layer("dropout", rate=0.25)
    assert type(layer) is fastnn.Dropout
    assert layer.rate == 0.25
    assert fastnn.initialize_layer("dropout").rate == 0.5
    X = rng.normal(size=(20, 30))
    layer.forward(X)
    other = copy.deepcopy(layer)
    np.testing.assert_array_equal(layer.forward(X), other.forward(X))
    layer.forward(X)
    assert other.buffers["step"].tolist() == [2]


@pytest.mark.skipif(not target.FUSED, reason="nothing is compiled, or for a processor without vectors")
def test_all_loops_use_full_vectors(dtype):
    from fastnn.cli import inspection

    code = inspection.inspect(kernels.dropout, np.ones(4, dtype), 0.5, 1, 2, 0, np.ones(4, dtype))
    assert inspection.problems(code) == []
