"""PyTorch modules for what ``torch.nn`` lacks. Only :mod:`fastnn.convert.pytorch` imports this file."""

from typing import Any

import torch


class ArcTan(torch.nn.Module):  # type: ignore[misc]  # torch is not there when types are checked
    """``arctan(z)``, elementwise."""

    def forward(self, z: Any) -> Any:
        return torch.arctan(z)
