"""An optimiser's rule on one vector of weights, emitted as LLVM vector IR.

A step updates blocks of weights whose rows are a few vectors long. A compiled loop over so short a row
first finds out whether its arrays overlap, then does most of it an element at a time, with a scalar
square root and division for each: ten times slower than this.

``gradient, first, second, values``: addresses of the gradient, the optimiser's arrays and the weights;
``count``: how many elements there are from there on. The gradient becomes ``scale (gradient + penalty
values)``, in registers; ``rates``: four numbers of the optimiser's.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastnn.kernels._jit import inner_exact
from fastnn.kernels.gemm_microkernel import _I64, _Emitter

_SGD, _NESTEROV, _ADAM = range(3)


def _emit_rule(emit: _Emitter, rule: int, at: list[Any], mask: Any, numbers: list[Any]) -> None:
    """Read, compute, write one vector."""
    b = emit.builder
    gradient, first, second, values = (b.inttoptr(a, emit.vector.as_pointer()) for a in at)
    scale, penalty, *rates = (emit.broadcast(x, emit.vector) for x in numbers)
    fma = emit.function("llvm.fma", emit.vector, [emit.vector] * 3)
    g, w = emit.load(gradient, mask), emit.load(values, mask)
    none = b.fcmp_ordered("==", numbers[1], ir.Constant(emit.element, 0.0))
    g = b.fmul(scale, b.select(none, g, b.call(fma, [penalty, w, g])))  # 0 times infinity is NaN
    if rule == _ADAM:
        step_size, beta_1, beta_2, eps, rest_1, rest_2 = rates
        m = b.call(fma, [beta_1, emit.load(first, mask), b.fmul(rest_1, g)])
        v = b.call(fma, [beta_2, emit.load(second, mask), b.fmul(rest_2, b.fmul(g, g))])
        emit.store(m, first, mask)
        emit.store(v, second, mask)
        root = b.call(emit.function("llvm.sqrt", emit.vector, [emit.vector]), [v])
        step = b.fdiv(b.fmul(step_size, m), b.fadd(root, eps))
    else:
        lr, momentum, *_ = rates
        scaled = b.fmul(lr, g)
        step = b.call(fma, [momentum, emit.load(first, mask), scaled])
        emit.store(step, first, mask)
        if rule == _NESTEROV:
            step = b.call(fma, [momentum, step, scaled])
    emit.store(b.fsub(w, step), values, mask)


def _vector(rule: int) -> Any:
    """Return the rule on the first vector of ``count`` elements, as a call."""

    @intrinsic
    def vector(context, gradient, first, second, values, count, scale, penalty, a, b, c, d, e, f):
        def codegen(context, builder, signature, arguments):
            emit = _Emitter(builder, scale)
            at, count, numbers = arguments[:4], arguments[4], arguments[5:]
            with builder.if_else(builder.icmp_signed(">=", count, _I64(emit.lanes))) as (whole, part):
                with whole:
                    _emit_rule(emit, rule, at, None, numbers)
                with part:
                    _emit_rule(emit, rule, at, emit.mask(count), numbers)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5, *[scale] * 8), codegen

    return vector


_sgd, _nesterov, _adam = _vector(_SGD), _vector(_NESTEROV), _vector(_ADAM)


@inner_exact
def sgd_vector(gradient, first, second, values, count, scale, penalty, rates):
    """``velocity = momentum * velocity + lr * gradient``; ``weights -= velocity``."""
    t, n = type(scale), scale - scale
    _sgd(gradient, first, second, values, count, scale, penalty, t(rates[0]), t(rates[1]), n, n, n, n)


@inner_exact
def nesterov_vector(gradient, first, second, values, count, scale, penalty, rates):
    """Do :func:`sgd_vector`, but ``weights -= momentum * velocity + lr * gradient`` of its velocity."""
    t, n = type(scale), scale - scale
    _nesterov(
        gradient, first, second, values, count, scale, penalty, t(rates[0]), t(rates[1]), n, n, n, n
    )


@inner_exact
def adam_vector(gradient, first, second, values, count, scale, penalty, rates):
    """``optimizers.adam`` with ``rates = step_size, beta_1, beta_2, eps``; ``weights -= out``."""
    t = type(scale)
    _adam(
        gradient, first, second, values, count, scale, penalty, t(rates[0]), t(rates[1]), t(rates[2]),
        t(rates[3]), t(1.0 - rates[1]), t(1.0 - rates[2]),
    )  # fmt: skip
