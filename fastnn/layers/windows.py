"""Windows over images: their settings."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn._validation import require_count


def pair(name: str, value: Any, low: int) -> tuple[int, int]:
    """Return an integer, or a pair of integers, as a pair; each must be at least ``low``.

    Raises ``TypeError`` or ``ValueError`` for anything else.
    """
    if isinstance(value, (bool, int, np.integer)):
        return (require_count(name, value, low),) * 2
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"{name} must be an integer or two, got {value!r}")
    return require_count(name, value[0], low), require_count(name, value[1], low)


def padding(pad: Any, kernel_shape: tuple[int, int]) -> tuple[int, int]:
    """Return rows and columns of zeros on each side of an image.

    ``pad``: ``"same"`` for ``((kh - 1) // 2, (kw - 1) // 2)``, ``"valid"`` for none, an integer or two.

    Raises ``ValueError`` for anything else.
    """
    if isinstance(pad, str) and pad == "same":
        return (kernel_shape[0] - 1) // 2, (kernel_shape[1] - 1) // 2
    if isinstance(pad, str) and pad == "valid":
        return 0, 0
    try:
        return pair("pad", pad, 0)
    except (TypeError, ValueError):
        raise ValueError(
            f"pad must be 'same', 'valid', or an integer of at least 0 or two of them, got {pad!r}"
        ) from None
