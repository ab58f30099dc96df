"""What the elementary functions need to know of float32 and float64: constants, and their bits."""

import math
from typing import Any

import numpy as np

from fastnn.kernels.compiling.constants import constants
from fastnn.kernels.compiling.jit import by_dtype, inlined
from fastnn.kernels.elementary import polynomials as p

_QUARTER_PI_LOW = 3.061616997868383e-17  # pi / 4 less its float64
# 2 sqrt(2 / pi) and 0.044715 times that, in two parts each
_LINEAR_32, _LINEAR_64 = (
    (1.5957698822021484, -7.605964177257403e-07),
    (1.5957691216057412, -1.053578951956758e-14),
)
_CUBIC_32, _CUBIC_64 = (
    (0.07135481387376785, 2.3988323959931355e-09),
    (0.07135481627260025, -6.175149918155315e-19),
)


@constants
class Constants:
    """Numbers and polynomials of a dtype."""

    zero: Any
    half: Any
    one: Any
    two: Any
    inf: Any
    nan: Any
    log2_e: Any
    ln2_high: Any  # few bits, so that its product with any n is exact
    ln2_low: Any
    magic: Any  # 1.5 * 2**(mantissa bits): adding it leaves an integer in the low bits
    bias: Any  # of exponents
    scale: Any  # 2**-shift: what is subnormal is not when it is divided by it
    magic_level: Any  # magic + bias
    magic_up: Any  # magic + bias + shift
    magic_down: Any  # magic + bias - shift
    magic_lift: Any  # magic + shift
    lift: Any  # 2**shift
    low: Any  # exp is 0 below
    high: Any  # and infinite above
    low_product: Any  # x exp(x) is 0 below
    minus_one_below: Any  # expm1 is -1 below
    sigmoid_one: Any  # sigmoid is 1 above
    tanh_one: Any  # and so are tanh
    tiny: Any  # the smallest normal number
    negligible: Any  # expm1(x) rounds to x below
    up: Any  # a power of two that makes subnormal numbers normal,
    up_exponent: Any  # and its exponent
    quarter_pi: Any
    quarter_pi_low: Any  # what its rounding left out
    tan_eighth: Any  # tan(pi / 8)
    tan_three_eighths: Any  # tan(3 pi / 8)
    root_two: Any
    erf_one: Any  # and erf
    density: Any  # 1 / sqrt(2 pi), of the normal distribution,
    root_two_pi: Any  # and its inverse
    normal_zero: Any  # x Phi(-x) is 0 above
    cubic_zero: Any  # x sigmoid(-2 u(x)) of GELU's tanh form is 0 above
    cubic: Any  # 2 u(x) = x (linear + cubic x**2), linear and cubic in two parts,
    cubic_low: Any
    linear: Any  # the first of linear of few bits, for an exact difference
    linear_low: Any
    exp: tuple[Any, ...]  # exp(r) = 1 + r + r**2 p(r)
    exp_short: tuple[Any, ...]  # the same, with one coefficient less
    exp_half: tuple[Any, ...]  # exp(-r / 2) = p(r)
    log1p_exp: tuple[Any, ...]
    erf: tuple[Any, ...]
    normal_top: tuple[Any, ...]  # times lift
    normal_bottom: tuple[Any, ...]


def _constants(dtype: Any, ln2_high: str, ln2_low: str, **polynomials: Any) -> Constants:
    info = np.finfo(dtype)
    bits, bias, single = info.nmant, info.maxexp - 1, info.nmant == 23
    shift, magic = (64, 1.5 * 2.0**23) if single else (512, 1.5 * 2.0**52)
    linear, cubic = (_LINEAR_32, _CUBIC_32) if single else (_LINEAR_64, _CUBIC_64)
    numbers = {
        "zero": 0, "half": 0.5, "one": 1, "two": 2, "inf": np.inf, "nan": np.nan,
        "log2_e": 1 / math.log(2),
        "ln2_high": float.fromhex(ln2_high), "ln2_low": float.fromhex(ln2_low),
        "magic": magic, "bias": bias, "scale": 2.0**-shift,
        "magic_level": magic + bias,
        "magic_up": magic + bias + shift, "magic_down": magic + bias - shift,
        "magic_lift": magic + shift, "lift": 2.0**shift,
        "low": -104 if single else -746, "high": 89 if single else 710,
        "low_product": -109 if single else -752.5,
        "minus_one_below": -20 if single else -40, "sigmoid_one": 30 if single else 60,
        "tanh_one": 10 if single else 22,
        "tiny": info.tiny, "negligible": 2.0 ** -(bits + 3),
        "up": 2.0 ** (bits + 2), "up_exponent": bits + 2,
        "quarter_pi": math.pi / 4, "tan_eighth": math.tan(math.pi / 8),
        "quarter_pi_low": math.pi / 4 - float(dtype(math.pi / 4)) if single else _QUARTER_PI_LOW,
        "tan_three_eighths": math.tan(3 * math.pi / 8), "root_two": math.sqrt(2),
        "density": 1 / math.sqrt(2 * math.pi), "root_two_pi": math.sqrt(2 * math.pi),
        "normal_zero": 14.7 if single else 38.7, "erf_one": 4 if single else 6,
        "cubic_zero": 11 if single else 22,
        "cubic": cubic[0], "cubic_low": cubic[1], "linear": linear[0], "linear_low": linear[1],
    }  # fmt: skip
    taylor = (1, 1, *polynomials["exp_short"])
    polynomials["exp_half"] = tuple(dtype(a * (-0.5) ** k) for k, a in enumerate(taylor))
    polynomials["normal_top"] = tuple(a * dtype(2.0**shift) for a in polynomials["normal_top"])
    return Constants(**{name: dtype(value) for name, value in numbers.items()}, **polynomials)


SINGLE = _constants(
    np.float32, "0x1.63p-1", "-0x1.bd0106p-13", log1p_exp=p.LOG1P_EXP_32, erf=p.ERF_32,
    exp=p.EXP_32, exp_short=p.EXP_SHORT_32,
    normal_top=p.NORMAL_TOP_32, normal_bottom=p.NORMAL_BOTTOM_32,
)  # fmt: skip
DOUBLE = _constants(
    np.float64, "0x1.62e42fee00000p-1", "0x1.a39ef35793c76p-33", log1p_exp=p.LOG1P_EXP_64,
    erf=p.ERF_64, exp=p.EXP_64, exp_short=p.EXP_SHORT_64,
    normal_top=p.NORMAL_TOP_64, normal_bottom=p.NORMAL_BOTTOM_64,
)  # fmt: skip

# Numba's integers grow to 64 bits in arithmetic, which would halve the vectors of float32, so that
# every step says what it is.

_ROOT_32 = np.float32(math.sqrt(0.5)).view(np.int32)
_ROOT_64 = np.float64(math.sqrt(0.5)).view(np.int64)


@inlined
def _power_32(t):
    return np.int32(np.float32(t).view(np.int32) << np.int32(23)).view(np.float32)


@inlined
def _power_64(t):
    return np.int64(np.float64(t).view(np.int64) << np.int64(52)).view(np.float64)


@inlined
def _times_power_32(x, t):
    power = np.int32(np.float32(t).view(np.int32) << np.int32(23))
    return np.int32(np.float32(x).view(np.int32) + power).view(np.float32)


@inlined
def _times_power_64(x, t):
    power = np.int64(np.float64(t).view(np.int64) << np.int64(52))
    return np.int64(np.float64(x).view(np.int64) + power).view(np.float64)


@inlined
def _halves_32(t):
    n = np.int32(np.float32(t).view(np.int32) - np.float32(SINGLE.magic).view(np.int32))
    half = np.int32(n >> np.int32(1))
    return _of_exponent_32(half), _of_exponent_32(np.int32(n - half))


@inlined
def _of_exponent_32(n):
    return np.int32(np.int32(n + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def _halves_64(t):
    n = np.float64(t).view(np.int64) - np.float64(DOUBLE.magic).view(np.int64)
    half = n >> np.int64(1)
    return _of_exponent_64(half), _of_exponent_64(n - half)


@inlined
def _of_exponent_64(n):
    return np.int64((n + np.int64(1023)) << np.int64(52)).view(np.float64)


@inlined
def _split_32(x):
    bits = np.float32(x).view(np.int32)
    k = np.int32(np.int32(bits - _ROOT_32) >> np.int32(23))
    return np.int32(bits - np.int32(k << np.int32(23))).view(np.float32), np.float32(k)


@inlined
def _split_64(x):
    bits = np.float64(x).view(np.int64)
    k = np.int64((bits - _ROOT_64) >> np.int64(52))
    return np.int64(bits - (k << np.int64(52))).view(np.float64), np.float64(k)


power = by_dtype(_power_32, _power_64)  # 2**n from n + magic + bias, as a shift of the bits
times_power = by_dtype(_times_power_32, _times_power_64)  # x 2**n from n + magic, both normal
halves = by_dtype(_halves_32, _halves_64)  # two numbers whose product is 2**n, from n + magic
split = by_dtype(_split_32, _split_64)  # 1 + f and k, of the positive normal number (1 + f) 2**k
