"""What the tests of layers run over: for every Module, settings with inputs, and calls that fail.

A class of nn.__all__ without an entry in LAYERS fails the suite.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import minidl as md
from minidl import nn
from minidl.autograd.samples import Draw
from minidl.errors import ArgumentError, DTypeError, ShapeError

Make = Callable[[Draw], Any]


@dataclass
class Call:
    """Arguments, to be given later."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return ", ".join([*map(repr, self.args), *named])


def with_(*args: Any, **kwargs: Any) -> Call:
    return Call(args, kwargs)


def normal(*shape: int) -> Make:
    return lambda draw: draw.normal(*shape)


def nonzero(*shape: int) -> Make:
    """Away from kinks at 0."""
    return lambda draw: draw.nonzero(*shape)


def distinct(*shape: int) -> Make:
    """Without near-ties, for maxima."""
    return lambda draw: draw.distinct(*shape)


def uniform(low: float, high: float, *shape: int) -> Make:
    return lambda draw: draw.uniform(low, high, *shape)


def exactly(array: Any) -> Make:
    return lambda draw: array


def call(layer: nn.Module, *inputs: Any) -> Any:
    return layer(*inputs)


def nothing(layer: nn.Module) -> None:
    pass


@dataclass
class Case:
    """A layer and what to call it with.

    order: up to which derivative it is checked.  zero_rows: whether it takes an empty batch.
    prepare: what is done to the layer first.  forward: how it is called.
    """

    settings: Call
    inputs: list[Make]
    order: int = 1
    zero_rows: bool = True
    prepare: Callable[[nn.Module], Any] = nothing
    forward: Callable[..., Any] = call
    cls: type[nn.Module] = field(default=nn.Module)

    def build(self, dtype: Any = np.float64) -> nn.Module:
        """The layer, no two of its numbers alike (a bias of zeros would hide its own absence)."""
        md.manual_seed(1)
        layer = self.cls(*self.settings.args, **self.settings.kwargs).astype(dtype)
        draw = Draw(dtype)
        for name, place in layer._named_tensors():
            array = draw.uniform(0.5, 2, *place.shape) if "var" in name else draw.normal(*place.shape)
            place.data[...] = array * 0.6
        self.prepare(layer)
        return layer

    def draw(self, dtype: Any = np.float64) -> list[Any]:
        draw = Draw(dtype)
        return [make(draw) for make in self.inputs]

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, np.shape(x))) for x in self.draw())
        return f"{self.cls.__name__}({self.settings})-{shapes}"


@dataclass
class ErrorCase:
    """A constructor call, or with `inputs` the call of the layer, that must raise `error`."""

    settings: Call
    error: type[Exception]
    match: str
    inputs: list[Any] | None = None
    prepare: Callable[[nn.Module], Any] = nothing
    cls: type[nn.Module] = field(default=nn.Module)

    def __str__(self) -> str:
        return f"{self.cls.__name__}({self.settings})-{self.match}"


@dataclass
class LayerInfo:
    cls: type[nn.Module]
    cases: list[Case]
    errors: list[ErrorCase]

    def __post_init__(self) -> None:
        for case in (*self.cases, *self.errors):
            case.cls = self.cls


def float32(*shape: int) -> np.ndarray:
    return Draw(np.float32).normal(*shape)


def bytes_(*shape: int) -> np.ndarray:
    return np.ones(shape, np.uint8)


# Convolutions

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
        yield ErrorCase(with_(*channels, kernel_size), ArgumentError, "kernel_size must be a whole")
    for stride in (0, (1, 0), 2.0):
        yield ErrorCase(with_(*channels, 3, stride=stride), ArgumentError, "stride must be a whole")
    for padding in (-1, "full", ((1, 1),), (1, 2, 3), 0.5, ((1, -1), (0, 0)), None):
        yield ErrorCase(with_(*channels, 3, padding=padding), ArgumentError, "padding must be")


def convolution_errors(*channels: int) -> Iterator[ErrorCase]:
    yield from window_errors(*channels)
    for dilation in (0, (1, -1)):
        yield ErrorCase(with_(*channels, 3, dilation=dilation), ArgumentError, "dilation must be")
    for activation in ("gelu", "ReLU", nn.ReLU, 1):
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
    text = rf"2d expected {channels} input channels \(axis -1 of a \(N, H, W, C\) array\), got shape "
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
            ErrorCase(with_(3, 4, 3, output_padding=-1), ArgumentError, "output_padding must be"),
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
            Case(with_(2, 3, (1, 2), padding=(0, 1), dilation=2, multiplier=2), [normal(2, 3, 4, 2)]),
            Case(with_(3, 2, 2, bias=False, activation="tanh"), [normal(1, 3, 2, 3)], order=2),
        ],
        [
            *window_errors(3, 4),
            ErrorCase(with_(3, 0, 3), ArgumentError, "2d: out_channels must be"),
            ErrorCase(with_(3, 4, 3, multiplier=1.5), ArgumentError, "2d: multiplier must be"),
            ErrorCase(with_(3, 4, 3, activation="elu"), ArgumentError, "2d: activation must be"),
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
            ErrorCase(with_(3, 4, activation="elu"), ArgumentError, "2d: activation must be"),
            *image_errors(with_(3, 4), channels=3),
        ],
    ),
]
