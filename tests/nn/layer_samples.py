"""What the tests of layers run over: for every Module, settings with inputs, and calls that fail.

A class of nn.__all__ without an entry in LAYERS fails the suite.
"""

from collections.abc import Iterator

import numpy as np
from conv_samples import CONVOLUTIONS, window_errors
from image_samples import IMAGES, seeded
from layer_cases import (
    Case,
    ErrorCase,
    LayerInfo,
    Shaped,
    bytes_,
    distinct,
    exactly,
    float32,
    nonzero,
    normal,
    uniform,
    with_,
)
from loss_samples import LOSSES
from region_samples import REGIONS
from sequence_samples import SEQUENCES

import minidl as md
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError

# Pooling

POOL_PADDINGS = (0, 1, (1, 0), ((2, 1), (0, 1)), "valid", "same")


def pools(make: Shaped, **more: bool) -> Iterator[Case]:
    for padding in POOL_PADDINGS:
        for ceil_mode in (False, True):
            settings = {"padding": padding, "ceil_mode": ceil_mode} | more
            yield Case(with_((3, 2), **settings), [make(1, 7, 5, 2)])
            yield Case(with_(3, stride=(2, 1), **settings), [make(2, 5, 4, 1)])
    yield Case(with_(2, 3, **more), [make(1, 5, 6, 2)])
    yield Case(with_(2, **more), [make(2, 4, 2, 1)], order=2)


pool_errors = [
    *window_errors(),
    ErrorCase(
        with_(2), ShapeError, r"\(N, H, W, C\) array, got shape \(6, 6, 3\)", [float32(6, 6, 3)]
    ),
    ErrorCase(with_(7), ShapeError, "pool2d: a kernel of .* doesn't fit", [float32(1, 6, 6, 3)]),
    ErrorCase(
        with_(2, padding=2), ArgumentError, "must be smaller than the kernel", [float32(1, 6, 6, 3)]
    ),
    ErrorCase(with_(2), DTypeError, "float32 or float64 images, got uint8", [bytes_(1, 6, 6, 3)]),
    ErrorCase(with_(2), DTypeError, "got list", [[1.0]]),
]

POOLS = [
    LayerInfo(nn.MaxPool2d, [*pools(distinct)], pool_errors),
    LayerInfo(nn.AvgPool2d, [*pools(normal), *pools(normal, count_include_pad=True)], pool_errors),
    LayerInfo(
        nn.GlobalAvgPool2d,
        [
            Case(with_(), [normal(2, 3, 5, 2)], order=2),
            Case(with_(keepdims=True), [normal(1, 1, 2, 3)], order=2),
        ],
        [ErrorCase(with_(), ShapeError, r"\(N, H, W, C\)", [float32(2, 3)])],
    ),
]

# Activations


def elementwise(make: Shaped, *settings: dict[str, float]) -> list[Case]:
    shapes = ((3, 4), (2, 3, 2, 2), (5,))
    return [
        Case(with_(**options), [make(*shape)], order=2)
        for options in settings or ({},)
        for shape in shapes
    ]


not_floats = [
    ErrorCase(with_(), DTypeError, "expected float32 or float64 for x, got int64", [np.arange(3)]),
    ErrorCase(with_(), DTypeError, "got list: md.tensor", [[1.0]]),
]


def of_axis() -> list[Case]:
    return [
        Case(with_(), [normal(3, 4)], order=2),
        Case(with_(axis=1), [normal(2, 3, 2)], order=2),
        Case(with_(-2), [normal(2, 3, 2)], order=2),
        Case(with_(axis=0), [normal(3, 2)], order=2, zero_rows=False),
    ]


no_axis = [
    *not_floats,
    ErrorCase(with_(2), ShapeError, "axis 2 doesn't exist", [float32(2, 3)]),
    ErrorCase(with_(), ShapeError, "isn't empty", [float32(2, 0)]),
]


def number_errors(name: str) -> list[ErrorCase]:
    return [
        ErrorCase(with_(wrong), ArgumentError, f"LU: {name} must be a finite number, got ")
        for wrong in ("0.1", None, True, float("nan"), float("inf"))
    ]


ACTIVATIONS = [
    LayerInfo(nn.Identity, elementwise(normal), []),
    LayerInfo(nn.ReLU, elementwise(nonzero), not_floats),
    LayerInfo(nn.ReLU6, [Case(with_(), [uniform(-1, 7, 4, 5)], order=2)], not_floats),
    LayerInfo(
        nn.LeakyReLU,
        elementwise(nonzero, {}, {"negative_slope": 0.3}),
        [*not_floats, *number_errors("negative_slope")],
    ),
    LayerInfo(
        nn.ELU, elementwise(nonzero, {}, {"alpha": 0.5}), [*not_floats, *number_errors("alpha")]
    ),
    LayerInfo(
        nn.PReLU,
        [
            Case(with_(), [nonzero(2, 3, 3, 4)], order=2),
            Case(with_(4), [nonzero(3, 4)], order=2),
        ],
        [
            ErrorCase(with_(0), ArgumentError, "PReLU: num_parameters must be a whole number"),
            ErrorCase(with_(init="1"), ArgumentError, "PReLU: init must be a finite number"),
            ErrorCase(with_(3), ShapeError, r"shape \(1,\) or \(4,\), one for", [float32(2, 4)]),
        ],
    ),
    LayerInfo(nn.Sigmoid, elementwise(normal), not_floats),
    LayerInfo(nn.Hardsigmoid, elementwise(distinct), not_floats),
    LayerInfo(nn.SiLU, elementwise(normal), not_floats),
    LayerInfo(nn.Hardswish, elementwise(distinct), not_floats),
    LayerInfo(nn.Mish, elementwise(normal), not_floats),
    LayerInfo(
        nn.GELU,
        elementwise(normal, {}, {"approximate": "tanh"}),
        [
            *not_floats,
            ErrorCase(with_("erf"), ArgumentError, "GELU: approximate must be one of .* got 'erf'"),
        ],
    ),
    LayerInfo(
        nn.Softplus,
        elementwise(normal, {}, {"beta": 0.5}),
        [
            *not_floats,
            ErrorCase(with_(0.0), ArgumentError, "Softplus: beta must be more than 0, got 0.0"),
            ErrorCase(with_("1"), ArgumentError, "Softplus: beta must be a finite number"),
        ],
    ),
    LayerInfo(nn.Tanh, elementwise(normal), not_floats),
    LayerInfo(nn.Softmax, of_axis(), no_axis),
    LayerInfo(nn.LogSoftmax, of_axis(), no_axis),
]

# Normalisation


def batch_norms(*shape: int) -> list[Case]:
    """`shape` without channels; in training, in eval mode, and frozen in training."""

    def with_residual(layer: nn.Module, x: md.Tensor, residual: md.Tensor) -> md.Tensor:
        return layer(x, residual=residual)

    x = normal(*shape, 3)
    return [
        Case(with_(3), [x], order=2, zero_rows=False),
        Case(with_(3, eps=0.1, momentum=0.3), [x], zero_rows=False),
        Case(with_(3, momentum=0), [x], zero_rows=False),
        Case(with_(3, activation="relu"), [x], zero_rows=False),
        Case(with_(3, activation="tanh"), [x, x], zero_rows=False, forward=with_residual),
        Case(with_(3, momentum=1.0), [x], order=2, prepare=nn.Module.eval),
        Case(with_(3, activation="sigmoid"), [x, x], prepare=nn.Module.eval, forward=with_residual),
        Case(with_(3), [x], prepare=nn.Module.freeze),
    ]


def batch_norm_errors(layout: str) -> Iterator[ErrorCase]:
    for wrong in (0, 2.0, True, None):
        yield ErrorCase(
            with_(wrong), ArgumentError, f"num_features must be a whole number .*{wrong}"
        )
    for settings in ({"eps": -1}, {"momentum": 2}, {"momentum": float("nan")}, {"eps": None}):
        yield ErrorCase(with_(3, **settings), ArgumentError, "d: (eps|momentum) must be ")
    yield ErrorCase(with_(3, activation="swish"), ArgumentError, "d: activation must be None or")
    yield ErrorCase(with_(3), ShapeError, rf"expected \({layout}, 3\), got \(3,\)", [float32(3)])
    text = r"BatchNorm\dd expected a Tensor or ndarray, got list"
    yield ErrorCase(with_(3), DTypeError, text, [[[1.0, 2.0, 3.0]]])


def batch_norm_calls(*shape: int) -> Iterator[ErrorCase]:
    """Calls with x (*shape, 3)."""
    text = "in training needs at least two values a channel, got .*: use a larger batch, or eval"
    ones = (1,) * len(shape)
    yield ErrorCase(with_(3), ShapeError, text, [float32(*ones, 3)])
    yield ErrorCase(with_(3), ShapeError, text, [float32(0, *shape[1:], 3)])
    text = "batch_norm expected float32 or float64 .*, got uint8"
    yield ErrorCase(with_(3), DTypeError, text, [bytes_(*shape, 3)])
    wide = float32(*shape, 3).astype(np.float64)
    yield ErrorCase(with_(3), DTypeError, "one dtype, got float64 and float32", [wide])
    text = r"residual has shape \(1, .*must be equal"
    yield ErrorCase(with_(3), ShapeError, text, [float32(*shape, 3), float32(*ones, 3)])


first = float32(2, 3, 5, 6)
NORMS = [
    LayerInfo(nn.BatchNorm1d, batch_norms(5), [*batch_norm_errors("N"), *batch_norm_calls(4)]),
    LayerInfo(
        nn.BatchNorm2d,
        batch_norms(2, 3, 2),
        [
            *batch_norm_errors("N, H, W"),
            *batch_norm_calls(2, 2, 2),
            ErrorCase(with_(3), ShapeError, "channels-first; use x.transpose", [first]),
        ],
    ),
    LayerInfo(
        nn.LayerNorm,
        [
            Case(with_(4), [normal(3, 4)], order=2),
            Case(with_((3, 2), eps=0.01), [normal(2, 2, 3, 2)]),
            Case(with_((5,)), [normal(1, 3, 5)]),
        ],
        [
            ErrorCase(
                with_(0), ArgumentError, "LayerNorm: normalized_shape must be a whole number"
            ),
            ErrorCase(
                with_((3, 1.5)), ArgumentError, "LayerNorm: normalized_shape must be .* got 1.5"
            ),
            ErrorCase(with_(()), ArgumentError, "LayerNorm: normalized_shape must have an axis"),
            ErrorCase(with_(3, eps=-1.0), ArgumentError, "eps be 0 or more, got 3 and -1.0"),
            ErrorCase(with_(4), ShapeError, r"\(4,\), got shape \(2, 5\)", [float32(2, 5)]),
            ErrorCase(with_(3), DTypeError, "got uint8", [bytes_(2, 3)]),
            ErrorCase(with_(3), DTypeError, "got list", [[[1.0, 2.0, 3.0]]]),
        ],
    ),
    LayerInfo(
        nn.LocalResponseNorm,
        [
            Case(with_(5), [normal(2, 2, 3, 7)]),
            Case(with_(2, alpha=0.5, beta=0.5, k=2.0), [normal(1, 2, 2, 4)], order=2),
            Case(with_(3, 1.0), [normal(1, 2, 1, 1)]),
        ],
        [
            ErrorCase(with_(0), ArgumentError, "LocalResponseNorm: size must be"),
            ErrorCase(with_(2.0), ArgumentError, "LocalResponseNorm: size must be"),
            ErrorCase(with_(3, k="1"), ArgumentError, "LocalResponseNorm: k must be a finite"),
            ErrorCase(with_(3), DTypeError, "got int64", [np.ones((1, 2, 2, 3), np.int64)]),
        ],
    ),
]

# Linear, shapes, dropout


def upsamplings() -> Iterator[Case]:
    for scale in (2, (3, 1), 1.5, (0.6, 2.5)):
        yield Case(with_(scale_factor=scale), [normal(1, 3, 4, 2)])
        for corners in (False, True):
            settings = with_(scale_factor=scale, mode="bilinear", align_corners=corners)
            yield Case(settings, [normal(2, 3, 2, 1)], order=2)


SHAPES = [
    LayerInfo(
        nn.Linear,
        [
            Case(with_(4, 3), [normal(2, 4)], order=2),
            Case(with_(1, 5, bias=False), [normal(3, 1)], order=2),
            Case(with_(3, 2, activation="sigmoid"), [normal(2, 2, 3)], order=2),
            Case(with_(3, 2), [normal(3)], zero_rows=False),
        ],
        [
            ErrorCase(with_(0, 3), ArgumentError, "Linear: in_features must be a whole number"),
            ErrorCase(with_(3, "4"), ArgumentError, "Linear: out_features must .* got '4'"),
            ErrorCase(with_(3, 4, activation="swish"), ArgumentError, "Linear: activation must be"),
            ErrorCase(
                with_(4, 3), ShapeError, r"4 features .* got shape \(2, 5\)", [float32(2, 5)]
            ),
            ErrorCase(with_(4, 3), ShapeError, "flatten it first", [float32(2, 2, 2)]),
            ErrorCase(with_(4, 3), DTypeError, "float64", [np.ones((2, 4))]),
            ErrorCase(with_(4, 3), DTypeError, "got uint8 .*astype", [bytes_(2, 4)]),
            ErrorCase(with_(4, 3), DTypeError, "got list: md.tensor", [[[1.0]]]),
        ],
    ),
    LayerInfo(
        nn.Embedding,
        [
            Case(with_(5, 3), [exactly(np.array([0, 4, 4, 2]))], order=2),
            Case(with_(5, 3), [exactly(np.array([[1, 3], [3, 3]], np.uint8))]),
        ],
        [
            ErrorCase(with_(0, 3), ArgumentError, "Embedding: num_embeddings must be"),
            ErrorCase(with_(3, 0), ArgumentError, "Embedding: embedding_dim must be"),
            ErrorCase(with_(5, 3), ArgumentError, "from 0 to 4, got 5", [np.array([0, 5])]),
            ErrorCase(with_(5, 3), ArgumentError, "from 0 to 4, got -1", [np.array([-1])]),
            ErrorCase(with_(5, 3), DTypeError, "integer indices, got float32", [float32(2)]),
            ErrorCase(with_(5, 3), DTypeError, "got list", [[1, 2]]),
        ],
    ),
    LayerInfo(
        nn.Flatten,
        [
            Case(with_(), [normal(2, 3, 2, 2)], order=2),
            Case(with_(), [normal(3, 4)]),
            Case(with_(), [normal(3)]),
        ],
        [
            ErrorCase(with_(), ShapeError, r"Flatten .* got shape \(\)", [float32()]),
            ErrorCase(with_(), DTypeError, "got list", [[[1.0]]]),
        ],
    ),
    LayerInfo(
        nn.ZeroPad2d,
        [
            Case(with_(padding), [normal(2, 3, 2, 2)], order=2)
            for padding in (0, 2, (1, 0), ((0, 3), (2, 1)))
        ],
        [
            *(
                ErrorCase(with_(padding), ArgumentError, "padding must be")
                for padding in (-1, "same", "valid", (1, 2, 3, 4), 1.5)
            ),
            ErrorCase(with_(1), ShapeError, r"ZeroPad2d .*\(3, 2, 2\)", [float32(3, 2, 2)]),
            ErrorCase(with_(1), DTypeError, "got list", [[[1.0]]]),
        ],
    ),
    LayerInfo(
        nn.Upsample,
        [*upsamplings()],
        [
            *(
                ErrorCase(
                    with_(scale_factor=scale), ArgumentError, "Upsample: scale_factor must be"
                )
                for scale in (0, -2, (2, 0), (1, 2, 3), "2", float("nan"), None)
            ),
            ErrorCase(
                with_(scale_factor=2, mode="cubic"),
                ArgumentError,
                "Upsample: mode must .* got 'cubic'",
            ),
            ErrorCase(with_(scale_factor=2), ShapeError, r"\(N, H, W, C\)", [float32(3, 4, 2)]),
            ErrorCase(
                with_(scale_factor=0.2),
                ArgumentError,
                "leaves nothing of images 3x4",
                [float32(1, 3, 4, 2)],
            ),
        ],
    ),
    LayerInfo(
        nn.Dropout,
        [
            *(Case(with_(p), [normal(4, 5)], order=2, forward=seeded) for p in (0.0, 0.3, 0.9, 1)),
            Case(with_(), [normal(2, 3, 2, 2)], forward=seeded),
            Case(with_(0.8), [normal(3, 2)], prepare=nn.Module.eval),
        ],
        [
            *(
                ErrorCase(with_(p), ArgumentError, f"Dropout: p must be .*, got '?{p}")
                for p in (-0.1, 1.5, float("nan"), "half", None)
            ),
            ErrorCase(with_(), DTypeError, "got int64", [np.arange(3)]),
        ],
    ),
]

LAYERS = [
    *CONVOLUTIONS,
    *POOLS,
    *IMAGES,
    *REGIONS,
    *ACTIVATIONS,
    *NORMS,
    *SHAPES,
    *SEQUENCES,
    *LOSSES,
]
