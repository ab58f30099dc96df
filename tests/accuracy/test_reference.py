"""The references themselves: double-double against mpmath, float64 against double-double."""

import mpmath
import numpy as np
import pytest

from . import formulas, functions, inputs
from .double_double import DD
from .elementwise import NAMES, sample
from .units import errors

EXACT = {
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "arctan": mpmath.atan,
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
}
# Where mpmath's value is not 0, 1 or infinity to all its digits.
REACH = {"exp": 1e4, "expm1": 1e4, "tanh": 40, "sigmoid": 1e4, "erf": 10, "erfc": 300}


def numbers(name):
    """Return a few hundred numbers from where a function is neither constant nor undefined."""
    rng = np.random.default_rng(0)
    spans = ((-320, -10), (-10, 0), (0, 1), (1, 3), (3, 308))
    x = np.concatenate([s * 10 ** rng.uniform(*span, 40) for s in (-1, 1) for span in spans])
    if name in inputs.CENTRES:
        x = np.concatenate([x, 1 + x, x - 1])
        x = x[x > (0 if name == "log" else -1)]
    return x[abs(x) < REACH.get(name, np.inf)]


def exact_error(value, i, wanted):
    hi, lo, e = (part[i].item() for part in value.spread())
    return abs((mpmath.mpf(hi) + mpmath.mpf(lo)) * mpmath.mpf(2) ** e - wanted)


@pytest.mark.parametrize("name", EXACT)
def test_double_double_agrees_with_mpmath(name):
    x = numbers(name)
    value = getattr(functions, name)(DD.of(x))
    with mpmath.workdps(60):
        for i, number in enumerate(x.tolist()):
            wanted = EXACT[name](mpmath.mpf(number))
            assert exact_error(value, i, wanted) <= abs(wanted) * mpmath.mpf(2) ** -90, number


def test_a_sum_keeps_what_float64_loses():
    x = np.array([[1e16, 1.0, 1e-16, -1e16, 2.0**-60]])
    total = DD.of(x).sum()
    with mpmath.workdps(60):
        assert exact_error(total, (0, 0), 1 + mpmath.mpf(1e-16) + mpmath.mpf(2) ** -60) < 1e-16


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_good_enough_a_reference_for_float32(name):
    """Its error is below 1e-6 of a float32's unit."""
    x = np.concatenate([c[np.isfinite(c)] for c in sample(name, "float32")][:3])
    plain, _ = formulas.evaluate(name, x, np.float32)
    value, terms = formulas.evaluate(name, x, np.float64)
    normal = abs(value.flat().hi) > np.finfo(np.float32).tiny
    value, *terms = (DD(*(v[normal] for v in t.spread())) for t in (value, *terms))
    found = errors(plain[normal], value, terms)
    assert found.max() * np.finfo(np.float64).eps <= 1e-6 * np.finfo(np.float32).eps


# The unit itself.


def test_the_error_of_a_rounded_number_is_at_most_half_a_unit(rng):
    value = DD.of(rng.normal(size=1000)) / rng.normal(size=1000)
    assert 0.49 < errors(value.hi, value).max() <= 0.5
    assert 0.49 < errors(value.hi.astype(np.float32), value).max() <= 0.5
    assert errors(np.nextafter(value.hi, np.inf), value).min() >= 0.5


@pytest.mark.parametrize(
    ("got", "value", "wanted"),
    [
        (1.0, 1.0, 0),
        (1.0 + 2.0**-23, 1.0, 1),
        (1.0, 1.0 - 2.0**-24, 1),  # half the unit, below a power of two
        (2.0**-149, 0.0, 1),
        (-(2.0**-149), 2.0**-149, 2),
        (2.0**-149, 2.0**-150, 0.5),
        (np.inf, 2.0**128 - 2.0**104, 1),
        (np.inf, 2.0**129, 0),
        (-np.inf, 2.0**129, np.inf),
        (2.0**127, 2.0**129, (2.0**129 - 2.0**127) / 2.0**106),
        (np.nan, np.nan, 0),
        (np.nan, 1.0, np.inf),
        (1.0, np.nan, np.inf),
        (np.inf, np.inf, 0),
        (1.0, np.inf, np.inf),
    ],
)  # fmt: skip
def test_units_of_float32(got, value, wanted):
    for exact in DD.of([value]), np.array([value]):
        assert errors(np.array([got], np.float32), exact).tolist() == [wanted]


def test_units_beyond_the_range_of_float64():
    tiny, largest = 5e-324, np.finfo(np.float64).max
    assert errors(np.array([0.0, tiny]), DD.of([1.0, 1.0]).scaled(-1075)).tolist() == [0.5, 0.5]
    assert errors(np.array([np.inf, largest]), DD.of([1.0, 1.0]).scaled(1024)).tolist() == [0, 0.5]
    assert errors(np.array([np.inf]), DD.of([1.0]).scaled(9999)).tolist() == [0]
    assert errors(np.array([0.0]), DD.of([1.0]).scaled(-9999)).tolist() == [0]


def test_a_unit_is_that_of_the_largest_term():
    value, terms = DD.of([2.0**-30]), [DD.of([1.0]), DD.of([0.5])]
    assert errors(np.array([0.0], np.float32), value, terms).tolist() == [2.0**-7]
