"""Convolution, ReLU and 2x2 max-pooling as one op."""

import math
from collections.abc import Iterator
from typing import Any

from minidl import kernels
from minidl.autograd.modes import mode
from minidl.autograd.primitive import primitive
from minidl.autograd.samples import Draw, Sample, sample
from minidl.geometry import output_size
from minidl.ops.activation import relu
from minidl.ops.conv import (
    all_gradients,
    conv2d_forward,
    conv2d_input_grad,
    conv2d_weight_grad,
    conv_settings,
    torch_conv2d,
)
from minidl.ops.pool import max_pool2d

__all__ = ["conv2d_relu_max_pool"]


def _oracle(torch: Any, x: Any, weight: Any, bias: Any = None, **settings: Any) -> Any:
    planes = torch.relu(torch_conv2d(torch, x, weight, bias, **settings)).permute(0, 3, 1, 2)
    return torch.nn.functional.max_pool2d(planes, 2).permute(0, 2, 3, 1)


def _composition(x: Any, weight: Any, bias: Any = None, **settings: Any) -> Any:
    return max_pool2d(relu(conv2d_forward(x, weight, bias, **settings)), 2)


@primitive(
    flops=lambda output, x, weight, bias, **settings: 8 * output.size * math.prod(weight.shape[:3]),
    oracle=_oracle,
    saves=("indices",),
    composition=_composition,
    family="convolution",
    name="conv2d_relu_max_pool",
)
def conv2d_relu_max_pool_forward(x, weight, bias=None, *, stride, padding, dilation, groups):
    """Return max_pool2d(relu(conv2d(...)), 2). Pixels that are pooled away are never stored."""
    return kernels.use("conv_pool").conv2d_relu_max_pool(
        x, weight, bias, stride, padding, dilation, groups, with_indices=mode.recording
    )


@conv2d_relu_max_pool_forward.vjp("x", "weight", "bias")
def _(g, x, weight, indices, needs, stride, padding, dilation, groups):
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    size, fast = x.shape[1:3], kernels.use("conv_pool")
    dx = sums = None  # the gradients, those for weight and bias together, from the maxima alone
    if needs[0]:
        dx = fast.conv2d_relu_max_pool_input_grad(g, indices, weight, size, **settings)
    if needs[1]:
        sums = fast.conv2d_relu_max_pool_weight_grad(x, g, indices, weight.shape[:2], **settings)
    if (dx is None and needs[0]) or (sums is None and any(needs[1:])):
        outputs = output_size("conv2d", size, weight.shape[:2], stride, padding, dilation)
        g = kernels.use("relu_pool").relu_max_pool_grad(g, indices, outputs)
        missing = (needs[0] and dx is None, *(n and sums is None for n in needs[1:]))
        rest = all_gradients(
            conv2d_input_grad, conv2d_weight_grad, g, x, weight, missing, **settings
        )
        dx, sums = rest[0] if dx is None else dx, rest[1:] if sums is None else sums
    return dx, *(sums or (None, None))


def conv2d_relu_max_pool(
    x: Any, weight: Any, bias: Any = None,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """Return max_pool2d(conv2d(..., activation="relu"), 2), computed in one op. See `conv2d`.

    Raises ShapeError also where the convolution's output is smaller than a window.
    """
    settings = conv_settings(x, weight, bias, stride, padding, dilation, groups)
    size = output_size(
        "conv2d", x.shape[1:3], weight.shape[:2],
        settings["stride"], settings["padding"], settings["dilation"],
    )  # fmt: skip
    output_size("max_pool2d", size, (2, 2), (2, 2), ((0, 0), (0, 0)))
    return conv2d_relu_max_pool_forward(x, weight, bias, **settings)


@conv2d_relu_max_pool_forward.samples
def _(draw: Draw) -> Iterator[Sample]:
    for shape, kernel, stride, padding, dilation, groups in [
        ((2, 6, 7, 3), (3, 3, 4), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
        ((1, 9, 8, 1), (5, 5, 6), (1, 1), ((2, 2), (2, 2)), (1, 1), 1),
        ((2, 9, 9, 4), (3, 2, 6), (2, 1), ((1, 0), (0, 1)), (1, 2), 2),
        ((0, 6, 6, 2), (3, 3, 2), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    ]:
        kh, kw, k = kernel
        yield sample(
            draw.normal(*shape), draw.normal(kh, kw, shape[3] // groups, k), draw.normal(k),
            stride=stride, padding=padding, dilation=dilation, groups=groups,
        )  # fmt: skip
