"""How loops over columns take narrow and wide rows.

Narrow rows are taken several at a time, as one long row, so that loops are as long as vectors need;
of wide ones a part is taken at a time, so that what is kept for each column stays near.
"""

from fastnn.kernels.compiling.jit import inner

_LANES = 128  # numbers of narrow rows that are taken as one long row
_WIDE = 512  # numbers of a row that are taken at once


@inner
def together(m: int, d: int) -> int:
    """Return how many rows are taken as one long row."""
    return max(1, min(_LANES // d, m))


@inner
def lanes_in(width: int) -> int:
    """Return how many lanes of a long row are taken at once: even parts, of whole vectors."""
    parts = (width + _WIDE - 1) // _WIDE
    return ((width + parts - 1) // parts + 15) // 16 * 16
