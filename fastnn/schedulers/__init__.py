"""Learning-rate schedules: ``scheduler(epoch)`` is the learning rate of that epoch.

A schedule with ``by_step=True`` is a function of the number of updates since the start of ``fit`` or
``train`` instead: ``scheduler(step)``. The same holds for any function whose attribute ``by_step`` is
true. The optimiser counts the updates; saved networks and checkpoints include the count.

Settings are attributes that may be changed; the next step uses the new value.
"""

import inspect
from typing import Any

from fastnn._validation import canonical
from fastnn.schedulers.base import Scheduler, counts_steps, rate_at
from fastnn.schedulers.cycles import LinearWarmup, OneCycle
from fastnn.schedulers.decays import Constant, Cosine, Exponential, StepDecay
from fastnn.schedulers.plateau import Plateau, ReduceOnPlateau

__all__ = [
    "SCHEDULERS",
    "Constant",
    "Cosine",
    "Exponential",
    "LinearWarmup",
    "OneCycle",
    "Plateau",
    "ReduceOnPlateau",
    "Scheduler",
    "StepDecay",
    "counts_steps",
    "initialize_scheduler",
    "is_known_ahead",
    "rate_at",
]

SCHEDULERS: dict[str, type[Scheduler]] = {
    "constant": Constant,
    "exponential": Exponential,
    "step": StepDecay,
    "cosine": Cosine,
    "one_cycle": OneCycle,
    "linear_warmup": LinearWarmup,
    "reduce_on_plateau": ReduceOnPlateau,
}


def is_known_ahead(scheduler: Any) -> bool:
    """Return whether the rates of later epochs can be computed in advance.

    A user-defined function may depend on the history so far, so its rates cannot.
    """
    if type(scheduler) is LinearWarmup:
        return is_known_ahead(scheduler.lr_scheduler)
    return type(scheduler) in SCHEDULERS.values() and type(scheduler) is not ReduceOnPlateau


def initialize_scheduler(
    name: str,
    lr: float,
    decay: float | None = None,
    stage_length: float | None = None,
    staircase: bool | None = None,
    **options: Any,
) -> Scheduler:
    """Return the scheduler called ``name``, in upper or lower case.

    ========================= ================================================================
    ``"constant"``            :class:`Constant`
    ``"exponential"``         :class:`Exponential`, of ``decay`` and ``stage_length``
    ``"step"``                :class:`StepDecay`, of ``decay`` and ``stage_length``
    ``"cosine"``              :class:`Cosine`, whose ``length`` is ``stage_length``
    ``"one_cycle"``           :class:`OneCycle`, likewise
    ``"linear_warmup"``       :class:`LinearWarmup` to ``lr``, likewise
    ``"reduce_on_plateau"``   :class:`ReduceOnPlateau`
    ========================= ================================================================

    Further ``options`` are the arguments of the class. ``staircase`` is accepted and has no effect, as
    in the teaching library, whose programs pass it: by name the exponential decay is smooth, and
    ``Exponential(..., staircase=True)`` itself steps.

    Raises
    ------
    NotImplementedError
        If no scheduler has that name; the message lists the known names.
    ValueError
        If the scheduler needs ``decay`` or ``stage_length`` and it is None.
    TypeError
        For an option that the class does not take.
    """
    name = canonical("scheduler", name, SCHEDULERS)
    kind: Any = SCHEDULERS[name]
    known = inspect.signature(kind).parameters
    span = "length" if "length" in known else "stage_length"
    given: dict[str, Any] = {"decay": decay, span: stage_length}
    given = {argument: value for argument, value in given.items() if argument in known} | options
    for argument in ("decay", span):
        if argument in known and given[argument] is None:
            also = " (its length)" if argument == "length" else ""
            argument = "stage_length" if also else argument
            raise ValueError(f"the {name} scheduler needs {argument}{also}, got None")
    strange = options.keys() - known.keys()
    if strange:
        raise TypeError(f"the {name} scheduler takes no {', '.join(sorted(strange))}")
    scheduler: Scheduler = kind(lr, **given)
    return scheduler
