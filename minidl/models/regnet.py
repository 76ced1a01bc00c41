"""RegNet: Radosavovic et al. 2020, "Designing Network Design Spaces"."""

from typing import Any

from minidl import nn
from minidl.models.blocks import CONV_NORM, ConvBlock, SqueezeExcite
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.resnet import projection
from minidl.models.sources import IMAGENET, Source

__all__ = ["regnet_y_400mf"]


class Block(nn.Module):
    """1x1, 3x3 in groups, squeeze-excitation, 1x1, and a shortcut: the paper's Y block.

    (N, H, W, in) -> (N, H', W', width).  The squeeze-excitation has a quarter of the inputs'
    channels in its middle.
    """

    def __init__(self, in_channels: int, width: int, stride: int, group_width: int) -> None:
        self.shortcut = projection(in_channels, width, stride)
        self.conv1 = ConvBlock(in_channels, width, 1)
        self.conv2 = ConvBlock(width, width, 3, stride, groups=width // group_width)
        self.excite = SqueezeExcite(width, squeezed=round(in_channels / 4))
        self.conv3 = ConvBlock(width, width, 1)

    def forward(self, x: Any) -> Any:
        y = self.excite(self.conv2(self.conv1(x)))
        return self.conv3(y, residual=self.shortcut(x))


BLOCK = r"trunk_output\.block(\d)\.block\d-(\d+)\."
PART = {"a": "conv1", "b": "conv2", "c": "conv3"}
TORCHVISION = Source(
    "torchvision",
    (
        (r"stem\.([01])", lambda j: f"features.0.{CONV_NORM[j]}"),
        (BLOCK + r"proj\.([01])", lambda s, b, j: f"features.{s}.{b}.shortcut.{CONV_NORM[j]}"),
        (
            BLOCK + r"f\.([abc])\.([01])",
            lambda s, b, part, j: f"features.{s}.{b}.{PART[part]}.{CONV_NORM[j]}",
        ),
        (BLOCK + r"f\.se\.fc1", lambda s, b: f"features.{s}.{b}.excite.down"),
        (BLOCK + r"f\.se\.fc2", lambda s, b: f"features.{s}.{b}.excite.up"),
        (r"fc", lambda: "classifier.1"),
    ),
    IMAGENET,
)


@register(TORCHVISION)
def regnet_y_400mf(num_classes: int = 1000, in_channels: int = 3) -> Network:
    """RegNetY-400MF.  (N, 224, 224, in_channels) -> (N, num_classes).  4,344,144 parameters.

    As in torchvision, whose widths 48, 104, 208 and 440 are those that the paper's formula makes
    with w0 = 48, wa = 27.89 and wm = 2.09 in groups of 8 channels.
    Source: Radosavovic et al. 2020, "Designing Network Design Spaces".
    """
    channels = 32
    rows: list[nn.Module] = [ConvBlock(in_channels, channels, 3, 2)]
    for width, depth in zip((48, 104, 208, 440), (1, 3, 6, 6), strict=True):
        first = Block(channels, width, 2, group_width=8)
        others = (Block(width, width, 1, group_width=8) for _ in range(depth - 1))
        rows.append(nn.Sequential(first, *others))
        channels = width
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(channels, num_classes))
    return Network(nn.Sequential(*rows), head, (224, 224, in_channels))
