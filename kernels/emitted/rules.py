"""Optimisers' rules on vectors of weights, emitted as LLVM IR.

A rule is applied where the gradient is: on the tile that has just been multiplied
(:mod:`fastnn.kernels.emitted.gemm`), or on whole arrays, where their norm has to be known first. The
gradient becomes ``scale (gradient + penalty values)``; then the rule's formula, of
:mod:`fastnn.kernels.formulas`, gives the step and the new state.

Which rule it is, compiled code knows by its type (:class:`Rule`), and compiles that one alone. A new
rule is a formula there, the record of its numbers, and a line with :func:`make_rule` here.
"""

import hashlib
import inspect
from types import FunctionType
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastnn.kernels import formulas
from fastnn.kernels.compiling.constants import constants
from fastnn.kernels.compiling.jit import inner
from fastnn.kernels.compiling.memory import numbers
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted.vectors import I64, Emitter

MOST_NUMBERS = 16  # of a rule, scale and penalty included
_GIVEN = 2  # these two come first


@constants
class Rule:
    """An optimiser's rule, for compiled code: its name, and how many numbers it takes."""

    name: str
    count: int


class _Vector:
    """A vector in a formula: its operators emit instructions."""

    def __init__(self, emit: Emitter, value: Any) -> None:
        self.emit, self.value = emit, value

    def __mul__(self, other: "_Vector") -> "_Vector":
        return _Vector(self.emit, self.emit.builder.fmul(self.value, other.value))

    def __add__(self, other: "_Vector") -> "_Vector":
        return _Vector(self.emit, self.emit.builder.fadd(self.value, other.value))

    def __sub__(self, other: "_Vector") -> "_Vector":
        return _Vector(self.emit, self.emit.builder.fsub(self.value, other.value))

    def __truediv__(self, other: "_Vector") -> "_Vector":
        return _Vector(self.emit, self.emit.builder.fdiv(self.value, other.value))

    def __abs__(self) -> "_Vector":
        return _Vector(self.emit, self.emit.abs(self.value))


def _muladd(a: _Vector, b: _Vector, c: _Vector) -> _Vector:
    return _Vector(a.emit, a.emit.muladd(a.value, b.value, c.value))


def _sqrt(a: _Vector) -> _Vector:
    return _Vector(a.emit, a.emit.sqrt(a.value))


class _Formula:
    """A rule's formula as a function of vectors.

    ``states``: the names of the optimiser's arrays that it takes; ``numbers``: by name, each number's
    place in the record; ``takes_value``: whether it takes the parameter's value, as ``w``.
    """

    def __init__(self, formula: Any, record: type[Record]) -> None:
        self.record = record
        function = getattr(formula, "py_func", formula)
        code = function.__code__
        self.call = FunctionType(code, {"muladd": _muladd, "sqrt": _sqrt, "abs": abs})
        meaning = repr((code.co_code, code.co_names, code.co_varnames, record.dtype.names))
        self.digest = hashlib.sha256(meaning.encode()).hexdigest()[:8]
        known = record.dtype.names or ()
        arguments = list(inspect.signature(function).parameters)[1:]
        self.takes_value = "w" in arguments
        self.states = [name for name in arguments if name not in known and name != "w"]
        self.numbers = {name: known.index(name) for name in arguments if name in known}


_FORMULAS: dict[str, _Formula] = {}


def make_rule(name: str, formula: Any, record: type[Record]) -> Rule:
    """Return the rule of a formula, whose numbers a record names.

    The rule's name gets a digest of the formula, because compiled code is kept by that name.

    Raises
    ------
    ValueError
        If there are too many numbers.
    """
    count = len(record.dtype.names or ())
    if _GIVEN + count > MOST_NUMBERS:
        raise ValueError(f"{name} has {count} numbers; a rule takes {MOST_NUMBERS - _GIVEN} at most")
    found = _Formula(formula, record)
    name = f"{name}_{found.digest}"
    _FORMULAS[name] = found
    return Rule(name, count)


def numbers_of(rule: Rule) -> type[Record]:
    """Return the record of a rule's numbers."""
    return _FORMULAS[rule.name].record


sgd = make_rule("sgd", formulas.momentum, formulas.MomentumNumbers)
nesterov = make_rule("nesterov", formulas.nesterov, formulas.MomentumNumbers)
adam = make_rule("adam", formulas.adam, formulas.AdamNumbers)
decayed_sgd = make_rule("sgd", formulas.decayed_momentum, formulas.DecayedMomentumNumbers)
decayed_nesterov = make_rule("nesterov", formulas.decayed_nesterov, formulas.DecayedMomentumNumbers)
adamw = make_rule("adamw", formulas.adamw, formulas.DecayedAdamNumbers)
nadam = make_rule("nadam", formulas.nadam, formulas.NadamNumbers)
rmsprop = {  # by whether it is centered, and whether it has momentum
    (False, False): make_rule("rmsprop", formulas.rmsprop, formulas.RMSPropNumbers),
    (False, True): make_rule("rmsprop", formulas.rmsprop_momentum, formulas.RMSPropNumbers),
    (True, False): make_rule("rmsprop", formulas.rmsprop_centered, formulas.RMSPropNumbers),
    (True, True): make_rule("rmsprop", formulas.rmsprop_centered_momentum, formulas.RMSPropNumbers),
}


@inner
def write_numbers(out, scale, penalty, at, rule):
    """Write a rule's numbers, the optimiser's at the address ``at``, in the dtype of ``out``."""
    out[0], out[1] = scale, penalty
    given = numbers(at)
    for i in range(rule.count):
        out[2 + i] = given[i]


class Numbers:
    """The vectors of what :func:`write_numbers` wrote, and whether there is no penalty."""

    def __init__(self, emit: Emitter, address: Any, rule: Rule) -> None:
        b = emit.builder
        at = b.inttoptr(address, emit.element.as_pointer())
        read = [b.load(b.gep(at, [I64(i)])) for i in range(_GIVEN + rule.count)]
        self.unpenalised = b.fcmp_ordered("==", read[1], ir.Constant(emit.element, 0.0))
        self.scale, self.penalty, *self.given = (emit.broadcast(x, emit.vector) for x in read)


def distances_of(emit: Emitter, address: Any, rule: Rule) -> list[Any]:
    """Return how many bytes each of the optimiser's arrays lies behind the parameter."""
    b = emit.builder
    at = b.inttoptr(address, I64.as_pointer())
    return [b.load(b.gep(at, [I64(i)])) for i in range(len(_FORMULAS[rule.name].states))]


def emit_rule(
    emit: Emitter, rule: Rule, own: Numbers, g: Any, values: Any, states: list[Any], mask: Any
) -> Any:
    """Return new weights, given their gradient; write the optimiser's arrays, given as pointers."""
    b, formula = emit.builder, _FORMULAS[rule.name]
    w = emit.load(values, mask)
    with_penalty = emit.muladd(own.penalty, w, g)
    g = b.fmul(own.scale, b.select(own.unpenalised, g, with_penalty))  # as 0 times infinity is NaN
    named = {name: _Vector(emit, own.given[i]) for name, i in formula.numbers.items()}
    if formula.takes_value:
        named["w"] = _Vector(emit, w)
    state = [_Vector(emit, emit.load(pointer, mask)) for pointer in states]
    step, *changed = formula.call(_Vector(emit, g), *state, **named)
    for vector, pointer in zip(changed, states, strict=True):
        emit.store(vector.value, pointer, mask)
    return b.fsub(w, step.value)


@intrinsic
def apply_rule(context, rule, gradient, values, distances, count, numbers, like):
    """Update the first vector of ``count`` elements at these addresses."""

    def codegen(context, builder, signature, arguments):
        emit = Emitter(builder, like)
        own = Numbers(emit, arguments[5], rule.value)
        pointer = emit.vector.as_pointer()
        behind = distances_of(emit, arguments[3], rule.value)
        states = [builder.inttoptr(builder.add(arguments[2], d), pointer) for d in behind]
        g, values = (builder.inttoptr(a, pointer) for a in arguments[1:3])
        count = arguments[4]

        def update(mask: Any) -> None:
            gradient = emit.load(g, mask)
            emit.store(emit_rule(emit, rule.value, own, gradient, values, states, mask), values, mask)

        with builder.if_else(builder.icmp_signed(">=", count, I64(emit.lanes))) as (whole, part):
            with whole:
                update(None)
            with part:
                update(emit.mask(count))
        return context.get_dummy_value()

    return types.void(rule, *[types.int64] * 5, like), codegen
