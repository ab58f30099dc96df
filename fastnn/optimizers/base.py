"""Optimisers: ``update(param_name, param, param_grad, epoch)`` returns what to subtract.

State is kept per parameter name in ``cache``.
"""

import functools
import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fastnn._arrays import aligned_views, aligned_zeros
from fastnn._changes import WatchedDict, watched
from fastnn._repr import as_call
from fastnn._typing import Array, ArrayLike
from fastnn._validation import as_float, choose, require_number
from fastnn.kernels import optimizers as kernels
from fastnn.schedulers import Constant, Scheduler, initialize_scheduler


def _clip_norm(value: float | None) -> float | None:
    return None if value is None else require_number("clip_norm", value, low=0.0, strict=True)


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
        A name for ``initialize_scheduler``, or a scheduler, or any function of an epoch (which then has
        its own ``lr``).
    clip_norm : float, optional
        A gradient array whose 2-norm exceeds this is scaled down to it first.
    lr_decay, stage_length, staircase
        For ``initialize_scheduler``.

    Settings are attributes that may be changed between steps: the next step uses the new value. An
    invalid value raises an error at once.
    """

    cache: dict[str, Any] = watched()
    clip_norm: float | None = watched(_clip_norm)
    lr_scheduler: Callable[[float], float] = watched(_scheduler)

    def __init__(
        self,
        lr: float = 0.01,
        lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
    ) -> None:
        self._lr = require_number("lr", lr, low=0.0)
        self.lr_scheduler = (
            lr_scheduler
            if callable(lr_scheduler)
            else initialize_scheduler(lr_scheduler, lr, lr_decay, stage_length, staircase)
        )
        self.clip_norm = clip_norm
        self.cache = WatchedDict()
        self._own: dict[str, tuple[Array, ...]] = {}  # arrays in `cache` that are not the caller's
        self.epoch = 0

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
        """The learning rate of the current epoch."""
        return float(self.lr_scheduler(self.epoch))

    @property
    def rule(self) -> str:
        """The name of its compiled step's part; with ``_product`` behind it, of the product's."""
        raise NotImplementedError(f"{type(self).__name__} has no compiled step")

    _arrays_each = 0  # kept for a parameter

    _entry: Callable[..., Any]  # makes what `cache` holds of a parameter from its arrays

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
                self._adopt(name, self._entry(*own))
        return [self.state(name, like) for name, like in zip(names, arrays, strict=True)]

    def _adopt(self, name: str, entry: Any) -> Any:
        self.cache[name] = entry
        self._own[name] = state_arrays(entry)
        return entry

    def _owns(self, name: str, entry: Any, like: Array) -> bool:
        """Return whether an entry's arrays were made here, in the form of ``like``."""
        arrays = state_arrays(entry)
        own = map(is_, arrays, self._own.get(name, (None, None)))
        return all(own) and all(_fits(array, like) for array in arrays)

    def advance(self, states: Sequence[Any]) -> tuple[float, float, float, float]:
        """Count one update of these states; return the four numbers its compiled form takes."""
        raise NotImplementedError(f"{type(self).__name__} has no compiled step")

    def advance_by(self, count: int, states: Sequence[Any]) -> Array:
        """Count so many updates; return the numbers of each, ``(count, 4)``."""
        return np.array([self.advance(states) for _ in range(count)]).reshape(-1, 4)

    def _gradient_and_rate(
        self, param: ArrayLike, param_grad: ArrayLike, epoch: int | None
    ) -> tuple[Array, float]:
        if epoch is not None:
            self.epoch = epoch
        gradient = as_float(param_grad, "param_grad", unlock=True)
        if gradient.shape != np.shape(param):
            raise ValueError(f"param_grad has shape {gradient.shape}, param has {np.shape(param)}")
        if self.clip_norm is not None:
            norm = kernels.norm(gradient.reshape(-1))
            if norm > self.clip_norm:
                gradient = gradient * gradient.dtype.type(self.clip_norm / norm)
        return gradient, float(self.lr_scheduler(self.epoch))


class SGD(Optimizer):
    """Gradient descent with momentum: ``cache = momentum * cache + lr(epoch) * grad``.

    ``delta`` is the cache, or with ``nesterov`` one step ahead of it:
    ``momentum * cache + lr(epoch) * grad``.
    Without momentum ``train_step`` does not write the cache, which costs as much as the weights
    themselves; ``fit`` and ``train`` write it at the end. If momentum is raised later, the velocity
    begins at the last step, after ``train_step`` at zero.
    Sources: B. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
    I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013.
    """

    nesterov: bool = watched()
    _arrays_each = 1

    @staticmethod
    def _entry(*arrays: Array) -> Array:
        return arrays[0]

    def __init__(
        self,
        lr: float = 0.01,
        lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
        momentum: float = 0.0,
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
        nesterov: bool = False,
    ) -> None:
        super().__init__(lr, lr_scheduler, clip_norm, lr_decay, stage_length, staircase)
        self._unwritten = False  # whether there were steps later than what the cache holds
        self.momentum = momentum
        self.nesterov = nesterov

    @property
    def momentum(self) -> float:
        """What of the last step is added to the next; 0 to 1."""
        return self._momentum

    @momentum.setter
    def momentum(self, value: float) -> None:
        self._momentum = require_number("momentum", value, low=0.0, high=1.0)
        if self._unwritten and value:
            for velocity in self.cache.values():
                velocity[...] = 0
            self._unwritten = False

    @property
    def rule(self) -> str:
        return "nesterov" if self.nesterov else "sgd"

    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        gradient, lr = self._gradient_and_rate(param, param_grad, epoch)
        delta = self._delta(gradient, self.state(param_name, gradient), lr)
        self._adopt(param_name, delta)
        if self.nesterov:
            return self._delta(gradient, delta, lr)
        return delta.copy()  # the engine updates the cache in place

    def _delta(self, gradient: Array, velocity: Array, lr: float) -> Array:
        delta = np.empty_like(gradient)
        kernels.sgd_momentum(
            gradient.reshape(-1), velocity.reshape(-1), lr, self.momentum, delta.reshape(-1)
        )
        return delta

    def state(self, param_name: str, like: Array) -> Array:
        """Return the last step of that parameter."""
        kept = self.cache.get(param_name)
        if not self._owns(param_name, kept, like):
            kept = self._adopt(param_name, _copied(kept, like))
        return np.asarray(kept)

    def advance(self, states: Sequence[Array]) -> tuple[float, float, float, float]:
        momentum = self._momentum
        self._unwritten = momentum == 0
        return self.lr_scheduler(self.epoch), momentum, 1.0 if momentum else 0.0, 0.0

    def advance_by(self, count: int, states: Sequence[Array]) -> Array:
        rates = np.full((count, 4), self.advance(states))
        rates[-1:, 2] = 1.0  # the cache is written
        self._unwritten = False
        return rates


class Moments:
    """What Adam keeps of a parameter: the running means, and how many updates they have seen."""

    m: Array = watched()
    v: Array = watched()

    def __init__(self, m: Array, v: Array, t: int = 0) -> None:
        self.m, self.v, self.t = m, v, t


class Adam(Optimizer):
    """Adam: ``delta = lr(epoch) m_hat / (sqrt(v_hat) + eps)``.

    ``m`` and ``v`` are running means, of rates ``beta_1`` and ``beta_2``, of the gradient and its
    square; ``m_hat = m / (1 - beta_1**t)``, ``v_hat = v / (1 - beta_2**t)`` at the ``t``-th update.
    With ``eps_hat`` it is ``lr(epoch) sqrt(1 - beta_2**t) / (1 - beta_1**t) m / (sqrt(v) + eps)``, the
    shorter form at the end of the paper's section 2, which scikit-learn computes.
    Source: D. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
    """

    _arrays_each = 2
    eps_hat = False  # for optimisers that were pickled by earlier versions
    beta_1: float = watched(lambda value: require_number("beta_1", value, low=0.0, high=1.0 - 1e-9))
    beta_2: float = watched(lambda value: require_number("beta_2", value, low=0.0, high=1.0 - 1e-9))
    eps: float = watched(lambda value: require_number("eps", value, low=0.0, strict=True))

    @property
    def rule(self) -> str:
        return "adam"

    @staticmethod
    def _entry(*arrays: Array) -> Moments:
        return Moments(arrays[0], arrays[1])

    def __init__(
        self,
        lr: float = 0.001,
        lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        eps: float = 1e-8,
        clip_norm: float | None = None,
        lr_decay: float | None = 0.9,
        stage_length: float | None = None,
        staircase: bool | None = None,
        eps_hat: bool = False,
    ) -> None:
        super().__init__(lr, lr_scheduler, clip_norm, lr_decay, stage_length, staircase)
        self.beta_1, self.beta_2, self.eps = beta_1, beta_2, eps
        self.eps_hat = eps_hat

    def update(
        self, param_name: str, param: ArrayLike, param_grad: ArrayLike, epoch: int | None = None
    ) -> Array:
        gradient, lr = self._gradient_and_rate(param, param_grad, epoch)
        moments = self.state(param_name, gradient)
        moments.t += 1
        step_size, eps = self._corrected(lr, moments.t)
        delta = np.empty_like(gradient)
        kernels.adam(
            gradient.reshape(-1),
            moments.m.reshape(-1),
            moments.v.reshape(-1),
            step_size,
            self.beta_1,
            self.beta_2,
            eps,
            delta.reshape(-1),
        )
        return delta

    def state(self, param_name: str, like: Array) -> Moments:
        """Return the moments of that parameter."""
        kept = self.cache.get(param_name)
        if not isinstance(kept, Moments) or kept.m.shape != like.shape:
            kept = Moments(np.zeros(0), np.zeros(0))
        if not self._owns(param_name, kept, like):
            own = Moments(_copied(kept.m, like), _copied(kept.v, like), kept.t)
            kept = self._adopt(param_name, own)
        moments: Moments = kept
        return moments

    def advance(self, states: Sequence[Moments]) -> tuple[float, float, float, float]:
        lr = self.lr_scheduler(self.epoch)  # which may raise an error, before anything changes
        for moments in states:
            moments.t += 1
        step_size, eps = self._corrected(lr, states[0].t)
        return step_size, self.beta_1, self.beta_2, eps

    def advance_by(self, count: int, states: Sequence[Moments]) -> Array:
        lr, t = self.lr_scheduler(self.epoch), states[0].t
        for moments in states:
            moments.t += count
        rates = np.empty((count, 4))
        rates[:, 1], rates[:, 2] = self.beta_1, self.beta_2
        for i in range(count):
            rates[i, ::3] = self._corrected(lr, t + 1 + i)
        return rates

    def _corrected(self, lr: float, t: int) -> tuple[float, float]:
        """Return ``lr`` and ``eps`` with the corrections of the ``t``-th update's moments in them."""
        correction = math.sqrt(1.0 - self.beta_2**t)
        eps = self.eps if self.eps_hat else self.eps * correction
        return lr * correction / (1.0 - self.beta_1**t), eps


def state_arrays(state: Array | Moments) -> tuple[Array, Array]:
    """Return the two arrays that a compiled step updates; a rule that needs one has it twice."""
    return (state.m, state.v) if isinstance(state, Moments) else (state, state)


def _fits(state: Any, like: Array) -> bool:
    """Return whether an optimiser's array is in the form the kernels take: that of ``like``."""
    known = type(state) is np.ndarray and state.shape == like.shape and state.dtype == like.dtype
    return known and state.flags.carray


def _copied(state: Any, like: Array) -> Array:
    """Return a copy of an optimiser's array in that form; zeros for one of another shape."""
    copy = aligned_zeros(like.shape, like.dtype)
    if state is not None and np.shape(state) == like.shape:
        copy[...] = state
    return copy


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "SGD": SGD,
    "Adam": lambda momentum=0.0, **arguments: Adam(**arguments),
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
    lr: float = 0.01,
    lr_scheduler: str | Scheduler | Callable[[float], float] = "constant",
    momentum: float = 0.0,
    clip_norm: float | None = None,
    lr_decay: float | None = 0.9,
    staircase: bool | None = None,
    stage_length: float | None = None,
    **options: float,
) -> Optimizer:
    """Return the optimiser called ``name``: ``"SGD"`` or ``"Adam"``.

    ``momentum`` is SGD's, which also takes ``nesterov``; Adam takes ``beta_1``, ``beta_2`` and ``eps``.
    The call ``initialize_optimizer(name, lr, momentum, clip_norm)`` of the teaching library's light
    edition works too: a number as the third argument is the momentum.

    Raises
    ------
    NotImplementedError
        If no optimiser has that name; the message lists those there are.
    """
    return choose("optimizer", name, OPTIMIZERS)(
        lr=lr,
        lr_scheduler=lr_scheduler,
        momentum=momentum,
        clip_norm=clip_norm,
        lr_decay=lr_decay,
        staircase=staircase,
        stage_length=stage_length,
        **options,
    )
