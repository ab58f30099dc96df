"""The largest error of the elementwise kernels: functions of one number, activations, gradients."""

from typing import NamedTuple

import numpy as np

from fastnn.kernels import activations
from fastnn.kernels.compiling.jit import kernel
from fastnn.kernels.elementary import math
from fastnn.reference.formulas import FORMULAS, PLAIN

from . import inputs
from .formulas import evaluate, terms_of
from .limits import LIMITS
from .units import errors

FACTOR = float(np.float32(1.1))  # the gradient that a ``_backward`` kernel is given
DENSE = {"float32": 4_000_000, "float64": 1_000_000}  # of the ordinary tests, where functions bend


@kernel
def exp(x, out):
    for i in range(x.size):
        out[i] = math.exp(x[i])


@kernel
def exp_nonpositive(x, out):
    for i in range(x.size):
        out[i] = math.exp_nonpositive(-abs(x[i]))


@kernel
def expm1(x, out):
    for i in range(x.size):
        out[i] = math.expm1(x[i])


@kernel
def log(x, out):
    for i in range(x.size):
        out[i] = math.log(x[i])


@kernel
def log1p(x, out):
    for i in range(x.size):
        out[i] = math.log1p(x[i])


@kernel
def erf(x, out):
    for i in range(x.size):
        out[i] = math.erf(x[i])


_LOOPS = {f.__name__: f for f in (exp, exp_nonpositive, expm1, log, log1p, erf)}
NAMES = list(LIMITS)[: list(LIMITS).index("softmax")]  # the table's other rows are those of `rows`


class Worst(NamedTuple):
    """The largest error, the input where it occurs, and how many inputs there were."""

    error: float = 0.0
    at: float | str | None = None
    count: int = 0

    def __or__(self, other):
        """Return the worse of two, of equals the first, and the inputs of both."""
        worst = other if other.error > self.error else self
        return worst._replace(count=self.count + other.count)


def call(name, x):
    """Return what a kernel computes from an array; its gradient of the output is `FACTOR`."""
    out = np.empty_like(x)
    base = name.removesuffix("_backward")
    parameters = [x.dtype.type(p) for p in FORMULAS[base].parameter] if base in FORMULAS else []
    gradient = [np.full_like(x, FACTOR)] if base != name else []
    function = _LOOPS.get(name) or getattr(activations, name)
    function(x, *parameters, *gradient, out)
    return out


def worst(name, chunks):
    """Return the largest error of a kernel over arrays of finite numbers and NaN."""
    total = Worst()
    factor = FACTOR if name.endswith("_backward") else 1.0
    nan_passes = np.isnan(
        sum(terms_of(name, PLAIN, np.array(np.nan)))
    )  # a step's slope is a convention
    for chunk in chunks:
        finite = np.isfinite(chunk)
        x = chunk if finite.all() else chunk[finite | (np.isnan(chunk) & nan_passes)]
        if x.size:
            found = errors(call(name, x), *evaluate(name, x, x.dtype, factor))
            i = int(np.argmax(found))
            total |= Worst(float(found[i]), float(x[i]), x.size)
    return total


def sample(name, dtype):
    """Yield the inputs of the ordinary tests."""
    yield inputs.landmarks(dtype)
    yield from inputs.stretch(dtype, DENSE[dtype])
    if dtype == "float32":
        yield from inputs.every(inputs.STRIDE)
    else:
        yield from inputs.any_magnitude(inputs.CHUNK)
        decades = [inputs.decade(*where, 500) for where in inputs.decades(name)]
        yield np.concatenate([x for chunks in decades for x in chunks])


def pieces(name, dtype):
    """Return the inputs of the full sweep, in pieces: a function that yields each, and its arguments.

    Every float32; of float64, ten million in a decade, as many random bits, and the landmarks.
    """
    if dtype == "float32":
        step = 1 << 26
        return [(inputs.every, 1, first, first + step) for first in range(0, 1 << 32, step)]
    decades = [(inputs.decade, *where, 10**7) for where in inputs.decades(name)]
    return [(inputs.only_landmarks, dtype), *decades, (inputs.any_magnitude, 10**7)]
