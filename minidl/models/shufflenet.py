"""ShuffleNet V2: Ma et al. 2018, "Practical Guidelines for Efficient CNN Architecture Design"."""

from typing import Any

from minidl import nn, ops
from minidl.errors import ArgumentError
from minidl.models.blocks import CONV_NORM, ConvBlock
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import IMAGENET, Source

__all__ = ["shufflenet_v2"]

# Table 5: channels of the stages 2 to 4 and of the last convolution, by width
CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}


class Unit(nn.Module):
    """Half of the channels through three convolutions, then both halves shuffled: figure 3c, 3d.

    (N, H, W, in) -> (N, H', W', out).  With stride 2 both halves are made of all channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        half = out_channels // 2
        self.half, self.halves = half, stride == 1
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                ConvBlock(in_channels, in_channels, 3, stride, None, in_channels, None),
                ConvBlock(in_channels, half, 1),
            )
        self.branch = nn.Sequential(
            ConvBlock(half if self.halves else in_channels, half, 1),
            ConvBlock(half, half, 3, stride, None, half, None),
            ConvBlock(half, half, 1),
        )

    def forward(self, x: Any) -> Any:
        kept, taken = (x[..., : self.half], x[..., self.half :]) if self.halves else (x, x)
        kept, made = self.shortcut(kept), self.branch(taken)
        pairs = ops.stack(kept, made, axis=-1)  # (N, H, W, half, 2)
        return ops.reshape(pairs, (*kept.shape[:3], 2 * self.half))


# torchvision numbers normalisations and activations too.
BRANCH = {
    (1, 0): "shortcut.0.conv", (1, 1): "shortcut.0.norm", (1, 2): "shortcut.1.conv",
    (1, 3): "shortcut.1.norm", (2, 0): "branch.0.conv", (2, 1): "branch.0.norm",
    (2, 3): "branch.1.conv", (2, 4): "branch.1.norm", (2, 5): "branch.2.conv",
    (2, 6): "branch.2.norm",
}  # fmt: skip
TORCHVISION = Source(
    "torchvision",
    (
        (r"conv1\.([01])", lambda j: f"features.0.0.{CONV_NORM[j]}"),
        (
            r"stage([234])\.(\d+)\.branch([12])\.(\d)",
            lambda s, u, branch, i: f"features.{s - 1}.{u}.{BRANCH.get((branch, i), i)}",
        ),
        (r"conv5\.([01])", lambda j: f"features.4.{CONV_NORM[j]}"),
        (r"fc", lambda: "classifier.1"),
    ),
    IMAGENET,
)


@register(TORCHVISION, variants=[{"width": width} for width in (1.0, 0.5, 1.5, 2.0)])
def shufflenet_v2(num_classes: int = 1000, in_channels: int = 3, width: float = 1.0) -> Network:
    """ShuffleNet V2, table 5.  (N, 224, 224, in_channels) -> (N, num_classes).

    width: 0.5, 1.0, 1.5 or 2.0; torchvision's shufflenet_v2_x0_5, x1_0, x1_5 and x2_0.  2,278,604
    parameters, at width 0.5 1,366,792, at 1.5 3,503,624, at 2.0 7,393,996.
    Raises ArgumentError for another width.
    Source: Ma et al. 2018, "Practical Guidelines for Efficient CNN Architecture Design".
    """
    if width not in CHANNELS:
        raise ArgumentError(f"shufflenet_v2: width must be one of {list(CHANNELS)}, got {width!r}")
    *filters, last = CHANNELS[width]
    channels = 24
    rows: list[nn.Module] = []
    for out_channels, units in zip(filters, (4, 8, 4), strict=True):
        first = Unit(channels, out_channels, 2)
        others = (Unit(out_channels, out_channels, 1) for _ in range(units - 1))
        rows.append(nn.Sequential(first, *others))
        channels = out_channels
    stem = nn.Sequential(ConvBlock(in_channels, 24, 3, 2), nn.MaxPool2d(3, 2, 1))
    body = nn.Sequential(stem, *rows, ConvBlock(channels, last, 1))
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(last, num_classes))
    return Network(body, head, (224, 224, in_channels))
