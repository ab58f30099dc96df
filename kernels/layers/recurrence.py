"""Elman's recurrence ``s_t = f(x_t W + s_{t-1} U + b)`` by blocks of rows, and its gradient.

Rows are independent, so a thread computes all time steps of a block of rows. Everything that does not
depend on the previous state is one product over all time steps: ``x_t W + b`` before the recurrence,
and the gradients of W, U, b and x after it. A step of the recurrence is one product, added to
``x_t W + b``, and one call of the activation.

Arrays with ``w`` values for each time step and row have the layout ``(steps, rows, w)``. In a network's
step each block has its own array, so that one product covers all its time steps. In the layer's own
methods the arrays cover the whole batch, because the layer's cache is made of them.

Source: J. L. Elman, "Finding structure in time", Cognitive Science 14, 1990; back through time: P. J.
Werbos, "Backpropagation through time: what it does and how to do it", Proceedings of the IEEE 78, 1990.
"""

from fastnn.kernels.compiling.jit import call_job, inner
from fastnn.kernels.compiling.records import Record
from fastnn.kernels.emitted.tile import PLAIN
from fastnn.kernels.step.calls import Block, Product, Transposition


class Elman(Record):
    """A layer of ``d`` inputs, ``k`` units, ``steps`` time steps.

    - ``input``, ``d_input``: addresses of the input ``(n, d, steps)`` and its gradient, or 0;
      ``output``, ``d_output``: of the output, ``(n, k)`` or, if it is ``sequences``, ``(n, k, steps)``.
    - ``block_rows``: rows of a block; ``apart``: rows from one time step to the next, 0 if these are
      the block's own.
    - ``x``: the input as ``(d, steps, rows)``; ``z``, ``s``: pre-activations, states ``s_1, s_2, ...``;
      ``dz``: gradients of z; ``dx``: of the input, ``(steps, rows, d)``; ``dy``: of the states' output,
      for sequences; ``ds``: two arrays ``(n, k)``.
    - ``first_state``: the state before the first step ``(n, k)``, or 0 for zeros.
    - ``W``, ``U``, ``b``: addresses of the parameters' values; ``work``: ``k max(d, k)`` elements for
      each block, where weights are transposed.
    - ``masks``: a number for each time step and row, not 0 if it is skipped, or 0; ``find``, ``keep``,
      ``clear``: parts that write masks and apply them; ``mask_value``: the inputs of skipped steps.
    - ``forward``, ``backward``: parts of the activation; ``of_output``: whether the second takes f(z)
      instead of z: the states or, unless they are ``sure`` to be f(z), what is computed from z;
      ``rowwise``, ``parameter``: as in :class:`fastnn.kernels.step.phases.Activation`.
    - ``product``, ``transposition``: addresses of parts; ``one``: address of a 1.
    - ``d_W``, ``d_U``, ``d_b``: where gradients go, for one block of ``used_rows`` rows after the
      other; or, in ``pieces`` pieces, for the whole batch.
    """

    input: int
    d_input: int
    output: int
    d_output: int
    sequences: int
    d: int
    k: int
    steps: int
    block_rows: int
    apart: int
    x: int
    z: int
    s: int
    dz: int
    dx: int
    dy: int
    ds: int
    first_state: int
    W: int
    U: int
    b: int
    work: int
    masks: int
    find: int
    keep: int
    clear: int
    mask_value: float
    forward: int
    backward: int
    of_output: int
    sure: int
    rowwise: int
    parameter: float
    product: int
    transposition: int
    one: int
    d_W: int
    d_U: int
    d_b: int
    pieces: int
    used_rows: int


class Masking(Record):
    """Arguments of the parts for masks: ``rows`` of ``width`` elements at ``source`` and ``target``.

    ``stride``: elements from one input feature to the next; ``value``: of masked inputs, or the factor.
    """

    masks: int
    rows: int
    width: int
    stride: int
    value: float
    source: int
    target: int


@inner
def _multiply(layer, a, a_row, a_column, b, b_row, c, rows, columns, inner, start, start_row):
    """``C = start + A B``; C is contiguous."""
    call = Product()
    call.a, call.a_row, call.a_column = a, a_row, a_column
    call.b, call.b_row, call.c, call.c_row = b, b_row, c, columns
    call.rows, call.columns, call.inner = rows, columns, inner
    call.start, call.start_row, call.mode = start, start_row, PLAIN
    call_job(layer.product, call.address, 0)


@inner
def _transpose(layer, a, a_row, c, c_row, rows, columns):
    call = Transposition()
    call.a, call.a_row, call.c, call.c_row = a, a_row, c, c_row
    call.rows, call.columns = rows, columns
    call_job(layer.transposition, call.address, 0)


@inner
def _activate(layer, part, z, dy, out, rows):
    call, k = Block(), layer.k
    call.height, call.width = (rows, k) if layer.rowwise != 0 else (1, rows * k)
    call.stride, call.parameter = rows * k, layer.parameter  # unused by one row, or by whole rows
    call.z, call.dy, call.out = z, dy, out
    call_job(part, call.address, 0)


@inner
def _masked(layer, part, masks, rows, factor, source, target):
    call = Masking()
    call.masks, call.rows, call.width, call.value = masks, rows, layer.k, factor
    call.source, call.target = source, target
    call_job(part, call.address, 0)


@inner
def _place(layer, first, rows, time):
    """Return the index, among all pairs of time step and row, of a block's first row at a time step."""
    if layer.apart != 0:
        return time * layer.apart + first
    return first * layer.steps + time * rows


@inner
def _pieces(layer, rows):
    """Return the number of products that cover all pairs of time step and row, and pairs in each."""
    if layer.apart == 0 or layer.apart == rows:
        return 1, layer.steps * rows
    return layer.steps, rows


@inner
def _input(step, layer, first, rows):
    """Return where the block's ``(d, steps, rows)`` inputs are, and elements between time steps."""
    between = layer.apart if layer.apart != 0 else rows
    start = first if layer.apart != 0 else first * layer.d * layer.steps
    return layer.x + start * step.itemsize, between


@inner
def find_masks(step, layer, first, rows):
    """Write the masks of the block's skipped steps, if the layer has masks."""
    if layer.masks != 0:
        x, between = _input(step, layer, first, rows)
        call, size = Masking(), step.itemsize
        call.width, call.stride, call.value = layer.d, layer.steps * between, layer.mask_value
        count, call.rows = _pieces(layer, rows)
        for piece in range(count):
            call.source = x + piece * between * size
            call.masks = layer.masks + _place(layer, first, rows, piece) * size
            call_job(layer.find, call.address, 0)


@inner
def forward_block(step, layer, first, rows):
    """Write the states of a block of rows."""
    size, d, k, steps = step.itemsize, layer.d, layer.k, layer.steps
    x, between = _input(step, layer, first, rows)
    source, row = layer.input + first * d * steps * size, d * steps
    _transpose(layer, source, row, x, between, rows, row)
    find_masks(step, layer, first, rows)
    count, pairs = _pieces(layer, rows)
    for piece in range(count):
        z = layer.z + _place(layer, first, rows, piece) * k * size
        at = x + piece * between * size
        _multiply(layer, at, 1, steps * between, layer.W, k, z, pairs, k, d, layer.b, 0)
    before = layer.first_state
    if before != 0:
        before += first * k * size
    for time in range(steps):
        place = _place(layer, first, rows, time)
        z, s = layer.z + place * k * size, layer.s + place * k * size
        if time == steps - 1 and layer.sequences == 0:
            s = layer.output + first * k * size
        if before != 0:
            _multiply(layer, before, k, 1, layer.U, k, z, rows, k, k, z, k)
        _activate(layer, layer.forward, z, 0, s, rows)
        if layer.masks != 0:
            part = layer.keep if before != 0 else layer.clear
            _masked(layer, part, layer.masks + place * size, rows, 0.0, before, s)
        before = s
    if layer.sequences != 0:
        _turn_back(layer, layer.s, layer.output, first, rows, k, size)


@inner
def _turn_back(layer, source, target, first, rows, width, size):
    """Write a block of ``(steps, rows, width)`` as ``(rows, width, steps)``."""
    steps = layer.steps
    between = layer.apart if layer.apart != 0 else rows
    source += _place(layer, first, rows, 0) * width * size
    target += first * width * steps * size
    for i in range(rows):
        row = target + i * width * steps * size
        _transpose(layer, source + i * width * size, between * width, row, steps, steps, width)


@inner
def _turn(layer, source, target, first, rows, width, size):
    """Write a block of ``(rows, width, steps)`` as ``(steps, rows, width)``."""
    steps = layer.steps
    between = layer.apart if layer.apart != 0 else rows
    target += _place(layer, first, rows, 0) * width * size
    source += first * width * steps * size
    for i in range(rows):
        row = source + i * width * steps * size
        _transpose(layer, row, steps, target + i * width * size, between * width, width, steps)


@inner
def _outputs(step, layer, first, rows, time, z, space):
    """Return where f(z) of a time step is."""
    row = layer.k * step.itemsize
    if layer.sure == 0:
        _activate(layer, layer.forward, z, 0, space, rows)
        return space
    if time == layer.steps - 1 and layer.sequences == 0 and layer.output != 0:
        return layer.output + first * row
    return layer.s + _place(layer, first, rows, time) * row


@inner
def backward_block(step, layer, first, rows, index):
    """Write the block's dz and, if they are wanted, the gradients of its input."""
    size, d, k, steps = step.itemsize, layer.d, layer.k, layer.steps
    work = layer.work + index * k * max(d, k) * size
    if layer.sequences != 0 and layer.d_output != 0:
        _turn(layer, layer.d_output, layer.dy, first, rows, k, size)
    ds = layer.d_output + first * k * size
    if layer.sequences != 0:
        ds = layer.dy + _place(layer, first, rows, steps - 1) * k * size
    _transpose(layer, layer.U, k, work, k, k, k)
    for back in range(steps):
        time = steps - 1 - back
        place = _place(layer, first, rows, time)
        z, dz = layer.z + place * k * size, layer.dz + place * k * size
        earlier = layer.ds + (2 * first + time % 2 * rows) * k * size
        if layer.of_output != 0:
            z = _outputs(step, layer, first, rows, time, z, earlier)
        _activate(layer, layer.backward, z, ds, dz, rows)
        if layer.masks != 0:
            _masked(layer, layer.clear, layer.masks + place * size, rows, 0.0, ds, dz)
        if time > 0:
            start = 0
            if layer.sequences != 0:
                start = layer.dy + _place(layer, first, rows, time - 1) * k * size
            _multiply(layer, dz, k, 1, work, k, earlier, rows, k, k, start, k)
            if layer.masks != 0:
                _masked(layer, layer.keep, layer.masks + place * size, rows, 1.0, ds, earlier)
            ds = earlier
    if layer.dx != 0:
        _transpose(layer, layer.W, k, work, d, d, k)
        count, pairs = _pieces(layer, rows)
        for piece in range(count):
            place = _place(layer, first, rows, piece)
            dz, dx = layer.dz + place * k * size, layer.dx + place * d * size
            _multiply(layer, dz, k, 1, work, d, dx, pairs, d, k, 0, 0)
    if layer.d_input != 0:
        _turn_back(layer, layer.dx, layer.d_input, first, rows, d, size)


@inner
def parameter_gradients(step, layer, first, rows, d_cut, k_cut, d_W, d_U, d_b):
    """Write rows ``d_cut`` of W's gradient, ``k_cut`` of U's, and b's if the cuts begin at 0.

    The sums are over all pairs of time steps and ``rows`` rows, which are contiguous.
    """
    size, d, k, steps = step.itemsize, layer.d, layer.k, layer.steps
    pairs, begin = steps * rows, first * steps
    d_first, d_count = d_cut[0], d_cut[1] - d_cut[0]
    k_first, k_count = k_cut[0], k_cut[1] - k_cut[0]
    x, dz = layer.x + (begin * d + d_first * pairs) * size, layer.dz + begin * k * size
    s, later, row = layer.s + (begin * k + k_first) * size, dz + rows * k * size, k * size
    d_W, d_U = d_W + d_first * row, d_U + k_first * row
    if d_count > 0:
        _multiply(layer, x, pairs, 1, dz, k, d_W, d_count, k, pairs, 0, 0)
    if k_count > 0:
        start = 0
        if layer.first_state != 0:
            state = layer.first_state + (first * k + k_first) * size
            _multiply(layer, state, 1, k, dz, k, d_U, k_count, k, rows, 0, 0)
            start = d_U
        if steps > 1:
            _multiply(layer, s, 1, k, later, k, d_U, k_count, k, pairs - rows, start, k)
    if k_first == 0:
        _multiply(layer, layer.one, 0, 0, dz, k, d_b, 1, k, pairs, 0, 0)
