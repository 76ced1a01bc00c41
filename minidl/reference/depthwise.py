"""Depthwise convolution: each channel has its own `multiplier` filters.

x (N, H, W, C); weight (kh, kw, C, multiplier); y (N, OH, OW, C*multiplier), where channel c makes
the outputs c*multiplier to (c+1)*multiplier - 1. Settings as in im2col.
"""

import numpy as np

from minidl.geometry import Padding, Pair
from minidl.reference.activation import activate
from minidl.reference.im2col import col2im, im2col


def depthwise_conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    activation: str | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> np.ndarray:
    """y[n, p, q, c*m + e] = activation(bias[c*m + e] + the sum over i and j of
    x[n, p*stride + i*dilation - top, q*stride + j*dilation - left, c] * weight[i, j, c, e])."""
    kh, kw, c, multiplier = weight.shape
    columns = im2col(x, (kh, kw), stride, padding, dilation)  # (N, OH, OW, kh, kw, C)
    y = np.einsum("npqijc,ijce->npqce", columns, weight)
    y = y.reshape(*y.shape[:3], c * multiplier)
    return activate(y if bias is None else y + bias, activation)


def depthwise_conv2d_input_grad(
    dy: np.ndarray,
    weight: np.ndarray,
    input_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> np.ndarray:
    """Return the gradient of depthwise_conv2d for x."""
    split = dy.reshape(*dy.shape[:3], *weight.shape[2:])  # (N, OH, OW, C, multiplier)
    columns = np.einsum("npqce,ijce->npqijc", split, weight)
    return col2im(columns, input_size, stride, padding, dilation)


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
    """Return the gradients of depthwise_conv2d for weight and, if asked for, bias."""
    c = x.shape[3]
    columns = im2col(x, kernel_size, stride, padding, dilation)
    split = dy.reshape(*dy.shape[:3], c, dy.shape[3] // c)  # (N, OH, OW, C, multiplier)
    dw = np.einsum("npqijc,npqce->ijce", columns, split)
    return dw, dy.sum(axis=(0, 1, 2)) if with_bias else None
