"""ConvNeXt: Liu et al. 2022, "A ConvNet for the 2020s"."""

from typing import Any

import numpy as np

from minidl import config, nn
from minidl.models.blocks import dropped_branch
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import IMAGENET, Source

__all__ = ["convnext_tiny"]

EPS = 1e-6


class LayerScale(nn.Module):
    """Each channel times a weight, small at first.  (N, H, W, channels), same shape out.

    layer_scale: (1, 1, channels).  Source: Touvron et al. 2021, "Going deeper with Image
    Transformers".
    """

    def __init__(self, channels: int) -> None:
        self.layer_scale = nn.Parameter(np.full((1, 1, channels), 1e-6, config.default_dtype))

    def forward(self, x: Any) -> Any:
        return x * self.layer_scale


class Block(nn.Module):
    """Depthwise 7x7, normalised, 1x1 to four times the channels, 1x1 back, scaled: figure 4.

    (N, H, W, channels), same shape out.  stochastic_depth: the probability with which training
    leaves the block out for a sample.
    """

    def __init__(self, channels: int, stochastic_depth: float = 0.0) -> None:
        self.depthwise = nn.DepthwiseConv2d(channels, 7, padding=3)
        self.norm = nn.LayerNorm(channels, EPS)
        self.expand = nn.PointwiseConv2d(channels, 4 * channels, activation="gelu")
        self.reduce = nn.PointwiseConv2d(4 * channels, channels)
        self.scale = LayerScale(channels)
        self.drop = dropped_branch(stochastic_depth)

    def forward(self, x: Any) -> Any:
        y = self.scale(self.reduce(self.expand(self.norm(self.depthwise(x)))))
        return x + (y if self.drop is None else self.drop(y))


PARTS = {0: "depthwise", 2: "norm", 3: "expand", 5: "reduce"}
TORCHVISION = Source(
    "torchvision",
    (
        (
            r"features\.([1357])\.(\d+)\.block\.([0235])",
            lambda s, b, i: f"features.{s}.{b}.{PARTS[i]}",
        ),
        (r"features\.([1357])\.(\d+)", lambda s, b: f"features.{s}.{b}.scale"),
        (r"features\.([0246])\.([01])", lambda s, i: f"features.{s}.{i}"),
        (r"classifier\.0", lambda: "classifier.1"),
        (r"classifier\.2", lambda: "classifier.2"),
    ),
    IMAGENET,
)


BLOCK = r"convnext_\w+_stage_([0-3])_block_(\d+)_"
KERAS_PARTS = {"depthwise_conv": "depthwise", "layernorm": "norm", "layer_scale": "scale"}
KERAS_PARTS |= {"pointwise_conv_1": "expand", "pointwise_conv_2": "reduce"}
KERAS = Source(
    "Keras Applications",
    (
        (
            BLOCK + f"({'|'.join(KERAS_PARTS)})",
            lambda s, b, part: f"features.{2 * s + 1}.{b}.{KERAS_PARTS[part]}",
        ),
        (r"convnext_\w+_stem_conv", lambda: "features.0.0"),
        (r"convnext_\w+_stem_layernorm", lambda: "features.0.1"),
        (r"convnext_\w+_downsampling_layernorm_([0-2])", lambda s: f"features.{2 * s + 2}.0"),
        (r"convnext_\w+_downsampling_conv_([0-2])", lambda s: f"features.{2 * s + 2}.1"),
        (r"convnext_\w+_head_layernorm", lambda: "classifier.1"),
        (r"convnext_\w+_head_dense", lambda: "classifier.2"),
    ),
    IMAGENET,
    torch=False,
)


@register(TORCHVISION, KERAS)
def convnext_tiny(
    num_classes: int = 1000, in_channels: int = 3, *, stochastic_depth: float = 0.0
) -> Network:
    """ConvNeXt-T.  (N, 224, 224, in_channels) -> (N, num_classes).  28,589,128 parameters.

    stochastic_depth: the probability with which training leaves the last block out for a sample; it
    grows evenly from 0 in the first. 0.1 in the paper and torchvision.
    Source: Liu et al. 2022, "A ConvNet for the 2020s".
    """
    channels, depths = 96, (3, 3, 9, 3)
    drops = iter(stochastic_depth * i / (sum(depths) - 1) for i in range(sum(depths)))
    layers: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(in_channels, channels, 4, 4), nn.LayerNorm(channels, EPS))
    ]
    for width, depth in zip((96, 192, 384, 768), depths, strict=True):
        if width != channels:
            halved = nn.Conv2d(channels, width, 2, 2)
            layers.append(nn.Sequential(nn.LayerNorm(channels, EPS), halved))
            channels = width
        layers.append(nn.Sequential(*(Block(channels, next(drops)) for _ in range(depth))))
    head = nn.Sequential(
        nn.GlobalAvgPool2d(), nn.LayerNorm(channels, EPS), nn.Linear(channels, num_classes)
    )
    return Network(nn.Sequential(*layers), head, (224, 224, in_channels))
