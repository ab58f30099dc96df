"""The polynomials of :mod:`fastnn.kernels.elementary.math`, as ``docs/coefficients.py`` finds them.

The constant coefficient comes first. Errors are the largest before rounding; TANH's is that after it.
"""

from typing import Any

import numpy as np

from fastnn.kernels.compiling.jit import inlined, muladd, polynomial


@inlined
def long_polynomial(x: Any, even: tuple[Any, ...], odd: tuple[Any, ...]) -> Any:
    """Return a polynomial whose even and odd coefficients are given apart, as two shorter chains."""
    return muladd(x, polynomial(x * x, odd), polynomial(x * x, even))


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
EXP_SHORT_32 = _single(  # error 2**-23.9
    "0x1.000000p-1",
    "0x1.5554dep-3",
    "0x1.55551ap-5",
    "0x1.120b62p-7",
    "0x1.6d10fcp-10",
)
EXP_SHORT_64 = _double(  # error 2**-53.1
    "0x1.0000000000001p-1",
    "0x1.5555555555556p-3",
    "0x1.5555555553d68p-5",
    "0x1.11111111109b5p-7",
    "0x1.6c16c17889ef1p-10",
    "0x1.a01a01a7c2efep-13",
    "0x1.a019b9149a41cp-16",
    "0x1.71de0db2f6b19p-19",
    "0x1.28917c89a43a7p-22",
    "0x1.af389ecfc4b9cp-26",
)
TANH_32 = _single(  # error 2**-27.7
    "-0x1.55553cp-2",
    "0x1.110becp-3",
    "-0x1.b96378p-5",
    "0x1.6012a6p-6",
    "-0x1.047e58p-7",
    "0x1.2e013ap-9",
    "-0x1.78bac0p-12",
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
LOG1P_EXP_32 = _single(  # error 2**-24.8
    "0x1.fffffep-1",
    "-0x1.fffe8cp-2",
    "0x1.552d74p-2",
    "-0x1.fca104p-3",
    "0x1.86b1ccp-3",
    "-0x1.1692f4p-3",
    "0x1.3d8182p-4",
    "-0x1.dc5978p-6",
    "0x1.4ff1bap-8",
)
LOG1P_EXP_64 = _double(  # error 2**-53.8
    "0x1.fffffffffffffp-1",
    "-0x1.ffffffffffc6ap-2",
    "0x1.55555555375c5p-2",
    "-0x1.fffffff380c85p-3",
    "0x1.99999836fae6fp-3",
    "-0x1.55553d2c51a8dp-3",
    "0x1.24912eae79441p-3",
    "-0x1.ffedb0f0162e1p-4",
    "0x1.c6ac42a79014dp-4",
    "-0x1.978efcd129ad0p-4",
    "0x1.6cf8eae4e3f67p-4",
    "-0x1.402b33838095dp-4",
    "0x1.0a6d7e2b6ea20p-4",
    "-0x1.93011cc3386ccp-5",
    "0x1.07e0e5d4e7e06p-5",
    "-0x1.1c10cf8ae0996p-6",
    "0x1.da5c1435449e1p-8",
    "-0x1.1cb90f3acb249p-9",
    "0x1.b1cfc63950465p-12",
    "-0x1.39685fef1c776p-15",
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
ERF_32 = _single(  # error 2**-29.6
    "0x1.06eba8p-3",
    "-0x1.81273ep-2",
    "0x1.ce2d10p-4",
    "-0x1.b7fabap-6",
    "0x1.541270p-8",
    "-0x1.a45088p-11",
    "0x1.4a5690p-14",
)
ERF_64 = _double(  # error 2**-56.9
    "0x1.06eba8214db68p-3",
    "-0x1.812746b0379c1p-2",
    "0x1.ce2f21a040f66p-4",
    "-0x1.b82ce31203772p-6",
    "0x1.565bccfa44156p-8",
    "-0x1.c02db0665e53dp-11",
    "0x1.f9a2be4f731a1p-14",
    "-0x1.f4ca838adb73bp-17",
    "0x1.b981d78881a5dp-20",
    "-0x1.5c131500d3f88p-23",
    "0x1.d76af6ca49787p-27",
    "-0x1.ac9585a44fe29p-31",
)
NORMAL_TOP_32 = _single(  # error 2**-29.5
    "0x1.447054p+0",
    "0x1.adc7c8p-2",
    "0x1.35caaep-4",
    "0x1.9fc7cep-8",
)
NORMAL_TOP_64 = _double(  # error 2**-56.0
    "0x1.3c067708c9648p+1",
    "0x1.8f1e09c410d12p+0",
    "0x1.4733931122891p-1",
    "0x1.7a2a0737763c6p-3",
    "0x1.3d137f41a1beap-5",
    "0x1.80a2ccf08c0a3p-8",
    "0x1.45ca441377d24p-11",
    "0x1.5f73a3ee2fc22p-15",
    "0x1.73fe1937fef08p-20",
)
NORMAL_BOTTOM_32 = _single(  # error 2**-29.5
    "0x1.16cf32p+0",
    "0x1.237398p-1",
    "0x1.60c4c0p-3",
    "0x1.ee89a8p-6",
    "0x1.4bb78cp-9",
)
NORMAL_BOTTOM_64 = _double(  # error 2**-56.0
    "0x1.b09d7f698a224p+0",
    "0x1.699c1a3e20c06p+0",
    "0x1.830b1b13bc4c3p-1",
    "0x1.2331b49a221f6p-2",
    "0x1.40805aa4b9c0cp-4",
    "0x1.050f1ecd7721ap-6",
    "0x1.3746cf6c00558p-9",
    "0x1.051a3008f9c06p-12",
    "0x1.186afb93178a7p-16",
    "0x1.28cea015b26f9p-21",
)
