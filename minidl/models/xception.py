"""Xception: Chollet 2017, "Deep Learning with Depthwise Separable Convolutions"."""

from dataclasses import replace
from typing import Any

from minidl import nn
from minidl.models.blocks import ConvBlock
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import SIGNED, Source

__all__ = ["xception"]

SETTINGS: dict[str, Any] = {"eps": 1e-3, "momentum": 0.01}


class Separable(nn.Module):
    """A separable convolution 3x3, normalised.  (N, H, W, in) -> (N, H, W, out)."""

    def __init__(self, in_channels: int, out_channels: int, activation: str | None) -> None:
        self.conv = nn.SeparableConv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, **SETTINGS, activation=activation)

    def forward(self, x: Any, residual: Any = None) -> Any:
        return self.norm(self.conv(x), residual=residual)


class Block(nn.Module):
    """Separable convolutions, ReLU before each, and a shortcut: figure 5.

    widths: of the convolutions.  pool: whether the maps are halved at the end, and by the
    shortcut.  relu: whether there is one before the first.
    (N, H, W, in) -> (N, H', W', out).
    """

    def __init__(
        self, in_channels: int, widths: tuple[int, ...], pool: bool = True, relu: bool = True
    ) -> None:
        self.relu: nn.Module = nn.ReLU() if relu else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        self.pool: nn.Module = nn.Identity()
        if pool:
            self.shortcut = ConvBlock(
                in_channels, widths[-1], 1, 2, "same", activation=None, **SETTINGS
            )
            self.pool = nn.MaxPool2d(3, 2, "same")
        convs = []
        for i, width in enumerate(widths):
            last = i == len(widths) - 1
            convs.append(Separable(in_channels, width, None if last else "relu"))
            in_channels = width
        self.convs = nn.Sequential(*convs)

    def forward(self, x: Any) -> Any:
        return self.pool(self.convs(self.relu(x))) + self.shortcut(x)


SHORTCUTS = (1, 2, 3, 12)  # blocks whose shortcut has layers, which Keras only numbers
KERAS = Source(
    "Keras Applications",
    (
        (r"block1_conv([12])", lambda i: f"features.0.{i - 1}.conv"),
        (r"block1_conv([12])_bn", lambda i: f"features.0.{i - 1}.norm"),
        (
            r"block14_sepconv([12])\.(depthwise|pointwise)",
            lambda i, part: f"features.13.{i - 1}.conv.{part}",
        ),
        (r"block14_sepconv([12])_bn", lambda i: f"features.13.{i - 1}.norm"),
        (
            r"block(\d+)_sepconv([123])\.(depthwise|pointwise)",
            lambda b, i, part: f"features.{b - 1}.convs.{i - 1}.conv.{part}",
        ),
        (r"block(\d+)_sepconv([123])_bn", lambda b, i: f"features.{b - 1}.convs.{i - 1}.norm"),
        (r"conv2d_([0-3])", lambda i: f"features.{SHORTCUTS[i]}.shortcut.conv"),
        (r"batch_normalization_([0-3])", lambda i: f"features.{SHORTCUTS[i]}.shortcut.norm"),
        (r"predictions", lambda: "classifier.1"),
    ),
    replace(SIGNED, size=299),
    torch=False,
    numbered=("conv2d", "batch_normalization"),
)


@register(KERAS)
def xception(num_classes: int = 1000, in_channels: int = 3) -> Network:
    """Xception, figure 5, as Keras has it.  (N, 299, 299, in_channels) -> (N, num_classes).

    22,855,952 parameters, and 54,528 running statistics.
    Source: Chollet 2017, "Deep Learning with Depthwise Separable Convolutions".
    """
    middle = (Block(728, (728, 728, 728), pool=False) for _ in range(8))
    body = nn.Sequential(
        nn.Sequential(
            ConvBlock(in_channels, 32, 3, 2, 0, **SETTINGS),
            ConvBlock(32, 64, 3, padding=0, **SETTINGS),
        ),
        Block(64, (128, 128), relu=False),
        Block(128, (256, 256)),
        Block(256, (728, 728)),
        *middle,
        Block(728, (728, 1024)),
        nn.Sequential(Separable(1024, 1536, "relu"), Separable(1536, 2048, "relu")),
    )
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Linear(2048, num_classes))
    return Network(body, head, (299, 299, in_channels))
