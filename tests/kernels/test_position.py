"""No result depends on where in an array its element or row stands, nor do sums on how they are cut."""

import numpy as np
import pytest

from fastnn.kernels import losses
from fastnn.kernels.rows import SHORT
from fastnn.reference import arguments
from fastnn.reference.twins import kernels, twin

# Products of matrices are the BLAS library's, and take another way for another number of rows.
BY_LIBRARY = ("products.affine", "products.weight_gradient", "products.input_gradient")
BY_PLACE = ("dropout.dropout", "dropout.dropout_backward")  # whose mask depends on the element's index
NOT_A_SUM = ("optimizers.norm",)
LENGTHS = range(1, 76)
N = sum(LENGTHS)
EPS = np.finfo(np.float64).eps

KERNELS = {name: kernel for name, kernel in kernels().items() if twin(name)}
FLAT = (arguments.flat, arguments.positive, arguments.large, arguments.many_labels)


def is_flat(name):
    """Return whether the arrays of a kernel are all flat ones."""
    draws = [draw for draw in twin(name).inputs if callable(draw) and draw is not arguments.batch]
    return all(draw in FLAT for draw in draws)


def cases():
    for name in KERNELS:
        if name in BY_LIBRARY + BY_PLACE or (name.endswith("_short") and not SHORT):
            continue
        widths = (1,) if is_flat(name) else (3, SHORT or 64, 100, 1500)
        yield from ((name, k) for k in widths if k <= SHORT or not name.endswith("_short"))


def draw(name, k, dtype):
    """Return a kernel's arguments for ``N`` rows; normal numbers of all sizes."""
    case = twin(name).case(KERNELS[name], N, k, dtype.name)
    rng = np.random.default_rng(1)
    for array, drawn in zip(case.inputs, twin(name).inputs, strict=True):
        if drawn in (arguments.flat, arguments.rows):
            sizes = rng.choice([0.1, 1, 1, 3, 10, 100], N)
            array *= (sizes if array.ndim == 1 else sizes[:, None]).astype(dtype)
    return case.arguments


def is_cut(argument):
    return isinstance(argument, np.ndarray) and len(argument) == N


def call(name, arguments, rows=slice(None)):
    """Call a kernel on copies of some rows; return what it returned, and its arrays after that."""
    copies = [a[rows].copy() if is_cut(a) else a for a in arguments]
    value = KERNELS[name](*copies)
    return value, [copy for copy, a in zip(copies, arguments, strict=True) if is_cut(a)]


def pieces():
    begin = 0
    for length in LENGTHS:
        yield slice(begin, begin + length)
        begin += length


def same_bits(a, b):
    """Return where numbers have equal bits, or are both NaN."""
    integers = f"i{a.itemsize}"
    return (a.view(integers) == b.view(integers)) | ((a != a) & (b != b))


@pytest.mark.parametrize(("name", "k"), list(cases()))
def test_rows_do_not_depend_on_their_neighbours(name, k, dtype):
    arguments = draw(name, k, dtype)
    total, whole = call(name, arguments)
    values = []
    for rows in pieces():
        value, found = call(name, arguments, rows)
        values.append(value)
        for got, expected in zip(found, whole, strict=True):
            assert same_bits(got, expected[rows]).all(), rows
    if isinstance(total, int):
        assert sum(values) == total
    elif total is not None and name not in NOT_A_SUM:
        assert sum(values) == pytest.approx(total, rel=len(values) * EPS)


def alone_and_among(loss, y, p, nothing, dtype):
    """Yield a loss's term for each y and p, alone and among others that add nothing, at every place."""
    for i, pair in enumerate(zip(y, p, strict=True)):
        one = [np.array([number], dtype) for number in pair]
        many = [np.full(76, number, dtype) for number in nothing]
        for array, number in zip(many, pair, strict=True):
            array[i % 76] = number
        yield loss(*one), loss(*many)


def binary(y, z):
    return losses.binary_cross_entropy(z, y, 7, np.empty_like(z))


TERMS = {
    "cross_entropy": (losses.cross_entropy, (0, 0.5)),
    "binary_cross_entropy": (binary, (0, -np.inf)),
    "yes_no_cross_entropy": (losses.yes_no_cross_entropy, (0, EPS)),
    "l2": (losses.l2, (1, 1)),
}


@pytest.mark.parametrize("name", TERMS)
def test_terms_of_losses_do_not_depend_on_their_place(name, dtype, rng):
    loss, nothing = TERMS[name]
    y, p = rng.uniform(size=(2, 1000)).astype(dtype)
    if name == "yes_no_cross_entropy" and dtype == np.float32:
        pytest.skip("float32 has no p whose term is 0: 1 - p + eps is never 1")
    pairs = list(alone_and_among(loss, y, p, nothing, dtype))
    assert [pair for pair in pairs if pair[0] != pair[1]] == []
