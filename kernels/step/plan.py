"""What a step is: a row of parallel loops, its *phases*, over records that say what they work on.

A step of training goes forward through each layer, to the loss and its gradient, backward through each
layer, and does all updates. Each phase is a loop over jobs, which threads share; a phase begins when
the one before has ended. What a phase does is a compiled function, its *job*, ``job(at, index)``:
``at`` is the address of the phase's record, a :class:`Task`, which names the step and the row of the
job's kind, such as :class:`fastnn.kernels.layers.dense.Dense`.

Arrays are given as addresses, so parameters may lie anywhere and be replaced at any time. Jobs only
find out what to work on; the arithmetic is done by `parts.py`, by address too. So both are compiled
once, whatever networks are made of. :mod:`fastnn.blueprint` writes the records.
"""

from typing import Any

from fastnn.kernels.compiling.jit import call_job, inner, job
from fastnn.kernels.compiling.memory import words
from fastnn.kernels.compiling.records import Record


class Step(Record):
    """A step of a batch.

    - ``n``: the batch's rows; ``itemsize``: bytes of an element; ``block_rows``: the rows of a block.
    - ``phases``, ``phase_count``; ``picking``: the phase that picks the batch out of a dataset, by the
      row numbers at ``order``.
    - ``inputs``, ``outputs``, ``targets``: addresses of lists of the fields that hold the address of
      the batch's X, of the network's output, and of the targets Y; each list begins with its length.
    - ``numbers``: address of the optimiser's float64 numbers; ``clip``: the norm to which gradients are
      clipped, or infinity.
    - ``stats``: (blocks, 2) float64, each block's summed loss and error; ``answers``: over how many
      outputs of a row the error is a mean.
    - ``row_weights``: (1 + n,) float64, the factor of penalties and the rows' weights, whose mean is 1;
      or 0.
    - ``changed``, ``changed_count``: where the memory that a step changes begins and ends, (count, 2).
    """

    n: int
    itemsize: int
    block_rows: int
    phases: int
    phase_count: int
    picking: int
    order: int
    inputs: int
    outputs: int
    targets: int
    numbers: int
    clip: float
    stats: int
    answers: int
    row_weights: int
    changed: int
    changed_count: int


class Task(Record):
    """A job of a step, and the address of the row that it works on."""

    job: int
    step: int
    row: int


class Phase(Task):
    """A loop over ``count`` jobs; ``shared``: whether several threads do it.

    ``members``: of a phase that is made of others, how many records these are; they are at ``row``.
    """

    count: int
    shared: int
    members: int


class Stretch(Record):
    """A plan's steps through a dataset.

    ``control``: a pool's, or 0; ``passes`` over ``rows`` row numbers each, at ``order``, whose last
    batch may be smaller; ``numbers``: the optimiser's for each step, ``number_count`` of them;
    ``results``: (batches, 2) mean losses and errors; ``weights``: (batches, 1 + n) row weights or 0.
    """

    step: int
    control: int
    passes: int
    rows: int
    order: int
    numbers: int
    number_count: int
    results: int
    weights: int


PHASE_BYTES, STRETCH_BYTES = Phase.bytes, Stretch.bytes


@inner
def cut(width: int, blocks: int, index: int, size: int) -> tuple[int, int]:
    """Return where block ``index`` of ``blocks`` of the columns begins and ends, on cache lines."""
    lanes = 64 // size
    vectors = (width + lanes - 1) // lanes
    first = index * vectors // blocks * lanes
    return first, min((index + 1) * vectors // blocks * lanes, width)


@inner
def row_block(step, index):
    """Return the first row of a block of rows and how many there are, 0 beyond the batch's end."""
    first = index * step.block_rows
    return first, max(min(step.n - first, step.block_rows), 0)


def chain(at: int, index: int) -> None:
    """Do several phases that are cut into the same blocks of rows, one after the other, for a block."""
    phase = Phase(at)
    for i in range(phase.members):
        member = phase.row + i * PHASE_BYTES
        call_job(Phase(member).job, member, index)


def each(at: int, index: int) -> None:
    """Do the job of one of a list of tasks, whose addresses are at ``row``."""
    task = words(Phase(at).row)[index]
    call_job(Task(task).job, task, index)


_jobs: dict[Any, Any] = {}


def phase_job(phase: Any) -> Any:
    """Return a phase's job, compiled; its ``address`` is what a record takes."""
    found = _jobs.get(phase)
    return _jobs.setdefault(phase, job(phase)) if found is None else found
