"""Every kernel at every size and dtype; the cases beyond the caches are marked slow."""

import pytest

from fastnn.bench import cases

ALL = [
    *(pytest.param(case, id=case.key) for case in cases.ORDINARY),
    *(pytest.param(case, id=case.key, marks=pytest.mark.slow) for case in cases.SLOW),
]


def of(kernels):
    return pytest.mark.parametrize("case", [p for p in ALL if p.values[0].kernel in kernels])


@of(cases.SOFTMAX)
def test_softmax(timed, case):
    timed(case)


@of(cases.ACTIVATIONS)
def test_activation(timed, case):
    timed(case)
