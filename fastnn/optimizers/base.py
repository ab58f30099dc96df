"""The base class of optimisers: learning rate, clipping, and the state of parameters in ``cache``."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any

import numpy as np

from fastnn._arrays import aligned_views, aligned_zeros
from fastnn._changes import WatchedDict, checked, watched
from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, require_count, require_number
from fastnn.kernels import optimizers as kernels
from fastnn.kernels.emitted.rules import Rule, numbers_of
from fastnn.schedulers import Constant, Scheduler, counts_steps, initialize_scheduler, rate_at


def _norm(name: str) -> Callable[[float | None], float | None]:
    """Return a function that checks a norm, or None; ``name`` is for its messages."""

    def checked(value: float | None) -> float | None:
        return None if value is None else require_number(name, value, low=0.0, strict=True)

    return checked


def _scheduler(value: Any) -> Any:
    if callable(value):
        return value
    raise TypeError(f"lr_scheduler must be a Scheduler, or a function of an epoch, got {value!r}")


class Optimizer(ABC):
    """Base class. ``lr_scheduler(epoch)`` is the learning rate, ``cache`` the state by name.

    Parameters
    ----------
    lr : float
        Learning rate at epoch 0. It is the scheduler's: ``optimizer.lr = 0.1`` sets it there.
    lr_scheduler : str or Scheduler
        A name for ``initialize_scheduler``, or a scheduler, or any function of an epoch. A function
        whose attribute ``by_step`` is true gets the number of updates instead. A scheduler or function
        has its own rate; ``lr`` is then not used.
    clip_norm : float, optional
        A gradient array whose 2-norm exceeds this is scaled down to it first.
    global_clip_norm : float, optional
        If the 2-norm of all gradients of a network together exceeds this, all are scaled down by the
        same factor, so that it is this (R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of
        training recurrent neural networks", ICML 2013). Networks apply it; ``update`` sees one array
        only. ``clip_norm`` has to be None then.
    lr_decay, stage_length, staircase
        For ``initialize_scheduler``.

    Settings are attributes that may be changed between steps: the next step uses the new value. An
    invalid value raises an error at once.
    """

    cache: dict[str, Any] = watched()
    clip_norm: float | None = watched(_norm("clip_norm"))
    global_clip_norm: float | None = watched(_norm("global_clip_norm"))
    lr_scheduler: Callable[[float], float] = checked(_scheduler)

    def __init__(
        self,
        lr: float = 0.01,
        lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
        global_clip_norm: float | None = None,
    ) -> None:
        self._lr = require_number("lr", lr, low=0.0)
        self.lr_scheduler = (
            lr_scheduler
            if callable(lr_scheduler)
            else initialize_scheduler(lr_scheduler, lr, lr_decay, stage_length, staircase)
        )
        self.clip_norm, self.global_clip_norm = clip_norm, global_clip_norm
        self.check_clipping()
        self.cache = WatchedDict()
        self._own: dict[str, tuple[Array, ...]] = {}  # arrays in `cache` that are not the caller's
        self.epoch = 0
        self.updates = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled state, including one of an earlier version with fewer attributes."""
        vars(self).update({"global_clip_norm": None, "_updates": 0, "_updated": set()} | state)

    def __repr__(self) -> str:
        scheduler = vars(self).get("lr_scheduler")
        return as_call(self, lr_scheduler="constant" if type(scheduler) is Constant else scheduler)

    @property
    def lr(self) -> float:
        """The scheduler's ``lr``: the learning rate at epoch 0."""
        scheduler = vars(self).get("lr_scheduler")
        return float(getattr(scheduler, "lr", self._lr))

    @lr.setter
    def lr(self, value: float) -> None:
        rate = require_number("lr", value, low=0.0)
        scheduler = vars(self).get("lr_scheduler")
        if scheduler is not None and not hasattr(scheduler, "lr"):
            raise AttributeError(
                f"the learning rate is that of {scheduler!r}, which has no lr to set; "
                "set optimizer.lr_scheduler"
            )
        if scheduler is not None:
            scheduler.lr = rate
        self._lr = rate

    @property
    def learning_rate(self) -> float:
        """The learning rate of the current epoch; for a schedule by update, of the next update."""
        return float(rate_at(self.lr_scheduler, self.epoch, self._updates))

    @property
    def updates(self) -> int:
        """Number of updates done; ``fit`` and ``train`` begin at 0.

        Calls of ``update`` for different parameters count as one update. The next update begins when
        a parameter's name occurs again.
        """
        return self._updates

    @updates.setter
    def updates(self, count: int) -> None:
        self._updates = require_count("updates", count, low=0)
        self._updated: set[str] = set()  # the parameters that `update` has been called for

    def next_rate(self) -> float:
        """Count an update of all parameters; return its learning rate."""
        scheduler = self.lr_scheduler
        if type(scheduler) is Constant:
            rate = scheduler.lr
        else:
            rate = rate_at(scheduler, self.epoch, self._updates)  # which may raise an error
        self._updates += 1
        if self._updated:
            self._updated = set()
        return rate

    def next_rates(self, count: int) -> list[float]:
        """Count ``count`` updates; return the learning rate of each."""
        scheduler, epoch, begin = self.lr_scheduler, self.epoch, self._updates
        if not counts_steps(scheduler):
            rates = [rate_at(scheduler, epoch, begin)] * count
        else:
            rates = [rate_at(scheduler, epoch, begin + i) for i in range(count)]
        self.updates = begin + count
        return rates

    # What a compiled step needs. The engine takes an optimiser whose class itself defines `rule`.

    @property
    def rule(self) -> Rule:
        """The rule that compiled steps update by; see :mod:`fastnn.kernels.emitted.rules`."""
        raise NotImplementedError(f"{type(self).__name__} has no compiled step")

    @property
    def is_descent(self) -> bool:
        """Whether the rule is gradient descent, with or without momentum."""
        return False

    _arrays_each = 0  # number of state arrays per parameter

    _entry: Callable[..., Any]  # makes a parameter's entry of `cache` from its arrays

    @staticmethod
    def arrays_of(state: Any) -> tuple[Array, ...]:
        """Return the arrays of an entry of ``cache``, in the order of the rule's states."""
        return (state,)

    @abstractmethod
    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        """Return the array to subtract from ``param``, in its shape, as a new array.

        Parameters
        ----------
        param_name : str
            Key of the optimiser's state.
        param, param_grad : array_like of one shape
        epoch : int, optional
            For the learning rate; by default that of the last call that named one, at first 0.
        """

    def state(self, param_name: str, like: Array) -> Any:
        """Return a parameter's entry in ``cache``, in the form of ``like``; zeros if none fits."""
        raise NotImplementedError(f"{type(self).__name__} keeps no state for a compiled step")

    def states(self, names: Sequence[str], arrays: Sequence[Array]) -> list[Any]:
        """Return several parameters' entries in ``cache``; the new ones' arrays are views of one.

        Arrays that the caller has assigned into ``cache`` are replaced by copies.
        """
        if type(self.cache) is not WatchedDict:
            self.cache = WatchedDict(self.cache)
        new = [(n, a) for n, a in zip(names, arrays, strict=True) if n not in self.cache]
        if new:
            shapes, dtype = [a.shape for _, a in new], new[0][1].dtype
            zeros = [aligned_views(shapes, dtype)[1] for _ in range(self._arrays_each)]
            for (name, _), *own in zip(new, *zeros, strict=True):
                self.adopt(name, self._entry(*own))
        return [self.state(name, like) for name, like in zip(names, arrays, strict=True)]

    def adopt(self, name: str, entry: Any) -> Any:
        """Keep a parameter's entry, whose arrays were made here; return it."""
        self.cache[name] = entry
        self._own[name] = self.arrays_of(entry)
        return entry

    def owns(self, name: str, entry: Any, like: Array) -> bool:
        """Return whether an entry's arrays were made here, in the form of ``like``."""
        arrays, own = self.arrays_of(entry), self._own.get(name, ())
        same = len(arrays) == len(own) and all(map(is_, arrays, own))
        return same and all(fits(array, like) for array in arrays)

    def advance(self, states: Sequence[Any]) -> tuple[float, ...]:
        """Count one update of these states; return the rule's numbers, in the order of their record."""
        raise NotImplementedError(f"{type(self).__name__} has no compiled step")

    def advance_by(self, count: int, states: Sequence[Any]) -> Array:
        """Count ``count`` updates; return the numbers of each, an array of the rule's records."""
        numbers = np.empty(count, numbers_of(self.rule).dtype)
        for i in range(count):
            numbers[i] = self.advance(states)
        return numbers

    def check_clipping(self) -> None:
        """Raise ``ValueError`` if gradients are to be clipped both each by itself and together."""
        own = vars(self)  # a subclass may not have called __init__
        each, joint = own.get("clip_norm"), own.get("global_clip_norm")
        if each is not None and joint is not None:
            raise ValueError(
                f"clip_norm={each} clips each gradient, global_clip_norm={joint} all together; "
                "one of them has to be None"
            )

    def clip_jointly(self, gradients: Sequence[Array]) -> Sequence[Array]:
        """Return a network's gradients, scaled down to a joint norm of ``global_clip_norm``."""
        self.check_clipping()
        limit = vars(self).get("global_clip_norm")
        if limit is None:
            return gradients
        norm = math.hypot(*(kernels.norm(np.ravel(gradient)) for gradient in gradients))
        if not norm > limit:
            return gradients
        return [g * g.dtype.type(limit / norm) for g in gradients]

    def gradient_and_rate(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None
    ) -> tuple[Array, float]:
        """Return the gradient as an array, clipped, and the learning rate; count the update."""
        if epoch is not None:
            self.epoch = epoch
        gradient = as_float(param_grad, "param_grad", unlock=True)
        if gradient.shape != np.shape(param):
            raise ValueError(f"param_grad has shape {gradient.shape}, param has {np.shape(param)}")
        if self.clip_norm is not None:
            norm = kernels.norm(gradient.reshape(-1))
            if norm > self.clip_norm:
                gradient = gradient * gradient.dtype.type(self.clip_norm / norm)
        again = not self._updated or param_name in self._updated
        step = self._updates if again else self._updates - 1
        rate = float(rate_at(self.lr_scheduler, self.epoch, step))
        if again:
            self.updates = step + 1
        self._updated.add(param_name)
        return gradient, rate


def decay_rate(value: float) -> float:
    """Return a rate of decay, checked."""
    return require_number("weight_decay", value, low=0.0)


def decayed(step: Array, param: ArrayLike, decay: float) -> Array:
    """Add ``decay param`` to an optimiser's step, in place; return it."""
    if decay:
        values = as_float(param, "param", step.dtype, unlock=True)
        kernels.add_penalty(step.reshape(-1), decay, values.reshape(-1))
    return step


def fits(state: Any, like: Array) -> bool:
    """Return whether an optimiser's array is in the form the kernels take: that of ``like``."""
    known = type(state) is np.ndarray and state.shape == like.shape and state.dtype == like.dtype
    return known and state.flags.carray


def copied(state: Any, like: Array) -> Array:
    """Return a copy of an optimiser's array in that form; zeros for one of another shape."""
    copy = aligned_zeros(like.shape, like.dtype)
    if state is not None and np.shape(state) == like.shape:
        copy[...] = state
    return copy
