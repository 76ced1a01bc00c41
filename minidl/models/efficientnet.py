"""EfficientNet: Tan and Le 2019, "Rethinking Model Scaling for Convolutional Neural Networks"."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from minidl import nn
from minidl.errors import StateError
from minidl.io.foreign import Found
from minidl.models.blocks import (
    CONV_NORM,
    ConvBlock,
    InvertedResidual,
    SqueezeExcite,
    divisible,
)
from minidl.models.network import Network
from minidl.models.registry import register
from minidl.models.sources import IMAGENET, SIGNED, ImageFormat, Names, Source

__all__ = [
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_lite0",
]

# Table 1: expansion, kernel, stride of the first block, channels, blocks
ROWS = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4), (6, 3, 1, 320, 1),
)  # fmt: skip


def _stages(
    channels: int,
    width: float,
    depth: float,
    excites: bool,
    stochastic_depth: float,
    **settings: Any,
) -> Iterator[nn.Module]:
    """The rows of blocks; with squeeze-excitations of a quarter of a block's inputs.

    stochastic_depth: what the probability of leaving a block out would be after the last; block i
        of n has i / n of it.
    """
    count = sum(math.ceil(blocks * depth) for *_, blocks in ROWS)
    numbers = itertools.count()
    for expansion, kernel, first, filters, blocks in ROWS:
        row: list[nn.Module] = []
        out_channels = divisible(filters * width)
        for i in range(math.ceil(blocks * depth)):
            hidden = divisible(expansion * channels)
            excite = None
            if excites:
                excite = SqueezeExcite(hidden, squeezed=max(1, channels // 4), inner="silu")
            stride = first if i == 0 else 1
            drop = stochastic_depth * next(numbers) / count
            row.append(
                InvertedResidual(
                    channels, hidden, out_channels, kernel, stride, excite=excite,
                    stochastic_depth=drop, **settings,
                )
            )  # fmt: skip
            channels = out_channels
        yield nn.Sequential(*row)


def _efficientnet(
    width: float,
    depth: float,
    size: int,
    dropout: float,
    num_classes: int,
    in_channels: int,
    stochastic_depth: float,
    symmetric: bool,
    eps: float,
) -> Network:
    """Table 1, channels times `width` and rows times `depth`: features[i] is stage i + 1."""
    first, last = divisible(32 * width), 4 * divisible(320 * width)
    padding = None if symmetric else "same"
    settings: dict[str, Any] = {"activation": "silu", "padding": padding, "eps": eps}
    body = nn.Sequential(
        ConvBlock(in_channels, first, 3, 2, **settings),
        *_stages(first, width, depth, True, stochastic_depth, **settings),
        ConvBlock(last // 4, last, 1, activation="silu", eps=eps),
    )
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Dropout(dropout), nn.Linear(last, num_classes))
    return Network(body, head, (size, size, in_channels))


BLOCK = r"features\.([2-7])\.(\d+)\.block\."
TORCHVISION_NAMES: Names = (
    (r"features\.([08])\.([01])", lambda i, j: f"features.{i}.{CONV_NORM[j]}"),
    # The first row's blocks begin with their depthwise convolution.
    (
        r"features\.1\.(\d+)\.block\.0\.([01])",
        lambda b, j: f"features.1.{b}.depthwise.{CONV_NORM[j]}",
    ),
    (r"features\.1\.(\d+)\.block\.1\.fc1", lambda b: f"features.1.{b}.excite.down"),
    (r"features\.1\.(\d+)\.block\.1\.fc2", lambda b: f"features.1.{b}.excite.up"),
    (
        r"features\.1\.(\d+)\.block\.2\.([01])",
        lambda b, j: f"features.1.{b}.project.{CONV_NORM[j]}",
    ),
    (BLOCK + r"0\.([01])", lambda s, b, j: f"features.{s}.{b}.expand.{CONV_NORM[j]}"),
    (BLOCK + r"1\.([01])", lambda s, b, j: f"features.{s}.{b}.depthwise.{CONV_NORM[j]}"),
    (BLOCK + r"2\.fc1", lambda s, b: f"features.{s}.{b}.excite.down"),
    (BLOCK + r"2\.fc2", lambda s, b: f"features.{s}.{b}.excite.up"),
    (BLOCK + r"3\.([01])", lambda s, b, j: f"features.{s}.{b}.project.{CONV_NORM[j]}"),
    (r"classifier\.1", lambda: "classifier.2"),
)


def _torchvision(size: int) -> Source:
    return Source("torchvision", TORCHVISION_NAMES, replace(IMAGENET, size=size))


KERAS_PARTS = {"expand_bn": "expand.norm", "bn": "depthwise.norm", "project_bn": "project.norm"}
KERAS_PARTS |= {"expand_conv": "expand.conv", "dwconv": "depthwise.conv"}
KERAS_PARTS |= {"project_conv": "project.conv", "se_reduce": "excite.down"}
KERAS_PARTS |= {"se_expand": "excite.up"}
KERAS_NAMES: Names = (
    (r"normalization(?:_\d+)?", lambda: None),  # of images
    (r"stem_conv", lambda: "features.0.conv"),
    (r"stem_bn", lambda: "features.0.norm"),
    (
        f"block([1-7])([a-z])_({'|'.join(KERAS_PARTS)})",
        lambda s, b, part: f"features.{s}.{ord(b) - ord('a')}.{KERAS_PARTS[part]}",
    ),
    (r"top_conv", lambda: "features.8.conv"),
    (r"top_bn", lambda: "features.8.norm"),
    (r"predictions|probs", lambda: "classifier.2"),
)


def _published(found: Found, size: int) -> ImageFormat:
    """What images weights alone want, by what Keras's first layer learned of them.

    ImageNet's weights stand for (x / 255 - mean) / std, but hold std as the variance: another layer
    without weights divides by its root again.
    Raises StateError for a mean and a variance of somebody's own.
    """
    held = [x.arrays for x in found.layers if x.name.startswith("normalization")]
    values = [a.ravel() for arrays in held for a in arrays.values() if a.ndim]  # not its count
    plain = ImageFormat(size, "RGB", 255.0, (0.0,) * 3, (1.0,) * 3)
    for form in (replace(IMAGENET, size=size), plain):
        wanted = (form.mean, form.std)
        if len(values) == 2 and all(map(np.allclose, values, wanted)):
            return form
    raise StateError(
        "the file's weights don't tell how its network scales images: its layer `normalization` "
        "learned others than ImageNet's: in Keras, save the whole model, model.save('model.keras')"
    )


def _keras(size: int) -> Source:
    return Source(
        "Keras Applications",
        KERAS_NAMES,
        replace(IMAGENET, size=size),
        torch=False,
        arguments={"symmetric": False, "eps": 1e-3},
        images=lambda found: _published(found, size),
    )


@register(_torchvision(224), _keras(224))
def efficientnet_b0(
    num_classes: int = 1000,
    in_channels: int = 3,
    symmetric: bool = True,
    eps: float = 1e-5,
    *,
    stochastic_depth: float = 0.0,
) -> Network:
    """EfficientNet-B0, table 1.  (N, 224, 224, in_channels) -> (N, num_classes).

    5,288,548 parameters.  stochastic_depth: 0.2 in the paper and torchvision; training leaves out
    block i of n, for a sample, with i / n of that probability. Keras's networks have eps=1e-3 and,
    with symmetric=False, pad as "same" does.
    Source: Tan and Le 2019, "Rethinking Model Scaling for Convolutional Neural Networks".
    """
    return _efficientnet(
        1.0, 1.0, 224, 0.2, num_classes, in_channels, stochastic_depth, symmetric, eps
    )


@register(_torchvision(240), _keras(240))
def efficientnet_b1(
    num_classes: int = 1000,
    in_channels: int = 3,
    symmetric: bool = True,
    eps: float = 1e-5,
    *,
    stochastic_depth: float = 0.0,
) -> Network:
    """EfficientNet-B1.  (N, 240, 240, in_channels) -> (N, num_classes).

    7,794,184 parameters. Variants as efficientnet_b0.
    Source: Tan and Le 2019, "Rethinking Model Scaling for Convolutional Neural Networks".
    """
    return _efficientnet(
        1.0, 1.1, 240, 0.2, num_classes, in_channels, stochastic_depth, symmetric, eps
    )


@register(_torchvision(288), _keras(260))
def efficientnet_b2(
    num_classes: int = 1000,
    in_channels: int = 3,
    symmetric: bool = True,
    eps: float = 1e-5,
    *,
    stochastic_depth: float = 0.0,
) -> Network:
    """EfficientNet-B2.  (N, 288, 288, in_channels) -> (N, num_classes).

    9,109,994 parameters. Variants as efficientnet_b0.
    Source: Tan and Le 2019, "Rethinking Model Scaling for Convolutional Neural Networks".
    """
    return _efficientnet(
        1.1, 1.2, 288, 0.3, num_classes, in_channels, stochastic_depth, symmetric, eps
    )


@register(_torchvision(300), _keras(300))
def efficientnet_b3(
    num_classes: int = 1000,
    in_channels: int = 3,
    symmetric: bool = True,
    eps: float = 1e-5,
    *,
    stochastic_depth: float = 0.0,
) -> Network:
    """EfficientNet-B3.  (N, 300, 300, in_channels) -> (N, num_classes).

    12,233,232 parameters. Variants as efficientnet_b0.
    Source: Tan and Le 2019, "Rethinking Model Scaling for Convolutional Neural Networks".
    """
    return _efficientnet(
        1.2, 1.4, 300, 0.3, num_classes, in_channels, stochastic_depth, symmetric, eps
    )


@register(_torchvision(380), _keras(380))
def efficientnet_b4(
    num_classes: int = 1000,
    in_channels: int = 3,
    symmetric: bool = True,
    eps: float = 1e-5,
    *,
    stochastic_depth: float = 0.0,
) -> Network:
    """EfficientNet-B4.  (N, 380, 380, in_channels) -> (N, num_classes).

    19,341,616 parameters. Variants as efficientnet_b0.
    Source: Tan and Le 2019, "Rethinking Model Scaling for Convolutional Neural Networks".
    """
    return _efficientnet(
        1.4, 1.8, 380, 0.4, num_classes, in_channels, stochastic_depth, symmetric, eps
    )


# (stage, block) of each block in a row
PLACES = tuple((s, b) for s, row in enumerate(ROWS, 1) for b in range(row[-1]))


def _place(i: int) -> str:
    return "features.{}.{}".format(*PLACES[i])


LITE = r"_blocks\.(\d|1[0-5])\."
# The package efficientnet-lite-pytorch, with Google's weights
GOOGLE = Source(
    "efficientnet-lite-pytorch",
    (
        (r"_conv_stem", lambda: "features.0.conv"),
        (r"_bn0", lambda: "features.0.norm"),
        (LITE + r"_expand_conv", lambda i: f"{_place(i)}.expand.conv"),
        (LITE + r"_bn0", lambda i: f"{_place(i)}.expand.norm"),
        (LITE + r"_depthwise_conv", lambda i: f"{_place(i)}.depthwise.conv"),
        (LITE + r"_bn1", lambda i: f"{_place(i)}.depthwise.norm"),
        (LITE + r"_project_conv", lambda i: f"{_place(i)}.project.conv"),
        (LITE + r"_bn2", lambda i: f"{_place(i)}.project.norm"),
        (r"_conv_head", lambda: "features.8.conv"),
        (r"_bn1", lambda: "features.8.norm"),
        (r"_fc", lambda: "classifier.2"),
    ),
    ImageFormat(224, "RGB", 128.0, (127 / 128,) * 3, (1.0,) * 3),
)
TIMM_BLOCK = r"blocks\.([1-6])\.(\d+)\."
TIMM_NAMES: Names = (
    (r"conv_stem", lambda: "features.0.conv"),
    (r"bn1", lambda: "features.0.norm"),
    (r"blocks\.0\.(\d+)\.conv_dw", lambda b: f"features.1.{b}.depthwise.conv"),
    (r"blocks\.0\.(\d+)\.bn1", lambda b: f"features.1.{b}.depthwise.norm"),
    (r"blocks\.0\.(\d+)\.conv_pw", lambda b: f"features.1.{b}.project.conv"),
    (r"blocks\.0\.(\d+)\.bn2", lambda b: f"features.1.{b}.project.norm"),
    (TIMM_BLOCK + "conv_pw", lambda s, b: f"features.{s + 1}.{b}.expand.conv"),
    (TIMM_BLOCK + "bn1", lambda s, b: f"features.{s + 1}.{b}.expand.norm"),
    (TIMM_BLOCK + "conv_dw", lambda s, b: f"features.{s + 1}.{b}.depthwise.conv"),
    (TIMM_BLOCK + "bn2", lambda s, b: f"features.{s + 1}.{b}.depthwise.norm"),
    (TIMM_BLOCK + "conv_pwl", lambda s, b: f"features.{s + 1}.{b}.project.conv"),
    (TIMM_BLOCK + "bn3", lambda s, b: f"features.{s + 1}.{b}.project.norm"),
    (r"conv_head", lambda: "features.8.conv"),
    (r"bn2", lambda: "features.8.norm"),
    (r"classifier", lambda: "classifier.2"),
)
# Two networks with the same names: only whoever has the file knows which it is of.
TIMM = Source("timm", TIMM_NAMES, IMAGENET, arguments={"symmetric": True, "eps": 1e-5})
TIMM_TF = Source("timm (tf_)", TIMM_NAMES, SIGNED, arguments={"symmetric": False, "eps": 1e-3})


@register(GOOGLE, TIMM, TIMM_TF)
def efficientnet_lite0(
    num_classes: int = 1000, in_channels: int = 3, symmetric: bool = False, eps: float = 1e-3, *,
    stochastic_depth: float = 0.0,
) -> Network:  # fmt: skip
    """EfficientNet-Lite0.  (N, 224, 224, in_channels) -> (N, num_classes).  4,652,008 parameters.

    B0 with ReLU6 and without squeeze-excitations.  As Google has it: eps 1e-3, and a layer with
    stride 2 pads as "same" does; `symmetric` pads all around. timm's efficientnet_lite0 wants
    symmetric=True and eps=1e-5; its tf_efficientnet_lite0, whose file has the same names, doesn't:
    with a file of timm's, say symmetric=True or symmetric=False.
    Source: Tan and Le 2019, "Rethinking Model Scaling for Convolutional Neural Networks"; the Lite
    form: Google's tpu repository.
    """
    padding = None if symmetric else "same"
    settings: dict[str, Any] = {"activation": "relu6", "padding": padding, "eps": eps}
    body = nn.Sequential(
        ConvBlock(in_channels, 32, 3, 2, **settings),
        *_stages(32, 1.0, 1.0, False, stochastic_depth, **settings),
        ConvBlock(320, 1280, 1, activation="relu6", eps=eps),
    )
    head = nn.Sequential(nn.GlobalAvgPool2d(), nn.Dropout(0.2), nn.Linear(1280, num_classes))
    return Network(body, head, (224, 224, in_channels))
