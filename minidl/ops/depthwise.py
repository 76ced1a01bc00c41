"""Depthwise convolution and its two gradients, closed under differentiation as conv's are.

Shapes: x (N, H, W, C), weight (kh, kw, C, multiplier), y (N, OH, OW, C * multiplier).
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl import kernels
from minidl.autograd.op import check_arrays, composite
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, ErrorInput, Sample, sample
from minidl.errors import DTypeError, ShapeError
from minidl.geometry import output_size, pad_pair, pair
from minidl.ops.activation import (
    FUSED,
    activate,
    activation_gradient,
    check_activation,
    torch_activate,
)
from minidl.ops.conv import (
    all_gradients,
    check_images,
    torch_conv2d,
    weight_and_bias_gradient,
)
from minidl.ops.reduce import broadcast_to

__all__ = ["depthwise_conv2d"]


def _torch_depthwise(torch: Any, x: Any, weight: Any, bias: Any = None, **settings: Any) -> Any:
    kh, kw, c, multiplier = weight.shape
    # Grouped convolution with one channel a group: its weight is (kh, kw, 1, C * multiplier).
    grouped = weight.reshape(kh, kw, 1, c * multiplier)
    return torch_conv2d(torch, x, grouped, bias, groups=c, **settings)


def _torch_gradient(torch: Any, dy: Any, x: Any, weight: Any, of: int, **settings: Any) -> Any:
    inputs = [t if t.requires_grad else t.clone().requires_grad_() for t in (x, weight)]
    y = _torch_depthwise(torch, *inputs, **settings)
    return torch.autograd.grad(y, inputs[of], dy, create_graph=True)[0]


@primitive(
    flops=lambda output, x, weight, bias, **settings: 2 * output.size * math.prod(weight.shape[:2]),
    oracle=_torch_depthwise,
    family="convolution",
    name="depthwise_conv2d",
)
def depthwise_conv2d_forward(x, weight, bias=None, *, stride, padding, dilation):
    """Return depthwise_conv2d for settings in normal form."""
    return kernels.use("depthwise").depthwise_conv2d(
        x, weight, bias, None, stride, padding, dilation
    )


@depthwise_conv2d_forward.vjp("x")
def _(g, weight, x_shape, stride, padding, dilation):
    return depthwise_conv2d_input_grad(
        g, weight, input_size=x_shape[1:3], stride=stride, padding=padding, dilation=dilation
    )


@depthwise_conv2d_forward.vjp("weight", "bias")
def _(g, x, weight_shape, needs, stride, padding, dilation):
    return weight_and_bias_gradient(
        depthwise_conv2d_weight_grad, g, x, weight_shape, needs,
        stride=stride, padding=padding, dilation=dilation,
    )  # fmt: skip


def _activated(x: Any, weight: Any, bias: Any = None, *, activation: str, **settings: Any) -> Any:
    return activate(depthwise_conv2d_forward(x, weight, bias, **settings), activation)


@primitive(
    flops=lambda output, x, weight, bias, **settings: 2 * output.size * math.prod(weight.shape[:2]),
    oracle=lambda torch, x, weight, bias=None, *, activation, **settings: torch_activate(
        torch, _torch_depthwise(torch, x, weight, bias, **settings), activation
    ),
    composition=_activated,
    family="convolution",
    name="depthwise_conv2d",
)
def depthwise_conv2d_activation(x, weight, bias=None, *, activation, stride, padding, dilation):
    """Return activation(depthwise_conv2d(...)), "relu" or "relu6", in one pass over the output."""
    return kernels.use("depthwise").depthwise_conv2d(
        x, weight, bias, activation, stride, padding, dilation
    )


@depthwise_conv2d_activation.vjp("x", "weight", "bias")
def _(g, x, weight, output, needs, activation, stride, padding, dilation):
    g = activation_gradient(g, output, activation=activation)
    return all_gradients(
        depthwise_conv2d_input_grad, depthwise_conv2d_weight_grad, g, x, weight, needs,
        stride=stride, padding=padding, dilation=dilation,
    )  # fmt: skip


@primitive(
    flops=lambda output, dy, weight, **settings: 2 * dy.size * math.prod(weight.shape[:2]),
    oracle=lambda torch, dy, weight, input_size, **settings: _torch_gradient(
        torch,
        dy,
        torch.zeros(len(dy), *input_size, weight.shape[2], dtype=dy.dtype),
        weight,
        of=0,
        **settings,
    ),
)
def depthwise_conv2d_input_grad(dy, weight, *, input_size, stride, padding, dilation):
    """Return the gradient of depthwise_conv2d for x, (N, *input_size, C)."""
    return kernels.use("depthwise").depthwise_conv2d_input_grad(
        dy, weight, input_size, stride, padding, dilation
    )


@depthwise_conv2d_input_grad.vjp("dy")
def _(g, weight, stride, padding, dilation):
    return depthwise_conv2d_forward(g, weight, stride=stride, padding=padding, dilation=dilation)


@depthwise_conv2d_input_grad.vjp("weight")
def _(g, dy, weight_shape, stride, padding, dilation):
    return depthwise_conv2d_weight_grad(
        g, dy, kernel_size=weight_shape[:2], stride=stride, padding=padding, dilation=dilation
    )[0]


@primitive(
    flops=lambda output, x, dy, **settings: 2 * dy.size * math.prod(output[0].shape[:2]),
    oracle=lambda torch, x, dy, kernel_size, with_bias=False, **settings: (
        _torch_gradient(
            torch,
            dy,
            x,
            torch.zeros(*kernel_size, x.shape[3], dy.shape[3] // x.shape[3], dtype=x.dtype),
            of=1,
            **settings,
        ),
        dy.sum((0, 1, 2)) if with_bias else None,
    ),
)
def depthwise_conv2d_weight_grad(x, dy, *, kernel_size, stride, padding, dilation, with_bias=False):
    """Return the gradients of depthwise_conv2d for weight and, if asked, bias.

    Their shapes are (*kernel_size, C, multiplier) and (C * multiplier,).
    """
    return kernels.use("depthwise").depthwise_conv2d_weight_grad(
        x, dy, kernel_size, stride, padding, dilation, with_bias=with_bias
    )


@depthwise_conv2d_weight_grad.vjp("x")
def _(g, dy, x_shape, stride, padding, dilation):
    return g[0] if g[0] is None else depthwise_conv2d_input_grad(
        dy, g[0], input_size=x_shape[1:3], stride=stride, padding=padding, dilation=dilation
    )  # fmt: skip


@depthwise_conv2d_weight_grad.vjp("dy")
def _(g, x, dy_shape, stride, padding, dilation):
    if g[0] is None:
        return broadcast_to(g[1], shape=dy_shape)
    return depthwise_conv2d_forward(x, *g, stride=stride, padding=padding, dilation=dilation)


@composite(
    oracle=lambda torch, x, weight, bias=None, activation=None, **settings: torch_activate(
        torch,
        _torch_depthwise(torch, x, weight, bias, **_normal(x, weight, **settings)),
        activation,
    )
)
def depthwise_conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, *, activation=None):
    """Return the convolution of each channel with its own `multiplier` filters.

    x: (N, H, W, C); weight: (kh, kw, C, multiplier); bias: (C * multiplier,).
    Returns (N, OH, OW, C * multiplier), the outputs of a channel next to each other.
    stride, dilation: pixels, a number or a pair.  padding: pixels, see `geometry.pad_pair`.
    activation: None, "relu", "relu6", "leaky_relu", "tanh" or "sigmoid", applied to the result.
    Raises ShapeError, DTypeError and ArgumentError for arguments that don't fit.
    Source: Howard et al. 2017, "MobileNets", section 3.1.
    """
    check_arrays("depthwise_conv2d", x=x, weight=weight, bias=bias)
    if weight.ndim != 4:
        raise ShapeError(
            "depthwise_conv2d expected a weight of 4 axes (kh, kw, C, multiplier), "
            f"got {weight.shape}"
        )
    check_images("depthwise_conv2d", x, weight.shape[2])
    outputs = weight.shape[2] * weight.shape[3]
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(
            f"depthwise_conv2d expected a bias of shape ({outputs},), got {bias.shape}"
        )
    settings = _normal(x, weight, stride, padding, dilation)
    output_size("depthwise_conv2d", x.shape[1:3], weight.shape[:2], **settings)
    if check_activation("depthwise_conv2d", activation) in FUSED:
        return depthwise_conv2d_activation(x, weight, bias, activation=activation, **settings)
    return activate(depthwise_conv2d_forward(x, weight, bias, **settings), activation)


def _normal(x: Any, weight: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    """Return depthwise_conv2d's settings in normal form."""
    stride, dilation = pair(stride, "stride"), pair(dilation, "dilation")
    padding = pad_pair(padding, weight.shape[:2], stride, dilation, x.shape[1:3])
    return {"stride": stride, "padding": padding, "dilation": dilation}


_GRID = [
    ((2, 5, 6, 3), (3, 3, 1), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((1, 7, 5, 4), (3, 2, 2), (2, 1), ((0, 1), (0, 1)), (1, 1)),
    ((2, 9, 8, 2), (5, 3, 1), (2, 2), ((2, 2), (3, 1)), (1, 2)),
    ((1, 1, 1, 5), (3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1)),
    ((3, 4, 4, 1), (1, 1, 4), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ((0, 5, 5, 2), (3, 3, 1), (1, 1), ((1, 1), (1, 1)), (1, 1)),
]


def _geometries() -> Iterator[tuple[Any, Any, Any, dict[str, Any]]]:
    """Yield (shape of x, of weight, of y, settings) of each case."""
    for shape, (kh, kw, multiplier), stride, padding, dilation in _GRID:
        n, h, w, c = shape
        settings: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        size = output_size("sample", (h, w), (kh, kw), **settings)
        yield shape, (kh, kw, c, multiplier), (n, *size, c * multiplier), settings


@depthwise_conv2d_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    for i, (x, weight, y, settings) in enumerate(_geometries()):
        bias = draw.normal(y[3]) if i % 2 else None
        yield sample(draw.normal(*x), draw.normal(*weight), bias, **settings)


@depthwise_conv2d_activation.samples
def _(draw: Draw) -> Iterator[Sample]:
    for i, (x, weight, y, settings) in enumerate(_geometries()):
        bias, activation = (draw.normal(y[3]), "relu") if i % 2 else (None, "relu6")
        x, weight = draw.normal(*x), draw.normal(*weight) * 3
        yield sample(x, weight, bias, activation=activation, **settings)


@depthwise_conv2d_input_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    for x, weight, y, settings in _geometries():
        yield sample(draw.normal(*y), draw.normal(*weight), input_size=x[1:3], **settings)


@depthwise_conv2d_weight_grad.samples
def _(draw: Draw) -> Iterator[Sample]:
    for i, (x, weight, y, settings) in enumerate(_geometries()):
        x, dy = draw.normal(*x), draw.normal(*y)
        yield sample(x, dy, kernel_size=weight[:2], with_bias=i % 2 == 0, **settings)


@depthwise_conv2d.samples
def _(draw: Draw) -> Iterator[Sample]:
    x, weight = draw.normal(2, 7, 6, 3), draw.normal(3, 3, 3, 2)
    for padding in (0, 1, (2, 1), ((0, 1), (1, 2)), "valid", "same"):
        yield sample(x, weight, draw.normal(6), stride=2, padding=padding)
    yield sample(x, weight, padding="same", dilation=2)


@depthwise_conv2d.errors
def _(draw: Draw) -> Iterator[ErrorInput]:
    x, w = draw.normal(2, 8, 8, 3), draw.normal(3, 3, 3, 1)
    yield ErrorInput(sample(draw.normal(2, 3, 8, 8), w), ShapeError, "channels-first")
    yield ErrorInput(sample(x, draw.normal(3, 3, 3)), ShapeError, "4 axes")
    yield ErrorInput(sample(x, draw.normal(9, 9, 3, 1)), ShapeError, "doesn't fit an input")
    yield ErrorInput(sample(x, w, draw.normal(4)), ShapeError, r"bias of shape \(3,\)")
    yield ErrorInput(sample(np.ones((1, 8, 8, 3), np.uint8), w), DTypeError, "uint8")
