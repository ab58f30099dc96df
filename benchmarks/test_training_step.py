"""A training step, forward, backward and update: plain NumPy against fastnn."""

import pytest

from fastnn.bench import cases

STEPS = [case for case in cases.ORDINARY if isinstance(case, cases.TrainingStep)]


@pytest.mark.parametrize("case", STEPS, ids=lambda case: case.key)
def test_training_step(timed, case):
    timed(case)
