"""The softmax family and the losses from logits: no row of the sample exceeds the limit."""

import mpmath
import pytest

from .limits import limit
from .rows import CHECKS, SPREADS, Exact, worst


@pytest.mark.parametrize("check", CHECKS)
def test_error_is_within_the_limit(check, dtype):
    found = worst(check, str(dtype))
    assert all(w.count for w in found.values())
    assert {n: w for n, w in found.items() if not w.error <= limit(n, str(dtype))} == {}


@pytest.mark.parametrize("spread", SPREADS["float64"][:-1])
def test_exact_rows_agree_with_mpmath(spread, rng):
    z = spread * rng.normal(size=(4, 9))
    exact = Exact.of(z)
    with mpmath.workdps(700):  # enough for log(1 + the smallest sum of others)
        for i, row in enumerate(z.tolist()):
            e = [mpmath.exp(mpmath.mpf(v) - mpmath.mpf(max(row))) for v in row]
            _close(exact.log_total, (i, 0), mpmath.log(mpmath.fsum(e)))
            for j in range(len(row)):
                _close(exact.p, (i, j), e[j] / mpmath.fsum(e))


def _close(value, i, wanted):
    hi, lo, e = (part[i].item() for part in value.spread())
    got = (mpmath.mpf(hi) + mpmath.mpf(lo)) * mpmath.mpf(2) ** e
    assert abs(got - wanted) <= abs(wanted) * mpmath.mpf(2) ** -90
