"""Functions, activations and their gradients: no input of the sample exceeds the limit."""

import numpy as np
import pytest

from fastnn.reference.formulas import FORMULAS

from .elementwise import FACTOR, NAMES, call, sample, worst
from .limits import limit
from .report import DOCUMENT


@pytest.mark.parametrize("name", NAMES)
def test_error_is_within_the_limit(name, dtype):
    found = worst(name, sample(name, str(dtype)))
    assert found.error <= limit(name, str(dtype)), f"{found.at!r} = {found.at.hex()}"


def _worst_of_the_last_sweep():
    """Yield function, dtype and input of the rows of docs/accuracy.md on functions of one number."""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in NAMES and cells[-1].startswith("`"):
            yield cells[0], cells[1], float(cells[-1].strip("`"))


@pytest.mark.parametrize(("name", "dtype", "x"), list(_worst_of_the_last_sweep()))
def test_where_the_full_sweep_found_the_largest_error(name, dtype, x):
    found = worst(name, [np.array([x, 2 * x], dtype)])
    assert found.error <= limit(name, dtype)


# What functions tend to at -inf and inf.
AT_INFINITY = {
    "exp": (0, np.inf),
    "expm1": (-1, np.inf),
    "log": (np.nan, np.inf),
    "log1p": (np.nan, np.inf),
    "erf": (-1, 1),
    **{name: row.function.ends for name, row in FORMULAS.items()},
    **{f"{name}_backward": row.slope.ends for name, row in FORMULAS.items()},
}


@pytest.mark.parametrize("name", AT_INFINITY)
def test_values_at_infinity(name, dtype):
    x = np.tile(np.array([-np.inf, np.inf], dtype), 20)
    factor = FACTOR if name.endswith("_backward") else 1
    wanted = factor * np.array(AT_INFINITY[name])
    np.testing.assert_allclose(call(name, x), np.tile(wanted, 20), rtol=1e-6)


ODD = ("expm1", "log1p", "tanh", "arctan", "erf")


@pytest.mark.parametrize("name", ODD)
def test_zero_keeps_its_sign(name, dtype):
    x = np.tile(np.array([-0.0, 0.0], dtype), 20)
    assert np.signbit(call(name, x)).tolist() == np.signbit(x).tolist()
