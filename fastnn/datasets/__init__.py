"""Data in batches, and the datasets that fastnn can load."""

from fastnn.datasets.data import Data
from fastnn.datasets.dataset import Dataset
from fastnn.datasets.loaders import initialize_dataset, load_digits, load_mnist

__all__ = ["Data", "Dataset", "initialize_dataset", "load_digits", "load_mnist"]
