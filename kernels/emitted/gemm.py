"""Matrix products for thin shapes, tile by tile.

BLAS copies blocks of both matrices into buffers before it multiplies, which pays for large matrices and
costs more than the product for thin ones. Here both are read where they lie: C is cut into panels of a
few vectors of columns, a panel into tiles (:mod:`fastnn.kernels.emitted.tile`).

A is read one element at a time, so both its strides are free: ``x w`` and ``x^T dz`` are the same code.
Rows of B and C are contiguous. Edges: lower tiles; fewer vectors, with masks in a tile's last one.

Matrices come as addresses and strides in elements; ``lr`` and ``mu`` are numbers of their
dtype.
"""

from numba.core import cgutils, types
from numba.extending import intrinsic

from fastnn.kernels.compiling.jit import VECTOR_BYTES, inner
from fastnn.kernels.compiling.memory import allocate, release
from fastnn.kernels.emitted.registers import HEIGHTS, VECTORS
from fastnn.kernels.emitted.tile import ROW, tile
from fastnn.kernels.emitted.vectors import I64, Emitter

# Rows of a panel that lie far apart fall into the same few sets of the first-level cache, or each on a
# page of its own. A panel is copied first if its rows are at least _FAR bytes apart and C has at least
# _OFTEN rows. Both were measured; narrow panels use less of every cache line.
_FAR, _OFTEN = (512, 96) if VECTOR_BYTES < 64 else (4096, 512)
_LINE = 64  # bytes
_HIGHEST = HEIGHTS[0]


@intrinsic
def _pack(context, b, b_row, k, out, like):
    """Copy a panel of ``VECTORS`` whole vectors, row after row."""

    def codegen(context, builder, signature, arguments):
        b, b_row, k, out, _ = arguments
        emit = Emitter(builder, like)
        offsets = range(0, VECTORS * emit.lanes, emit.lanes)
        with cgutils.for_range(builder, k) as row:
            for offset in offsets:
                value = emit.load(emit.pointer(b, row.index, b_row, offset), None)
                to = emit.pointer(out, row.index, I64(VECTORS * emit.lanes), offset)
                emit.store(value, to, None)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, like), codegen


@inner
def height_of(left):
    """Return how many rows the next tile has. Eight are two of 4 where the highest has 6."""
    if left >= _HIGHEST and (left != 8 or _HIGHEST == 8):
        return _HIGHEST
    if left >= 4:
        return 4
    return 2 if left >= 2 else 1


@inner
def _width(rows, left, lanes):
    """Return how many columns the next panel has."""
    if rows == 1 and left > (ROW - 1) * lanes:
        return min(left, ROW * lanes)
    if left == 4 * lanes:  # two panels of two, not one of three and one of one
        return 2 * lanes
    return min(left, VECTORS * lanes)


@inner
def _panel(a, a_row, a_col, b, b_row, c, c_row, rows, k, columns, start, start_row, mode, size, rates):
    """Do the columns of one panel, tile by tile."""
    i = 0
    while i < rows:
        height = height_of(rows - i)
        A, C = a + i * a_row * size, c + i * c_row * size
        S = start + i * start_row * size if start != 0 else start
        tile(height, A, a_row, a_col, b, b_row, C, c_row, k, columns, S, start_row, mode, rates)
        i += height


@inner
def gemm(a, a_row, a_col, b, b_row, c, c_row, rows, columns, k, start, start_row, mode, size, rates):
    """``C = start + A B``: A ``(rows, k)``, B ``(k, columns)``, C ``(rows, columns)``; k >= 1.

    ``start`` is the address of a matrix whose rows are ``start_row`` elements apart (0: one row for
    all, a bias), or 0 for none. ``mode``: see :mod:`fastnn.kernels.emitted.tile`. For ``RELU_GRADIENT``
    there is no start, and its address is that of what ``RELU`` wrote. ``DESCENT`` does
    ``C -= lr A B``; ``SGD`` ``V = mu V + lr A B``, ``C -= V``, with the velocity in the place of the
    start. ``size``: of an element in bytes.

    ``rates`` are lr and mu, of the dtype. For ``RULE`` there are more: the addresses of the distances
    in bytes from C to each of the optimiser's arrays, whose rows are as far apart as those of C, and of
    the rule's numbers; and which rule it is. The other two ways to update are left out then.
    """
    lanes, space = VECTOR_BYTES // size, 0
    if rows >= _OFTEN and b_row * size >= _FAR and columns >= VECTORS * lanes:
        space = allocate(k * VECTORS * VECTOR_BYTES + _LINE)  # a thread's stack may be small
    j = 0
    while j < columns:
        width = _width(rows, columns - j, lanes)
        S = start + j * size if start != 0 else start
        B = b + j * size
        C = c + j * size
        B_row = b_row
        if space != 0 and width == VECTORS * lanes:
            at = (space + _LINE - 1) & -_LINE
            _pack(B, b_row, k, at, rates[0])
            B, B_row = at, width
        _panel(a, a_row, a_col, B, B_row, C, c_row, rows, k, width, S, start_row, mode, size, rates)
        j += width
    if space != 0:
        release(space)
