"""Optimisers' rules: one formula for numbers and for vectors, with any number of states."""

import numpy as np
import pytest

from fastnn.kernels import formulas, optimizers
from fastnn.kernels.compiling.jit import COMPILED, call_job, exact, inlined, muladd
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted import rules
from fastnn.kernels.step import parts
from fastnn.kernels.step.calls import Update

pytestmark = pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
NUMBERS = {
    rules.sgd: (0.01, 0.9, 1.0),
    rules.nesterov: (0.01, 0.9, 1.0),
    rules.adam: (0.01, 0.9, 0.99, 1e-3, 1 - 0.9, 1 - 0.99),
}


class ThreeNumbers(Record):
    a: float
    b: float


@inlined
def three_rule(g, first, second, third, a, b):
    first = muladd(a, first, g)
    second = second - b * first
    return first * second / (third + g * g), first, second, third + g * g


@exact
def call(part, at):
    call_job(part, at, 0)


def update(rule, values, gradient, states, numbers, scale=1.0):
    """Update values, and states, in place, by the compiled part of a rule."""
    numbers = np.array(numbers)
    distances = np.array([state.ctypes.data - values.ctypes.data for state in states])
    record = Update.make(
        size=values.size,
        values=values.ctypes.data,
        gradient=gradient.ctypes.data,
        distances=distances.ctypes.data,
        numbers=numbers.ctypes.data,
        scale=scale,
    )
    call(parts.rule_update(rule).address(values.dtype), record.ctypes.data)


@pytest.mark.parametrize("m", [1, 3, 15, 16, 17, 70])
@pytest.mark.parametrize("rule", NUMBERS, ids=lambda rule: rule.name.split("_")[0])
def test_vectors_and_numbers_give_the_same_bits(rule, m, dtype, rng):
    w, g, *states = rng.uniform(0.5, 1, size=(4, m)).astype(dtype)
    states = states[: 2 if rule is rules.adam else 1]
    others = [state.copy() for state in states]
    step, before = np.empty_like(w), w.copy()
    if rule is rules.adam:
        optimizers.adam(g, *others, *NUMBERS[rule][:4], step)
    else:
        lr, momentum, _ = NUMBERS[rule]
        optimizers.sgd_momentum(g, others[0], lr, momentum, step)
        others[0][:] = step
        if rule is rules.nesterov:
            optimizers.sgd_momentum(g, others[0], lr, momentum, step)
    update(rule, w, g, states, NUMBERS[rule])
    np.testing.assert_array_equal(w, before - step)
    for state, other in zip(states, others, strict=True):
        np.testing.assert_array_equal(state, other)


def test_a_rule_may_have_three_states(dtype, rng):
    rule = rules.make_rule("three", three_rule, ThreeNumbers)
    w, g, *states = rng.uniform(0.5, 1, size=(5, 37)).astype(dtype)
    before, (first, second, third) = w.astype(float), np.array(states, float)
    a, b, scale = 0.5, 0.25, 2.0
    update(rule, w, g, states, (a, b), scale)
    slope = scale * g.astype(float)
    first = a * first + slope
    second = second - b * first
    step = first * second / (third + slope * slope)
    for found, expected in zip(
        (w, *states), (before - step, first, second, third + slope**2), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=50 * np.finfo(dtype).eps)


def test_a_changed_formula_is_another_rule():
    other = rules.make_rule("three", formulas.momentum, formulas.MomentumNumbers)
    assert other.name != rules.make_rule("three", three_rule, ThreeNumbers).name


def test_a_rule_of_too_many_numbers_is_refused():
    many = type("Many", (Record,), {"__annotations__": {f"n{i}": float for i in range(15)}})
    with pytest.raises(ValueError, match="15 numbers"):
        rules.make_rule("many", three_rule, many)
