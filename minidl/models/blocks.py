"""Blocks that several families of networks share."""

from typing import Any

from minidl import nn, ops
from minidl.checks import positive
from minidl.errors import ArgumentError
from minidl.ops.activation import check_activation

__all__ = [
    "CONV_NORM",
    "Branches",
    "ConvBlock",
    "InvertedResidual",
    "SqueezeExcite",
    "conv_relu",
    "divisible",
    "dropped_branch",
]

CONV_NORM = ("conv", "norm")  # a ConvBlock's parts, which torchvision calls 0 and 1


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
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: Any = None,
        groups: int = 1,
        activation: str | None = "relu",
        eps: float = 1e-5,
        bias: bool = False,
        momentum: float = 0.1,
    ) -> None:
        padding = _keeping(kernel_size) if padding is None else padding
        self.conv: nn.Module
        if groups == in_channels == out_channels > 1:
            self.conv = nn.DepthwiseConv2d(in_channels, kernel_size, stride, padding, bias=bias)
        else:
            self.conv = nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias
            )
        self.norm = nn.BatchNorm2d(out_channels, eps, momentum, activation=activation)

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

    squeezed: the channels of the small network's middle, channels // reduction if it is None; inner
        and gate: the activations after it and at its end.
    activation: of the result; called with `residual=`, adds it before, all in one pass.
    Source: Hu, Shen and Sun 2018, "Squeeze-and-Excitation Networks", section 3.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        activation: str | None = None,
        *,
        squeezed: int | None = None,
        inner: str = "relu",
        gate: str = "sigmoid",
    ) -> None:
        self.activation = check_activation("SqueezeExcite", activation)
        squeezed = channels // reduction if squeezed is None else squeezed
        self.squeeze = nn.GlobalAvgPool2d(keepdims=True)  # (N, 1, 1, C)
        self.down = nn.PointwiseConv2d(channels, squeezed, activation=inner)
        self.up = nn.PointwiseConv2d(squeezed, channels, activation=gate)

    def forward(self, x: Any, residual: Any = None) -> Any:
        gate = self.up(self.down(self.squeeze(x)))  # (N, 1, 1, C)
        return ops.channel_gate(x, gate, residual, self.activation)


class InvertedResidual(nn.Module):
    """1x1 to `hidden` channels, depthwise, 1x1 to few, and a shortcut where the shape stays.

    (N, H, W, in) -> (N, H', W', out).  Where `hidden` is `in_channels`, there is no first 1x1.
    excite: a SqueezeExcite of the hidden channels, if any.  stochastic_depth: the probability with
        which training leaves the block out for a sample.  settings: of ConvBlocks: eps, momentum.
    Source: Sandler et al. 2018, "MobileNetV2", table 1.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out_channels: int,
        kernel_size: int,
        stride: int,
        activation: str,
        padding: Any = None,
        excite: SqueezeExcite | None = None,
        stochastic_depth: float = 0.0,
        **settings: Any,
    ) -> None:
        self.expand: nn.Module = nn.Identity()
        if hidden != in_channels:
            self.expand = ConvBlock(in_channels, hidden, 1, activation=activation, **settings)
        self.depthwise = ConvBlock(
            hidden, hidden, kernel_size, stride, padding, hidden, activation, **settings
        )
        self.excite = nn.Identity() if excite is None else excite
        self.project = ConvBlock(hidden, out_channels, 1, activation=None, **settings)
        self.same = stride == 1 and in_channels == out_channels
        self.drop = dropped_branch(stochastic_depth if self.same else 0)

    def forward(self, x: Any) -> Any:
        y = self.excite(self.depthwise(self.expand(x)))
        if self.drop is not None and self.training:
            return x + self.drop(self.project(y))
        return self.project(y, residual=x if self.same else None)


def dropped_branch(p: float) -> nn.StochasticDepth | None:
    """What ends a branch that training leaves out with probability p; None where p is 0."""
    return nn.StochasticDepth(p) if p else None


def conv_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    padding: Any = None,
    groups: int = 1,
) -> nn.Conv2d:
    """Return a convolution with bias and ReLU.  padding: None keeps the size, for stride 1."""
    padding = _keeping(kernel_size) if padding is None else padding
    return nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, padding, groups=groups, activation="relu"
    )


def _keeping(kernel_size: int | tuple[int, int]) -> Any:
    """Return the padding with which a convolution of stride 1 keeps the size."""
    if isinstance(kernel_size, tuple):
        return tuple(_keeping(size) for size in kernel_size)
    if positive("a convolution", "kernel_size", kernel_size) % 2 == 0:
        raise ArgumentError(f"kernel_size must be odd, so that maps keep their size: {kernel_size}")
    return (kernel_size - 1) // 2


def divisible(channels: float) -> int:
    """The nearest multiple of 8, but not less than 0.9 of `channels`: how MobileNets round."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
