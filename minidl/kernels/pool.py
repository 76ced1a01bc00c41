"""Pooling. Shapes and names as in the twin, `minidl.reference.pool`."""

import numpy as np
from numba import prange

from minidl.geometry import Padding, Pair, corner
from minidl.kernels._jit import helper, kernel


@kernel
def _max(x, kernel_size, stride, corner, y, indices):
    n, h, w, c = x.shape
    _, oh, ow, _ = y.shape
    kh, kw = kernel_size
    for row in prange(n * oh):
        image, p = row // oh, row % oh
        for q in range(ow):
            best, place = y[image, p, q], indices[image, p, q]
            first = True
            for i in range(kh):
                a = p * stride[0] - corner[0] + i
                for j in range(kw):
                    b = q * stride[1] - corner[1] + j
                    if 0 <= a < h and 0 <= b < w:
                        source, here = x[image, a, b], i * kw + j
                        if first:
                            best[:], place[:] = source, here
                            first = False
                        else:
                            for k in range(c):
                                # a NaN beats all, and the first of equals stays
                                if source[k] > best[k] or (
                                    source[k] != source[k] and best[k] == best[k]
                                ):
                                    best[k], place[k] = source[k], here


@kernel
def _scatter(dy, indices, kernel_size, stride, corner, dx):
    """One thread has a whole image: no two add to the same element."""
    n, oh, ow, c = dy.shape
    for image in prange(n):
        dx[image] = 0
        for p in range(oh):
            for q in range(ow):
                for k in range(c):
                    place = indices[image, p, q, k]
                    a = p * stride[0] - corner[0] + place // kernel_size[1]
                    b = q * stride[1] - corner[1] + place % kernel_size[1]
                    dx[image, a, b, k] += dy[image, p, q, k]


@kernel
def _gather(x, indices, kernel_size, stride, corner, y):
    n, oh, ow, c = y.shape
    for row in prange(n * oh):
        image, p = row // oh, row % oh
        for q in range(ow):
            for k in range(c):
                place = indices[image, p, q, k]
                a = p * stride[0] - corner[0] + place // kernel_size[1]
                b = q * stride[1] - corner[1] + place % kernel_size[1]
                y[image, p, q, k] = x[image, a, b, k]


@helper
def _span(p, k, s, before, after, length, count_include_pad):
    """The window at p along one axis: first, past-the-last, and how many elements it counts."""
    start = p * s - before
    first, last = max(start, 0), min(start + k, length)
    if count_include_pad:
        return first, last, min(start + k, length + after) - start
    return first, last, last - first


@kernel
def _mean(x, kernel_size, stride, padding, count_include_pad, y):
    n, h, w, c = x.shape
    _, oh, ow, _ = y.shape
    (top, bottom), (left, right) = padding
    for row in prange(n * oh):
        image, p = row // oh, row % oh
        a0, a1, rows = _span(p, kernel_size[0], stride[0], top, bottom, h, count_include_pad)
        for q in range(ow):
            b0, b1, columns = _span(q, kernel_size[1], stride[1], left, right, w, count_include_pad)
            total = y[image, p, q]
            total[:] = 0
            for a in range(a0, a1):
                for b in range(b0, b1):
                    source = x[image, a, b]
                    for k in range(c):
                        total[k] += source[k]
            count = rows * columns
            for k in range(c):
                total[k] /= count


@kernel
def _mean_grad(dy, kernel_size, stride, padding, count_include_pad, dx):
    """One thread has a whole image: no two add to the same element."""
    n, oh, ow, c = dy.shape
    _, h, w, _ = dx.shape
    (top, bottom), (left, right) = padding
    for image in prange(n):
        dx[image] = 0
        for p in range(oh):
            a0, a1, rows = _span(p, kernel_size[0], stride[0], top, bottom, h, count_include_pad)
            for q in range(ow):
                b0, b1, columns = _span(
                    q, kernel_size[1], stride[1], left, right, w, count_include_pad
                )
                source, count = dy[image, p, q], rows * columns
                for a in range(a0, a1):
                    for b in range(b0, b1):
                        target = dx[image, a, b]
                        for k in range(c):
                            target[k] += source[k] / count


def max_pool2d(
    x: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding, size: Pair
) -> tuple[np.ndarray, np.ndarray]:
    """The largest of each window, and its index (int32)."""
    y = np.empty((x.shape[0], *size, x.shape[3]), x.dtype)
    indices = np.empty(y.shape, np.int32)
    _max(np.ascontiguousarray(x), kernel_size, stride, corner(padding), y, indices)
    return y, indices


def max_pool2d_scatter(
    dy: np.ndarray,
    indices: np.ndarray,
    input_size: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
) -> np.ndarray:
    """The gradient of max_pool2d: dy added where the maxima came from."""
    dx = np.empty((dy.shape[0], *input_size, dy.shape[3]), dy.dtype)
    _scatter(np.ascontiguousarray(dy), indices, kernel_size, stride, corner(padding), dx)
    return dx


def max_pool2d_gather(
    x: np.ndarray, indices: np.ndarray, kernel_size: Pair, stride: Pair, padding: Padding
) -> np.ndarray:
    """What stands in x where the maxima came from: the transpose of max_pool2d_scatter."""
    y = np.empty(indices.shape, x.dtype)
    _gather(np.ascontiguousarray(x), indices, kernel_size, stride, corner(padding), y)
    return y


def avg_pool2d(
    x: np.ndarray,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    size: Pair,
    count_include_pad: bool,
) -> np.ndarray:
    """The mean of each window."""
    y = np.empty((x.shape[0], *size, x.shape[3]), x.dtype)
    _mean(np.ascontiguousarray(x), kernel_size, stride, padding, count_include_pad, y)
    return y


def avg_pool2d_grad(
    dy: np.ndarray,
    input_size: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Padding,
    count_include_pad: bool,
) -> np.ndarray:
    """The gradient of avg_pool2d: dy shared out among its window."""
    dx = np.empty((dy.shape[0], *input_size, dy.shape[3]), dy.dtype)
    _mean_grad(np.ascontiguousarray(dy), kernel_size, stride, padding, count_include_pad, dx)
    return dx
