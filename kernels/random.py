"""Random bits as a function of a seed, a step and an element: Philox4x32-10.

The generator has no state. Any part of the stream can be computed by itself, on any thread, and its
integer arithmetic gives the same bits on every processor. Philox is chosen for its quality (it passes
TestU01's BigCrush, as do 7 of its 10 rounds), for its published test vectors, and for its speed: a
number takes five 32-bit multiplications, which AVX2 has in vectors. Hashes on 64-bit products, such as
SplitMix and Squares, need more of them, because AVX2 has no 64-bit product.

The key is the seed. The counter is made of the step (its upper 64 bits) and a number (its lower 64
bits). Element e of a step is word ``e % 64 // 16`` of the number ``e // 64 * 16 + e % 16``: 16 numbers
give a tile of 64 consecutive elements, whose words are written in whole vectors.

Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2,
3", SC 2011.
"""

from typing import Any

import numpy as np

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import COMPILED, exact, inlined, inner
from fastnn.kernels.compiling.memory import array_at, stack

TILE = 64
_LANES = 16
_LOW = 2**32 - 1
_MASK, _HALF = np.uint64(_LOW), np.uint64(32)
_FACTOR_0, _FACTOR_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_BUMP_0, _BUMP_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_WORD = np.uint32(0)
_tile_at = stack(TILE * 4)


@inlined
def _round(a, b, c, d, key_0, key_1):
    left, right = a * _FACTOR_0, c * _FACTOR_1
    return (
        (right >> _HALF) ^ b ^ key_0, right & _MASK, (left >> _HALF) ^ d ^ key_1, left & _MASK,
        (key_0 + _BUMP_0) & _MASK, (key_1 + _BUMP_1) & _MASK,
    )  # fmt: skip


@inlined
def philox(a, b, c, d, key_0, key_1):
    """Return the four words of the counter ``(a, b, c, d)``; all are uint64 below ``2**32``."""
    a, b, c, d, key_0, key_1 = _round(a, b, c, d, key_0, key_1)
    a, b, c, d, key_0, key_1 = _round(a, b, c, d, key_0, key_1)
    a, b, c, d, key_0, key_1 = _round(a, b, c, d, key_0, key_1)
    a, b, c, d, key_0, key_1 = _round(a, b, c, d, key_0, key_1)
    a, b, c, d, key_0, key_1 = _round(a, b, c, d, key_0, key_1)
    a, b, c, d, key_0, key_1 = _round(a, b, c, d, key_0, key_1)
    a, b, c, d, key_0, key_1 = _round(a, b, c, d, key_0, key_1)
    a, b, c, d, key_0, key_1 = _round(a, b, c, d, key_0, key_1)
    a, b, c, d, key_0, key_1 = _round(a, b, c, d, key_0, key_1)
    a, b, c, d, key_0, key_1 = _round(a, b, c, d, key_0, key_1)
    return a, b, c, d


@inlined
def _halves(number):
    return np.uint64(number & _LOW), np.uint64((number >> 32) & _LOW)


@inner
def write_tile(seed: int, step: int, tile: int, out: Array) -> None:
    """Write the words of the elements from ``tile * TILE`` on; out uint32 ``(TILE,)``."""
    key_0, key_1 = _halves(seed)
    c, d = _halves(step)
    for i in range(_LANES):
        a, b = _halves(tile * _LANES + i)
        w = philox(a, b, c, d, key_0, key_1)
        out[i], out[i + _LANES], out[i + 2 * _LANES], out[i + 3 * _LANES] = w[0], w[1], w[2], w[3]


def _array_for_tile() -> Any:
    return array_at(_tile_at(), 1, TILE, _WORD)[0]


def _new_array_for_tile() -> Any:
    return np.empty(TILE, np.uint32)


tile_space = inlined(_array_for_tile) if COMPILED else _new_array_for_tile


@exact
def random_words(seed: int, step: int, first: int, out: Array) -> None:
    """Write the words, uniform on 0 to ``2**32 - 1``, of the elements from ``first`` on.

    seed, step, first are int64, ``first >= 0``; out uint32 ``(m,)``.
    """
    words = tile_space()
    done = 0
    while done < out.size:
        tile, begin = divmod(first + done, TILE)
        count = min(TILE - begin, out.size - done)
        write_tile(seed, step, tile, words)
        for i in range(count):
            out[done + i] = words[begin + i]
        done += count
