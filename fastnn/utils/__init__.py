"""Helpers: data structures, data processing and gradient checks."""

from fastnn.utils.data_processing import center, normalize, standardize
from fastnn.utils.data_structures import AttrDict, integers_to_one_hot
from fastnn.utils.grad_check import check_gradients

__all__ = [
    "AttrDict",
    "center",
    "check_gradients",
    "integers_to_one_hot",
    "normalize",
    "standardize",
]
