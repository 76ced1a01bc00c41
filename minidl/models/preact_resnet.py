"""ResNets with pre-activation: He et al. 2016, "Identity Mappings in Deep Residual Networks"."""

from typing import Any

from minidl import nn
from minidl.checks import positive
from minidl.errors import ArgumentError
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.resnet import stages

__all__ = ["preact_resnet", "preact_resnet_cifar"]

# Depth: whether its blocks are bottlenecks, and how many each of the four stages has
IMAGENET_FORMS = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
    200: (True, (3, 24, 36, 3)),
}


class PreactBlock(nn.Module):
    """Figure 1b: each convolution follows a normalisation and ReLU; nothing follows the sum.

    (N, H, W, in) -> (N, H', W', expansion * width).  Where the shape changes, the shortcut is a
    1x1 convolution of the normalised input.
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int = 1) -> None:
        out_channels = self.expansion * width
        same = stride == 1 and in_channels == out_channels
        self.shortcut = None if same else _convolution(in_channels, out_channels, 1, stride)
        self.norm1: nn.Module = nn.BatchNorm2d(in_channels, activation="relu")
        self.body = self._body(in_channels, width, stride)

    def _body(self, in_channels: int, width: int, stride: int) -> nn.Sequential:
        """Return what follows the first normalisation."""
        return nn.Sequential(
            _convolution(in_channels, width, 3, stride),
            nn.BatchNorm2d(width, activation="relu"),
            _convolution(width, width, 3),
        )

    def forward(self, x: Any) -> Any:
        y = self.norm1(x)
        shortcut = x if self.shortcut is None else self.shortcut(y)
        return self.body(y) + shortcut


class PreactBottleneck(PreactBlock):
    """The same with 1x1, 3x3 and 1x1 convolutions."""

    expansion = 4

    def _body(self, in_channels: int, width: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            _convolution(in_channels, width, 1),
            nn.BatchNorm2d(width, activation="relu"),
            _convolution(width, width, 3, stride),
            nn.BatchNorm2d(width, activation="relu"),
            _convolution(width, self.expansion * width, 1),
        )


def _convolution(in_channels: int, out_channels: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, stride, size // 2, bias=False)


def _network(
    stem: nn.Sequential, rows: list[nn.Sequential], num_classes: int, input_shape: Any
) -> Network:
    """The first unit takes what the stem has activated; what the last gives is activated once more.

    Source: the paper's appendix.
    """
    first, last = rows[0][0], rows[-1][-1]
    first.norm1 = nn.Identity()
    channels = last.body[-1].out_channels
    head = nn.Sequential(
        nn.BatchNorm2d(channels, activation="relu"),
        nn.GlobalAvgPool2d(),
        nn.Linear(channels, num_classes),
    )
    return Network(nn.Sequential(stem, *rows), head, input_shape)


@register()
def preact_resnet(depth: int = 50, num_classes: int = 1000, in_channels: int = 3) -> Network:
    """Pre-activation ResNet for ImageNet.  (N, 224, 224, in_channels) -> (N, num_classes).

    depth: 18, 34 (basic blocks), 50, 101, 152 or 200 (bottlenecks, the stride in the 3x3).
    25,549,352 parameters at depth 50. Keras's ResNet50V2 has its strides at the ends of the stages
    and is another network.
    Raises ArgumentError for another depth.
    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks".
    """
    if positive("preact_resnet", "depth", depth) not in IMAGENET_FORMS:
        raise ArgumentError(
            f"preact_resnet: depth must be one of {list(IMAGENET_FORMS)}, got {depth!r}"
        )
    bottleneck, depths = IMAGENET_FORMS[depth]
    block = PreactBottleneck if bottleneck else PreactBlock
    stem = nn.Sequential(
        nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64, activation="relu"),
        nn.MaxPool2d(3, 2, 1),
    )
    rows = stages(block, 64, (64, 128, 256, 512), depths)
    return _network(stem, rows, num_classes, (224, 224, in_channels))


@register()
def preact_resnet_cifar(
    depth: int = 110, num_classes: int = 10, in_channels: int = 3, bottleneck: bool = False
) -> Network:
    """Pre-activation ResNet for CIFAR.  (N, 32, 32, in_channels) -> (N, num_classes).

    depth: 6n + 2, or with bottleneck=True 9n + 2, such as the paper's 164 and 1001 (table 4).
    1,730,522 parameters at depth 110; 1,703,258 at 164 with bottlenecks.
    Raises ArgumentError for another depth.
    Source: He et al. 2016, "Identity Mappings in Deep Residual Networks".
    """
    layers = 9 if bottleneck else 6
    depth = positive("preact_resnet_cifar", "depth", depth)
    if (depth - 2) % layers or not 8 <= depth <= 2000:
        raise ArgumentError(
            f"preact_resnet_cifar: depth must be {layers}n + 2, with bottleneck={bottleneck}, "
            f"from 8 to 2000, got {depth!r}"
        )
    block = PreactBottleneck if bottleneck else PreactBlock
    rows = stages(block, 16, (16, 32, 64), ((depth - 2) // layers,) * 3)
    stem = nn.Sequential(_convolution(in_channels, 16, 3), nn.BatchNorm2d(16, activation="relu"))
    return _network(stem, rows, num_classes, (32, 32, in_channels))
