"""Optimisers: ``update(param_name, param, param_grad, epoch)`` returns what to subtract.

One file a family; a new one gets a row in the table below.
"""

import functools
import inspect
import numbers
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from fastnn._validation import choose
from fastnn.optimizers.adam import Adam, Moments
from fastnn.optimizers.adamw import AdamW
from fastnn.optimizers.base import Optimizer
from fastnn.optimizers.nadam import Nadam
from fastnn.optimizers.rmsprop import RMSProp
from fastnn.optimizers.sgd import SGD
from fastnn.schedulers import Scheduler

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamW",
    "Moments",
    "Nadam",
    "Optimizer",
    "RMSProp",
    "initialize_optimizer",
]

OPTIMIZERS: dict[str, type[Optimizer]] = {
    "SGD": SGD,
    "Adam": Adam,
    "AdamW": AdamW,
    "Nadam": Nadam,
    "RMSProp": RMSProp,
}


_LIGHT = ("momentum", "clip_norm")  # the light edition's third and fourth argument
_P = ParamSpec("_P")
_R = TypeVar("_R")


def _also_without_scheduler(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let a function whose third argument is a scheduler take momentum and clip_norm instead.

    A number as the third argument is the momentum, as no scheduler is a number.
    """

    @functools.wraps(function)
    def either(*arguments: Any, **named: Any) -> _R:
        light = arguments[2:]
        if not light or not isinstance(light[0], numbers.Real):
            return function(*arguments, **named)
        if len(light) > len(_LIGHT):
            raise TypeError(
                f"{function.__name__} takes (name, lr, momentum, clip_norm) where the third argument "
                f"is a number, got {len(arguments)} arguments"
            )
        given = dict(zip(_LIGHT, light, strict=False))
        twice = [name for name in ("lr_scheduler", *given) if name in named]
        if twice:
            raise TypeError(
                f"{function.__name__} got {twice[0]}={named[twice[0]]!r} beside the momentum "
                f"{light[0]!r}, its third argument"
            )
        return function(*arguments[:2], **given, **named)

    return either


@_also_without_scheduler
def initialize_optimizer(
    name: str,
    lr: float | None = None,
    lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
    momentum: float = 0.0,
    clip_norm: float | None = None,
    lr_decay: float | None = 0.9,
    staircase: bool | None = None,
    stage_length: float | None = None,
    **options: Any,
) -> Optimizer:
    """Return the optimiser called ``name``, in upper or lower case.

    The names are ``"SGD"``, ``"Adam"``, ``"AdamW"``, ``"Nadam"`` and ``"RMSProp"``. The default of
    ``lr`` is that of the class. SGD and RMSProp use ``momentum``; the others ignore it. All further
    arguments of the class are ``options``: ``nesterov``, ``beta_1``, ``weight_decay``, ...
    The call ``initialize_optimizer(name, lr, momentum, clip_norm)`` of the teaching library's light
    edition works too: a number as the third argument is the momentum.

    Raises
    ------
    NotImplementedError
        If no optimiser has that name; the message lists those there are.
    """
    kind: Any = choose("optimizer", name, OPTIMIZERS)
    if "momentum" in inspect.signature(kind).parameters:
        options["momentum"] = momentum
    if lr is not None:
        options["lr"] = lr
    optimizer: Optimizer = kind(
        lr_scheduler=lr_scheduler,
        clip_norm=clip_norm,
        lr_decay=lr_decay,
        staircase=staircase,
        stage_length=stage_length,
        **options,
    )
    return optimizer
