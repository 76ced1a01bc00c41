"""MobileNetV3: Howard et al. 2019, "Searching for MobileNetV3"."""

from collections.abc import Sequence
from typing import Any

from minidl import nn
from minidl.errors import ArgumentError
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
from minidl.models.sources import IMAGENET, SIGNED, Source

__all__ = ["mobilenet_v3_large", "mobilenet_v3_small"]

Rows = Sequence[tuple[int, int, int, bool, str, int]]
RE, HS = "relu", "hardswish"

# Tables 1 and 2: kernel, hidden channels, channels, squeeze-excitation, activation, stride
LARGE: Rows = (
    (3, 16, 16, False, RE, 1), (3, 64, 24, False, RE, 2), (3, 72, 24, False, RE, 1),
    (5, 72, 40, True, RE, 2), (5, 120, 40, True, RE, 1), (5, 120, 40, True, RE, 1),
    (3, 240, 80, False, HS, 2), (3, 200, 80, False, HS, 1), (3, 184, 80, False, HS, 1),
    (3, 184, 80, False, HS, 1), (3, 480, 112, True, HS, 1), (3, 672, 112, True, HS, 1),
    (5, 672, 160, True, HS, 2), (5, 960, 160, True, HS, 1), (5, 960, 160, True, HS, 1),
)  # fmt: skip
SMALL: Rows = (
    (3, 16, 16, True, RE, 2), (3, 72, 24, False, RE, 2), (3, 88, 24, False, RE, 1),
    (5, 96, 40, True, HS, 2), (5, 240, 40, True, HS, 1), (5, 240, 40, True, HS, 1),
    (5, 120, 48, True, HS, 1), (5, 144, 48, True, HS, 1), (5, 288, 96, True, HS, 2),
    (5, 576, 96, True, HS, 1), (5, 576, 96, True, HS, 1),
)  # fmt: skip
STEM = 16  # channels


def _torchvision(rows: Rows) -> Source:
    """A block's parts are numbered, and not all blocks have all."""
    parts: dict[tuple[int, int], str] = {}
    channels = STEM
    for i, (_, hidden, width, squeezes, _, _) in enumerate(rows, 1):
        own = ["expand"] * (hidden != channels) + ["depthwise"] + ["excite"] * squeezes
        parts |= {(i, k): part for k, part in enumerate([*own, "project"])}
        channels = width
    return Source(
        "torchvision",
        (
            (r"features\.(\d+)\.([01])", lambda i, j: f"features.{i}.{CONV_NORM[j]}"),
            (
                r"features\.(\d+)\.block\.(\d)\.([01])",
                lambda i, k, j: f"features.{i}.{parts.get((i, k), k)}.{CONV_NORM[j]}",
            ),
            (r"features\.(\d+)\.block\.\d\.fc1", lambda i: f"features.{i}.excite.down"),
            (r"features\.(\d+)\.block\.\d\.fc2", lambda i: f"features.{i}.excite.up"),
            (r"classifier\.0", lambda: "classifier.1"),
            (r"classifier\.3", lambda: "classifier.3"),
        ),
        IMAGENET,
    )


# Keras 3's names, and with slashes (here dots) those of before
PREFIX = r"expanded_conv(?:_(\d+))?[_.]"
NORM = r"(?:_bn|\.BatchNorm)"


def _block(i: int | None, part: str) -> str:
    return f"features.{1 + (i or 0)}.{part}"


def _keras(last: int, padding: str, applies: Any) -> Source:
    return Source(
        "Keras Applications",
        (
            (r"conv|Conv", lambda: "features.0.conv"),
            (r"conv_bn|Conv\.BatchNorm", lambda: "features.0.norm"),
            (
                PREFIX + "(expand|depthwise|project)",
                lambda i, part: f"{_block(i, part)}.conv",
            ),
            (
                PREFIX + "(expand|depthwise|project)" + NORM,
                lambda i, part: f"{_block(i, part)}.norm",
            ),
            (PREFIX + r"squeeze_excite[_.][cC]onv", lambda i: _block(i, "excite.down")),
            (PREFIX + r"squeeze_excite[_.][cC]onv_1", lambda i: _block(i, "excite.up")),
            (r"[cC]onv_1", lambda: f"features.{last}.conv"),
            (r"[cC]onv_1" + NORM, lambda: f"features.{last}.norm"),
            (r"[cC]onv_2", lambda: "classifier.1"),
            (r"logits|Logits", lambda: "classifier.3"),
        ),
        SIGNED,
        torch=False,
        arguments={"padding": padding},
        applies=applies,
    )


def _of_any_size(found: Found) -> bool:
    """Whether a file's network was made without a size, as Keras does unless it is told one."""
    return not found.input_shapes


def _keras_sources(rows: Rows) -> tuple[Source, Source]:
    """A network for images of any size pads as for even ones, one for a size as "same" does."""
    last = len(rows) + 1
    return (
        _keras(last, "even", _of_any_size),
        _keras(last, "same", lambda found: not _of_any_size(found)),
    )


PADDINGS = ("symmetric", "same", "even")


def _padding(padding: str, kernel: int, stride: int) -> Any:
    """Of a depthwise layer; "even" is what "same" is with stride 2 where the size is even."""
    if padding == "symmetric" or stride == 1:
        return None
    half = kernel // 2
    return ((half - 1, half), (half - 1, half)) if padding == "even" else "same"


def _mobilenet_v3(
    rows: Rows, last: int, num_classes: int, in_channels: int, padding: str
) -> Network:
    """features[i] is the i-th row's block; `last` is the width of the layer before the scores."""
    if padding not in PADDINGS:
        raise ArgumentError(f"mobilenet_v3: padding must be one of {PADDINGS}, got {padding!r}")
    settings: dict[str, Any] = {"eps": 1e-3, "momentum": 0.01}
    channels = STEM
    stem = None if padding == "symmetric" else "same"
    layers: list[nn.Module] = [
        ConvBlock(in_channels, channels, 3, 2, stem, activation=HS, **settings)
    ]
    for kernel, hidden, width, squeezes, activation, stride in rows:
        excite = None
        if squeezes:
            squeezed = divisible(hidden // 4)
            excite = SqueezeExcite(hidden, squeezed=squeezed, gate="hardsigmoid")
        around = _padding(padding, kernel, stride)
        block = InvertedResidual(
            channels, hidden, width, kernel, stride, activation, around, excite, **settings
        )
        layers.append(block)
        channels = width
    layers.append(ConvBlock(channels, 6 * channels, 1, activation=HS, **settings))
    head = nn.Sequential(
        nn.GlobalAvgPool2d(),
        nn.Linear(6 * channels, last, activation=HS),
        nn.Dropout(0.2),
        nn.Linear(last, num_classes),
    )
    return Network(nn.Sequential(*layers), head, (224, 224, in_channels))


@register(_torchvision(LARGE), *_keras_sources(LARGE))
def mobilenet_v3_large(
    num_classes: int = 1000, in_channels: int = 3, padding: str = "symmetric"
) -> Network:
    """MobileNetV3-Large, table 1.  (N, 224, 224, in_channels) -> (N, num_classes).

    5,483,032 parameters. padding: of layers with stride 2; as torchvision, on all sides. Keras's
    network pads as "same" does if it was made for one size of images, and otherwise always as for
    an even size ("even"); weights alone don't tell, and are read as the latter. At sizes that 32
    divides, the two compute the same.
    Source: Howard et al. 2019, "Searching for MobileNetV3".
    """
    return _mobilenet_v3(LARGE, 1280, num_classes, in_channels, padding)


@register(_torchvision(SMALL), *_keras_sources(SMALL))
def mobilenet_v3_small(
    num_classes: int = 1000, in_channels: int = 3, padding: str = "symmetric"
) -> Network:
    """MobileNetV3-Small, table 2.  (N, 224, 224, in_channels) -> (N, num_classes).

    2,542,856 parameters. padding: see mobilenet_v3_large.
    Source: Howard et al. 2019, "Searching for MobileNetV3".
    """
    return _mobilenet_v3(SMALL, 1024, num_classes, in_channels, padding)
