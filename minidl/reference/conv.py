"""Convolution as it is written in the textbook: one tap of the kernel after another.

Shapes: x (N, H, W, C), weight (kh, kw, C/groups, K), bias (K,), y and dy (N, OH, OW, K).
y[n, p, q, k] = sum over i, j, c of x[n, p*s + i*d - top, q*s + j*d - left, c] * weight[i, j, c, k]
"""

from collections.abc import Iterator

import numpy as np

from minidl.geometry import Padding, Pair, output_size
from minidl.reference.activation import activate

Window = tuple[slice, slice, slice]


def _taps(kernel_size: Pair, stride: Pair, dilation: Pair, size: Pair) -> Iterator[tuple]:
    """Yield each tap of the kernel, and the pixels of the padded images that it meets."""
    for i in range(kernel_size[0]):
        for j in range(kernel_size[1]):
            rows, columns = (
                slice(k * d, k * d + s * (o - 1) + 1, s)
                for k, d, s, o in zip((i, j), dilation, stride, size, strict=True)
            )
            yield i, j, (slice(None), rows, columns)


def _parts(inputs: int, outputs: int, groups: int) -> list[tuple[slice, slice]]:
    """Return the input and output channels of each group."""
    c, k = inputs // groups, outputs // groups
    return [(slice(g * c, g * c + c), slice(g * k, g * k + k)) for g in range(groups)]


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, activation: str | None,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray:  # fmt: skip
    """activation(the convolution of x with weight + bias). (N, OH, OW, K)."""
    kh, kw, _, k = weight.shape
    size = output_size("conv2d", x.shape[1:3], (kh, kw), stride, padding, dilation)
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    y = np.zeros((len(x), *size, k), x.dtype)
    for i, j, pixels in _taps((kh, kw), stride, dilation, size):
        for inputs, outputs in _parts(x.shape[3], k, groups):
            y[..., outputs] += padded[pixels][..., inputs] @ weight[i, j, :, outputs]
    return activate(y if bias is None else y + bias, activation)


def conv2d_input_grad(
    dy: np.ndarray, weight: np.ndarray, input_size: Pair,
    stride: Pair, padding: Padding, dilation: Pair, groups: int,
) -> np.ndarray:  # fmt: skip
    """Return the gradient of conv2d for x: (N, *input_size, C)."""
    kh, kw, c, k = weight.shape
    (top, bottom), (left, right) = padding
    h, w = input_size
    padded = np.zeros((len(dy), h + top + bottom, w + left + right, c * groups), dy.dtype)
    for i, j, pixels in _taps((kh, kw), stride, dilation, dy.shape[1:3]):
        for inputs, outputs in _parts(c * groups, k, groups):
            padded[pixels][..., inputs] += dy[..., outputs] @ weight[i, j, :, outputs].T
    return padded[:, top : top + h, left : left + w]


def conv2d_weight_grad(
    x: np.ndarray, dy: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding,
    dilation: Pair, groups: int, *, with_bias: bool,
) -> tuple[np.ndarray, np.ndarray | None]:  # fmt: skip
    """The gradients of conv2d for weight and, if asked, bias: (kh, kw, C/groups, K), (K,)."""
    c, k = x.shape[3], dy.shape[3]
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    dw = np.zeros((*kernel_size, c // groups, k), x.dtype)
    for i, j, pixels in _taps(kernel_size, stride, dilation, dy.shape[1:3]):
        for inputs, outputs in _parts(c, k, groups):
            seen = padded[pixels][..., inputs]
            # the pixels of all images as rows: (C/groups, N*OH*OW) @ (N*OH*OW, K/groups)
            pixels_in_all = dy[..., 0].size
            rows = seen.reshape(pixels_in_all, c // groups)
            dw[i, j, :, outputs] = rows.T @ dy[..., outputs].reshape(pixels_in_all, k // groups)
    return dw, dy.sum(axis=(0, 1, 2)) if with_bias else None
