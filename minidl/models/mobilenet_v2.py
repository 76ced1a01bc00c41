"""MobileNetV2: Sandler et al. 2018, "Inverted Residuals and Linear Bottlenecks"."""

from typing import Any

from minidl import nn
from minidl.models.blocks import CONV_NORM, ConvBlock, InvertedResidual
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import IMAGENET, SIGNED, Source

__all__ = ["mobilenet_v2"]

# Table 2: expansion, channels, blocks, stride of the first
ROWS = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip

TORCHVISION = Source(
    "torchvision",
    (
        (r"features\.(0|18)\.([01])", lambda i, j: f"features.{i}.{CONV_NORM[j]}"),
        # The first block begins with its depthwise convolution.
        (r"features\.1\.conv\.0\.([01])", lambda j: f"features.1.depthwise.{CONV_NORM[j]}"),
        (r"features\.1\.conv\.([12])", lambda j: f"features.1.project.{CONV_NORM[j - 1]}"),
        (r"features\.(\d+)\.conv\.0\.([01])", lambda i, j: f"features.{i}.expand.{CONV_NORM[j]}"),
        (
            r"features\.(\d+)\.conv\.1\.([01])",
            lambda i, j: f"features.{i}.depthwise.{CONV_NORM[j]}",
        ),
        (r"features\.(\d+)\.conv\.([23])", lambda i, j: f"features.{i}.project.{CONV_NORM[j - 2]}"),
        (r"classifier\.1", lambda: "classifier.2"),
    ),
    IMAGENET,
)


PARTS = r"_(expand|depthwise|project)"
KERAS = Source(
    "Keras Applications",
    (
        (r"Conv1", lambda: "features.0.conv"),
        (r"bn_Conv1", lambda: "features.0.norm"),
        (r"expanded_conv" + PARTS, lambda part: f"features.1.{part}.conv"),
        (r"expanded_conv" + PARTS + "_BN", lambda part: f"features.1.{part}.norm"),
        (r"block_(\d+)" + PARTS, lambda i, part: f"features.{i + 1}.{part}.conv"),
        (r"block_(\d+)" + PARTS + "_BN", lambda i, part: f"features.{i + 1}.{part}.norm"),
        (r"Conv_1", lambda: "features.18.conv"),
        (r"Conv_1_bn", lambda: "features.18.norm"),
        (r"predictions|Logits", lambda: "classifier.2"),
    ),
    SIGNED,
    torch=False,
    arguments={"symmetric": False, "eps": 1e-3},
)


@register(TORCHVISION, KERAS)
def mobilenet_v2(
    num_classes: int = 1000, in_channels: int = 3, symmetric: bool = True, eps: float = 1e-5
) -> Network:
    """MobileNetV2, table 2.  (N, 224, 224, in_channels) -> (N, num_classes).

    3,504,872 parameters. As torchvision has it: layers with stride 2 pad on all sides. Keras's
    network has eps=1e-3 and, with symmetric=False, pads as "same" does.
    Source: Sandler et al. 2018, "Inverted Residuals and Linear Bottlenecks".
    """
    channels, padding = 32, None if symmetric else "same"
    settings: dict[str, Any] = {"activation": "relu6", "padding": padding, "eps": eps}
    layers: list[nn.Module] = [ConvBlock(in_channels, channels, 3, 2, **settings)]
    for expansion, width, depth, first in ROWS:
        for i in range(depth):
            hidden, stride = expansion * channels, first if i == 0 else 1
            layers.append(InvertedResidual(channels, hidden, width, 3, stride, **settings))
            channels = width
    layers.append(ConvBlock(channels, 1280, 1, activation="relu6", eps=eps))
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Dropout(0.2), nn.Linear(1280, num_classes))
    return Network(nn.Sequential(*layers), head, (224, 224, in_channels))
