"""Blocks that several families of networks share."""

from typing import Any

from minidl import nn, ops
from minidl.errors import ArgumentError
from minidl.nn.settings import positive
from minidl.ops.activation import check_activation

__all__ = ["Branches", "ConvBlock", "SqueezeExcite", "conv_relu"]


class ConvBlock(nn.Module):
    """Convolution, batch normalisation, activation.  (N, H, W, in) -> (N, H', W', out).

    padding: None keeps the size, for odd kernels and stride 1.  groups: as many as there are
    channels make the convolution depthwise.
    Called with `residual=`, adds it before the activation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: Any = None,
        groups: int = 1,
        activation: str | None = "relu",
        eps: float = 1e-5,
        bias: bool = False,
    ) -> None:
        padding = _keeping(kernel_size) if padding is None else padding
        self.conv: nn.Module
        if groups == in_channels == out_channels > 1:
            self.conv = nn.DepthwiseConv2d(in_channels, kernel_size, stride, padding, bias=bias)
        else:
            self.conv = nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias
            )
        self.norm = nn.BatchNorm2d(out_channels, eps, activation=activation)

    def forward(self, x: Any, residual: Any = None) -> Any:
        return self.norm(self.conv(x), residual=residual)


class Branches(nn.ModuleList):
    """Modules that all take the same images; what they give is put side by side, in channels.

    (N, H, W, C) -> (N, H', W', sum of theirs).  An inception module is one of these.
    """

    def forward(self, x: Any) -> Any:
        return ops.concatenate(*(branch(x) for branch in self), axis=-1)


class SqueezeExcite(nn.Module):
    """Channels weighed by what a small network makes of their means.  (N, H, W, C), same shape out.

    activation: of the result; called with `residual=`, adds it before, all in one pass.
    Source: Hu, Shen and Sun 2018, "Squeeze-and-Excitation Networks", section 3.
    """

    def __init__(self, channels: int, reduction: int = 16, activation: str | None = None) -> None:
        self.activation = check_activation("SqueezeExcite", activation)
        self.squeeze = nn.GlobalAvgPool2d(keepdims=True)  # (N, 1, 1, C)
        self.down = nn.PointwiseConv2d(channels, channels // reduction, activation="relu")
        self.up = nn.PointwiseConv2d(channels // reduction, channels, activation="sigmoid")

    def forward(self, x: Any, residual: Any = None) -> Any:
        gate = self.up(self.down(self.squeeze(x)))  # (N, 1, 1, C)
        return ops.channel_gate(x, gate, residual, self.activation)


def conv_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    padding: Any = None,
    groups: int = 1,
) -> nn.Conv2d:
    """A convolution with bias and ReLU.  padding: None keeps the size, for stride 1."""
    padding = _keeping(kernel_size) if padding is None else padding
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding, groups=groups, activation="relu"
    )


def _keeping(kernel_size: int) -> int:
    """The padding with which a convolution of stride 1 keeps the size."""
    if positive("a convolution", "kernel_size", kernel_size) % 2 == 0:
        raise ArgumentError(f"kernel_size must be odd, so that maps keep their size: {kernel_size}")
    return (kernel_size - 1) // 2
