"""Depthwise convolution. Shapes and names as in the twin, `minidl.reference.depthwise`.

The forward pass and the input gradient are one kernel, which slides along the rows of its input;
they differ in the tables of their axes. Several filters a channel are run as more channels.
"""

import numpy as np

from minidl.geometry import Padding, Pair, output_size
from minidl.kernels._jit import PART, kernel, sized
from minidl.kernels._slider import slide_over
from minidl.kernels._sliding_sums import tap_sums
from minidl.kernels.copy import contiguous
from minidl.kernels.memory import empty
from minidl.kernels.reduce import column_sums


@kernel
def _repeat(part, x, multiplier, y):
    """Each number of x `multiplier` times."""
    for i in range(part * PART, min(x.size, (part + 1) * PART)):
        for k in range(multiplier):
            y[i * multiplier + k] = x[i]


@kernel
def _add_up(part, x, multiplier, y):
    """The sum of each `multiplier` numbers of x: the transpose of `_repeat`."""
    for i in range(part * PART, min(y.size, (part + 1) * PART)):
        total = x[i * multiplier]
        for k in range(1, multiplier):
            total += x[i * multiplier + k]
        y[i] = total


def _repeated(x, multiplier):
    """x (N, H, W, C) with each channel `multiplier` times: (N, H, W, C*multiplier)."""
    if multiplier == 1:
        return x
    y = empty((*x.shape[:3], x.shape[3] * multiplier), x.dtype)
    x = contiguous(x).reshape(-1)
    _repeat(sized(-(-x.size // PART), y.size), x, multiplier, y.reshape(-1))
    return y


def _flat(weight):
    """Weights (kh, kw, C, multiplier) as (1, kh, kw, C*multiplier)."""
    kh, kw, c, multiplier = weight.shape
    return contiguous(weight).reshape(1, kh, kw, c * multiplier)


def depthwise_conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    activation: str | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> np.ndarray:
    """Return the depthwise convolution of x. (N, OH, OW, C*multiplier)."""
    n, h, w, _ = x.shape
    kh, kw, c, multiplier = weight.shape
    size = output_size("depthwise_conv2d", (h, w), (kh, kw), stride, padding, dilation)
    y = empty((n, *size, c * multiplier), x.dtype)
    x = _repeated(x, multiplier)
    slide_over(x, _flat(weight), bias, activation, stride, padding, dilation, y)
    return y


def depthwise_conv2d_input_grad(
    dy: np.ndarray,
    weight: np.ndarray,
    input_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> np.ndarray:
    """Return the gradient of depthwise_conv2d for x. (N, H, W, C)."""
    _, _, c, multiplier = weight.shape
    dx = empty((len(dy), *input_size, c * multiplier), dy.dtype)
    slide_over(dy, _flat(weight), None, None, stride, padding, dilation, dx, gradient=True)
    if multiplier == 1:
        return dx
    found = empty((len(dy), *input_size, c), dy.dtype)
    parts = sized(-(-found.size // PART), dx.size)
    _add_up(parts, dx.reshape(-1), multiplier, found.reshape(-1))
    return found


def depthwise_conv2d_weight_grad(
    x: np.ndarray,
    dy: np.ndarray,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    *,
    with_bias: bool,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The gradients of depthwise_conv2d for weight, (kh, kw, C, multiplier), and its bias."""
    c, outputs = x.shape[3], dy.shape[3]
    x, dy = _repeated(contiguous(x), outputs // c), contiguous(dy)
    sums = tap_sums(x, dy, kernel_size, stride, padding, dilation)
    taps = sums.reshape(-1, outputs)[: kernel_size[0] * kernel_size[1]]
    dw = taps.reshape(*kernel_size, c, outputs // c)  # (kh*kw, K) as (kh, kw, C, multiplier)
    return dw, column_sums(dy) if with_bias else None
