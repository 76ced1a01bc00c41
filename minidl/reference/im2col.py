"""Convolution as a matrix product over unrolled windows ("image to columns").

Chellapilla et al. 2006, "High Performance Convolutional Neural Networks for Document Processing".
x (N, H, W, C); weight (kh, kw, C/groups, K); y (N, OH, OW, K); C is split in `groups` equal parts
in a row, and so is K. padding ((top, bottom), (left, right)); strides and dilations are pairs.
"""

import numpy as np

from minidl.geometry import Padding, Pair, output_size


def im2col(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> np.ndarray:
    """Return the windows of x, one a row: (N, OH, OW, kh, kw, C)."""
    n, h, w, c = x.shape
    (kh, kw), (sh, sw), (dh, dw) = kernel_size, stride, dilation
    oh, ow = output_size("im2col", (h, w), kernel_size, stride, padding, dilation)
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    columns = np.empty((n, oh, ow, kh, kw, c), x.dtype)
    for i in range(kh):
        for j in range(kw):
            top, left = i * dh, j * dw
            columns[:, :, :, i, j] = padded[
                :, top : top + (oh - 1) * sh + 1 : sh, left : left + (ow - 1) * sw + 1 : sw
            ]
    return columns


def col2im(
    columns: np.ndarray, input_size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> np.ndarray:
    """Return the transpose of im2col: every window added back where it came from. (N, H, W, C)."""
    n, oh, ow, kh, kw, c = columns.shape
    (h, w), (sh, sw), (dh, dw) = input_size, stride, dilation
    (top, bottom), (left, right) = padding
    padded = np.zeros((n, h + top + bottom, w + left + right, c), columns.dtype)
    for i in range(kh):
        for j in range(kw):
            y, x = i * dh, j * dw
            padded[:, y : y + (oh - 1) * sh + 1 : sh, x : x + (ow - 1) * sw + 1 : sw] += columns[
                :, :, :, i, j
            ]
    return padded[:, top : top + h, left : left + w]


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """y[n, p, q, k] = the sum over i, j and c of
    x[n, p*stride + i*dilation - top, q*stride + j*dilation - left, c] * weight[i, j, c, k]."""
    kh, kw, _, _ = weight.shape
    outputs = []
    for part, w in zip(np.split(x, groups, 3), np.split(weight, groups, 3), strict=True):
        columns = im2col(part, (kh, kw), stride, padding, dilation)
        outputs.append(np.tensordot(columns, w, axes=3))  # over (kh, kw, C/groups)
    return np.concatenate(outputs, axis=3)


def conv2d_input_grad(
    dy: np.ndarray,
    weight: np.ndarray,
    input_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """Return the gradient of conv2d for x: dy goes back through the weights to each window."""
    parts = []
    for part, w in zip(np.split(dy, groups, 3), np.split(weight, groups, 3), strict=True):
        columns = np.tensordot(part, w, axes=(3, 3))  # (N, OH, OW, kh, kw, C/groups)
        parts.append(col2im(columns, input_size, stride, padding, dilation))
    return np.concatenate(parts, axis=3)


def conv2d_weight_grad(
    x: np.ndarray,
    dy: np.ndarray,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> np.ndarray:
    """Return the gradient of conv2d for weight: each window times its dy, summed."""
    grads = []
    for part, g in zip(np.split(x, groups, 3), np.split(dy, groups, 3), strict=True):
        columns = im2col(part, kernel_size, stride, padding, dilation)
        grads.append(np.tensordot(columns, g, axes=((0, 1, 2), (0, 1, 2))))
    return np.concatenate(grads, axis=3)
