"""ResNet, ResNeXt and wide ResNet: He et al. 2016, Xie et al. 2017, Zagoruyko et al. 2016."""

from collections.abc import Sequence
from typing import Any

from minidl import nn
from minidl.errors import ArgumentError
from minidl.models.blocks import ConvBlock, SqueezeExcite
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import CAFFE, IMAGENET, Names, Source

__all__ = [
    "BasicBlock",
    "Bottleneck",
    "residual_network",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext101_32x8d",
    "resnext50_32x4d",
    "stages",
    "wide_resnet50_2",
]


class BasicBlock(nn.Module):
    """Two convolutions 3x3 and a shortcut: figure 5, left.  (N, H, W, in) -> (N, H', W', width)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1, **settings: Any) -> None:
        self.shortcut = projection(in_channels, width, stride, **settings)
        self.conv1 = ConvBlock(in_channels, width, 3, stride, **settings)
        self.conv2 = ConvBlock(width, width, 3, **settings)

    def forward(self, x: Any) -> Any:
        return self.conv2(self.conv1(x), residual=self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut: figure 5, right.  (N, H, W, in) -> (N, H', W', 4 * width).

    groups, group_width: the 3x3 convolution's groups, and their channels where width is 64 (Xie et
    al. 2017, figure 3c).  stride_in: which convolution has the stride, "3x3" or, as in the paper,
    "1x1".  reduction: of the squeeze-excitation after the last convolution, 0 for none.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int = 1,
        groups: int = 1,
        group_width: int = 64,
        stride_in: str = "3x3",
        reduction: int = 0,
        **settings: Any,
    ) -> None:
        if stride_in not in ("3x3", "1x1"):
            raise ArgumentError(f"resnet: stride_in must be '3x3' or '1x1', got {stride_in!r}")
        inner, out_channels = width * group_width // 64 * groups, self.expansion * width
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.shortcut = projection(in_channels, out_channels, stride, **settings)
        self.conv1 = ConvBlock(in_channels, inner, 1, first, **settings)
        self.conv2 = ConvBlock(inner, inner, 3, second, groups=groups, **settings)
        last = None if reduction else "relu"
        self.conv3 = ConvBlock(inner, out_channels, 1, activation=last, **settings)
        self.excite = SqueezeExcite(out_channels, reduction, "relu") if reduction else None

    def forward(self, x: Any) -> Any:
        y, shortcut = self.conv2(self.conv1(x)), self.shortcut(x)
        if self.excite is None:
            return self.conv3(y, residual=shortcut)
        return self.excite(self.conv3(y), residual=shortcut)


def projection(in_channels: int, out_channels: int, stride: int, **settings: Any) -> nn.Module:
    """Option B of section 3.3: a 1x1 convolution where the shape changes, else nothing."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return ConvBlock(in_channels, out_channels, 1, stride, activation=None, **settings)


def stages(
    block: Any, in_channels: int, widths: Sequence[int], depths: Sequence[int], **settings: Any
) -> list[nn.Sequential]:
    """Rows of blocks; the first block of each row but the first halves the maps."""
    rows: list[nn.Sequential] = []
    for width, depth in zip(widths, depths, strict=True):
        blocks = []
        for i in range(depth):
            stride = 2 if i == 0 and rows else 1
            blocks.append(block(in_channels, width, stride, **settings))
            in_channels = block.expansion * width
        rows.append(nn.Sequential(*blocks))
    return rows


def residual_network(
    block: Any, depths: Sequence[int], num_classes: int, in_channels: int, **settings: Any
) -> Network:
    """Table 1: features[0] is conv1 and its pooling, features[i] the stage conv{i+1}_x."""
    common = {name: settings[name] for name in ("eps", "bias") if name in settings}
    stem = nn.Sequential(ConvBlock(in_channels, 64, 7, 2, **common), nn.MaxPool2d(3, 2, 1))
    rows = stages(block, 64, (64, 128, 256, 512), depths, **settings)
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(512 * block.expansion, num_classes))
    return Network(nn.Sequential(stem, *rows), head, (224, 224, in_channels))


TORCHVISION_NAMES: Names = (
    (r"conv1", lambda: "features.0.0.conv"),
    (r"bn1", lambda: "features.0.0.norm"),
    (r"layer(\d)\.(\d+)\.conv(\d)", lambda s, b, i: f"features.{s}.{b}.conv{i}.conv"),
    (r"layer(\d)\.(\d+)\.bn(\d)", lambda s, b, i: f"features.{s}.{b}.conv{i}.norm"),
    (r"layer(\d)\.(\d+)\.downsample\.0", lambda s, b: f"features.{s}.{b}.shortcut.conv"),
    (r"layer(\d)\.(\d+)\.downsample\.1", lambda s, b: f"features.{s}.{b}.shortcut.norm"),
    (r"fc", lambda: "classifier.1"),
)
TORCHVISION = Source("torchvision", TORCHVISION_NAMES, IMAGENET)

KERAS_NAMES: Names = (
    (r"conv1_conv", lambda: "features.0.0.conv"),
    (r"conv1_bn", lambda: "features.0.0.norm"),
    (r"conv(\d)_block(\d+)_0_conv", lambda s, b: f"features.{s - 1}.{b - 1}.shortcut.conv"),
    (r"conv(\d)_block(\d+)_0_bn", lambda s, b: f"features.{s - 1}.{b - 1}.shortcut.norm"),
    (r"conv(\d)_block(\d+)_(\d)_conv", lambda s, b, i: f"features.{s - 1}.{b - 1}.conv{i}.conv"),
    (r"conv(\d)_block(\d+)_(\d)_bn", lambda s, b, i: f"features.{s - 1}.{b - 1}.conv{i}.norm"),
    (r"predictions|probs|fc1000", lambda: "classifier.1"),
)
# Keras's have the stride where the paper has it, and biases before batch normalisations.
KERAS = Source(
    "Keras Applications",
    KERAS_NAMES,
    CAFFE,
    torch=False,
    arguments={"stride_in": "1x1", "eps": 1.001e-5, "bias": True},
)


@register(TORCHVISION)
def resnet18(num_classes: int = 1000, in_channels: int = 3) -> Network:
    """ResNet-18.  (N, 224, 224, in_channels) -> (N, num_classes).  11,689,512 parameters.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", table 1.
    """
    return residual_network(BasicBlock, (2, 2, 2, 2), num_classes, in_channels)


@register(TORCHVISION)
def resnet34(num_classes: int = 1000, in_channels: int = 3) -> Network:
    """ResNet-34.  (N, 224, 224, in_channels) -> (N, num_classes).  21,797,672 parameters.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", table 1.
    """
    return residual_network(BasicBlock, (3, 4, 6, 3), num_classes, in_channels)


@register(TORCHVISION, KERAS)
def resnet50(
    num_classes: int = 1000,
    in_channels: int = 3,
    stride_in: str = "3x3",
    eps: float = 1e-5,
    bias: bool = False,
) -> Network:
    """ResNet-50.  (N, 224, 224, in_channels) -> (N, num_classes).  25,557,032 parameters.

    The stride is in the 3x3 convolutions, as in torchvision (known as v1.5: more accurate, and 6 %
    more to compute); stride_in="1x1" is the paper's network. Keras's is that one, with bias=True
    in its convolutions and eps=1.001e-5.
    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", table 1.
    """
    return residual_network(
        Bottleneck, (3, 4, 6, 3), num_classes, in_channels,
        stride_in=stride_in, eps=eps, bias=bias,
    )  # fmt: skip


@register(TORCHVISION, KERAS)
def resnet101(
    num_classes: int = 1000,
    in_channels: int = 3,
    stride_in: str = "3x3",
    eps: float = 1e-5,
    bias: bool = False,
) -> Network:
    """ResNet-101.  Shapes and variants as resnet50.  44,549,160 parameters.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", table 1.
    """
    return residual_network(
        Bottleneck, (3, 4, 23, 3), num_classes, in_channels,
        stride_in=stride_in, eps=eps, bias=bias,
    )  # fmt: skip


@register(TORCHVISION, KERAS)
def resnet152(
    num_classes: int = 1000,
    in_channels: int = 3,
    stride_in: str = "3x3",
    eps: float = 1e-5,
    bias: bool = False,
) -> Network:
    """ResNet-152.  Shapes and variants as resnet50.  60,192,808 parameters.

    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", table 1.
    """
    return residual_network(
        Bottleneck, (3, 8, 36, 3), num_classes, in_channels,
        stride_in=stride_in, eps=eps, bias=bias,
    )  # fmt: skip


@register(TORCHVISION)
def resnext50_32x4d(num_classes: int = 1000, in_channels: int = 3) -> Network:
    """ResNeXt-50 with 32 groups of 4 channels.  (N, 224, 224, in_channels) -> (N, num_classes).

    Xie et al. 2017, "Aggregated Residual Transformations", table 1.  25,028,904 parameters.
    """
    return residual_network(
        Bottleneck, (3, 4, 6, 3), num_classes, in_channels, groups=32, group_width=4
    )


@register(TORCHVISION)
def resnext101_32x8d(num_classes: int = 1000, in_channels: int = 3) -> Network:
    """ResNeXt-101 with 32 groups of 8 channels.  Shapes as resnext50_32x4d.

    As in torchvision.  88,791,336 parameters.
    Source: Xie et al. 2017, "Aggregated Residual Transformations".
    """
    return residual_network(
        Bottleneck, (3, 4, 23, 3), num_classes, in_channels, groups=32, group_width=8
    )


@register(TORCHVISION)
def wide_resnet50_2(num_classes: int = 1000, in_channels: int = 3) -> Network:
    """ResNet-50 with 3x3 convolutions of twice the channels.  Shapes as resnet50.

    Zagoruyko and Komodakis 2016, "Wide Residual Networks", table 8.  68,883,240 parameters.
    """
    return residual_network(Bottleneck, (3, 4, 6, 3), num_classes, in_channels, group_width=128)
