"""Arrays of numbers with twice float64's digits: the unevaluated sum ``(hi + lo) 2**e``.

After T. J. Dekker, "A floating-point technique for extending the available precision", 1971, with
D. E. Knuth's two-sum, and a fused multiply-add for the error of a product. An operation's relative
error is a few 2**-104. The exponent ``e``, an integer or an array of them, keeps what float64 would
round as subnormal or as infinity.
"""

from typing import NamedTuple

import numpy as np

from fastnn.kernels.compiling.jit import exact, fma

_BLOCK = 512  # elements: what a polynomial works on stays in the first-level cache
_FAR = 2.0**200  # numbers beyond this, or below its reciprocal, are held with an exponent
_MAX_SHIFT = 10_000  # of a smaller term: enough to make it 0


@exact
def _two_sum(a, b):
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


@exact
def _fast_two_sum(a, b):
    s = a + b
    return s, b - (s - a)


@exact
def _two_product(a, b):
    p = a * b
    return p, fma(a, b, -p)


@exact
def _sum(ah, al, bh, bl):
    s, e = _two_sum(ah, bh)
    t, f = _two_sum(al, bl)
    s, e = _fast_two_sum(s, e + t)
    return _fast_two_sum(s, e + f)


@exact
def _product(ah, al, bh, bl):
    p, e = _two_product(ah, bh)
    return _fast_two_sum(p, e + (ah * bl + al * bh))


@exact
def _add(ah, al, bh, bl, hi, lo):
    for i in range(ah.size):
        hi[i], lo[i] = _sum(ah[i], al[i], bh[i], bl[i])


@exact
def _multiply(ah, al, bh, bl, hi, lo):
    for i in range(ah.size):
        hi[i], lo[i] = _product(ah[i], al[i], bh[i], bl[i])


@exact
def _divide(ah, al, bh, bl, hi, lo):
    for i in range(ah.size):
        q = ah[i] / bh[i]
        p, e = _product(q, 0.0, bh[i], bl[i])
        r, s = _sum(ah[i], al[i], -p, -e)
        hi[i], lo[i] = _fast_two_sum(q, (r + s) / bh[i])


# Polynomials go through blocks of elements, coefficient by coefficient. For the later half of their
# terms, which are below 2**-40 of the first wherever they are used here, float64 is enough.


@exact
def _horner_step(ch, cl, xh, xl, hi, lo):
    for i in range(xh.size):
        p, e = _product(hi[i], lo[i], xh[i], xl[i])
        s, t = _fast_two_sum(ch, p)  # the larger first
        hi[i], lo[i] = _fast_two_sum(s, t + (cl + e))


@exact
def _horner(ch, cl, xh, xl, hi, lo):
    for first in range(0, xh.size, _BLOCK):
        block = slice(first, first + _BLOCK)
        hi[block], lo[block] = ch[-1], 0.0
        for k in range(ch.size - 2, -1, -1):
            if k >= ch.size // 2:
                hi[block] = hi[block] * xh[block] + ch[k]
            else:
                _horner_step(ch[k], cl[k], xh[block], xl[block], hi[block], lo[block])


@exact
def _clenshaw_step(ch, cl, xh, xl, hi, lo, older_hi, older_lo):
    for i in range(xh.size):
        p, e = _product(hi[i], lo[i], xh[i], xl[i])
        s, t = _sum(p, e, -older_hi[i], -older_lo[i])
        older_hi[i], older_lo[i] = hi[i], lo[i]
        hi[i], lo[i] = _sum(s, t, ch, cl)


@exact
def _rough_clenshaw_step(ch, xh, hi, older_hi):
    for i in range(xh.size):
        older_hi[i], hi[i] = hi[i], hi[i] * xh[i] - older_hi[i] + ch


@exact
def _clenshaw(ch, cl, xh, xl, hi, lo):
    older_hi, older_lo = np.empty(_BLOCK), np.empty(_BLOCK)
    for first in range(0, xh.size, _BLOCK):
        block = slice(first, first + _BLOCK)
        h, l = hi[block], lo[block]
        x, y = 2.0 * xh[block], 2.0 * xl[block]
        older_hi[:], older_lo[:] = 0.0, 0.0
        h[:], l[:] = ch[-1], 0.0
        for k in range(ch.size - 2, 0, -1):
            if k >= ch.size // 2:
                _rough_clenshaw_step(ch[k], x, h, older_hi)
            else:
                _clenshaw_step(ch[k], cl[k], x, y, h, l, older_hi, older_lo)
        _clenshaw_step(ch[0], cl[0], xh[block], xl[block], h, l, older_hi, older_lo)


def _run(operation, a, b):
    shape = np.broadcast(a.hi, a.lo, b.hi, b.lo).shape
    arrays = [np.ascontiguousarray(np.broadcast_to(v, shape)) for v in (a.hi, a.lo, b.hi, b.lo)]
    hi, lo = np.empty((2, *arrays[0].shape))
    operation(*(v.reshape(-1) for v in (*arrays, hi, lo)))
    return hi, lo


class DD(NamedTuple):
    """Numbers ``(hi + lo) 2**e``; arithmetic with each other and with floats."""

    hi: np.ndarray
    lo: np.ndarray
    e: np.ndarray | int = 0
    __array_ufunc__ = None  # NumPy's arrays leave operations to this class

    @classmethod
    def of(cls, x):
        """Return float64 numbers, however large or small, in this form."""
        x = np.asarray(x, np.float64)
        far = (abs(x) > _FAR) | (abs(x) < 1 / _FAR)
        if not far.any():
            return cls(x, np.zeros_like(x))
        fraction, e = np.frexp(x)
        return cls(np.where(far, fraction, x), np.zeros_like(x), np.where(far, e, 0).astype(np.int64))

    def flat(self):
        """Return the numbers with exponent 0, rounded where float64's range ends."""
        if isinstance(self.e, int) and self.e == 0:
            return self
        with np.errstate(over="ignore"):
            return DD(np.ldexp(self.hi, self.e), np.ldexp(self.lo, self.e))

    def scaled(self, n):
        """Return the numbers times ``2**n`` for integers ``n``."""
        return DD(self.hi, self.lo, self.e + np.asarray(n).astype(np.int64))

    def __add__(self, other):
        a, b = self, _dd(other)
        if isinstance(a.e, int) and isinstance(b.e, int):  # both 0
            return DD(*_run(_add, a, b))
        e = np.maximum(a.e, b.e)
        terms = [DD(*(np.ldexp(v, np.maximum(t.e - e, -_MAX_SHIFT)) for v in t[:2])) for t in (a, b)]
        return DD(*_run(_add, *terms), e)

    def __neg__(self):
        return DD(-self.hi, -self.lo, self.e)

    def __sub__(self, other):
        return self + -_dd(other)

    def __rsub__(self, other):
        return _dd(other) - self

    def __mul__(self, other):
        other = _dd(other)
        return DD(*_run(_multiply, self, other), self.e + other.e)

    def __truediv__(self, other):
        other = _dd(other)
        return DD(*_run(_divide, self, other), self.e - other.e)

    def __rtruediv__(self, other):
        return _dd(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __abs__(self):
        sign = np.copysign(1.0, self.hi)
        return DD(self.hi * sign, self.lo * sign, self.e)

    def __lt__(self, other):
        return self.flat().hi < other

    def __gt__(self, other):
        return self.flat().hi > other

    def __le__(self, other):
        return self.flat().hi <= other

    def __ge__(self, other):
        return self.flat().hi >= other

    def sum(self):
        """Return the sums over the last axis, which is kept with length 1."""
        total = self.spread()
        while (k := total.hi.shape[-1]) > 1:
            half = k // 2
            first, second, rest = (
                DD(*(v[..., part] for v in total))
                for part in (slice(half), slice(half, 2 * half), slice(2 * half, k))
            )
            total = first + second
            if k % 2:
                parts = zip(total.spread(), rest, strict=True)
                total = DD(*(np.concatenate(pair, axis=-1) for pair in parts))
        return total

    def spread(self):
        """Return the same numbers with an exponent for each."""
        return DD(self.hi, self.lo, np.broadcast_to(self.e, self.hi.shape))


def _dd(value):
    if isinstance(value, DD):
        return value
    value = np.asarray(value, np.float64)
    return DD(value, np.zeros_like(value))


def where(condition, a, b):
    """Return ``a`` where the condition holds, ``b`` elsewhere."""
    a, b = _dd(a), _dd(b)
    both_zero = isinstance(a.e, int) and isinstance(b.e, int)
    e = 0 if both_zero else np.where(condition, a.e, b.e)
    return DD(np.where(condition, a.hi, b.hi), np.where(condition, a.lo, b.lo), e)


def constant(value):
    """Return mpmath numbers, one or a list, to this arithmetic's precision."""
    numbers = value if isinstance(value, list) else [value]
    hi = [float(v) for v in numbers]
    lo = [float(v - h) for v, h in zip(numbers, hi, strict=True)]
    return DD(*(np.array(part if isinstance(value, list) else part[0]) for part in (hi, lo)))


def polynomial(coefficients, x):
    """Return ``sum(c[k] x**k)`` for coefficients as :func:`constant` returns them."""
    x = x.flat()
    hi, lo = np.empty((2, *x.hi.shape))
    _horner(*coefficients[:2], *(np.ravel(v) for v in x[:2]), hi.reshape(-1), lo.reshape(-1))
    return DD(hi, lo)


def chebyshev(coefficients, x):
    """Return ``sum(c[k] T_k(x))`` with Chebyshev polynomials ``T_k``, by Clenshaw's recurrence."""
    x = x.flat()
    hi, lo = np.empty((2, *x.hi.shape))
    _clenshaw(*coefficients[:2], *(np.ravel(v) for v in x[:2]), hi.reshape(-1), lo.reshape(-1))
    return DD(hi, lo)
