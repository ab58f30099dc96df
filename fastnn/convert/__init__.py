"""Networks to and from PyTorch modules and ONNX files. Neither package is imported before its use."""

from fastnn.convert.onnx_export import export_onnx
from fastnn.convert.onnx_import import from_onnx
from fastnn.convert.pytorch import from_torch, to_torch

__all__ = ["export_onnx", "from_onnx", "from_torch", "to_torch"]
