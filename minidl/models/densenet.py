"""DenseNet: Huang et al. 2017, "Densely Connected Convolutional Networks"."""

from collections.abc import Sequence
from typing import Any

from minidl import nn, ops
from minidl.models.blocks import ConvBlock
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import IMAGENET, Names, Source

__all__ = ["densenet121", "densenet161", "densenet169", "densenet201"]


class DenseLayer(nn.Module):
    """DenseNet-B's layer: 1x1 to 4k channels, 3x3 to k.  (N, H, W, in) -> (N, H, W, k).

    growth: the channels that each layer adds, the paper's k.
    """

    def __init__(self, in_channels: int, growth: int, eps: float) -> None:
        self.norm1 = nn.BatchNorm2d(in_channels, eps, activation="relu")
        self.conv1 = nn.PointwiseConv2d(in_channels, 4 * growth, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth, eps, activation="relu")
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Any) -> Any:
        return self.conv2(self.norm2(self.conv1(self.norm1(x))))


class DenseBlock(nn.ModuleList):
    """Layers that each see all maps before them: figure 1.  (N, H, W, C) -> (N, H, W, C + n*k)."""

    def forward(self, x: Any) -> Any:
        for layer in self:
            x = ops.concatenate(x, layer(x), axis=-1)
        return x


class Transition(nn.Module):
    """Between blocks: half the channels, half the size.  (N, H, W, C) -> (N, H/2, W/2, C/2)."""

    def __init__(self, channels: int, eps: float) -> None:
        self.norm = nn.BatchNorm2d(channels, eps, activation="relu")
        self.conv = nn.PointwiseConv2d(channels, channels // 2, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Any) -> Any:
        return self.pool(self.conv(self.norm(x)))


def _densenet(
    depths: Sequence[int], num_classes: int, in_channels: int, eps: float, growth: int = 32
) -> Network:
    """Table 1: features[2], [4], [6] and [8] are the dense blocks, with transitions between."""
    channels = 2 * growth
    layers: list[nn.Module] = [ConvBlock(in_channels, channels, 7, 2, eps=eps)]
    layers.append(nn.MaxPool2d(3, 2, 1))
    for block, depth in enumerate(depths):
        if block > 0:
            layers.append(Transition(channels, eps))
            channels //= 2
        widths = [channels + i * growth for i in range(depth)]
        layers.append(DenseBlock(*(DenseLayer(width, growth, eps) for width in widths)))
        channels += depth * growth
    layers.append(nn.BatchNorm2d(channels, eps, activation="relu"))
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(channels, num_classes))
    return Network(nn.Sequential(*layers), head, (224, 224, in_channels))


LAYER = r"features\.denseblock(\d)\.denselayer(\d+)\."
TORCHVISION_NAMES: Names = (
    (r"features\.conv0", lambda: "features.0.conv"),
    (r"features\.norm0", lambda: "features.0.norm"),
    # Files of before 2017 have a dot more: norm.1
    (LAYER + r"norm\.?(\d)", lambda b, l, i: f"features.{2 * b}.{l - 1}.norm{i}"),
    (LAYER + r"conv\.?(\d)", lambda b, l, i: f"features.{2 * b}.{l - 1}.conv{i}"),
    (r"features\.transition(\d)\.(norm|conv)", lambda b, part: f"features.{2 * b + 1}.{part}"),
    (r"features\.norm5", lambda: "features.9"),
    (r"classifier", lambda: "classifier.1"),
)
KERAS_NAMES: Names = (
    (r"conv1[_.]conv", lambda: "features.0.conv"),
    (r"conv1[_.]bn", lambda: "features.0.norm"),
    (r"conv(\d)_block(\d+)_0_bn", lambda b, l: f"features.{2 * b - 2}.{l - 1}.norm1"),
    (r"conv(\d)_block(\d+)_1_bn", lambda b, l: f"features.{2 * b - 2}.{l - 1}.norm2"),
    (r"conv(\d)_block(\d+)_(\d)_conv", lambda b, l, i: f"features.{2 * b - 2}.{l - 1}.conv{i}"),
    (r"pool(\d)_bn", lambda b: f"features.{2 * b - 1}.norm"),
    (r"pool(\d)_conv", lambda b: f"features.{2 * b - 1}.conv"),
    (r"bn", lambda: "features.9"),
    (r"predictions|fc1000", lambda: "classifier.1"),
)
TORCHVISION = Source("torchvision", TORCHVISION_NAMES, IMAGENET)
KERAS = Source(
    "Keras Applications", KERAS_NAMES, IMAGENET, torch=False, arguments={"eps": 1.001e-5}
)


@register(TORCHVISION, KERAS)
def densenet121(num_classes: int = 1000, in_channels: int = 3, eps: float = 1e-5) -> Network:
    """DenseNet-121.  (N, 224, 224, in_channels) -> (N, num_classes).  7,978,856 parameters.

    DenseNet-BC with growth 32 and compression 1/2. Keras's have eps=1.001e-5.
    Source: Huang et al. 2017, "Densely Connected Convolutional Networks", table 1.
    """
    return _densenet((6, 12, 24, 16), num_classes, in_channels, eps)


@register(TORCHVISION, KERAS)
def densenet161(num_classes: int = 1000, in_channels: int = 3, eps: float = 1e-5) -> Network:
    """DenseNet-161, with growth 48.  (N, 224, 224, in_channels) -> (N, num_classes).

    28,681,000 parameters.
    Source: Huang et al. 2017, "Densely Connected Convolutional Networks", table 1.
    """
    return _densenet((6, 12, 36, 24), num_classes, in_channels, eps, growth=48)


@register(TORCHVISION, KERAS)
def densenet169(num_classes: int = 1000, in_channels: int = 3, eps: float = 1e-5) -> Network:
    """DenseNet-169.  (N, 224, 224, in_channels) -> (N, num_classes).  14,149,480 parameters.

    Source: Huang et al. 2017, "Densely Connected Convolutional Networks", table 1.
    """
    return _densenet((6, 12, 32, 32), num_classes, in_channels, eps)


@register(TORCHVISION, KERAS)
def densenet201(num_classes: int = 1000, in_channels: int = 3, eps: float = 1e-5) -> Network:
    """DenseNet-201.  (N, 224, 224, in_channels) -> (N, num_classes).  20,013,928 parameters.

    Source: Huang et al. 2017, "Densely Connected Convolutional Networks", table 1.
    """
    return _densenet((6, 12, 48, 32), num_classes, in_channels, eps)
