import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn.schedulers import Constant, Exponential, Scheduler, initialize_scheduler


def test_constant():
    for scheduler in (Constant(0.3), initialize_scheduler("Constant", 0.3, 0.5, 2, True)):
        assert [scheduler(epoch) for epoch in (0, 1, 1000)] == [0.3] * 3
        assert scheduler.scheduled_lr(7) == 0.3
    assert Constant(0).scheduled_lr(3) == 0
    assert Constant()(0) == 0.01


@given(
    lr=st.floats(1e-6, 10),
    decay=st.floats(0.1, 1.5),
    stage_length=st.floats(0.5, 50),
    epoch=st.integers(0, 300),
    staircase=st.sampled_from([None, False, True]),
)
@settings(deadline=None, max_examples=40)
def test_exponential(lr, decay, stage_length, epoch, staircase):
    by_name = initialize_scheduler("exponential", lr, decay, stage_length, staircase)
    for scheduler in (Exponential(lr, decay, stage_length, staircase), by_name):
        stage = epoch / stage_length
        if staircase and scheduler is not by_name:  # as in the teaching library
            stage = math.floor(stage)
        expected = math.exp(math.log(lr) + stage * math.log(decay))
        assert math.isclose(scheduler(epoch), expected, rel_tol=1e-9, abs_tol=1e-300)
        assert scheduler.scheduled_lr(epoch) == scheduler(epoch)


def test_a_staircase_falls_once_a_stage_and_a_slope_in_every_epoch():
    stairs, slope = (Exponential(1.0, 0.5, 3, staircase) for staircase in (True, False))
    assert [stairs(epoch) for epoch in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]
    assert [slope(epoch) for epoch in (0, 3, 6)] == [1, 0.5, 0.25]
    assert 0.5 < slope(2) < slope(1) < 1


def test_the_defaults_are_the_references():
    scheduler = Exponential()
    assert math.isclose(scheduler(10), 0.009, rel_tol=1e-12)
    assert math.isclose(scheduler(5), 0.01 * math.sqrt(0.9), rel_tol=1e-12)


def test_a_scheduler_of_ones_own():
    class Halves(Scheduler):
        def scheduled_lr(self, epoch):
            return 0.5**epoch

    assert Halves()(3) == 0.125
    with pytest.raises(TypeError, match="abstract"):
        Scheduler()


@pytest.mark.parametrize("name", ["cosinus", "", None, ["constant"]])
def test_an_unknown_scheduler(name):
    with pytest.raises(NotImplementedError, match="known: 'constant', 'exponential'"):
        initialize_scheduler(name, 0.1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Constant(-0.1), ValueError, "lr must be finite, at least 0"),
        (lambda: Constant(float("nan")), ValueError, "lr"),
        (lambda: Constant("fast"), TypeError, "lr must be a number"),
        (lambda: Constant(None), TypeError, "lr must be a number"),
        (lambda: Exponential(float("inf")), ValueError, "lr"),
        (lambda: Exponential(0.1, decay=-1), ValueError, "decay"),
        (lambda: Exponential(0.1, decay="slow"), TypeError, "decay"),
        (lambda: Exponential(0.1, stage_length=0), ValueError, "stage_length must be finite, above 0"),
        (lambda: initialize_scheduler("exponential", 0.1, 0.9), ValueError, "needs stage_length"),
        (lambda: initialize_scheduler("exponential", 0.1, None, 5), ValueError, "needs decay"),
    ],
)
def test_values_that_make_no_schedule(make, error, message):
    with pytest.raises(error, match=message):
        make()
