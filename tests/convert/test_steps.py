"""What PyTorch and ONNX share: steps that do not fit one another make no network."""

import numpy as np
import pytest

from fastnn.activations import ReLU
from fastnn.convert.steps import Affine, network


def affine(d, k, width=None):
    return Affine(np.ones((d, k)), np.zeros(k if width is None else width))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([affine(3, 4), affine(5, 2)], r"layer 1 has W \(5, 2\), layer 0 before it has 4 outputs"),
        ([affine(3, 4), ReLU(), affine(4, 2), affine(4, 2)], "layer 2 has W"),
        ([affine(3, 4, 5)], r"layer 0 has W \(3, 4\) and b \(5,\)"),
        ([affine(0, 4)], r"layer 0 has W \(0, 4\)"),
        ([affine(3, 0)], r"layer 0 has W \(3, 0\)"),
        ([Affine(np.ones(3), np.ones(3))], r"layer 0 has W \(3,\)"),
    ],
)
def test_steps_that_do_not_fit_one_another_are_refused(steps, message):
    with pytest.raises(ValueError, match=message):
        network(steps, None, False, None)
