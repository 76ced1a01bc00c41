"""Convolution in groups of few channels. Shapes and names as in the twin, `minidl.reference.conv`.

A vector holds several groups. Like a depthwise convolution it slides along the lines, once for each
number of a group: that number of every group is spread over its group's lanes (`_slider.py`).
As many channels go into a group as come out, and all groups together fill a vector.
"""

import numpy as np

from minidl.geometry import Padding, Pair, output_size
from minidl.kernels._jit import kernel, sized
from minidl.kernels._slider import slide_over
from minidl.kernels._sliding_sums import tap_sums
from minidl.kernels.copy import copied
from minidl.kernels.memory import empty
from minidl.kernels.reduce import column_sums


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray:  # fmt: skip
    """activation(the convolution of x with weight + bias). (N, OH, OW, K)."""
    n, h, w, _ = x.shape
    kh, kw, _, k = weight.shape
    y = empty((n, *output_size("conv2d", (h, w), (kh, kw), stride, padding, dilation), k), x.dtype)
    numbers_first = copied(weight.transpose(2, 0, 1, 3))  # (C/groups, kh, kw, K)
    slide_over(x, numbers_first, bias, activation, stride, padding, dilation, y)
    return y


def conv2d_input_grad(
    dy: np.ndarray, weight: np.ndarray, input_size: Pair,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray:  # fmt: skip
    """Return the gradient of conv2d for x: (N, *input_size, C)."""
    kh, kw, size, k = weight.shape
    dx = empty((len(dy), *input_size, k), dy.dtype)
    by_group = weight.reshape(kh, kw, size, groups, size)  # (kh, kw, C/groups, groups, K/groups)
    turned = copied(by_group.transpose(4, 0, 1, 3, 2)).reshape(size, kh, kw, k)
    slide_over(dy, turned, None, None, stride, padding, dilation, dx, gradient=True)
    return dx


@kernel
def _in_order(tap, sums, dw):
    """dw[tap, i, k] from sums, (sets, size, taps of a set, K), as `tap_sums` gives them."""
    _, size, at_once, outputs = sums.shape
    for r in range(size):
        row = sums[tap // at_once, r, tap % at_once]
        for c in range(outputs):
            i = c % size
            dw[tap, i, c - i + (i + r) % size] = row[c]


def conv2d_weight_grad(
    x: np.ndarray, dy: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, *, with_bias: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients of conv2d for weight and, if asked, bias: (kh, kw, C/groups, K), (K,)."""
    (kh, kw), k = kernel_size, dy.shape[3]
    size = k // groups
    sums = tap_sums(x, dy, kernel_size, stride, padding, dilation, size)
    dw = empty((kh * kw, size, k), x.dtype)
    _in_order(sized(kh * kw, dw.size), sums, dw)
    return dw.reshape(kh, kw, size, k), column_sums(dy) if with_bias else None
