"""The table of layers over images that take them whole: pooling to a size, pixels moved about,
normalization by the image's own numbers, dropout of channels."""

import numpy as np
from layer_cases import Case, ErrorCase, LayerInfo, bytes_, distinct, float32, normal, with_

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError


def seeded(layer: nn.Module, *inputs: md.Tensor) -> md.Tensor:
    md.manual_seed(7)
    return layer(*inputs)


of_size = [
    *(
        ErrorCase(with_(wrong), ArgumentError, "2d: output_size must be a whole number")
        for wrong in (0, -1, 1.5, (1, 2, 3), "2", True)
    ),
    ErrorCase(with_(2), ShapeError, r"\(N, H, W, C\) array, got", [float32(6, 6, 3)]),
    ErrorCase(with_(2), DTypeError, "got uint8", [bytes_(1, 6, 6, 3)]),
    ErrorCase(with_(2), DTypeError, "got list", [[1.0]]),
]
ADAPTIVE = [
    LayerInfo(
        cls,
        [
            Case(with_((2, 3)), [distinct(2, 5, 7, 2)], order=2),
            Case(with_(4), [distinct(1, 3, 2, 3)]),
            Case(with_((None, 1)), [distinct(1, 3, 2, 3)]),
        ],
        of_size,
    )
    for cls in (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
]

# Pixels

no_images = ErrorCase(with_(2), ShapeError, r"\(N, H, W, C\) array, got", [float32(4, 4, 4)])
PIXELS = [
    LayerInfo(
        nn.PixelShuffle,
        [Case(with_(2), [normal(2, 3, 2, 8)], order=2), Case(with_(3), [normal(1, 2, 2, 9)])],
        [
            ErrorCase(with_(0), ArgumentError, "PixelShuffle: upscale_factor must be"),
            ErrorCase(with_(2), ShapeError, "divisible by 4", [float32(1, 2, 2, 6)]),
            no_images,
        ],
    ),
    LayerInfo(
        nn.PixelUnshuffle,
        [Case(with_(2), [normal(2, 4, 6, 2)], order=2)],
        [
            ErrorCase(with_(1.0), ArgumentError, "PixelUnshuffle: downscale_factor must be"),
            ErrorCase(with_(2), ShapeError, "3 x 4 pixels can't be cut", [float32(1, 3, 4, 1)]),
            no_images,
        ],
    ),
    LayerInfo(
        nn.ReflectionPad2d,
        [
            Case(with_(padding), [normal(2, 4, 3, 2)], order=2)
            for padding in (0, 2, (1, 0), ((0, 3), (2, 1)))
        ],
        [
            ErrorCase(with_("same"), ArgumentError, "ReflectionPad2d: padding must be numbers"),
            ErrorCase(with_(-1), ArgumentError, "padding must be"),
            ErrorCase(with_(3), ArgumentError, "smaller than the image", [float32(1, 3, 4, 1)]),
            no_images,
        ],
    ),
]

# Normalization

first = float32(2, 3, 5, 6)
OWN_NORMS = [
    LayerInfo(
        nn.GroupNorm,
        [
            Case(with_(2, 4), [normal(2, 3, 2, 4)], order=2),
            Case(with_(3, 6, eps=0.1), [normal(2, 2, 2, 6)]),
            Case(with_(1, 4, affine=False), [normal(3, 4)]),
        ],
        [
            ErrorCase(with_(0, 4), ArgumentError, "num_groups must be a whole number"),
            ErrorCase(with_(3, 4), ArgumentError, "num_groups must divide num_channels"),
            ErrorCase(with_(2, 4, eps=-1), ArgumentError, "GroupNorm: eps must be 0 or more"),
            ErrorCase(with_(3, 3), ShapeError, "3 channels .* channels-first", [first]),
            ErrorCase(with_(2, 4), ShapeError, "expected 4 channels", [float32(2, 3)]),
            ErrorCase(with_(1, 3), DTypeError, "got uint8", [bytes_(2, 2, 2, 3)]),
            ErrorCase(with_(1, 3), DTypeError, "GroupNorm .* got list", [[[1.0]]]),
        ],
    ),
    LayerInfo(
        nn.InstanceNorm2d,
        [
            Case(with_(3), [normal(2, 3, 2, 3)], order=2),
            Case(with_(2, eps=0.1, affine=True), [normal(2, 2, 3, 2)]),
        ],
        [
            ErrorCase(with_(0), ArgumentError, "num_features must be a whole number"),
            ErrorCase(with_(3), ShapeError, "3 channels .* channels-first", [first]),
            ErrorCase(with_(3), ShapeError, "two pixels an image", [float32(2, 1, 1, 3)]),
            ErrorCase(with_(3), ShapeError, r"\(N, H, W, C\)", [float32(2, 3)]),
            ErrorCase(with_(3), DTypeError, "got list", [[[1.0]]]),
        ],
    ),
]

# Dropout

DROPPED = [
    LayerInfo(
        nn.Dropout2d,
        [
            *(
                Case(with_(p), [normal(2, 3, 2, 4)], order=2, forward=seeded)
                for p in (0.0, 0.3, 0.9, 1)
            ),
            Case(with_(0.8), [normal(2, 2, 2, 3)], prepare=nn.Module.eval),
        ],
        [
            ErrorCase(with_(1.5), ArgumentError, "Dropout2d: p must be .*, got 1.5"),
            ErrorCase(with_(), ShapeError, r"\(N, H, W, C\) array, got", [float32(3, 4)]),
            ErrorCase(with_(), DTypeError, "got int64", [np.ones((1, 2, 2, 1), np.int64)]),
        ],
    ),
]

DROPPED.append(
    LayerInfo(
        nn.StochasticDepth,
        [
            *(Case(with_(p), [normal(5, 3, 2)], order=2, forward=seeded) for p in (0.0, 0.4, 1)),
            Case(with_(0.4, mode="batch"), [normal(5, 3)], forward=seeded),
            Case(with_(0.8), [normal(4, 2)], prepare=nn.Module.eval),
        ],
        [
            ErrorCase(with_(1.5), ArgumentError, "StochasticDepth: p must be .*, got 1.5"),
            ErrorCase(
                with_(0.5, "rows"), ArgumentError, 'mode must be "row" or "batch", got .rows'
            ),
            ErrorCase(with_(0.5), ShapeError, "got no axes", [np.array(3, np.float32)]),
            ErrorCase(with_(0.5), DTypeError, "got int64", [np.ones((2, 3), np.int64)]),
        ],
    )
)

IMAGES = [*ADAPTIVE, *PIXELS, *OWN_NORMS, *DROPPED]
