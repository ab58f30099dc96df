"""The polynomials of :mod:`fastnn.kernels.math`, as ``docs/coefficients.py`` finds them.

The constant coefficient comes first. Errors are the largest before rounding.
"""

from typing import Any

import numpy as np

from fastnn.kernels._jit import inlined


@inlined
def polynomial(x: Any, coefficients: tuple[Any, ...]) -> Any:
    """Return ``c[0] + c[1] x + c[2] x**2 + ...`` by Horner's rule."""
    last = len(coefficients) - 1
    y = coefficients[last]
    for i in range(last):
        y = y * x + coefficients[last - 1 - i]
    return y


@inlined
def long_polynomial(x: Any, even: tuple[Any, ...], odd: tuple[Any, ...]) -> Any:
    """Return a polynomial whose even and odd coefficients are given apart.

    LLVM unrolls :func:`polynomial` up to about 20 coefficients; a loop that is left does not vectorise.
    """
    return polynomial(x * x, even) + x * polynomial(x * x, odd)


def _single(*digits: str) -> tuple[np.float32, ...]:
    return tuple(np.float32(float.fromhex(d)) for d in digits)


def _double(*digits: str) -> tuple[np.float64, ...]:
    return tuple(np.float64(float.fromhex(d)) for d in digits)


EXP_32 = _single(  # error 2**-29.4
    "0x1.000000p-1",
    "0x1.555556p-3",
    "0x1.5554eap-5",
    "0x1.1110e0p-7",
    "0x1.6d4316p-10",
    "0x1.a124e4p-13",
)
EXP_64 = _double(  # error 2**-59.3
    "0x1.0000000000000p-1",
    "0x1.5555555555557p-3",
    "0x1.5555555555556p-5",
    "0x1.11111111100dfp-7",
    "0x1.6c16c16c162d6p-10",
    "0x1.a01a01abe62ddp-13",
    "0x1.a01a01a6d7808p-16",
    "0x1.71de02375656cp-19",
    "0x1.27e4db67b4303p-22",
    "0x1.af4ddd84882fep-26",
    "0x1.1f72fc730b4ffp-29",
)
TANH_32 = _single(  # error 2**-32.7
    "-0x1.555556p-2",
    "0x1.11110ep-3",
    "-0x1.ba1a40p-5",
    "0x1.66324ap-6",
    "-0x1.2137f4p-7",
    "0x1.c7eb48p-9",
    "-0x1.459fc8p-10",
    "0x1.6217ecp-12",
    "-0x1.969254p-15",
)
LOG1P_32 = _single(  # error 2**-25.1
    "0x1.555554p-2",
    "-0x1.fffffcp-3",
    "0x1.999d5ap-3",
    "-0x1.555b4ap-3",
    "0x1.23d21ap-3",
    "-0x1.fcf4c6p-4",
    "0x1.dea282p-4",
    "-0x1.d635bcp-4",
    "0x1.1d8ea6p-4",
)
ATANH_64 = _double(  # error 2**-51.5
    "0x1.5555555555558p-1",
    "0x1.99999999952e2p-2",
    "0x1.2492492df148dp-2",
    "0x1.c71c62e5800a1p-3",
    "0x1.7462b4ab2ef6bp-3",
    "0x1.39fe606542ddep-3",
    "0x1.2b584aae78a57p-3",
)
ATAN_32 = _single(  # error 2**-28.6
    "-0x1.555556p-2",
    "0x1.999956p-3",
    "-0x1.248952p-3",
    "0x1.c62cdap-4",
    "-0x1.6dd8fep-4",
    "0x1.2006f8p-4",
    "-0x1.9115a4p-5",
    "0x1.aefb2cp-6",
    "-0x1.2ba6b6p-7",
    "0x1.86406cp-10",
)
ATAN_64 = _double(  # error 2**-54.8
    "-0x1.5555555555555p-2",
    "0x1.999999999934cp-3",
    "-0x1.2492492436201p-3",
    "0x1.c71c71853d7fap-4",
    "-0x1.745d0b28a7e37p-4",
    "0x1.3b1263064f6b9p-4",
    "-0x1.10fa77b1a6d57p-4",
    "0x1.dfe6497e96323p-5",
    "-0x1.a0999c632b6edp-5",
    "0x1.4162c02b1dda3p-5",
    "-0x1.3a31b1c0fd3b7p-6",
)
ERF_32 = _single(  # error 2**-34.8
    "0x1.06eba8p-3",
    "-0x1.812746p-2",
    "0x1.ce2f08p-4",
    "-0x1.b829c8p-6",
    "0x1.562a60p-8",
    "-0x1.bccf66p-11",
    "0x1.d88750p-14",
    "-0x1.445f48p-17",
)
ERF_64 = _double(  # error 2**-62.7
    "0x1.06eba8214db69p-3",
    "-0x1.812746b0379e6p-2",
    "0x1.ce2f21a042b30p-4",
    "-0x1.b82ce31284e00p-6",
    "0x1.565bcd0dbaa38p-8",
    "-0x1.c02db3dac435fp-11",
    "0x1.f9a321d5b8e1ep-14",
    "-0x1.f4d1e3183f7aep-17",
    "0x1.b9df224ca4b97p-20",
    "-0x1.5f1ecb6f0764cp-23",
    "0x1.f7b4bf3b13964p-27",
    "-0x1.389d4f2641625p-30",
    "0x1.05ffd737fb32ep-34",
)
ERFC_32 = _single(  # error 2**-33.1
    "0x1.2a2af2p-2",
    "-0x1.05cce4p-2",
    "0x1.9220d8p-3",
    "-0x1.0bdcacp-3",
    "0x1.30cf9ep-4",
    "-0x1.204508p-5",
    "0x1.ad1d1ap-7",
    "-0x1.b5a698p-9",
    "0x1.244caap-12",
    "0x1.c4d570p-13",
    "-0x1.f9c7b0p-14",
    "-0x1.f33226p-16",
)
ERFC_64 = _double(  # error 2**-61.2
    "0x1.2a2af19c14930p-2",
    "-0x1.05cce4d22cfb0p-2",
    "0x1.9220d8dc46106p-3",
    "-0x1.0bdcb780d8946p-3",
    "0x1.30cf6791ba53dp-4",
    "-0x1.2042cf161f9a9p-5",
    "0x1.ad34d909327cap-7",
    "-0x1.b62927e49a484p-9",
    "0x1.13ccd498e70fbp-12",
    "0x1.bc7f4e698d041p-13",
    "-0x1.85f47903147e8p-14",
    "0x1.7b2cc2011f548p-19",
    "0x1.4f4b3d54d6dbdp-17",
    "-0x1.3eb003d6eb2eep-19",
    "-0x1.d7149817f62b0p-21",
    "0x1.da33cc915a3f4p-22",
    "0x1.42f98d34426f4p-24",
    "-0x1.2dd8bb5dd1bdbp-24",
    "-0x1.0fd6aefc4fa69p-27",
    "0x1.6b3502290403dp-27",
    "0x1.7d040e9bee8dfp-30",
    "-0x1.502b1a4d26838p-30",
    "-0x1.0d42b3eacbb42p-32",
    "0x1.1803ccd3c580ap-35",
)
