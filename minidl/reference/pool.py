"""Pooling: the largest or the mean of each window.

x (N, H, W, C); y (N, OH, OW, C). padding ((top, bottom), (left, right)); `size` is (OH, OW). With
ceil mode the last windows stick out of the padded input; what sticks out counts for nothing.
An index is the place of the first maximum in its window, i * kw + j, in uint8 if it fits and int32
otherwise; a NaN is the largest.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minidl.geometry import Padding, Pair

Slices = tuple[slice, slice]


def _windows(
    input_size: Pair, kernel_size: Pair, stride: Pair, padding: Padding, size: Pair
) -> Iterator[tuple[int, int, Slices, Pair]]:
    """For each output (p, q): what of the input its window covers, and the offset of that part."""
    (kh, kw), (sh, sw), ((top, _), (left, _)) = kernel_size, stride, padding
    for p in range(size[0]):
        for q in range(size[1]):
            y, x = p * sh - top, q * sw - left
            rows, columns = slice(max(y, 0), y + kh), slice(max(x, 0), x + kw)
            yield p, q, (rows, columns), (rows.start - y, columns.start - x)


def _index_dtype(kernel_size: Pair) -> Any:
    """Return the smallest dtype that is kept for indices."""
    return np.uint8 if kernel_size[0] * kernel_size[1] <= 256 else np.int32


def max_pool2d(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding, size: Pair
) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest of each window, and its index."""
    n, h, w, c = x.shape
    y = np.empty((n, *size, c), x.dtype)
    indices = np.empty((n, *size, c), _index_dtype(kernel_size))
    for p, q, (rows, columns), (i0, j0) in _windows((h, w), kernel_size, stride, padding, size):
        window = x[:, rows, columns]  # (N, kh', kw', C): less at the borders
        width = window.shape[2]
        flat = window.reshape(n, window.shape[1] * width, c)
        best = np.argmax(flat, axis=1)
        y[:, p, q] = np.take_along_axis(flat, best[:, None], axis=1)[:, 0]
        indices[:, p, q] = (best // width + i0) * kernel_size[1] + best % width + j0
    return y, indices


def _picked(indices: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding) -> Any:
    """`indices` as an index into x."""
    n, oh, ow, c = np.indices(indices.shape)
    rows = oh * stride[0] - padding[0][0] + indices // kernel_size[1]
    columns = ow * stride[1] - padding[1][0] + indices % kernel_size[1]
    return n, rows, columns, c


def max_pool2d_scatter(
    dy: np.ndarray,
    indices: np.ndarray,
    input_size: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
) -> np.ndarray:
    """Return the gradient of max_pool2d: dy added where the maxima came from."""
    dx = np.zeros((dy.shape[0], *input_size, dy.shape[3]), dy.dtype)
    np.add.at(dx, _picked(indices, kernel_size, stride, padding), dy)
    return dx


def max_pool2d_gather(
    x: np.ndarray, indices: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding
) -> np.ndarray:
    """Return what stands in x where the maxima came from: the transpose of max_pool2d_scatter."""
    return x[_picked(indices, kernel_size, stride, padding)]


def _counts(
    input_size: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    size: Pair,
    count_include_pad: bool,
) -> np.ndarray:
    """Return how many elements each mean is over: (OH, OW, 1)."""
    counts = []
    for h, k, s, (before, after), positions in zip(
        input_size, kernel_size, stride, padding, size, strict=True
    ):
        start = np.arange(positions) * s - before
        if count_include_pad:
            counts.append(np.minimum(start + k, h + after) - start)
        else:
            counts.append(np.minimum(start + k, h) - np.maximum(start, 0))
    return (counts[0][:, None] * counts[1])[:, :, None]


def avg_pool2d(
    x: np.ndarray,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    size: Pair,
    count_include_pad: bool,
) -> np.ndarray:
    """Return the mean of each window."""
    n, h, w, c = x.shape
    y = np.empty((n, *size, c), x.dtype)
    for p, q, (rows, columns), _ in _windows((h, w), kernel_size, stride, padding, size):
        y[:, p, q] = x[:, rows, columns].sum(axis=(1, 2))
    y /= _counts((h, w), kernel_size, stride, padding, size, count_include_pad)
    return y


def avg_pool2d_grad(
    dy: np.ndarray,
    input_size: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    count_include_pad: bool,
) -> np.ndarray:
    """Return the gradient of avg_pool2d: dy shared out among its window."""
    n, oh, ow, c = dy.shape
    dx = np.zeros((n, *input_size, c), dy.dtype)
    counts = _counts(input_size, kernel_size, stride, padding, (oh, ow), count_include_pad)
    share = (dy / counts).astype(dy.dtype)
    for p, q, (rows, columns), _ in _windows(input_size, kernel_size, stride, padding, (oh, ow)):
        dx[:, rows, columns] += share[:, p, q][:, None, None]
    return dx
