"""The counter-based generator: published vectors, its NumPy twin, and the distribution of its bits."""

import numpy as np
import pytest

from fastnn.kernels.compiling.jit import COMPILED, exact
from fastnn.kernels.random import philox, random_words
from fastnn.reference.layers import dropout as plain

M = 2**32 - 1
# Counter, key and words, from the file kat_vectors of Random123 (D. E. Shaw Research).
VECTORS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000",
     "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
     "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
     "d16cfe09 94fdcceb 5001e420 24126ea1"),
]  # fmt: skip


@exact
def block(numbers, out):
    out[0], out[1], out[2], out[3] = philox(
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
    )


def words_of(text):
    return np.array([int(word, 16) for word in text.split()], np.uint64)


def words(seed, step, first, count):
    out = np.empty(count, np.uint32)
    random_words(seed, step, first, out)
    return out


def bits(seed, step, first, count):
    """Return the bits of words, one row a word."""
    return np.unpackbits(words(seed, step, first, count).view(np.uint8).reshape(count, 4), axis=1)


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_published_vectors(counter, key, expected):
    out = np.empty(4, np.uint64)
    block(np.concatenate([words_of(counter), words_of(key)]), out)
    np.testing.assert_array_equal(out, words_of(expected))
    naive = plain.philox(words_of(counter)[:, None], words_of(key)[:, None])
    np.testing.assert_array_equal(naive[:, 0], words_of(expected))


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (7, 3), (2**63 - 1, 2**40 + 5), (-1, 0)])
@pytest.mark.parametrize(("first", "count"), [(0, 64), (0, 1), (5, 200), (63, 2), (64, 0), (2**40, 99)])
def test_the_words_are_those_of_the_twin(seed, step, first, count):
    expected = plain.random_words(seed, step, first, count)
    np.testing.assert_array_equal(words(seed, step, first, count), expected)


def test_any_part_can_be_computed_by_itself():
    whole = words(5, 6, 0, 500)
    for first in range(0, 500, 37):
        part = whole[first : first + 90]
        np.testing.assert_array_equal(words(5, 6, first, len(part)), part)


def test_the_first_words_do_not_change():
    assert words(1, 2, 0, 3).tolist() == plain.random_words(1, 2, 0, 3).tolist()
    assert words(0, 0, 0, 49)[[0, 16, 32, 48]].tolist() == words_of(VECTORS[0][2]).tolist()


N = 1 << 16 if COMPILED else 1 << 12
FIVE_SIGMA = 5 * 0.5 / np.sqrt(N)


@pytest.mark.parametrize("seed", [0, 1, 2**62 + 12345])
def test_every_bit_is_uniform(seed):
    means = bits(seed, 0, 0, N).mean(axis=0)
    assert np.abs(means - 0.5).max() < FIVE_SIGMA


def test_values_are_uniform():
    counts = np.bincount(words(3, 4, 0, N) >> np.uint32(24), minlength=256)
    chi_squared = np.sum((counts - N / 256) ** 2) / (N / 256)
    assert abs(chi_squared - 255) < 5 * np.sqrt(2 * 255)


@pytest.mark.parametrize(
    "other",
    [(8, 9, 0), (7, 10, 0), (7, 9, 1), (7, 9, 16), (7, 9, 64), (7 + 2**32, 9, 0), (7, 9 + 2**32, 0)],
    ids=["seed", "step", "element", "word", "tile", "high half of the seed", "high half of the step"],
)
def test_neighbours_are_independent(other):
    differ = bits(7, 9, 0, N) ^ bits(*other, N)
    assert np.abs(differ.mean(axis=0) - 0.5).max() < FIVE_SIGMA
    a, b = words(7, 9, 0, N) / 2.0**32 - 0.5, words(*other, N) / 2.0**32 - 0.5
    assert abs(np.mean(a * b)) < 5 / 12 / np.sqrt(N)
