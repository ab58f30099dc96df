"""How the work on a network's columns and weights is cut into blocks, for threads to share."""

from fastnn._arrays import LINE
from fastnn._typing import Array
from fastnn.kernels.layers import dense


def column_blocks(width: int, itemsize: int, shares: int) -> int:
    """Return into how many blocks to cut columns: a multiple of the shares, of about 3 lines each."""
    lines = -(-width * itemsize // LINE)
    return 1 if lines < 2 * shares else -(-lines // (3 * shares)) * shares


def update_blocks(layers: Array, itemsize: int, shares: int) -> list[tuple[int, ...]]:
    """Cut all weights into blocks, so that each share holds the columns its thread computes.

    A layer too narrow for that is cut by rows instead, and one whose rows are no whole cache lines:
    those that hold the end of one share and the beginning of another would go back and forth.
    """
    found: list[tuple[int, ...]] = []
    for share in range(shares):
        for i, layer in enumerate(layers):
            d, k, blocks = layer[dense.D], layer[dense.K], layer[dense.BLOCKS]
            if blocks == 1 or k * itemsize % LINE:
                first, end = share * d // shares, (share + 1) * d // shares
                if end > first:  # the block from row 0 on updates the bias, so there is one
                    found.append((i, first, end - first, 0, k))
                continue
            for block in range(share * blocks // shares, (share + 1) * blocks // shares):
                begin, end = dense.cut(k, blocks, block, itemsize)
                found.append((i, 0, d, begin, end - begin))
    return found
