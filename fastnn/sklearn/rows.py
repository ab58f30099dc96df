"""Feature matrices, dense or sparse, in the forms that networks compute with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse

_DENSE_BYTES = 2**25  # of sparse rows that are made dense at once
# Products with a sparse matrix take as long as with a dense one when about this share is not zero.
_THIN_SHARE = 1 / 32


def is_sparse(X: Any) -> bool:
    """Return whether a matrix is one of SciPy's sparse ones."""
    return bool(issparse(X))


def as_rows(X: Any, dtype: np.dtype[Any]) -> Any:
    """Return features ``(n, d)`` as a C-contiguous array of ``dtype``, or as a CSR matrix of it.

    A sparse matrix that is small when dense becomes an array, which is fastest.
    """
    if not is_sparse(X):
        return np.require(X, dtype, ["C", "A"])
    if X.shape[0] * X.shape[1] * dtype.itemsize <= _DENSE_BYTES:
        return np.require(X.toarray(), dtype, ["C", "A"])
    return X.tocsr().astype(dtype, copy=False)


def is_thin(X: Any) -> bool:
    """Return whether a matrix is so sparse that it is faster to multiply it as it is."""
    return is_sparse(X) and bool(X.nnz <= _THIN_SHARE * X.shape[0] * X.shape[1])


def rows_at_once(X: Any) -> int:
    """Return how many rows of a sparse matrix are to be made dense at once; all of an array."""
    if not is_sparse(X):
        return max(int(X.shape[0]), 1)
    return max(int(_DENSE_BYTES // (X.shape[1] * X.dtype.itemsize)), 1)


def blocks(X: Any) -> Iterator[tuple[slice, Any]]:
    """Yield slices of rows, and the rows: as they are if thin, else dense, some at a time."""
    if is_thin(X) or not is_sparse(X):
        yield slice(0, X.shape[0]), X
        return
    count = rows_at_once(X)
    for first in range(0, X.shape[0], count):
        part = slice(first, min(first + count, X.shape[0]))
        yield part, X[part].toarray()
