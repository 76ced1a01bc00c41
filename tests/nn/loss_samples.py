"""The table of losses."""

from collections.abc import Iterator

import numpy as np
from layer_cases import (
    Case,
    ErrorCase,
    LayerInfo,
    exactly,
    float32,
    nonzero,
    normal,
    uniform,
    with_,
)

from minidl import nn
from minidl.autograd.samples import Draw
from minidl.errors import ArgumentError, DTypeError, ShapeError

REDUCTIONS = ("mean", "sum", "none")
LABELS = np.array([0, 2, 1, 2])


def probabilities(*shape: int):
    def make(draw: Draw) -> np.ndarray:
        e = np.exp(draw.normal(*shape))
        return e / e.sum(axis=-1, keepdims=True)

    return make


def cross_entropies() -> Iterator[Case]:
    logits, labels = normal(4, 3), exactly(LABELS)
    weight = np.array([0.5, 2.0, 1.25])
    for reduction in REDUCTIONS:
        for settings in (
            {},
            {"weight": weight},
            {"label_smoothing": 0.2},
            {"ignore_index": 2},
            {"weight": weight, "label_smoothing": 0.1, "ignore_index": 0},
        ):
            called = with_(**settings, reduction=reduction)
            yield Case(called, [logits, labels], order=2, zero_rows=False)
        for settings in ({}, {"weight": weight}, {"label_smoothing": 0.2}):
            called = with_(**settings, reduction=reduction)
            yield Case(called, [logits, probabilities(4, 3)], zero_rows=False)
    for kind in (np.uint8, np.int16, np.int32):
        yield Case(with_(), [logits, exactly(LABELS.astype(kind))], zero_rows=False)
    maps, pixels = normal(2, 2, 3, 3), exactly(np.arange(12).reshape(2, 2, 3) % 3)
    for settings in ({}, {"weight": weight, "ignore_index": 1}, {"reduction": "none"}):
        yield Case(with_(**settings), [maps, pixels], order=2, zero_rows=False)
    yield Case(with_(label_smoothing=0.1), [maps, probabilities(2, 2, 3, 3)], zero_rows=False)
    ignored = exactly(np.array([-100, 2, -100, 0]))
    yield Case(with_(ignore_index=-100), [logits, ignored], zero_rows=False)
    yield Case(with_(), [normal(1, 2), exactly(np.array([1]))], zero_rows=False)


def cross_entropy_errors() -> Iterator[ErrorCase]:
    x, t = float32(4, 3), LABELS
    yield ErrorCase(with_(label_smoothing=1.5), ArgumentError, "must be from 0 to 1, got 1.5")
    yield ErrorCase(with_(label_smoothing=-0.1), ArgumentError, "must be from 0 to 1, got -0.1")
    for labels, text in ((t + 1, "got 3 at row 1"), (t - 1, "got -1 at row 0")):
        yield ErrorCase(with_(), ArgumentError, "labels from 0 to 2, " + text, [x, labels])
    text = r"labels of shape \(4,\) or class probabilities of shape \(4, 3\), got "
    yield ErrorCase(with_(), DTypeError, text + "float32", [x, t.astype(np.float32)])
    yield ErrorCase(with_(), ShapeError, text + r"int64 of shape \(3,\)", [x, t[:3]])
    yield ErrorCase(with_(), ShapeError, text + r"int64 of shape \(4, 1\)", [x, t[:, None]])
    yield ErrorCase(with_(), ShapeError, r"\(N, classes\) .* got shape \(3,\)", [x[0], t[:1]])
    first = [float32(2, 3, 4, 5), np.zeros((2, 4, 5), int)]
    yield ErrorCase(with_(), ShapeError, "scores look channels-first", first)
    yield ErrorCase(with_(), ShapeError, "a loss over nothing", [x[:0], t[:0]])
    yield ErrorCase(with_(reduction="none"), ShapeError, "a loss over nothing", [x[:0], t[:0]])
    yield ErrorCase(with_(ignore_index=0), ShapeError, "every row is ignored", [x, t * 0])
    yield ErrorCase(with_(weight=[1.0, 2.0]), ShapeError, r"weights of shape \(3,\)", [x, t])
    probable = np.ones((4, 3)) / 3
    yield ErrorCase(with_(), DTypeError, "dtype float", [x, probable])


def pairs(*settings: dict[str, float], both=nonzero) -> list[Case]:
    """Predictions apart from their targets, so that no difference is at a kink."""

    def target(*shape: int):
        return lambda draw: draw.nonzero(*shape) * 0.05

    return [
        Case(with_(**options, reduction=reduction), [both(*shape), target(*shape)], 2, False)
        for options in settings or ({},)
        for reduction in REDUCTIONS
        for shape in ((4, 3), (1, 2, 2))
    ]


def pair_errors() -> list[ErrorCase]:
    x = float32(4, 3)
    return [
        ErrorCase(with_(), ShapeError, "nothing is broadcast", [x, x[:, :1]]),
        ErrorCase(with_(), ShapeError, "nothing is broadcast", [x, x[0]]),
        ErrorCase(with_(), ShapeError, "a loss over nothing", [x[:0], x[:0]]),
        ErrorCase(with_(), DTypeError, "dtype float", [x, x.astype(np.float64)]),
        ErrorCase(with_(), DTypeError, "as target, got 1.0", [x, 1.0]),
        ErrorCase(with_(), DTypeError, "got list", [[1.0], x]),
    ]


wrong_reduction = [
    ErrorCase(with_(reduction=wrong), ArgumentError, r"reduction must be one of \('mean', .*, got ")
    for wrong in ("average", None, 1)
]

LOSSES = [
    LayerInfo(
        nn.CrossEntropyLoss, [*cross_entropies()], [*cross_entropy_errors(), *wrong_reduction]
    ),
    LayerInfo(
        nn.BCEWithLogitsLoss,
        [
            Case(with_(reduction=reduction), [normal(4, 3), uniform(0, 1, 4, 3)], 2, False)
            for reduction in REDUCTIONS
        ]
        + [
            Case(
                with_(np.array([0.5, 2, 1]), pos_weight=np.array([3, 1, 0.2])),
                [normal(4, 3), uniform(0, 1, 4, 3)],
                1,
                False,
            )
        ],
        [
            *pair_errors(),
            *wrong_reduction,
            ErrorCase(
                with_(np.ones(2)),
                ShapeError,
                r"weight of shape \(2,\) doesn't broadcast",
                [float32(4, 3), float32(4, 3)],
            ),
        ],
    ),
    LayerInfo(
        nn.SigmoidFocalLoss,
        [
            Case(with_(**settings), [normal(4, 3), uniform(0.1, 0.9, 4, 3)], 2, False)
            for settings in (
                {},
                {"gamma": 1.5},
                {"alpha": 0.7},
                {"alpha": None, "gamma": 0.0},
                {"reduction": "none"},
            )
        ],
        [
            *pair_errors(),
            *wrong_reduction,
            ErrorCase(
                with_(gamma=-1.0),
                ArgumentError,
                "gamma must be 0 or more",
                [float32(2), float32(2)],
            ),
            ErrorCase(with_(alpha="1"), ArgumentError, "alpha must be a finite number"),
        ],
    ),
    LayerInfo(
        nn.KLDivLoss,
        [
            *(
                Case(with_(reduction=reduction), [normal(4, 3), uniform(0.1, 1, 4, 3)], 2, False)
                for reduction in (*REDUCTIONS, "batchmean")
            ),
            Case(with_(log_target=True), [normal(4, 3), normal(4, 3)], 2, False),
        ],
        [*pair_errors(), *wrong_reduction],
    ),
    LayerInfo(
        nn.SmoothL1Loss,
        pairs({"beta": 1.0}, {"beta": 0.4}, {"beta": 0.0}),
        [
            *pair_errors(),
            *wrong_reduction,
            *(
                ErrorCase(with_(beta=beta), ArgumentError, "SmoothL1Loss: beta must be")
                for beta in (-1.0, float("nan"), "one")
            ),
        ],
    ),
    LayerInfo(
        nn.TripletMarginLoss,
        [
            Case(with_(**settings), [normal(5, 3)] * 3, 2, False)
            for settings in (
                {},
                {"margin": 0.5, "reduction": "sum"},
                {"p": 3.0, "swap": True},
                {"eps": 0.5, "reduction": "none"},
            )
        ],
        [
            *wrong_reduction,
            ErrorCase(with_(0.0), ArgumentError, "TripletMarginLoss: margin and p must be"),
            ErrorCase(
                with_(),
                ShapeError,
                "nothing is broadcast",
                [float32(2, 3), float32(2, 3), float32(1, 3)],
            ),
        ],
    ),
    LayerInfo(
        nn.NLLLoss,
        [
            Case(with_(**settings, reduction=reduction), [normal(4, 3), exactly(LABELS)], 2, False)
            for reduction in REDUCTIONS
            for settings in ({}, {"weight": np.array([0.5, 2.0, 1.25])}, {"ignore_index": 2})
        ]
        + [
            Case(
                with_(), [normal(2, 2, 3, 3), exactly(np.arange(12).reshape(2, 2, 3) % 3)], 2, False
            )
        ],
        [
            *wrong_reduction,
            ErrorCase(
                with_(),
                ArgumentError,
                "labels from 0 to 2, got 3",
                [float32(2, 3), np.array([0, 3])],
            ),
            ErrorCase(with_(), DTypeError, "got list", [[[1.0]], np.array([0])]),
        ],
    ),
    LayerInfo(nn.MSELoss, pairs(), [*pair_errors(), *wrong_reduction]),
    LayerInfo(nn.L1Loss, pairs(), [*pair_errors(), *wrong_reduction]),
    LayerInfo(
        nn.HuberLoss,
        pairs({"delta": 1.0}, {"delta": 0.4}),
        [
            *pair_errors(),
            *wrong_reduction,
            *(
                ErrorCase(
                    with_(delta=delta), ArgumentError, f"Huber.*: delta must be .*, got '?{delta}"
                )
                for delta in (0, -1.0, float("nan"), "one")
            ),
        ],
    ),
]
