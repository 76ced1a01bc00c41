"""Convolution and its two gradients.

The three primitives are closed under differentiation: the gradients of each are the other two.
Shapes: x (N, H, W, C), weight (kh, kw, C/groups, K), y (N, OH, OW, K).
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import check_arrays, composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.checks import positive
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.geometry import output_size, pad_pair, pair
from minidl.ops.activation import (
    FUSED,
    activate,
    activation_gradient,
    check_activation,
    torch_activate,
)
from minidl.ops.reduce import broadcast_to, sum

__all__ = ["conv2d"]


def torch_conv2d(torch: Any, x: Any, weight: Any, bias: Any = None, **s: Any) -> Any:
    """Return the channels-last convolution by torch, for oracles."""
    (top, bottom), (left, right) = s["padding"]
    planes = torch.nn.functional.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
    y = torch.nn.functional.conv2d(
        planes, weight.permute(3, 2, 0, 1), bias, s["stride"], 0, s["dilation"], s["groups"]
    )
    return y.permute(0, 2, 3, 1)


def _torch_gradient(torch: Any, dy: Any, x: Any, weight: Any, of: int, **settings: Any) -> Any:
    """Return the gradient of torch_conv2d for x (of=0) or weight (of=1), differentiable itself."""
    inputs = [t if t.requires_grad else t.clone().requires_grad_() for t in (x, weight)]
    y = torch_conv2d(torch, *inputs, **settings)
    return torch.autograd.grad(y, inputs[of], dy, create_graph=True)[0]


@primitive(
    flops=lambda output, x, weight, bias, **settings: 2 * output.size * math.prod(weight.shape[:3]),
    oracle=torch_conv2d,
    family="convolution",
    name="conv2d",
)
def conv2d_forward(x, weight, bias=None, *, stride, padding, dilation, groups):
    """Return conv2d for settings in normal form: pairs, padding ((top, bottom), (left, right))."""
    return kernels.use("conv").conv2d(x, weight, bias, None, stride, padding, dilation, groups)


@conv2d_forward.vjp("x")
def _(g, weight, x_shape, stride, padding, dilation, groups):
    return conv2d_input_grad(
        g, weight, input_size=x_shape[1:3],
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip


@conv2d_forward.vjp("weight", "bias")
def _(g, x, weight_shape, needs, stride, padding, dilation, groups):
    return weight_and_bias_gradient(
        conv2d_weight_grad, g, x, weight_shape, needs,
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip


def weight_and_bias_gradient(
    weight_grad: Any, g: Any, x: Any, weight_shape: Any, needs: Any, **settings: Any
) -> tuple[Any, Any]:
    """Return the gradients that are needed of the two; both come from one pass."""
    if not needs[1]:
        return None, sum(g, axis=(0, 1, 2)) if needs[2] else None
    return weight_grad(x, g, kernel_size=weight_shape[:2], **settings, with_bias=needs[2])


def _activated(x: Any, weight: Any, bias: Any = None, *, activation: str, **settings: Any) -> Any:
    return activate(conv2d_forward(x, weight, bias, **settings), activation)


@primitive(
    flops=lambda output, x, weight, bias, **settings: 2 * output.size * math.prod(weight.shape[:3]),
    oracle=lambda torch, x, weight, bias=None, *, activation, **settings: torch_activate(
        torch, torch_conv2d(torch, x, weight, bias, **settings), activation
    ),
    composition=_activated,
    family="convolution",
    name="conv2d",
)
def conv2d_activation(x, weight, bias=None, *, activation, stride, padding, dilation, groups):
    """Return activation(conv2d(...)), "relu" or "relu6", in one pass over the output."""
    return kernels.use("conv").conv2d(
        x, weight, bias, activation, stride, padding, dilation, groups
    )


@conv2d_activation.vjp("x", "weight", "bias")
def _(g, x, weight, output, needs, activation, stride, padding, dilation, groups):
    g = activation_gradient(g, output, activation=activation)
    return all_gradients(
        conv2d_input_grad, conv2d_weight_grad, g, x, weight, needs,
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip


def all_gradients(
    input_grad: Any, weight_grad: Any, g: Any, x: Any, weight: Any, needs: Any, **settings: Any
) -> tuple[Any, Any, Any]:
    """Return the gradients of a convolution for x, weight and bias that are needed."""
    dx = input_grad(g, weight, input_size=x.shape[1:3], **settings) if needs[0] else None
    return dx, *weight_and_bias_gradient(weight_grad, g, x, weight.shape, needs, **settings)


@primitive(
    flops=lambda output, dy, weight, **settings: 2 * dy.size * math.prod(weight.shape[:3]),
    oracle=lambda torch, dy, weight, input_size, **settings: _torch_gradient(
        torch,
        dy,
        torch.zeros(len(dy), *input_size, weight.shape[2] * settings["groups"], dtype=dy.dtype),
        weight,
        of=0,
        **settings,
    ),
    family="convolution",
)
def conv2d_input_grad(dy, weight, *, input_size, stride, padding, dilation, groups):
    """Return the gradient of conv2d for x, (N, *input_size, C)."""
    return kernels.use("conv").conv2d_input_grad(
        dy, weight, input_size, stride, padding, dilation, groups
    )


@conv2d_input_grad.vjp("dy")
def _(g, weight, stride, padding, dilation, groups):
    return conv2d_forward(
        g, weight, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


@conv2d_input_grad.vjp("weight")
def _(g, dy, weight_shape, stride, padding, dilation, groups):
    return conv2d_weight_grad(
        g, dy, kernel_size=weight_shape[:2],
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )[0]  # fmt: skip


@primitive(
    flops=lambda output, x, dy, **settings: 2 * dy.size * math.prod(output[0].shape[:3]),
    oracle=lambda torch, x, dy, kernel_size, with_bias=False, **settings: (
        _torch_gradient(
            torch,
            dy,
            x,
            torch.zeros(*kernel_size, x.shape[3] // settings["groups"], dy.shape[3], dtype=x.dtype),
            of=1,
            **settings,
        ),
        dy.sum((0, 1, 2)) if with_bias else None,
    ),
)
def conv2d_weight_grad(x, dy, *, kernel_size, stride, padding, dilation, groups, with_bias=False):
    """Return the gradients of conv2d for weight and, if asked, bias.

    Their shapes are (*kernel_size, C/groups, K) and (K,).
    """
    return kernels.use("conv").conv2d_weight_grad(
        x, dy, kernel_size, stride, padding, dilation, groups, with_bias=with_bias
    )


@conv2d_weight_grad.vjp("x")
def _(g, dy, x_shape, stride, padding, dilation, groups):
    return g[0] if g[0] is None else conv2d_input_grad(
        dy, g[0], input_size=x_shape[1:3],
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip


@conv2d_weight_grad.vjp("dy")
def _(g, x, dy_shape, stride, padding, dilation, groups):
    if g[0] is None:
        return broadcast_to(g[1], shape=dy_shape)
    return conv2d_forward(x, *g, stride=stride, padding=padding, dilation=dilation, groups=groups)


def check_images(who: str, x: Any, channels: int) -> None:
    """Raise unless x is (N, H, W, channels), with a hint where it looks channels-first."""
    if x.ndim != 4:
        raise ShapeError(
            f"{who} expected images as a (N, H, W, C) array, got shape {x.shape}"
            + (": add the batch axis with x[None]" if x.ndim == 3 else "")
        )
    if x.shape[3] != channels:
        hint = ""
        if x.shape[1] == channels:
            hint = ": this looks channels-first; use x.transpose(0, 2, 3, 1)"
        raise ShapeError(
            f"{who} expected {channels} input channels (axis -1 of a (N, H, W, C) array), "
            f"got shape {x.shape}{hint}"
        )
    if x.dtype.kind != "f":
        raise DTypeError(
            f"{who} expected float32 or float64 images, got {x.dtype}: convert them, for example "
            "with x.astype(np.float32) / 255"
        )


def check_weight(who: str, weight: Any, bias: Any, outputs: int) -> None:
    if weight.ndim != 4 or 0 in weight.shape:
        raise ShapeError(
            f"{who} expected a weight of 4 axes (kh, kw, channels, channels), got {weight.shape}"
        )
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(f"{who} expected a bias of shape ({outputs},), got {bias.shape}")


def check_groups(who: str, groups: Any, **channels: int) -> None:
    """Raise unless `groups` is a whole number that divides each of the numbers of channels."""
    positive(who, "groups", groups)
    for name, count in channels.items():
        if count % groups:
            raise ArgumentError(f"{who}: groups={groups} doesn't divide {name}={count}")


@composite(
    oracle=lambda torch, x, weight, bias=None, activation=None, **settings: torch_activate(
        torch, torch_conv2d(torch, x, weight, bias, **_normal(x, weight, **settings)), activation
    )
)
def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, *, activation=None):
    """Return the two-dimensional convolution (cross-correlation) of images.

    x: (N, H, W, C); weight: (kh, kw, C/groups, K); bias: (K,).  Returns (N, OH, OW, K).
    stride, dilation: pixels, a number or a pair.  padding: pixels, see `geometry.pad_pair`.
    activation: None, "relu", "relu6", "leaky_relu", "tanh" or "sigmoid", applied to the result.
    Raises ShapeError, DTypeError and ArgumentError for arguments that don't fit.
    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning".
    """
    settings = conv_settings(x, weight, bias, stride, padding, dilation, groups)
    if check_activation("conv2d", activation) in FUSED:
        return conv2d_activation(x, weight, bias, activation=activation, **settings)
    return activate(conv2d_forward(x, weight, bias, **settings), activation)


def conv_settings(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> dict[str, Any]:
    """Return conv2d's settings in normal form, with all arguments checked."""
    check_arrays("conv2d", x=x, weight=weight, bias=bias)
    check_weight("conv2d", weight, bias, weight.shape[-1] if weight.ndim else 0)
    check_groups("conv2d", groups, out_channels=weight.shape[3])
    check_images("conv2d", x, weight.shape[2] * groups)
    settings = _normal(x, weight, stride, padding, dilation, groups)
    output_size(
        "conv2d", x.shape[1:3], weight.shape[:2],
        settings["stride"], settings["padding"], settings["dilation"],
    )  # fmt: skip
    return settings


def _normal(
    x: Any, weight: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> dict[str, Any]:
    """Return conv2d's settings in normal form."""
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    padding = pad_pair(padding, weight.shape[:2], stride, dilation, x.shape[1:3])
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


# (N, H, W, C), kernel and outputs, and settings in normal form: every setting with the others,
# odd sizes, non-square kernels, batches of one, borders wider than the kernel's reach.
_GRID = [
    ((2, 5, 6, 3), (3, 3, 4), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    ((1, 5, 5, 1), (5, 5, 6), (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
    ((2, 7, 5, 4), (3, 2, 6), (2, 1), ((1, 0), (0, 1)), (1, 1), 2),
    ((1, 9, 8, 2), (3, 3, 2), (1, 2), ((1, 1), (2, 2)), (2, 3), 1),
    ((3, 4, 4, 6), (1, 1, 9), (1, 1), ((0, 0), (0, 0)), (1, 1), 3),
    ((2, 6, 7, 2), (1, 1, 3), (2, 3), ((0, 0), (0, 0)), (1, 1), 1),
    ((2, 8, 7, 4), (2, 4, 4), (3, 2), ((0, 3), (2, 1)), (2, 1), 4),
    ((1, 1, 1, 3), (3, 3, 5), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ((1, 3, 3, 1), (2, 2, 1), (1, 1), ((4, 0), (0, 4)), (1, 1), 1),
    ((0, 5, 5, 2), (3, 3, 2), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
]


def _geometries() -> Iterator[tuple[Any, Any, Any, dict[str, Any]]]:
    """Yield (shape of x, of weight, of y, settings) of each case."""
    for shape, (kh, kw, k), stride, padding, dilation, groups in _GRID:
        n, h, w, c = shape
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        size = output_size("sample", (h, w), (kh, kw), stride, padding, dilation)
        yield shape, (kh, kw, c // groups, k), (n, *size, k), settings


@conv2d_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    for i, (x, weight, y, settings) in enumerate(_geometries()):
        bias = draw.normal(y[3]) if i % 2 else None
        yield sample(draw.normal(*x), draw.normal(*weight), bias, **settings)


@conv2d_activation.samples
def _(draw: Draw) -> Iterator[Sample]:
    for i, (x, weight, y, settings) in enumerate(_geometries()):
        bias, activation = (draw.normal(y[3]), "relu") if i % 2 else (None, "relu6")
        x, weight = draw.normal(*x), draw.normal(*weight) * 3
        yield sample(x, weight, bias, activation=activation, **settings)


@conv2d_input_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    for x, weight, y, settings in _geometries():
        yield sample(draw.normal(*y), draw.normal(*weight), input_size=x[1:3], **settings)


@conv2d_weight_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    for i, (x, weight, y, settings) in enumerate(_geometries()):
        x, dy = draw.normal(*x), draw.normal(*y)
        yield sample(x, dy, kernel_size=weight[:2], with_bias=i % 2 == 0, **settings)


@conv2d.samples
def _(draw: Draw) -> Iterator[Sample]:
    x, weight, bias = draw.normal(2, 7, 6, 4), draw.normal(3, 3, 4, 2), draw.normal(2)
    yield sample(x, weight, bias)
    for padding in (1, (2, 1), ((0, 1), (1, 2)), "valid", "same"):
        yield sample(x, weight, padding=padding)
        yield sample(x, weight, bias, stride=2, padding=padding, dilation=(1, 2))
    yield sample(x, draw.normal(2, 4, 2, 4), stride=(2, 3), padding="same", groups=2)


@conv2d.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x, w = draw.normal(2, 8, 8, 3), draw.normal(3, 3, 3, 4)
    first = draw.normal(2, 3, 8, 8)
    yield ErrorInput(sample(first, w), ShapeError, "3 input channels.*channels-first; use x.trans")
    yield ErrorInput(sample(draw.normal(2, 8, 8, 5), w), ShapeError, "3 input channels")
    yield ErrorInput(sample(draw.normal(8, 8, 3), w), ShapeError, r"x\[None\]")
    yield ErrorInput(sample(x, draw.normal(3, 3, 3)), ShapeError, "weight of 4 axes")
    yield ErrorInput(sample(x, draw.normal(9, 9, 3, 4)), ShapeError, "doesn't fit an input")
    yield ErrorInput(sample(x, w, draw.normal(3)), ShapeError, r"bias of shape \(4,\)")
    yield ErrorInput(sample(x, w, groups=3), ArgumentError, "groups=3 doesn't divide")
    yield ErrorInput(sample(x, w, stride=0), ArgumentError, "stride must be .* got 0")
    yield ErrorInput(sample(x, w, padding=-1), ArgumentError, "padding must be")
    yield ErrorInput(sample(x, w, padding="full"), ArgumentError, "got 'full'")
    yield ErrorInput(sample(x, w, dilation=1.5), ArgumentError, "dilation must be .* got 1.5")
    yield ErrorInput(sample((x * 9).astype(np.uint8), w), DTypeError, r"uint8.*astype.*/ 255")
    yield ErrorInput(sample(x.astype(np.float64), w), DTypeError, "float32 and float64")
    yield ErrorInput(sample([[1.0]], w), DTypeError, "got list")
