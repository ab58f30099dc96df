"""Whole networks: training steps, epochs, forward passes."""

import pytest

from fastnn.bench import networks


@pytest.mark.parametrize("case", networks.STEPS, ids=lambda case: case.key)
def test_training_step(timed, case):
    timed(case)


@pytest.mark.parametrize("case", networks.EPOCHS, ids=lambda case: case.key)
def test_epoch(timed, case):
    timed(case)


@pytest.mark.parametrize("case", networks.INFERENCES, ids=lambda case: case.key)
def test_inference(timed, case):
    timed(case)
