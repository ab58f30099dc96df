"""Sizes for loops over columns of narrow and wide rows.

Several narrow rows are processed as one long row, so that loops are long enough for vectors. Wide rows
are processed in parts, so that the sums of a part's columns stay in the first-level cache.
"""

from fastnn._typing import Array
from fastnn.kernels.compiling.jit import inner

_LANES = 128  # largest length of several narrow rows as one long row
_WIDE = 512  # largest part of a wide row


@inner
def together(m: int, d: int) -> int:
    """Return the number of rows that are processed as one long row, which is then a single part."""
    return max(1, min(_LANES // d, m))


@inner
def lanes_in(width: int) -> int:
    """Return the length of the parts of a row: equal parts, of whole vectors."""
    parts = (width + _WIDE - 1) // _WIDE
    return ((width + parts - 1) // parts + 15) // 16 * 16


@inner
def repeat(values: Array, d: int) -> None:
    """Repeat the first ``d`` values over the whole array."""
    for j in range(d, values.size):
        values[j] = values[j - d]
