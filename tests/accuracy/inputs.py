"""Where elementwise kernels are measured: in chunks of one-dimensional arrays.

A kernel's own branch points are not known here. Instead there are the neighbours of every number at
which some function of this family has one: powers of 2, where arguments are reduced, where results
overflow, become subnormal or stop changing.
"""

import math

import numpy as np

CHUNK = 1 << 14
STRIDE = 10_007  # a prime: the ordinary tests' share of all float32
CENTRES = {"log": (0, 1), "log1p": (0, -1)}  # where decades begin; 0 if not here
_DECADES = range(-9, 3)  # outside, the functions are linear, constant or out of range

_NEIGHBOURS = np.arange(-12, 13)
_LANDMARKS = (
    *(n * math.log(2) / 2 for n in range(1, 2160)),  # reduction to |r| <= ln(2) / 2; exp's range
    *(math.sqrt(2) * 2**n for n in (-1, 0)),
    *(math.tan(math.pi * n / 16) for n in range(1, 8)),
    *(n / 8 for n in range(1, 80)),
    *(9.0108, 18.7150, 19.0615, 22.0),  # tanh becomes 1
    *(16.6355, 36.0437, 36.7368),  # sigmoid and softplus meet their asymptotes
    *(3.9192, 5.8636, 5.9216, 8.2924),  # erf and GELU become 1 and z
    *(9.1950, 10.0541, 13.0, 14.17, 26.5433, 27.2261, 37.5, 38.4754, 38.5677),  # erfc's range
    *(1.2784645, 0.7517916, 0.7524614),  # zeros of the derivatives of SiLU and GELU
)


def landmarks(dtype):
    """Return special numbers, the landmarks and their nearest neighbours, of both signs."""
    dtype = np.dtype(dtype)
    info, integer = np.finfo(dtype), np.dtype(f"i{dtype.itemsize}")
    powers = np.exp2(np.arange(info.minexp - info.nmant, info.maxexp)).astype(dtype)
    numbers = np.unique(np.concatenate([powers, np.array(_LANDMARKS, dtype), [info.max]]).astype(dtype))
    near = (numbers.view(integer)[:, None] + _NEIGHBOURS.astype(integer)).reshape(-1)
    near = near[(near >= 0) & (near < np.array(np.inf, dtype).view(integer))].view(dtype)
    return np.concatenate([near, -near, np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)])


def every(stride=1, first=0, last=1 << 32):
    """Yield every stride-th float32 by its bits, from one to another."""
    for start in range(first, last, stride * CHUNK):
        bits = np.arange(start, min(start + stride * CHUNK, last), stride, dtype=np.uint64)
        yield bits.astype(np.uint32).view(np.float32)


def stretch(dtype, count):
    """Yield numbers of random bits with ``2**-8 <= |x| < 16``, where functions bend."""
    rng, dtype = np.random.default_rng(0), np.dtype(dtype)
    integer = np.dtype(f"i{dtype.itemsize}")
    ends = np.array([2.0**-8, 16], dtype).view(integer)
    for _ in range(0, count, CHUNK):
        x = rng.integers(*ends, CHUNK // 2, dtype=integer).view(dtype)
        yield np.concatenate([x, -x])


def only_landmarks(dtype):
    """Yield them as one chunk."""
    yield landmarks(dtype)


def decades(name):
    """Return the arguments ``(centre, sign, exponent)`` of a function's decades."""
    return [(c, s, e) for c in CENTRES.get(name, (0,)) for s in (-1, 1) for e in _DECADES]


def decade(centre, sign, exponent, count):
    """Yield float64 numbers spread over ``centre + sign [1, 10) 10**exponent``, the same every time."""
    rng = np.random.default_rng([centre + 2, sign + 1, exponent + 400])
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        yield centre + sign * (1 + 9 * rng.random(size)) * 10.0**exponent


def any_magnitude(count):
    """Yield float64 numbers of random bits: any exponent, either sign, NaN too."""
    rng = np.random.default_rng(0)
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        yield rng.integers(0, 1 << 64, size, dtype=np.uint64).view(np.float64)
