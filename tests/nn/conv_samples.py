"""The table of convolution layers."""

from collections.abc import Iterator

import numpy as np
from layer_cases import Call, Case, ErrorCase, LayerInfo, bytes_, float32, normal, with_

from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError

PADDINGS = (0, 2, (1, 0), ((2, 1), (0, 3)), "valid", "same")


def convolutions() -> Iterator[Case]:
    """Every padding with stride and dilation; kernels that aren't square; odd sizes; groups."""
    for padding in PADDINGS:
        x = [normal(1, 7, 5, 2)]
        yield Case(with_(2, 3, 3, padding=padding), x)
        yield Case(with_(2, 3, (3, 2), stride=(2, 1), padding=padding), x)
        yield Case(with_(2, 2, 2, stride=2, padding=padding, dilation=(2, 3), groups=2), x)
    yield Case(with_(1, 2, 3, padding=1, bias=False), [normal(2, 4, 3, 1)], order=2)
    yield Case(with_(4, 6, (1, 3), padding="same", groups=2), [normal(2, 3, 4, 4)], order=2)
    yield Case(with_(3, 3, 1, stride=2, groups=3), [normal(2, 5, 4, 3)], order=2)
    yield Case(with_(2, 3, 2, activation="tanh"), [normal(1, 3, 3, 2)], order=2)
    yield Case(with_(1, 1, 5, padding="same", stride=3, dilation=2), [normal(1, 8, 7, 1)])
    yield Case(with_(3, 4, 3, stride=3), [normal(3, 3, 3, 3)])


def transposed_convolutions() -> Iterator[Case]:
    for padding in (0, 1, (1, 0), ((1, 0), (0, 1)), "valid", "same"):
        x = [normal(1, 3, 4, 2)]
        yield Case(with_(2, 3, 3, padding=padding), x)
        yield Case(with_(2, 3, (3, 2), stride=(2, 1), padding=padding), x)
        yield Case(with_(2, 4, 2, stride=3, padding=padding, groups=2, dilation=2), x)
    yield Case(with_(2, 1, 3, 2, 1, 1), [normal(2, 2, 3, 2)], order=2)
    yield Case(with_(2, 3, 2, stride=3, output_padding=(2, 1)), [normal(1, 2, 2, 2)], order=2)
    yield Case(with_(1, 2, 2, stride=3, padding="same"), [normal(2, 2, 3, 1)])
    yield Case(with_(4, 2, (1, 3), groups=2, bias=False), [normal(2, 3, 2, 4)], order=2)


def depthwise_convolutions() -> Iterator[Case]:
    for padding in PADDINGS:
        x = [normal(1, 7, 5, 2)]
        yield Case(with_(2, 3, padding=padding), x)
        yield Case(with_(2, (3, 2), stride=(2, 1), padding=padding, multiplier=3), x)
        yield Case(with_(2, 2, stride=2, padding=padding, dilation=(2, 3)), x)
    yield Case(with_(3, 3, padding=1, bias=False), [normal(2, 3, 2, 3)], order=2)
    yield Case(with_(2, 2, multiplier=2, activation="sigmoid"), [normal(1, 3, 3, 2)], order=2)


def window_errors(*channels: int) -> Iterator[ErrorCase]:
    """What no layer with windows takes."""
    for kernel_size in (0, -1, 1.5, True, (3, 3, 3), "3", None):
        yield ErrorCase(
            with_(*channels, kernel_size), ArgumentError, "2d: kernel_size must be a whole"
        )
    for stride in (0, (1, 0), 2.0):
        yield ErrorCase(
            with_(*channels, 3, stride=stride), ArgumentError, "2d: stride must be a whole"
        )
    for padding in (-1, "full", ((1, 1),), (1, 2, 3), 0.5, ((1, -1), (0, 0)), None):
        yield ErrorCase(with_(*channels, 3, padding=padding), ArgumentError, "padding must be")


def convolution_errors(*channels: int) -> Iterator[ErrorCase]:
    yield from window_errors(*channels)
    for dilation in (0, (1, -1)):
        yield ErrorCase(
            with_(*channels, 3, dilation=dilation), ArgumentError, "2d: dilation must be"
        )
    for activation in ("swish", "ReLU", nn.ReLU, 1):
        text = r"2d: activation must be None or one of \['relu', 'relu6', .*, got "
        yield ErrorCase(with_(*channels, 3, activation=activation), ArgumentError, text)
    for wrong in (0, -3, 1.5, True, None):
        text = r"2d: \w*channels must be a whole number from 1 up, got "
        yield ErrorCase(with_(wrong, *channels[1:], 3), ArgumentError, text + str(wrong))
    plain = with_(*channels, 3)
    yield from image_errors(plain, channels=3)
    yield ErrorCase(plain, ShapeError, "3 input channels.* got shape", [float32(1, 5, 5, 4)])


def image_errors(settings: Call, channels: int) -> Iterator[ErrorCase]:
    """What no convolution of `channels` channels can be called with."""
    first = float32(2, channels, 5, 6)
    text = (
        rf"2d expected {channels} input channels \(axis -1 of a \(N, H, W, C\) array\), got shape "
    )
    hint = r"\(2, 3, 5, 6\): this looks channels-first; use x.transpose\(0, 2, 3, 1\)"
    yield ErrorCase(settings, ShapeError, text + hint, [first])
    text = r"\(N, H, W, C\) array, got shape \(5, 6, 3\): add the batch axis with x\[None\]"
    yield ErrorCase(settings, ShapeError, text, [float32(5, 6, channels)])
    text = "float32 or float64 images, got uint8: .*astype"
    yield ErrorCase(settings, DTypeError, text, [bytes_(2, 5, 6, channels)])
    wide = float32(2, 5, 6, channels).astype(np.float64)
    yield ErrorCase(settings, DTypeError, "float32 and float64: give all the same", [wide])
    yield ErrorCase(settings, DTypeError, "got list: md.tensor", [[[1.0]]])


def group_errors() -> Iterator[ErrorCase]:
    for groups in (0, 1.0, True):
        text = "2d: groups must be a whole number from 1 up, got "
        yield ErrorCase(with_(4, 4, 3, groups=groups), ArgumentError, text + str(groups))
    text = "2d: groups=3 doesn't divide in_channels=4"
    yield ErrorCase(with_(4, 6, 3, groups=3), ArgumentError, text)
    text = "2d: groups=3 doesn't divide out_channels=4"
    yield ErrorCase(with_(6, 4, 3, groups=3), ArgumentError, text)


too_small = ErrorCase(
    with_(3, 4, 5), ShapeError, r"kernel of \(5, 5\) .* doesn't fit an input of \(4, 6\)",
    [float32(1, 4, 6, 3)],
)  # fmt: skip

CONVOLUTIONS = [
    LayerInfo(
        nn.Conv2d, [*convolutions()], [*convolution_errors(3, 4), *group_errors(), too_small]
    ),
    LayerInfo(
        nn.ConvTranspose2d,
        [*transposed_convolutions()],
        [
            *convolution_errors(3, 4),
            *group_errors(),
            ErrorCase(
                with_(3, 4, 3, padding=9), ShapeError, "leaves an output of", [float32(1, 4, 4, 3)]
            ),
            ErrorCase(
                with_(3, 4, 3, stride=2, output_padding=2),
                ArgumentError,
                r"output_padding \(2, 2\) must be smaller than stride \(2, 2\) or dilation",
                [float32(1, 4, 4, 3)],
            ),
            ErrorCase(with_(3, 4, 3, output_padding=-1), ArgumentError, "2d: output_padding must"),
        ],
    ),
    LayerInfo(
        nn.DepthwiseConv2d,
        [*depthwise_convolutions()],
        [
            *convolution_errors(3),
            ErrorCase(with_(3, 3, multiplier=0), ArgumentError, "Conv2d: multiplier must be"),
        ],
    ),
    LayerInfo(
        nn.SeparableConv2d,
        [
            Case(with_(2, 3, 3, padding="same", stride=2), [normal(1, 5, 4, 2)]),
            Case(
                with_(2, 3, (1, 2), padding=(0, 1), dilation=2, multiplier=2), [normal(2, 3, 4, 2)]
            ),
            Case(with_(3, 2, 2, bias=False, activation="tanh"), [normal(1, 3, 2, 3)], order=2),
        ],
        [
            *window_errors(3, 4),
            ErrorCase(with_(3, 0, 3), ArgumentError, "2d: out_channels must be"),
            ErrorCase(with_(3, 4, 3, multiplier=1.5), ArgumentError, "2d: multiplier must be"),
            ErrorCase(with_(3, 4, 3, activation="swish"), ArgumentError, "2d: activation must be"),
            *image_errors(with_(3, 4, 3), channels=3),
        ],
    ),
    LayerInfo(
        nn.PointwiseConv2d,
        [
            Case(with_(3, 4), [normal(2, 3, 2, 3)], order=2),
            Case(with_(1, 5, bias=False), [normal(1, 1, 3, 1)], order=2),
            Case(with_(2, 3, activation="leaky_relu"), [normal(3, 2, 2, 2)]),
        ],
        [
            ErrorCase(with_(0, 4), ArgumentError, "2d: in_channels must be"),
            ErrorCase(with_(3, 4, activation="swish"), ArgumentError, "2d: activation must be"),
            *image_errors(with_(3, 4), channels=3),
        ],
    ),
]
