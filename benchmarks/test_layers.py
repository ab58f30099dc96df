"""Layers, forward and backward; training steps and inference of networks that are not dense."""

import pytest

from fastnn.bench import layers


@pytest.mark.parametrize("case", layers.LAYERS, ids=lambda case: case.key)
def test_layer(timed, case):
    timed(case)


@pytest.mark.parametrize("case", layers.STACK_STEPS, ids=lambda case: case.key)
def test_stack_step(timed, case):
    timed(case)


@pytest.mark.parametrize("case", layers.STACK_INFERENCES, ids=lambda case: case.key)
def test_stack_inference(timed, case):
    timed(case)
