"""The arguments of a step's parts: a part is called by its address with one of these records."""

from fastnn.kernels.compiling.records import Record


class Product(Record):
    """``C = start + A B``, and what :func:`fastnn.kernels.emitted.gemm.gemm` does to its tiles.

    A ``(rows, inner)``, B ``(inner, columns)``, C ``(rows, columns)`` are given by the address of their
    first element and by strides in elements. Modes that update weights take the address of the
    optimiser's ``numbers``; the mode for a rule also takes ``distances``, as in :class:`Update`, and
    ``penalty``, which times the weights is added to their gradient.
    """

    a: int
    a_row: int
    a_column: int
    b: int
    b_row: int
    c: int
    c_row: int
    rows: int
    columns: int
    inner: int
    start: int
    start_row: int
    mode: int
    numbers: int
    distances: int
    penalty: float


class Gathered(Record):
    """The arguments of :func:`fastnn.kernels.emitted.gathered.gather_multiply`."""

    x: int
    rows: int
    steps: int
    b: int
    b_row: int
    c: int
    c_row: int
    count: int
    columns: int
    k: int
    repeats: int
    distance: int
    start: int
    mode: int


class Transposition(Record):
    """``C = A^T`` of A ``(rows, columns)``."""

    a: int
    a_row: int
    c: int
    c_row: int
    rows: int
    columns: int


class Block(Record):
    """A block of an elementwise or row-wise function's arrays.

    ``z``, ``dy`` and ``out`` are addresses of ``height`` rows of ``width`` elements, whose beginnings
    are ``stride`` bytes apart. ``parameter``: the number that the function may take.
    """

    height: int
    width: int
    stride: int
    z: int
    dy: int
    out: int
    parameter: float


class LossRows(Record):
    """The loss of ``rows`` rows out of a batch of ``batch``, for ``classes`` outputs each.

    ``scores``: logits or outputs; ``Y``: the targets that the error is of; ``T``: those that the loss
    is of; ``gradient``: where the scores' gradient goes; ``stats``: where the summed loss and error
    go. The error counts wrong answers for cross-entropies, and sums squares for l2. ``parameters``:
    address of the float64 numbers that the loss may take.
    """

    rows: int
    classes: int
    batch: int
    scores: int
    Y: int
    T: int
    gradient: int
    stats: int
    parameters: int


class TargetRows(Record):
    """``T`` from ``Y``, with label smoothing and the classes' ``(classes,)`` float64 weights."""

    rows: int
    classes: int
    Y: int
    T: int
    class_weights: int
    smoothing: float


class Weighing(Record):
    """Each of ``rows`` rows of ``width`` elements at ``values`` times its float64 weight."""

    rows: int
    width: int
    values: int
    weights: int


class Picking(Record):
    """Rows of ``width`` elements at ``source``, by the row numbers at ``order``, copied to ``out``."""

    rows: int
    width: int
    source: int
    order: int
    out: int


class Update(Record):
    """A parameter of ``size`` elements at ``values``, and its ``gradient``.

    ``distances``: address of (states,) integers, how many bytes each of the optimiser's arrays lies
    behind the parameter; ``numbers``: address of the optimiser's numbers. The gradient is multiplied by
    ``scale``. Measuring it adds ``penalty`` times the values to it, and writes its ``norm``.
    """

    size: int
    values: int
    gradient: int
    distances: int
    numbers: int
    penalty: float
    scale: float
    norm: float
