"""The table of layers for detection: pooling of regions, and the feature pyramid."""

import numpy as np
from layer_cases import (
    Case,
    ErrorCase,
    LayerInfo,
    bytes_,
    distinct,
    exactly,
    float32,
    normal,
    with_,
)

from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError

BOXES = np.array([[0, 1, 1, 5, 4], [1, -2, 0, 3, 9], [1, 2, 2, 3, 3], [0, 0, 3, 12, 5]])
ONE = np.array([[0, 1, 1, 2, 2]], np.float32)

errors = [
    ErrorCase(with_(0), ArgumentError, "output_size must be a whole number"),
    ErrorCase(with_((1, 2, 3)), ArgumentError, "output_size must be a whole number"),
    ErrorCase(with_(2, 0.0), ArgumentError, "spatial_scale must be larger than 0"),
    ErrorCase(with_(2, "half"), ArgumentError, "spatial_scale must be a finite number"),
    ErrorCase(with_(2), ShapeError, r"\(N, H, W, C\) array, got", [float32(4, 4, 3), ONE]),
    ErrorCase(with_(2), DTypeError, "got uint8", [bytes_(1, 4, 4, 3), ONE]),
    ErrorCase(with_(2), DTypeError, "got list", [[1.0], ONE]),
    ErrorCase(with_(2), ShapeError, r"shape \(n, 5\)", [float32(1, 4, 4, 3), ONE[:, 1:]]),
    ErrorCase(with_(2), ArgumentError, "from 0 to 0 for 1", [float32(1, 4, 4, 3), ONE + 1]),
    ErrorCase(with_(2), DTypeError, "got list", [float32(1, 4, 4, 3), ONE.tolist()]),
]

POOLS = [
    LayerInfo(
        nn.RoIAlign,
        [
            Case(with_((2, 3), 0.5), [normal(2, 6, 7, 3), exactly(BOXES)], order=2),
            Case(with_(2, sampling_ratio=3), [normal(2, 6, 5, 2), exactly(BOXES)]),
            Case(with_(3, spatial_scale=0.5, aligned=True), [normal(2, 6, 5, 2), exactly(BOXES)]),
        ],
        [
            *errors,
            ErrorCase(with_(2, 1.0, -2), ArgumentError, "sampling_ratio must be a whole number"),
            ErrorCase(with_(2, 1.0, 2, "yes"), ArgumentError, "aligned must be True or False"),
        ],
    ),
    LayerInfo(
        nn.RoIPool,
        [
            Case(with_((2, 3), 0.5), [distinct(2, 6, 7, 3), exactly(BOXES)], order=2),
            Case(with_(2, spatial_scale=0.7), [distinct(2, 6, 5, 2), exactly(BOXES)]),
        ],
        errors,
    ),
]

PYRAMIDS = [
    LayerInfo(
        nn.FeaturePyramid,
        [
            Case(with_((3, 2), 4), [normal(2, 5, 4, 3), normal(2, 3, 2, 2)], order=2),
            Case(with_([2], 3, "maxpool"), [normal(1, 3, 2, 2)]),
            Case(
                with_((2, 3), 2, extra_blocks="p6p7"), [normal(1, 4, 4, 2), normal(1, 3, 4, 3)]
            ),
        ],
        [
            ErrorCase(with_(3, 4), ArgumentError, "in_channels must be the channels of each map"),
            ErrorCase(with_([], 4), ArgumentError, "in_channels must be the channels of each map"),
            ErrorCase(with_((3, 0), 4), ArgumentError, "in_channels must be a whole number"),
            ErrorCase(with_((3,), 0), ArgumentError, "out_channels must be a whole number"),
            ErrorCase(with_((3,), 4, "p6"), ArgumentError, "extra_blocks must be one of"),
            ErrorCase(with_((3, 2), 4), ShapeError, "expected 2 maps", [float32(1, 4, 4, 3)]),
            ErrorCase(
                with_((3, 2), 4), ShapeError, "the largest map first",
                [float32(1, 2, 2, 3), float32(1, 4, 4, 2)],
            ),
            ErrorCase(
                with_((3, 2), 4), ShapeError, "expected 2 channels",
                [float32(1, 4, 4, 3), float32(1, 2, 2, 3)],
            ),
            ErrorCase(with_((3,), 4), ShapeError, r"maps \(N, H, W, C\)", [float32(4, 4, 3)]),
            ErrorCase(with_((3,), 4), DTypeError, "got list", [[1.0]]),
        ],
    )
]  # fmt: skip

REGIONS = [*POOLS, *PYRAMIDS]
