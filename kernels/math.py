"""Elementary functions written so that loops over them vectorise: no table, no branch, no call.

``math.exp`` inside a compiled loop is one scalar call per element. Here each function is arithmetic
and selects only, which LLVM turns into vector instructions of whatever width the host has.

exp: with ``n = round(x / ln 2)`` and ``r = x - n ln 2`` (``|r| <= ln(2) / 2``),
``exp(x) = 2**n exp(r)``. ``n`` is found by adding 1.5 * 2**(mantissa bits), which rounds to an
integer in the low bits; ``r`` by subtracting ``n ln 2`` in two parts, the first exact (W. J. Cody,
W. Waite, "Software Manual for the Elementary Functions", 1980). ``exp(r) = 1 + r + r**2 g(r)``, where
``g`` is the polynomial that interpolates it in the Chebyshev nodes of that interval, of degree 5 in
float32 and 10 in float64: truncation errors of 2**-32 and 2**-62, relative to the result. ``2**n`` is
put together from exponent bits, in two factors so that subnormal results round once.
"""

import math

import numpy as np

from fastnn.kernels._jit import by_dtype, exact

_LOG2E_32 = np.float32(1.4426950408889634)
_MAGIC_32 = np.float32(1.5 * 2**23)
_MAGIC_BITS_32 = np.float32(1.5 * 2**23).view(np.int32)
_LN2_HI_32 = np.float32(0.693359375)  # 9 bits: times an integer below 2**15 it is exact
_LN2_LO_32 = np.float32(-2.12194440054690583e-4)
_LOW_32, _HIGH_32 = np.float32(-104.0), np.float32(89.0)  # exp is 0 below, inf above
_ONE_32, _TWO_32 = np.float32(1), np.float32(2)
_SHIFT_32 = np.int32(127 + 24)
_UNSHIFT_32 = np.float32(2.0**-24)
_C32 = tuple(
    np.float32(float.fromhex(c))
    for c in (
        "0x1.0000000b9847ep-1",
        "0x1.5555555a7c16bp-3",
        "0x1.5554e8d9c7d96p-5",
        "0x1.1110e0de7be2bp-7",
        "0x1.6d4362097d81ap-10",
        "0x1.a125285dbcbf1p-13",
    )
)

_LOG2E_64 = np.float64(1.4426950408889634)
_MAGIC_64 = np.float64(1.5 * 2**52)
_MAGIC_BITS_64 = np.float64(1.5 * 2**52).view(np.int64)
_LN2_HI_64 = np.float64(float.fromhex("0x1.62e42fee00000p-1"))  # 32 bits
_LN2_LO_64 = np.float64(float.fromhex("0x1.a39ef35793c76p-33"))
_LOW_64, _HIGH_64 = np.float64(-746.0), np.float64(710.0)
_ONE_64, _TWO_64 = np.float64(1), np.float64(2)
_SHIFT_64 = np.int64(1023 + 60)
_UNSHIFT_64 = np.float64(2.0**-60)
_C64 = tuple(
    np.float64(float.fromhex(c))
    for c in (
        "0x1.0000000000000p-1",
        "0x1.5555555555557p-3",
        "0x1.5555555555556p-5",
        "0x1.11111111100cep-7",
        "0x1.6c16c16c162ccp-10",
        "0x1.a01a01abef415p-13",
        "0x1.a01a01a6dcaffp-16",
        "0x1.71de021a90822p-19",
        "0x1.27e4db57442fbp-22",
        "0x1.af4e196027428p-26",
        "0x1.1f731ea5352cap-29",
    )
)


@exact
def _reduced_32(x):
    """Return ``expm1(r)`` and ``n``, for x that does not overflow the integer."""
    t = x * _LOG2E_32 + _MAGIC_32
    n = t - _MAGIC_32
    r = (x - n * _LN2_HI_32) - n * _LN2_LO_32
    c = _C32
    q = c[5]
    q = q * r + c[4]
    q = q * r + c[3]
    q = q * r + c[2]
    q = q * r + c[1]
    q = q * r + c[0]
    return r + (r * r) * q, np.int32(np.float32(t).view(np.int32) - _MAGIC_BITS_32)


@exact
def _reduced_64(x):
    """Return ``expm1(r)`` and ``n``, for x that does not overflow the integer."""
    t = x * _LOG2E_64 + _MAGIC_64
    n = t - _MAGIC_64
    r = (x - n * _LN2_HI_64) - n * _LN2_LO_64
    c = _C64
    q = c[10]
    q = q * r + c[9]
    q = q * r + c[8]
    q = q * r + c[7]
    q = q * r + c[6]
    q = q * r + c[5]
    q = q * r + c[4]
    q = q * r + c[3]
    q = q * r + c[2]
    q = q * r + c[1]
    q = q * r + c[0]
    return r + (r * r) * q, np.float64(t).view(np.int64) - _MAGIC_BITS_64


@exact
def _exp_32(x):
    x = _LOW_32 if x < _LOW_32 else x
    x = _HIGH_32 if x > _HIGH_32 else x
    q, n = _reduced_32(x)
    half = np.int32(n >> np.int32(1))
    a = np.int32((half + np.int32(127)) << np.int32(23)).view(np.float32)
    b = np.int32((n - half + np.int32(127)) << np.int32(23)).view(np.float32)
    return ((q + _ONE_32) * a) * b


@exact
def _exp_64(x):
    x = _LOW_64 if x < _LOW_64 else x
    x = _HIGH_64 if x > _HIGH_64 else x
    q, n = _reduced_64(x)
    half = n >> np.int64(1)
    a = np.int64((half + np.int64(1023)) << np.int64(52)).view(np.float64)
    b = np.int64((n - half + np.int64(1023)) << np.int64(52)).view(np.float64)
    return ((q + _ONE_64) * a) * b


@exact
def _exp_nonpositive_32(x):
    # n is in [-151, 0]: 2**(n + 24) is normal, and 2**-24 the one factor that may round.
    x = _LOW_32 if x < _LOW_32 else x
    q, n = _reduced_32(x)
    a = np.int32((n + _SHIFT_32) << np.int32(23)).view(np.float32)
    return ((q + _ONE_32) * a) * _UNSHIFT_32


@exact
def _exp_nonpositive_64(x):
    # n is in [-1077, 0]: as in float32, with 2**(n + 60).
    x = _LOW_64 if x < _LOW_64 else x
    q, n = _reduced_64(x)
    a = np.int64((n + _SHIFT_64) << np.int64(52)).view(np.float64)
    return ((q + _ONE_64) * a) * _UNSHIFT_64


@exact
def _tanh_32(x):
    # tanh|x| = m / (m + 2) with m = expm1(2|x|); past 10 it is 1 in float32.
    y = abs(x)
    y = np.float32(10) if y > np.float32(10) else y
    q, n = _reduced_32(y + y)
    a = np.int32((n + np.int32(127)) << np.int32(23)).view(np.float32)
    m = q * a + (a - _ONE_32)
    return math.copysign(m / (m + _TWO_32), x)


@exact
def _tanh_64(x):
    # As in float32; past 22 it is 1 in float64.
    y = abs(x)
    y = np.float64(22) if y > np.float64(22) else y
    q, n = _reduced_64(y + y)
    a = np.int64((n + np.int64(1023)) << np.int64(52)).view(np.float64)
    m = q * a + (a - _ONE_64)
    return math.copysign(m / (m + _TWO_64), x)


@exact
def _sigmoid_32(x):
    # exp(x) / (1 + exp(x)) for x < 0: 1 / (1 + exp(-x)) would lose the subnormal tail.
    e = _exp_nonpositive_32(x if x < np.float32(0) else -x)
    return (e if x < np.float32(0) else _ONE_32) / (_ONE_32 + e)


@exact
def _sigmoid_64(x):
    e = _exp_nonpositive_64(x if x < np.float64(0) else -x)
    return (e if x < np.float64(0) else _ONE_64) / (_ONE_64 + e)


exp = by_dtype(_exp_32, _exp_64)
exp_nonpositive = by_dtype(_exp_nonpositive_32, _exp_nonpositive_64)
tanh = by_dtype(_tanh_32, _tanh_64)
sigmoid = by_dtype(_sigmoid_32, _sigmoid_64)
