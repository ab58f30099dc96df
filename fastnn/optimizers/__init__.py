"""Optimisers."""

from fastnn.optimizers.base import (
    OPTIMIZERS,
    SGD,
    Adam,
    Moments,
    Optimizer,
    initialize_optimizer,
    state_arrays,
)

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "Moments",
    "Optimizer",
    "initialize_optimizer",
    "state_arrays",
]
