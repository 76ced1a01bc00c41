"""GoogLeNets for small images."""

from minidl import nn
from minidl.models.blocks import Branches, ConvBlock
from minidl.models.googlenet import inception_row
from minidl.models.network import Network
from minidl.models.registry import register

__all__ = ["deeper_googlenet", "minigooglenet"]


def _inception(in_channels: int, one: int, three: int) -> Branches:
    """1x1 beside 3x3.  (N, H, W, in) -> (N, H, W, one + three)."""
    return Branches(ConvBlock(in_channels, one, 1), ConvBlock(in_channels, three, 3))


def _downsample(in_channels: int, three: int) -> Branches:
    """3x3 with stride 2 beside a pooling.  (N, H, W, in) -> (N, H/2, W/2, in + three)."""
    return Branches(ConvBlock(in_channels, three, 3, 2), nn.MaxPool2d(3, 2, 1))


@register()
def minigooglenet(num_classes: int = 10, in_channels: int = 3) -> Network:
    """Return the small inception network for CIFAR.  (N, 32, 32, in_channels) -> (N, num_classes).

    Zhang et al. 2017, "Understanding Deep Learning Requires Rethinking Generalization", figure 3,
    left, where it is given 28x28 crops; all its convolutions keep the size or halve it.
    1,651,114 parameters.
    """
    features = nn.Sequential(
        ConvBlock(in_channels, 96, 3),
        _inception(96, 32, 32), _inception(64, 32, 48), _downsample(80, 80),
        _inception(160, 112, 48), _inception(160, 96, 64), _inception(160, 80, 80),
        _inception(160, 48, 96), _downsample(144, 96),
        _inception(240, 176, 160), _inception(336, 176, 160),
    )  # fmt: skip
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(336, num_classes))
    return Network(features, head, (32, 32, in_channels))


@register()
def deeper_googlenet(num_classes: int = 200, in_channels: int = 3) -> Network:
    """GoogLeNet's inceptions 3 and 4 for Tiny ImageNet.  (N, 64, 64, C) -> (N, num_classes).

    Rosebrock 2017, "Deep Learning for Computer Vision with Python", DeeperGoogLeNet: a stem of 5x5
    with stride 1 in place of 7x7 with stride 2, batch normalisation, no inceptions 5.  3,653,000
    parameters.
    """
    three, channels = inception_row("3a 3b", 192, ConvBlock)
    four, channels = inception_row("4a 4b 4c 4d 4e", channels, ConvBlock)
    stem = nn.Sequential(
        ConvBlock(in_channels, 64, 5), nn.MaxPool2d(3, 2, 1),  # 32x32
        ConvBlock(64, 64, 1), ConvBlock(64, 192, 3), nn.MaxPool2d(3, 2, 1),  # 16x16
    )  # fmt: skip
    features = nn.Sequential(
        stem,
        nn.Sequential(*three, nn.MaxPool2d(3, 2, 1)),  # 8x8
        nn.Sequential(*four, nn.MaxPool2d(3, 2, 1)),  # 4x4
    )
    head = nn.Sequential(
        nn.GlobalAvgPool2d(), nn.Dropout(0.4), nn.Linear(channels, num_classes)
    )  # fmt: skip
    return Network(features, head, (64, 64, in_channels))
