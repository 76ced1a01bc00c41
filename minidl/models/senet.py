"""Squeeze-and-excitation networks: Hu, Shen and Sun 2018."""

from typing import Any

from minidl import nn
from minidl.models.blocks import ConvBlock, SqueezeExcite
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.resnet import TORCHVISION_NAMES, Bottleneck, residual_network, stages
from minidl.models.sources import IMAGENET, Names, Source

__all__ = ["se_resnet50", "se_resnext50_32x4d", "senet154"]

TIMM = Source(
    "timm",
    (
        *TORCHVISION_NAMES,
        (r"layer(\d)\.(\d+)\.se\.fc1", lambda s, b: f"features.{s}.{b}.excite.down"),
        (r"layer(\d)\.(\d+)\.se\.fc2", lambda s, b: f"features.{s}.{b}.excite.up"),
    ),
    IMAGENET,
)


@register(TIMM)
def se_resnet50(num_classes: int = 1000, in_channels: int = 3) -> Network:
    """SE-ResNet-50, table 1.  (N, 224, 224, in_channels) -> (N, num_classes).

    Strides in the 3x3 convolutions, as in timm's seresnet50; the authors' has them in the 1x1, and
    a stem that pads otherwise.  28,088,024 parameters.
    Source: Hu, Shen and Sun 2018, "Squeeze-and-Excitation Networks".
    """
    return residual_network(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, reduction=16)


@register(TIMM)
def se_resnext50_32x4d(num_classes: int = 1000, in_channels: int = 3) -> Network:
    """SE-ResNeXt-50 (32x4d), table 1.  Shapes as se_resnet50.  27,559,896 parameters.

    Source: Hu, Shen and Sun 2018, "Squeeze-and-Excitation Networks".
    """
    return residual_network(
        Bottleneck, (3, 4, 6, 3), num_classes, in_channels,
        groups=32, group_width=4, reduction=16,
    )  # fmt: skip


class SEBlock(nn.Module):
    """SENet-154's block: 1x1 to half the channels, 3x3 in 64 groups, 1x1, and weighing.

    (N, H, W, in) -> (N, H', W', 4 * width).  Source: section 6.2 and the appendix.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        out_channels = self.expansion * width
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = ConvBlock(in_channels, out_channels, 3, stride, activation=None)
        elif in_channels != out_channels:
            self.shortcut = ConvBlock(in_channels, out_channels, 1, activation=None)
        self.conv1 = ConvBlock(in_channels, 2 * width, 1)
        self.conv2 = ConvBlock(2 * width, out_channels, 3, stride, groups=64)
        self.conv3 = ConvBlock(out_channels, out_channels, 1, activation=None)
        self.excite = SqueezeExcite(out_channels, activation="relu")

    def forward(self, x: Any) -> Any:
        y = self.conv3(self.conv2(self.conv1(x)))
        return self.excite(y, residual=self.shortcut(x))


SENET154_NAMES: Names = (
    (r"layer0\.conv(\d)", lambda i: f"features.0.{i - 1}.conv"),
    (r"layer0\.bn(\d)", lambda i: f"features.0.{i - 1}.norm"),
    *TORCHVISION_NAMES[2:6],
    (r"layer(\d)\.(\d+)\.se_module\.fc1", lambda s, b: f"features.{s}.{b}.excite.down"),
    (r"layer(\d)\.(\d+)\.se_module\.fc2", lambda s, b: f"features.{s}.{b}.excite.up"),
    (r"last_linear", lambda: "classifier.2"),
)


@register(Source("timm", SENET154_NAMES, IMAGENET))
def senet154(num_classes: int = 1000, in_channels: int = 3) -> Network:
    """SENet-154, which won ILSVRC 2017.  (N, 224, 224, in_channels) -> (N, num_classes).

    A stem of three 3x3 convolutions, 3x3 projections where the maps are halved, dropout before the
    last layer.  115,088,984 parameters.
    Source: Hu, Shen and Sun 2018, "Squeeze-and-Excitation Networks".
    """
    stem = nn.Sequential(
        ConvBlock(in_channels, 64, 3, 2),
        ConvBlock(64, 64, 3),
        ConvBlock(64, 128, 3),
        nn.MaxPool2d(3, 2, ceil_mode=True),
    )
    rows = stages(SEBlock, 128, (64, 128, 256, 512), (3, 8, 36, 3))
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Dropout(0.2), nn.Linear(2048, num_classes))
    return Network(nn.Sequential(stem, *rows), head, (224, 224, in_channels))
