"""ResNets for CIFAR: He et al. 2016, "Deep Residual Learning", section 4.2."""

from typing import Any

from minidl import nn, ops
from minidl.models.blocks import ConvBlock
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.resnet import stages
from minidl.models.sources import ImageFormat, Names, Source

__all__ = ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110"]


class PaddedShortcut(nn.Module):
    """Option A: every second pixel, and zeros for new channels, half of them on each side.

    (N, H, W, in) -> (N, ceil(H/2), ceil(W/2), out).  It has no parameters.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        more = out_channels - in_channels
        self.widths = ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2))

    def forward(self, x: Any) -> Any:
        return ops.pad(x[:, ::2, ::2], widths=self.widths)


class CifarBlock(nn.Module):
    """Two convolutions 3x3 and a shortcut without parameters."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        self.shortcut = nn.Identity() if stride == 1 else PaddedShortcut(in_channels, width)
        self.conv1 = ConvBlock(in_channels, width, 3, stride)
        self.conv2 = ConvBlock(width, width, 3)

    def forward(self, x: Any) -> Any:
        return self.conv2(self.conv1(x), residual=self.shortcut(x))


NAMES: Names = (
    (r"conv1", lambda: "features.0.conv"),
    (r"bn1", lambda: "features.0.norm"),
    (r"layer(\d)\.(\d+)\.conv(\d)", lambda s, b, i: f"features.{s}.{b}.conv{i}.conv"),
    (r"layer(\d)\.(\d+)\.bn(\d)", lambda s, b, i: f"features.{s}.{b}.conv{i}.norm"),
    (r"linear|fc", lambda: "classifier.1"),
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SOURCE = Source("PyTorch", NAMES, ImageFormat(32, "RGB", 255.0, MEAN, STD))


def _resnet_cifar(depth: int, num_classes: int, in_channels: int) -> Network:
    """depth = 6n + 2: three stages of n blocks, of 16, 32 and 64 channels."""
    blocks = (depth - 2) // 6
    rows = stages(CifarBlock, 16, (16, 32, 64), (blocks,) * 3)
    features = nn.Sequential(ConvBlock(in_channels, 16, 3), *rows)
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(64, num_classes))
    return Network(features, head, (32, 32, in_channels))


@register(SOURCE)
def resnet20(num_classes: int = 10, in_channels: int = 3) -> Network:
    """ResNet-20 for CIFAR.  (N, 32, 32, C) -> (N, num_classes).  269,722 parameters.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2.
    """
    return _resnet_cifar(20, num_classes, in_channels)


@register(SOURCE)
def resnet32(num_classes: int = 10, in_channels: int = 3) -> Network:
    """ResNet-32 for CIFAR.  (N, 32, 32, C) -> (N, num_classes).  464,154 parameters.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2.
    """
    return _resnet_cifar(32, num_classes, in_channels)


@register(SOURCE)
def resnet44(num_classes: int = 10, in_channels: int = 3) -> Network:
    """ResNet-44 for CIFAR.  (N, 32, 32, C) -> (N, num_classes).  658,586 parameters.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2.
    """
    return _resnet_cifar(44, num_classes, in_channels)


@register(SOURCE)
def resnet56(num_classes: int = 10, in_channels: int = 3) -> Network:
    """ResNet-56 for CIFAR.  (N, 32, 32, C) -> (N, num_classes).  853,018 parameters.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2.
    """
    return _resnet_cifar(56, num_classes, in_channels)


@register(SOURCE)
def resnet110(num_classes: int = 10, in_channels: int = 3) -> Network:
    """ResNet-110 for CIFAR.  (N, 32, 32, C) -> (N, num_classes).  1,727,962 parameters.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2.
    """
    return _resnet_cifar(110, num_classes, in_channels)
