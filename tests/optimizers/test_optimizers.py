"""SGD and Adam against their formulas, written out here in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

import fastnn
from fastnn.optimizers import SGD, Adam, initialize_optimizer

few = settings(deadline=None, max_examples=40)
RTOL = {"float32": 2e-5, "float64": 1e-12}


def clipped(gradient, clip_norm):
    gradient = gradient.astype(np.float64)
    norm = np.sqrt((gradient**2).sum())
    return gradient * (clip_norm / norm) if clip_norm is not None and norm > clip_norm else gradient


def sgd_steps(gradients, rates, momentum, clip_norm):
    step = 0.0
    for gradient, lr in zip(gradients, rates, strict=True):
        step = momentum * step + lr * clipped(gradient, clip_norm)
        yield step


def adam_steps(gradients, rates, beta_1=0.9, beta_2=0.999, eps=1e-8, clip_norm=None, eps_hat=False):
    m = v = 0.0
    for t, (gradient, lr) in enumerate(zip(gradients, rates, strict=True), 1):
        g = clipped(gradient, clip_norm)
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        if eps_hat:
            yield lr * np.sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (np.sqrt(v) + eps)
        else:
            yield lr * (m / (1 - beta_1**t)) / (np.sqrt(v / (1 - beta_2**t)) + eps)


def assert_steps(optimizer, gradients, expected, dtype="float64", epochs=None):
    scale = 0.0  # of the steps so far: momentum may bring their sum near 0
    for i, (gradient, want) in enumerate(zip(gradients, expected, strict=True)):
        arguments = () if epochs is None else (epochs[i],)
        got = optimizer.update("W0", np.zeros_like(gradient), gradient, *arguments)
        assert got.dtype == dtype
        assert got.shape == gradient.shape
        scale = max(scale, np.abs(want).max(initial=0))
        np.testing.assert_allclose(got, want, rtol=RTOL[dtype], atol=RTOL[dtype] * scale)


def drawn(shape, dtype, seed, n=6):
    return list(np.random.default_rng(seed).normal(size=(n, *shape)).astype(dtype))


shapes = st_np.array_shapes(min_dims=1, max_dims=4, max_side=7)
cases = {
    "shape": shapes,
    "dtype": st.sampled_from(["float32", "float64"]),
    "seed": st.integers(0, 999),
    "lr": st.floats(1e-4, 10),
    "clip_norm": st.none() | st.floats(0.1, 5),
}


@given(**cases, momentum=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
@few
def test_sgd(shape, dtype, seed, lr, clip_norm, momentum):
    gradients = drawn(shape, dtype, seed)
    expected = sgd_steps(gradients, [lr] * 6, momentum, clip_norm)
    assert_steps(SGD(lr, momentum=momentum, clip_norm=clip_norm), gradients, expected, dtype)


@given(
    **cases,
    beta_1=st.sampled_from([0.0, 0.9]),
    beta_2=st.sampled_from([0.0, 0.99, 0.999]),
    eps=st.sampled_from([1e-8, 0.1]),
    eps_hat=st.booleans(),
)
@few
def test_adam(shape, dtype, seed, lr, clip_norm, beta_1, beta_2, eps, eps_hat):
    gradients = drawn(shape, dtype, seed)
    expected = adam_steps(gradients, [lr] * 6, beta_1, beta_2, eps, clip_norm, eps_hat)
    options = {"eps": eps, "clip_norm": clip_norm, "eps_hat": eps_hat}
    optimizer = Adam(lr, beta_1=beta_1, beta_2=beta_2, **options)
    assert_steps(optimizer, gradients, expected, dtype)


def test_adams_first_step_is_the_learning_rate_whatever_the_gradients_size():
    for size in (1e-4, 1.0, 1e4):
        step = Adam(0.01).update("W", np.zeros(2), np.array([size, -size]))
        np.testing.assert_allclose(step, [0.01, -0.01], rtol=1e-3)
    np.testing.assert_array_equal(Adam(0.01).update("W", np.zeros(2), np.zeros(2)), [0, 0])


@pytest.mark.parametrize("clip_norm", [4.999, 5.0, 5.001, None])
def test_only_a_norm_above_the_bound_is_clipped(clip_norm):
    step = SGD(1.0, clip_norm=clip_norm).update("W", np.zeros((1, 2)), np.array([[3.0, 4.0]]))
    if clip_norm == 4.999:
        np.testing.assert_allclose(step, [[3 * 4.999 / 5, 4 * 4.999 / 5]], rtol=1e-12)
    else:
        assert step.tolist() == [[3, 4]]


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e25), ("float64", 1e250)])
def test_an_exploding_gradient_is_clipped_to_its_direction(dtype, size):
    gradient = np.array([3 * size, -4 * size], dtype)
    step = SGD(1.0, clip_norm=5.0).update("W", np.zeros(2, dtype), gradient)
    np.testing.assert_allclose(step, [3, -4], rtol=1e-6)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_nan_in_a_gradient_is_not_hidden(make):
    step = make(0.1, clip_norm=1.0).update("W", np.zeros(2), np.array([np.nan, 1.0]))
    assert np.isnan(step[0])


@pytest.mark.parametrize(("make", "steps"), [(SGD, sgd_steps), (Adam, adam_steps)])
@pytest.mark.parametrize("staircase", [False, True])
def test_the_schedule_follows_the_epoch(make, steps, staircase):
    epochs = [0, 0, 1, 4, 5, 12]
    gradients = drawn((3, 2), "float64", 1)
    extra = (0.0, None) if make is SGD else ()
    for scheduler in ("exponential", fastnn.Exponential(0.3, 0.5, 2, staircase)):
        steps_down = staircase and scheduler != "exponential"  # by name the rate falls smoothly
        rates = [0.3 * 0.5 ** (epoch // 2 if steps_down else epoch / 2) for epoch in epochs]
        optimizer = make(0.3, scheduler, lr_decay=0.5, stage_length=2, staircase=staircase)
        assert_steps(optimizer, gradients, steps(gradients, rates, *extra), epochs=epochs)


@pytest.mark.parametrize("make", [SGD, Adam])
def test_without_an_epoch_the_last_one_named_holds(make):
    def steps(epochs):
        optimizer = make(1.0, "exponential", lr_decay=0.5, stage_length=1)
        return [
            optimizer.update(
                "W", np.zeros(2), np.array([1.0, -2.0]), *([] if e is None else [e])
            ).tolist()
            for e in epochs
        ]

    assert steps([None, None, 3, None, None]) == steps([0, 0, 3, 3, 3])
    assert steps([3, None]) != steps([3, 0])
    by_name = make(1.0).update(param_name="W", param=np.zeros(1), param_grad=np.ones(1), epoch=2)
    np.testing.assert_allclose(by_name, [1.0])


@pytest.mark.parametrize("make", [lambda: SGD(0.1, momentum=0.9), Adam])
def test_every_name_has_a_state_of_its_own(make):
    gradients = {"W0": drawn((2, 3), "float64", 1), "W1": drawn((2, 3), "float64", 2)}
    together = make()
    both = [
        {name: together.update(name, np.zeros_like(g[i]), g[i], 0) for name, g in gradients.items()}
        for i in range(6)
    ]
    assert set(together.cache) == {"W0", "W1"}
    for name, grads in gradients.items():
        alone = make()
        for gradient, step in zip(grads, both, strict=True):
            want = alone.update(name, np.zeros_like(gradient), gradient, 0)
            np.testing.assert_array_equal(step[name], want)


def test_sgd_keeps_its_step_under_the_parameters_name():
    optimizer = SGD(0.5, momentum=0.9)
    step = optimizer.update("W0", np.zeros(2), np.array([2.0, 4.0]), 0)
    np.testing.assert_array_equal(optimizer.cache["W0"], step)
    optimizer.cache["W0"] = np.array([10.0, 20.0])  # as a program that restores a run does
    np.testing.assert_allclose(optimizer.update("W0", np.zeros(2), np.zeros(2), 0), [9, 18])


@pytest.mark.parametrize("make", [lambda: SGD(0.1, momentum=0.9, clip_norm=0.5), Adam])
def test_neither_the_callers_arrays_nor_earlier_steps_are_written_to(make):
    optimizer, other = make(), make()
    gradients = drawn((3, 4), "float64", 3)
    for gradient in gradients:
        gradient.flags.writeable = False
    param = np.ones((3, 4))
    param.flags.writeable = False
    steps, copies = [], []
    for gradient in gradients:
        steps.append(optimizer.update("W", param, gradient))
        copies.append(steps[-1].copy())
        spoiled = other.update("W", param, gradient)
        np.testing.assert_array_equal(spoiled, copies[-1])
        spoiled[...] = 1e9
    np.testing.assert_array_equal(steps, copies)


@pytest.mark.parametrize("make", [lambda: SGD(0.1, momentum=0.9), Adam])
@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a.astype(">f8"), list],
)
def test_any_layout_of_the_gradient(make, layout):
    plain, odd = make(), make()
    for gradient in drawn((3, 4), "float64", 4):
        want = plain.update("W", np.zeros((3, 4)), gradient)
        got = odd.update("W", np.zeros((3, 4)), layout(gradient))
        np.testing.assert_array_equal(got, want)
        assert got.dtype == np.float64


def test_integer_gradients_are_computed_in_float64():
    step = SGD(0.5).update("W", np.zeros(2), np.array([1, 255], np.uint8))
    assert step.dtype == np.float64
    assert step.tolist() == [0.5, 127.5]


def test_optimizers_by_name():
    options = {"lr_scheduler": "exponential", "lr_decay": 0.5, "stage_length": 2, "clip_norm": 1.5}
    options = {"lr": 0.2, "staircase": True, **options}
    gradients, epochs = drawn((2, 2), "float64", 5), [0, 1, 2, 3, 4, 5]
    rates = [0.2 * 0.5 ** (epoch / 2) for epoch in epochs]
    sgd = initialize_optimizer("SGD", momentum=0.7, **options)
    assert type(sgd) is SGD
    assert_steps(sgd, gradients, sgd_steps(gradients, rates, 0.7, 1.5), epochs=epochs)
    moments = {"beta_1": 0.8, "beta_2": 0.95, "eps": 1e-3}
    adam = initialize_optimizer("Adam", momentum=0.7, **options, **moments)
    assert type(adam) is Adam
    assert_steps(adam, gradients, adam_steps(gradients, rates, **moments, clip_norm=1.5), epochs=epochs)


def test_the_arguments_order_is_the_references():
    optimizer = initialize_optimizer("SGD", 0.2, "exponential", 0.7, 1.5, 0.5, True, 2)
    gradients = drawn((3,), "float64", 6)
    rates = [0.2 * 0.5 ** (epoch / 2) for epoch in range(6)]
    assert_steps(optimizer, gradients, sgd_steps(gradients, rates, 0.7, 1.5), epochs=range(6))
    direct = SGD(0.2, "exponential", 0.7, 1.5, 0.5, 2, True)
    assert_steps(direct, gradients, sgd_steps(gradients, rates, 0.7, 1.5), epochs=range(6))


def test_names_ignore_case_and_a_name_alone_has_the_usual_rate():
    usual = {"sgd": 0.01, "ADAM": 0.001, "adamw": 0.001, "nadam": 0.002, "RMSprop": 0.01}
    for name, lr in usual.items():
        optimizer = initialize_optimizer(name)
        assert type(optimizer).__name__.lower() == name.lower()
        assert optimizer.lr == lr


@pytest.mark.parametrize("name", ["sdg", None, ["SGD"]])
def test_an_unknown_optimizer(name):
    with pytest.raises(NotImplementedError, match="known: 'SGD', 'Adam'"):
        initialize_optimizer(name)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(-0.1), ValueError, "lr must be finite, at least 0"),
        (lambda: SGD(float("nan")), ValueError, "lr"),
        (lambda: SGD("fast"), TypeError, "lr must be a number"),
        (lambda: SGD(momentum=1.1), ValueError, "momentum must be finite, at least 0 and at most 1"),
        (lambda: SGD(momentum=None), TypeError, "momentum"),
        (lambda: SGD(clip_norm=0), ValueError, "clip_norm must be finite, above 0"),
        (lambda: Adam(clip_norm="big"), TypeError, "clip_norm"),
        (lambda: Adam(beta_1=1.0), ValueError, "beta_1"),
        (lambda: Adam(beta_2=-0.1), ValueError, "beta_2"),
        (lambda: Adam(eps=0), ValueError, "eps"),
        (lambda: SGD(lr_scheduler="cosinus"), NotImplementedError, "unknown scheduler 'cosinus'"),
        (lambda: SGD(lr_scheduler="exponential"), ValueError, "needs stage_length"),
        (lambda: initialize_optimizer("SGD", beta_1=0.9), TypeError, "beta_1"),
        (lambda: initialize_optimizer("Adam", nesterov=1), TypeError, "nesterov"),
        (lambda: SGD().update("W", np.zeros(1), ["x"]), TypeError, "param_grad must hold real numbers"),
        (lambda: SGD().update("W", np.zeros(2), [[1], [1, 2]]), ValueError, "param_grad is not a rect"),
    ],
)
def test_values_that_make_no_optimizer(make, error, message):
    with pytest.raises(error, match=message):
        make()
