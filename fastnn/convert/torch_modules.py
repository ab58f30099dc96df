"""PyTorch modules for what ``torch.nn`` lacks. Only :mod:`fastnn.convert.torch_layers` imports them."""

from typing import Any

import torch


class ArcTan(torch.nn.Module):  # type: ignore[misc]  # torch is not there when types are checked
    """``arctan(z)``, elementwise."""

    def forward(self, z: Any) -> Any:
        return torch.arctan(z)


class Conv2D(torch.nn.Sequential):  # type: ignore[misc]
    """:class:`fastnn.Conv2D`: a ``torch.nn.Conv2d`` and an activation, on images with channels last."""

    def forward(self, x: Any) -> Any:
        convolution, *activation = self
        z = convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return activation[0](z) if activation else z


class Pool2D(torch.nn.Module):  # type: ignore[misc]
    """:class:`fastnn.Pool2D`, on images with channels last."""

    def __init__(self, kernel_shape: Any, mode: str, stride: int, pad: Any) -> None:
        super().__init__()
        self.kernel_shape, self.mode, self.stride, self.pad = kernel_shape, mode, stride, pad

    def forward(self, x: Any) -> Any:
        (ph, pw), functional = self.pad, torch.nn.functional
        x = functional.pad(x.permute(0, 3, 1, 2), (pw, pw, ph, ph))
        pool = functional.max_pool2d if self.mode == "max" else functional.avg_pool2d
        return pool(x, self.kernel_shape, self.stride).permute(0, 2, 3, 1)


class GlobalAveragePool2D(torch.nn.Module):  # type: ignore[misc]
    """:class:`fastnn.GlobalAveragePool2D`, on images with channels last."""

    def forward(self, x: Any) -> Any:
        return x.mean((1, 2))


class BatchNorm2D(torch.nn.BatchNorm2d):  # type: ignore[misc]
    """:class:`fastnn.BatchNorm2D`, on images with channels last."""

    def forward(self, x: Any) -> Any:
        return super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Residual(torch.nn.Sequential):  # type: ignore[misc]
    """:class:`fastnn.Residual`: the sum of the input and the output of the modules."""

    def forward(self, x: Any) -> Any:
        return x + super().forward(x)


class Elman(torch.nn.Module):  # type: ignore[misc]
    """:class:`fastnn.Elman` on ``(n, d, t)``, a ``torch.nn.RNN`` whose second bias is zeros."""

    def __init__(self, W: Any, U: Any, b: Any, activation: str, return_sequences: bool) -> None:
        super().__init__()
        settings = {"nonlinearity": activation, "batch_first": True, "dtype": W.dtype}
        self.rnn, self.return_sequences = torch.nn.RNN(*W.shape, **settings), return_sequences
        with torch.no_grad():
            self.rnn.weight_ih_l0.copy_(W.T)
            self.rnn.weight_hh_l0.copy_(U.T)
            self.rnn.bias_ih_l0.copy_(b.reshape(-1))
            self.rnn.bias_hh_l0.zero_()

    def forward(self, x: Any) -> Any:
        states = self.rnn(x.transpose(1, 2))[0].transpose(1, 2)
        return states if self.return_sequences else states[:, :, -1]


class AxisEmbedding(torch.nn.Embedding):  # type: ignore[misc]
    """:class:`fastnn.Embedding` with table ``W``; features come last or, for axis 1, before time."""

    def __init__(self, W: Any, padding_index: int | None, axis: int) -> None:
        super().__init__(*W.shape, padding_index, dtype=W.dtype)
        with torch.no_grad():
            self.weight.copy_(W)
        self.axis = axis

    def forward(self, x: Any) -> Any:
        y = super().forward(x.long())
        return y.transpose(1, -1) if self.axis == 1 else y
