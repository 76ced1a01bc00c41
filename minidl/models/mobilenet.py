"""MobileNet: Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks"."""

from typing import Any

from minidl import nn
from minidl.checks import real
from minidl.errors import ArgumentError
from minidl.models.blocks import ConvBlock
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import SIGNED, Source

__all__ = ["mobilenet_v1"]

# Table 1: channels and stride of the thirteen depthwise separable layers
LAYERS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1),
    (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


class DepthwiseSeparable(nn.Module):
    """Figure 3, right: depthwise 3x3, then 1x1, each normalised.  (N, H, W, in) -> (.., out)."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, padding: Any, eps: float
    ) -> None:
        self.depthwise = ConvBlock(
            in_channels, in_channels, 3, stride, padding, in_channels, "relu6", eps
        )
        self.pointwise = ConvBlock(in_channels, out_channels, 1, activation="relu6", eps=eps)

    def forward(self, x: Any) -> Any:
        return self.pointwise(self.depthwise(x))


KERAS = Source(
    "Keras Applications",
    (
        (r"conv1", lambda: "features.0.conv"),
        (r"conv1_bn", lambda: "features.0.norm"),
        (r"conv_dw_(\d+)", lambda i: f"features.{i}.depthwise.conv"),
        (r"conv_dw_(\d+)_bn", lambda i: f"features.{i}.depthwise.norm"),
        (r"conv_pw_(\d+)", lambda i: f"features.{i}.pointwise.conv"),
        (r"conv_pw_(\d+)_bn", lambda i: f"features.{i}.pointwise.norm"),
        (r"conv_preds", lambda: "classifier.2"),
    ),
    SIGNED,
    torch=False,
)

TIMM = Source(
    "timm",
    (
        (r"conv_stem", lambda: "features.0.conv"),
        (r"bn1", lambda: "features.0.norm"),
        (r"blocks\.(\d)\.(\d)\.conv_dw", lambda s, i: f"features.{_nth(s, i)}.depthwise.conv"),
        (r"blocks\.(\d)\.(\d)\.bn1", lambda s, i: f"features.{_nth(s, i)}.depthwise.norm"),
        (r"blocks\.(\d)\.(\d)\.conv_pw", lambda s, i: f"features.{_nth(s, i)}.pointwise.conv"),
        (r"blocks\.(\d)\.(\d)\.bn2", lambda s, i: f"features.{_nth(s, i)}.pointwise.norm"),
        (r"classifier", lambda: "classifier.2"),
    ),
    SIGNED,
    arguments={"symmetric": True, "eps": 1e-5},
)


def _nth(stage: int, block: int) -> int:
    """Return the place in the row of layers; timm's stages begin where the stride is 2."""
    return (1, 2, 4, 6, 12)[stage] + block


@register(KERAS, TIMM, variants=[{"width": width} for width in (1.0, 0.75, 0.5, 0.25)])
def mobilenet_v1(
    num_classes: int = 1000,
    in_channels: int = 3,
    width: float = 1.0,
    symmetric: bool = False,
    eps: float = 1e-3,
) -> Network:
    """MobileNet.  (N, 224, 224, in_channels) -> (N, num_classes).

    Table 1, with all widths times `width`, the paper's alpha.  4,231,976 parameters, at width 0.75
    2,585,560, at 0.5 1,331,592, at 0.25 470,072. As Keras has it: ReLU6, eps 1e-3, and a layer
    with stride 2 pads below and on the right only; `symmetric` pads all around, as timm does.
    Raises ArgumentError for a width of 0 or less.
    Source: Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks".
    """
    if not 0 < real("mobilenet_v1", "width", width) < 100:
        raise ArgumentError(f"mobilenet_v1: width must be a number above 0, got {width!r}")
    channels = int(32 * width)
    stem_padding = 1 if symmetric else "same"
    layers: list[nn.Module] = [
        ConvBlock(in_channels, channels, 3, 2, stem_padding, activation="relu6", eps=eps)
    ]
    for filters, stride in LAYERS:
        out_channels = int(filters * width)
        padding = 1 if symmetric or stride == 1 else ((0, 1), (0, 1))
        layers.append(DepthwiseSeparable(channels, out_channels, stride, padding, eps))
        channels = out_channels
    head = nn.Sequential(
        nn.GlobalAvgPool2d(keepdims=True),
        nn.Dropout(1e-3),
        nn.PointwiseConv2d(channels, num_classes),
        nn.Flatten(),
    )
    return Network(nn.Sequential(*layers), head, (224, 224, in_channels))
