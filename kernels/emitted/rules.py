"""Optimisers' rules on vectors of weights, emitted as LLVM IR.

A rule is applied where the gradient is: on the tile that has just been multiplied
(:mod:`fastnn.kernels.emitted.gemm`), or on whole arrays, where their norm has to be known first.
The gradient becomes ``scale (gradient + penalty values)``.

Which rule it is, compiled code knows by its type (:class:`Rule`), and compiles that one alone.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastnn.kernels.compiling.constants import constants
from fastnn.kernels.compiling.jit import inlined, inner
from fastnn.kernels.emitted.vectors import I64, Emitter

NUMBERS = 8  # of a rule: scale, penalty, the optimiser's four, two of them from 1


@constants
class Rule:
    """An optimiser's rule."""

    name: str


_SGD, _NESTEROV, _ADAM = Rule("sgd"), Rule("nesterov"), Rule("adam")


@inlined
def sgd():
    """Return the rule ``velocity = momentum velocity + lr gradient``; ``weights -= velocity``."""
    return _SGD


@inlined
def nesterov():
    """Return :func:`sgd`, but ``weights -= momentum velocity + lr gradient`` of its velocity."""
    return _NESTEROV


@inlined
def adam():
    """Return ``optimizers.adam``, of ``step_size, beta_1, beta_2, eps``, and ``weights -= out``."""
    return _ADAM


@inner
def write_numbers(out, scale, penalty, rates):
    """Write a rule's ``NUMBERS`` numbers in the dtype of ``out``."""
    out[0], out[1] = scale, penalty
    for i in range(4):
        out[2 + i] = rates[i]
    out[6], out[7] = 1.0 - rates[1], 1.0 - rates[2]


def rule_numbers(emit: Emitter, address: Any) -> list[Any]:
    """Return the vectors of what :func:`write_numbers` wrote, and last whether there is no penalty."""
    b = emit.builder
    at = b.inttoptr(address, emit.element.as_pointer())
    read = [b.load(b.gep(at, [I64(i)])) for i in range(NUMBERS)]
    unpenalised = b.fcmp_ordered("==", read[1], ir.Constant(emit.element, 0.0))
    return [*(emit.broadcast(x, emit.vector) for x in read), unpenalised]


def emit_rule(
    emit: Emitter,
    rule: str,
    numbers: list[Any],
    g: Any,
    values: Any,
    first: Any,
    second: Any,
    mask: Any,
) -> Any:
    """Return new weights, given their gradient; write the optimiser's arrays, given as pointers."""
    b, muladd = emit.builder, emit.muladd
    scale, penalty, *rates, unpenalised = numbers
    w = emit.load(values, mask)
    with_penalty = muladd(penalty, w, g)
    g = b.fmul(scale, b.select(unpenalised, g, with_penalty))  # as 0 times infinity is NaN
    if rule == _ADAM.name:
        step_size, beta_1, beta_2, eps, rest_1, rest_2 = rates
        m = muladd(beta_1, emit.load(first, mask), b.fmul(rest_1, g))
        v = muladd(beta_2, emit.load(second, mask), b.fmul(rest_2, b.fmul(g, g)))
        emit.store(m, first, mask)
        emit.store(v, second, mask)
        root = b.call(emit.function("llvm.sqrt", emit.vector, [emit.vector]), [v])
        step = b.fdiv(b.fmul(step_size, m), b.fadd(root, eps))
    else:
        lr, momentum, *_ = rates
        scaled = b.fmul(lr, g)
        step = muladd(momentum, emit.load(first, mask), scaled)
        emit.store(step, first, mask)
        if rule == _NESTEROV.name:
            step = muladd(momentum, step, scaled)
    return b.fsub(w, step)


@intrinsic
def apply_rule(context, rule, gradient, first, second, values, count, numbers, like):
    """Update the first vector of ``count`` elements at these addresses."""

    def codegen(context, builder, signature, arguments):
        emit = Emitter(builder, like)
        g, first, second, values = (
            builder.inttoptr(a, emit.vector.as_pointer()) for a in arguments[1:5]
        )
        count, own = arguments[5], rule_numbers(emit, arguments[6])

        def update(mask: Any) -> None:
            gradient = emit.load(g, mask)
            new = emit_rule(emit, rule.value.name, own, gradient, values, first, second, mask)
            emit.store(new, values, mask)

        with builder.if_else(builder.icmp_signed(">=", count, I64(emit.lanes))) as (whole, part):
            with whole:
                update(None)
            with part:
                update(emit.mask(count))
        return context.get_dummy_value()

    return types.void(rule, *[types.int64] * 6, like), codegen
