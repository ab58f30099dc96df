"""The state of a random generator, as JSON and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._typing import Array

_GENERATORS = {
    generator.__name__: generator
    for generator in (
        np.random.PCG64,
        np.random.PCG64DXSM,
        np.random.MT19937,
        np.random.Philox,
        np.random.SFC64,
    )
}
# NumPy takes any position in a buffer, and reads there.
_LARGEST = {"pos": 624, "buffer_pos": 4, "has_uint32": 1, "uinteger": 2**32 - 1, "has_gauss": 1}
_LARGEST_WORD = 2**128 - 1


def describe(rng: np.random.Generator | np.random.RandomState) -> dict[str, Any]:
    """Return the generator's state as JSON takes it; a ``RandomState``'s as that of its bit generator.

    Raises ``TypeError`` if its bit generator is not one of NumPy's.
    """
    bits: Any = rng._bit_generator if isinstance(rng, np.random.RandomState) else rng.bit_generator
    if type(bits) is not _GENERATORS.get(type(bits).__name__):
        raise TypeError(f"cannot save the network's random generator, a {type(bits).__name__}")
    return _plain(bits.state)


def generator(state: Any) -> np.random.Generator:
    """Return a generator in the state that :func:`describe` returned; ``ValueError`` if it is none."""
    name = state.get("bit_generator") if isinstance(state, dict) else None
    if name not in _GENERATORS:
        raise ValueError(f"unknown random generator {name!r}")
    bits = _GENERATORS[name](0)
    bits.state = _checked(state, bits.state, "random")
    return np.random.Generator(bits)


def describe_global() -> dict[str, Any]:
    """Return the state of NumPy's global generator as JSON takes it."""
    return _plain(np.random.get_state(legacy=False))


def checked_global(state: Any) -> dict[str, Any]:
    """Return what ``numpy.random.set_state`` takes; ``ValueError`` if it is no such state."""
    checked: dict[str, Any] = _checked(state, np.random.get_state(legacy=False), "random")
    return checked


def _plain(state: Any) -> dict[str, Any]:
    return {
        key: _plain(value) if isinstance(value, dict) else getattr(value, "tolist", lambda v=value: v)()
        for key, value in state.items()
    }


def _checked(given: Any, like: Any, name: str) -> Any:
    """Return a state of the same form as ``like``, whose numbers its generator can take."""
    if isinstance(like, dict):
        if not isinstance(given, dict) or given.keys() != like.keys():
            raise ValueError(f"the random state's {name!r} needs {', '.join(like)}")
        return {key: _checked(given[key], like[key], key) for key in like}
    if isinstance(like, np.ndarray):
        return _checked_words(given, like, name)
    if type(like) is int:
        valid = type(given) is int and 0 <= given <= _LARGEST.get(name, _LARGEST_WORD)
    else:
        valid = type(given) is type(like) and (given == like or type(like) is float)
    if not valid:
        raise ValueError(f"the random state's {name!r} cannot be {given!r}")
    return given


def _checked_words(given: Any, like: Array, name: str) -> Array:
    largest = np.iinfo(like.dtype).max
    if (
        not isinstance(given, list)
        or len(given) != len(like)
        or not all(type(word) is int and 0 <= word <= largest for word in given)
    ):
        raise ValueError(f"the random state's {name!r} needs {len(like)} words up to {largest}")
    return np.array(given, like.dtype)
