"""Depthwise convolution. Shapes and names as in the twin, `minidl.reference.depthwise`.

The loops over channels, which lie next to each other, are the ones the compiler vectorises.
"""

import numpy as np
from numba import prange

from minidl.geometry import Padding, Pair, corner, output_size
from minidl.kernels._jit import kernel


@kernel
def _forward(x, weight, stride, padding, dilation, y):
    n, h, w, c = x.shape
    kh, kw, _, multiplier = weight.shape
    _, oh, ow, _ = y.shape
    for row in prange(n * oh):
        image, p = row // oh, row % oh
        y[image, p] = 0
        for q in range(ow):
            for i in range(kh):
                a = p * stride[0] + i * dilation[0] - padding[0]
                for j in range(kw):
                    b = q * stride[1] + j * dilation[1] - padding[1]
                    if 0 <= a < h and 0 <= b < w:
                        source, filters, target = x[image, a, b], weight[i, j], y[image, p, q]
                        for k in range(c):
                            for e in range(multiplier):
                                target[k * multiplier + e] += source[k] * filters[k, e]


@kernel
def _input_grad(dy, weight, stride, padding, dilation, dx):
    """One thread has a whole image: no two add to the same element."""
    n, h, w, c = dx.shape
    kh, kw, _, multiplier = weight.shape
    _, oh, ow, _ = dy.shape
    for image in prange(n):
        dx[image] = 0
        for p in range(oh):
            for q in range(ow):
                for i in range(kh):
                    a = p * stride[0] + i * dilation[0] - padding[0]
                    for j in range(kw):
                        b = q * stride[1] + j * dilation[1] - padding[1]
                        if 0 <= a < h and 0 <= b < w:
                            source, filters, target = dy[image, p, q], weight[i, j], dx[image, a, b]
                            for k in range(c):
                                for e in range(multiplier):
                                    target[k] += source[k * multiplier + e] * filters[k, e]


@kernel
def _weight_grad(x, dy, stride, padding, dilation, parts):
    """parts[n] = what image n adds to the gradient."""
    n, h, w, c = x.shape
    _, kh, kw, _, multiplier = parts.shape
    _, oh, ow, _ = dy.shape
    for image in prange(n):
        parts[image] = 0
        for p in range(oh):
            for q in range(ow):
                for i in range(kh):
                    a = p * stride[0] + i * dilation[0] - padding[0]
                    for j in range(kw):
                        b = q * stride[1] + j * dilation[1] - padding[1]
                        if 0 <= a < h and 0 <= b < w:
                            source, g, target = x[image, a, b], dy[image, p, q], parts[image, i, j]
                            for k in range(c):
                                for e in range(multiplier):
                                    target[k, e] += source[k] * g[k * multiplier + e]


def depthwise_conv2d(
    x: np.ndarray, weight: np.ndarray, stride: Pair, padding: Padding, dilation: Pair
) -> np.ndarray:
    """The depthwise convolution of x. (N, OH, OW, C*multiplier)."""
    n, h, w, _ = x.shape
    kh, kw, c, multiplier = weight.shape
    size = output_size("depthwise_conv2d", (h, w), (kh, kw), stride, padding, dilation)
    y = np.empty((n, *size, c * multiplier), x.dtype)
    x, weight = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    _forward(x, weight, stride, corner(padding), dilation, y)
    return y


def depthwise_conv2d_input_grad(
    dy: np.ndarray,
    weight: np.ndarray,
    input_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> np.ndarray:
    """The gradient of depthwise_conv2d for x. (N, H, W, C)."""
    dx = np.empty((dy.shape[0], *input_size, weight.shape[2]), dy.dtype)
    dy, weight = np.ascontiguousarray(dy), np.ascontiguousarray(weight)
    _input_grad(dy, weight, stride, corner(padding), dilation, dx)
    return dx


def depthwise_conv2d_weight_grad(
    x: np.ndarray,
    dy: np.ndarray,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> np.ndarray:
    """The gradient of depthwise_conv2d for weight. (kh, kw, C, multiplier)."""
    n, _, _, c = x.shape
    parts = np.empty((n, *kernel_size, c, dy.shape[3] // c), x.dtype)
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    _weight_grad(x, dy, stride, corner(padding), dilation, parts)
    return parts.sum(axis=0)
