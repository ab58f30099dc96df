"""Inverted dropout, and the random numbers of its masks."""

from collections import OrderedDict

import numpy as np

from fastnn._typing import Array
from fastnn.reference.arguments import Twin, flat
from fastnn.reference.layers.base import Layer


def philox(counter: Array, key: Array) -> Array:
    """Philox4x32-10: counters ``(4, n)`` and keys ``(2, n)`` of 32-bit words to words ``(4, n)``.

    Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1,
    2, 3", SC 2011.
    """
    a, b, c, d = counter.astype(np.uint64)
    key_0, key_1 = key.astype(np.uint64)
    half, mask = np.uint64(32), np.uint64(2**32 - 1)
    for _ in range(10):
        left, right = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
        a, b, c, d = (right >> half) ^ b ^ key_0, right & mask, (left >> half) ^ d ^ key_1, left & mask
        key_0, key_1 = (
            (key_0 + np.uint64(0x9E3779B9)) & mask,
            (key_1 + np.uint64(0xBB67AE85)) & mask,
        )
    return np.array([a, b, c, d])


def random_words(seed: int, step: int, first: int, count: int) -> Array:
    """Return the 32-bit words of so many elements from ``first`` on.

    The seed is the key. The counter is made of a number (low words) and the step (high words). Element
    e is word ``e % 64 // 16`` of the number ``e // 64 * 16 + e % 16``.
    """
    e = np.arange(first, first + count)
    number = e // 64 * 16 + e % 16
    low = 2**32 - 1
    halves = [(value + 0 * e) & low for value in (number, number >> 32, step, step >> 32)]
    key = [(value + 0 * e) & low for value in (seed, seed >> 32)]
    words = philox(np.array(halves), np.array(key))
    return np.asarray(np.take_along_axis(words, (e % 64 // 16)[None], axis=0)[0])


def dropout(x: Array, rate: float, seed: int, step: int, first: int) -> Array:
    """``x * mask / (1 - rate)``, x flat; the mask is 0 where the word is below ``rate * 2**32``."""
    kept = random_words(seed, step, first, x.size) >= np.floor(rate * 2.0**32 + 0.5)
    return np.asarray(x * kept / (1 - rate))


class Dropout(Layer):
    """``Y = X * mask / (1 - rate)`` in training, with a new mask at each step; else ``Y = X``."""

    def __init__(self, rate: float = 0.5) -> None:
        super().__init__()
        self.rate, self.training = rate, True
        self.buffers: OrderedDict[str, Array] = OrderedDict()

    def _init_parameters(self, X_shape: tuple[int, ...]) -> None:
        self.n_in = self.n_out = X_shape[-1]
        self.cache = OrderedDict(step=[])
        seed = np.random.randint(0, np.iinfo(np.int64).max, 1, np.int64)
        self.buffers = OrderedDict(seed=seed, step=np.zeros(1, np.int64))

    def forward(self, X: Array) -> Array:
        if self.n_in is None:
            self._init_parameters(X.shape)
        self.cache["step"] = None
        if not self.training:
            return X
        self.cache["step"] = int(self.buffers["step"][0])
        self.buffers["step"] += 1
        return self._drop(X)

    def backward(self, dLdY: Array) -> Array:
        return dLdY if self.cache["step"] is None else self._drop(dLdY)

    def _drop(self, X: Array) -> Array:
        seed, step = int(self.buffers["seed"][0]), self.cache["step"]
        return dropout(X.reshape(-1), self.rate, seed, step, 0).reshape(X.shape)


TWINS = {
    "dropout.dropout": Twin(dropout, (flat, 0.3, 5, 6, 7), (random_words, philox)),
    "dropout.dropout_backward": Twin(
        dropout, (flat, 0.3, 5, 6, 7), (random_words, philox), outputs=(flat,)
    ),
}
