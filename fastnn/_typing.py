"""Names for the array types used throughout."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
ArrayLike: TypeAlias = npt.ArrayLike
DTypeLike: TypeAlias = np.dtype[Any] | type[Any] | str
