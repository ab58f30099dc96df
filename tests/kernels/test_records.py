"""Records: fields by name in Python and in compiled code, and errors for names that are no fields."""

import numpy as np
import pytest

from fastnn.kernels.compiling import jit
from fastnn.kernels.compiling.jit import COMPILED, NumbaError
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.layers.dense import Dense
from fastnn.kernels.step.plan import Phase, Task

compiled = pytest.mark.skipif(not COMPILED, reason="nothing is compiled")


class Pair(Record):
    number: int
    factor: float


class Triple(Pair):
    address: int  # shadowed in compiled code by the record's own address
    last: int


@jit.inner
def doubled(pair):
    pair.factor = pair.factor * 2
    pair.number += 1


@jit.exact
def use(rows):
    first, other = Pair(rows.ctypes.data), Pair()
    doubled(first)
    other.number, other.factor = 2**62, first.factor
    doubled(other)
    return other.number, other.factor, Pair(first.address).number


def test_fields_stand_in_order_those_of_the_base_first():
    assert Pair.dtype.names == ("number", "factor")
    assert Triple.dtype.names == ("number", "factor", "address", "last")
    assert (Pair.bytes, Triple.bytes) == (16, 32)
    assert Phase.dtype.names[: len(Task.dtype.names)] == Task.dtype.names


def test_python_writes_fields_by_name():
    rows = Triple.make(3, number=[1, 2, 3], factor=0.1, last=2**62)
    assert rows["number"].tolist() == [1, 2, 3]
    assert rows["factor"].tolist() == [0.1] * 3
    assert rows["last"][0] == 2**62
    assert not rows["address"].any()
    assert Triple.place(rows[1:], "last") == rows.ctypes.data + 32 + 24


@compiled
@pytest.mark.parametrize("factor", [0.1, -0.0, np.inf, np.nan, 5e-324])
def test_compiled_code_reads_and_writes_them(factor):
    rows = Pair.make(2, number=[7, 8], factor=factor)
    number, four_times, same = use(rows.view(np.int64))
    np.testing.assert_equal((number, four_times, same), (2**62 + 1, factor * 4, 8))
    np.testing.assert_equal(rows[0].tolist(), (8, factor * 2))
    np.testing.assert_equal(rows[1].tolist(), (8, factor))


def test_a_misspelt_field_is_an_error_when_python_writes_it():
    with pytest.raises(ValueError, match="wieghts"):
        Dense.make(wieghts=1)
    with pytest.raises(ValueError, match="wieghts"):
        Dense.make()["wieghts"] = 1


def test_a_record_cannot_be_made_where_only_compiled_code_can():
    with pytest.raises(TypeError, match="make"):
        Pair(0)


def reads(at: int, _: int) -> None:
    Dense(at).z = Dense(at).wieghts


def writes(at: int, _: int) -> None:
    Dense(at).wieghts = 1


@compiled
@pytest.mark.parametrize("phase", [reads, writes])
def test_a_misspelt_field_is_an_error_when_a_phase_compiles(phase):
    with pytest.raises(NumbaError, match="wieghts"):
        jit.job(phase)
